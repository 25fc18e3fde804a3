package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

// applying is the flags of `ozmo apply`.
type applying struct {
	apiReach

	from        string
	dryRun      bool
	exitCode    bool
	prune       bool
	confirm     confirmation
	concurrency int
	env         envFile
	output      *choice
}

func newApply(*app) *cobra.Command {
	var o applying
	cmd := &cobra.Command{
		Use:   "apply -f {DIR | FILE | -}",
		Short: "Make tenants' documents what a folder or file says",
		Long: `Make tenants' documents what a folder or file says. It may be applied again and
again: what is like that already stays.

  DIR    networks/, monitors/, triggers/ and scripts as OpenZeppelin Monitor has
         them: the tenant of --tenant or the context. Or tenants/NAME/ with the same
         inside, for each of them, and networks/ for all; with --tenant, only that
         one. Tenants are made where there are none, which takes an operator; none
         is deleted.
  FILE   monitors, networks or triggers, in JSON or YAML, which are added to what the
         tenant has; or a whole configuration, as ` + "`ozmo export -`" + ` prints it.

What is not in the folder, or whole configuration, is deleted, after a question;
--prune=false leaves it. A monitor keeps its id as long as its name or its file's
name stays.

Everything is read and checked on this machine first, as ` + "`ozmo config check`" + ` does,
and nothing is changed if something is wrong. References to the environment and to
files are resolved on this machine, and scripts are stored with their tenants. Then
each tenant is changed as a whole or not at all, and one that is refused does not
keep the others back: mend it and apply again.

Exit codes: 0 applied, or nothing to change; 1 something was wrong or refused; with
--dry-run --exit-code, 3 where something would change.`,
		Example: `  ozmo apply -f ./config --tenant acme --dry-run
  ozmo apply -f ./config --tenant acme --yes
  ozmo apply -f ./tree --concurrency 32 --yes
  ozmo apply -f usdc.yaml --tenant acme

  # a copy of a tenant, with secrets of its own
  ozmo export --tenant acme ./acme --secrets environment
  ozmo apply -f ./acme --tenant acme-staging --env-file ./acme/secrets.env`,
		Args: cobra.NoArgs,
	}
	o.register(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.from, "file", "f", "", "`DIR` or file to apply, or - for standard input")
	if err := cmd.MarkFlagFilename("file"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	f.BoolVar(&o.dryRun, "dry-run", false, "have everything checked and show what would change, and change nothing")
	f.BoolVar(&o.exitCode, "exit-code", false, "with --dry-run, exit with 3 where something would change")
	f.BoolVar(&o.prune, "prune", true, "delete what is not in the folder or whole configuration")
	f.IntVar(&o.concurrency, "concurrency", 16, "how many tenants are worked on at once")
	o.confirm.register(cmd)
	o.env.register(cmd)
	o.output = addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case o.from == "":
			return usagef("what is to be applied? Give -f DIR, -f FILE or -f -")
		case o.exitCode && !o.dryRun:
			return usagef("--exit-code is for --dry-run")
		case o.concurrency < 1 || o.concurrency > 256:
			return usagef("--concurrency %d: want 1 to 256", o.concurrency)
		}
		return o.run(cmd)
	}
	return cmd
}

// envFile is the flag --env-file.
type envFile struct{ file string }

func (e *envFile) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.file, "env-file", "", "`FILE` of NAME=VALUE lines, like a .env, with variables beside those of the environment, which win")
	if err := cmd.MarkFlagFilename("env-file"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
}

// lookup finds variables; nil: in the environment alone.
func (e *envFile) lookup() (func(string) (string, bool), error) {
	if e.file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(e.file)
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	given, err := files.ParseEnv(string(data))
	if err != nil {
		return nil, fmt.Errorf("--env-file %s: %w", e.file, err)
	}
	return func(name string) (string, bool) {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		v, ok := given[name]
		return v, ok
	}, nil
}

func (o *applying) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	c, err := o.client()
	if err != nil {
		return err
	}
	env, err := o.env.lookup()
	if err != nil {
		return err
	}
	b := &bulk{c: c, dryRun: o.dryRun, prune: o.prune, concurrency: o.concurrency, progress: newProgress(cmd.ErrOrStderr(), "tenants")}
	closing, err := o.source(cmd, b, env)
	if err != nil {
		return err
	}
	defer closing()
	problems, missing := b.check(ctx)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err := o.showProblems(cmd, problems, missing); err != nil {
		return err
	}
	if o.prune && !o.dryRun && !o.confirm.yes {
		if err := o.askToDelete(cmd, b); err != nil {
			return err
		}
	}
	if o.output.value == "text" {
		b.each = func(r *appliedTenant) { r.write(cmd.OutOrStdout(), len(b.jobs) > 1) }
	}
	sum := b.apply(ctx)
	if err := sum.show(cmd.OutOrStdout(), o.output.value, len(b.jobs)); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %d of %s are done; apply again to go on", errInterrupted, sum.Changed+sum.Unchanged, count(len(b.jobs), "tenant"))
	case sum.Failed > 0:
		return errFindings
	case o.exitCode && sum.Changed > 0:
		return errChanges
	}
	return nil
}

// source finds out what is to be applied.
func (o *applying) source(cmd *cobra.Command, b *bulk, env func(string) (string, bool)) (closing func(), err error) {
	ctx := cmd.Context()
	info, err := os.Stat(o.from)
	switch {
	case o.from == "-":
	case err != nil:
		return nil, fmt.Errorf("-f: %w", err)
	case info.IsDir():
		return o.folder(cmd, b, env)
	}
	tenant, err := o.tenant(cmd)
	if err != nil {
		return nil, err
	}
	data, dir, err := readInput(cmd.InOrStdin(), o.from)
	if err != nil {
		return nil, fmt.Errorf("-f: %w", err)
	}
	f, problems, err := files.Read(ctx, o.from, data, dir, env)
	if err != nil {
		return nil, err
	}
	b.prune = b.prune && f.Whole
	b.missing = func(spec.Problems) []files.Missing { return f.Missing }
	b.jobs = []job{{tenant: tenant, read: func(context.Context) (*files.Documents, spec.Problems, error) { return f.Documents, problems, nil }}}
	return func() {}, nil
}

func (o *applying) folder(cmd *cobra.Command, b *bulk, env func(string) (string, bool)) (closing func(), err error) {
	ctx := cmd.Context()
	shared, err := sharedNetworks(ctx, b.c)
	if err != nil {
		return nil, err
	}
	f, err := files.Open(ctx, o.from, files.Options{Env: env, Shared: shared})
	if err != nil {
		return nil, err
	}
	b.missing = f.Missing
	add := func(tenant string) {
		b.jobs = append(b.jobs, job{tenant: tenant, read: func(ctx context.Context) (*files.Documents, spec.Problems, error) { return f.Tenant(ctx, tenant) }})
	}
	closing = func() { _ = f.Close() } // it was only read
	if !f.Many {
		tenant, err := o.tenant(cmd)
		if err != nil {
			closing()
			return nil, err
		}
		add(tenant)
		return closing, nil
	}
	only := o.asTenant // a context's tenant is for commands that need one
	b.shared = func(ctx context.Context) (*files.Documents, spec.Problems, error) { return f.Shared(ctx) }
	b.applyShared = only == ""
	for _, tenant := range f.Tenants() {
		if only == "" || only == tenant {
			add(tenant)
		}
	}
	if len(b.jobs) == 0 {
		closing()
		if only != "" {
			return nil, fmt.Errorf("%s has no folder for tenant %q", o.from, only)
		}
		return nil, fmt.Errorf("%s/tenants has no folder in it", o.from)
	}
	return closing, nil
}

// sharedNetworks are those of the cluster.
func sharedNetworks(ctx context.Context, c *client.Client) (map[string]*spec.Network, error) {
	return askClient(ctx, c, func(ctx context.Context, c *client.Client) (map[string]*spec.Network, error) {
		list, err := c.Documents(ctx, client.Shared, networkKind.plural)
		if err != nil {
			return nil, err
		}
		out := make(map[string]*spec.Network, len(list))
		for _, d := range list {
			data, err := c.Document(ctx, client.Shared, networkKind.plural, d.ID)
			if client.NotFound(err) {
				continue // it was deleted just now
			}
			n := new(spec.Network)
			if err == nil {
				err = n.UnmarshalJSON(data)
			}
			if err != nil {
				return nil, fmt.Errorf("shared network %q: %w", d.ID, err)
			}
			out[d.ID] = n
		}
		return out, nil
	})
}

// showProblems shows what is wrong before anything is sent, and ends the command if
// it is too much.
func (o *applying) showProblems(cmd *cobra.Command, problems spec.Problems, missing []files.Missing) error {
	if problems.Err() == nil {
		return writeFindings(cmd, "text", once(problems.Warnings()), nil)
	}
	if err := writeFindings(cmd, o.output.value, once(problems), missing); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: %s: nothing was changed\n", count(len(problems.Errors()), "error"))
	return errFindings
}

// findings are what is wrong with documents on this machine.
type findings struct {
	Problems spec.Problems   `json:"problems"`
	Missing  []files.Missing `json:"missing"`
}

// writeFindings shows problems, for people on standard error.
func writeFindings(cmd *cobra.Command, format string, problems spec.Problems, missing []files.Missing) error {
	if format == "json" {
		f := findings{problems, missing}
		fill((*[]spec.Problem)(&f.Problems))
		fill(&f.Missing)
		return writeJSON(cmd.OutOrStdout(), f)
	}
	var b strings.Builder
	writeProblems(&b, problems)
	_, err := fmt.Fprint(cmd.ErrOrStderr(), b.String())
	if len(missing) > 0 && err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "\nThis machine does not have %s:\n\n", count(len(missing), "secret"))
		t := newTable("SECRET", "TYPE", "USED IN", "HOW TO GIVE IT")
		for _, m := range missing {
			t.AppendRow(table.Row{clean(m.Name), m.Type, clean(strings.Join(m.Places, ", ")), m.Help()})
		}
		writeTable(cmd.ErrOrStderr(), t)
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return err
}

// askToDelete asks before documents are deleted.
func (o *applying) askToDelete(cmd *cobra.Command, b *bulk) error {
	gone, err := b.deletions(cmd.Context())
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		return nil
	}
	const most = 20
	for i, g := range gone {
		if i == most {
			fmt.Fprintf(cmd.ErrOrStderr(), "  … and %d more\n", len(gone)-most)
			break
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "  - %s %s of %s\n", g.kind, clean(g.id), whoseText(g.tenant))
	}
	if err := o.confirm.check(cmd, cmd.InOrStdin()); err != nil {
		return fmt.Errorf("%w, or --prune=false to keep what is not in %s", err, o.from)
	}
	if err := o.confirm.ask(cmd, fmt.Sprintf("%s will be deleted, since %s does not have them.", count(len(gone), "document"), o.from)); err != nil {
		return err
	}
	b.confirm(gone)
	return nil
}

var errMeanwhile = errors.New("it is being changed by others at the same time: apply again")

// fillEffect keeps lists from being null in JSON.
func fillEffect(e []v1.Effect) []v1.Effect {
	fill(&e)
	return e
}
