package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

// tenantArgument is a command on one tenant, which is its argument or that of the
// context.
func tenantArgument(cmd *cobra.Command, r *apiReach) {
	r.registerWay(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	completeAPI(cmd, r, tenantNames)
}

func (r *apiReach) named(cmd *cobra.Command, args []string) (string, error) {
	if len(args) > 0 || r.broken != nil {
		return strings.Join(args, ""), r.broken
	}
	if t := r.knownTenant(); t != "" {
		return t, nil
	}
	return "", exactArgs("TENANT")(cmd, args)
}

func newTenantCreate(verb string) *cobra.Command {
	var r apiReach
	short := "Make a tenant"
	long := "Make a tenant without documents. It comes from the API: the folder of `ozmo serve`\ncannot have one of the name. It is an error if there is one."
	if verb == "apply" {
		short = "Make a tenant, if there is none of the name"
		long = "Make a tenant without documents, if there is none of the name. `ozmo apply -f` gives\nit documents."
	}
	cmd := &cobra.Command{
		Use: verb + " TENANT", Short: short, Long: long, Args: exactArgs("TENANT"),
		Example: "  ozmo tenant " + verb + " acme",
	}
	r.registerWay(cmd)
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !spec.IsTenantName(args[0]) {
			return usagef("TENANT %q: want 1 to 63 lower-case letters, digits, underscores or hyphens", args[0])
		}
		created := false
		t, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) (t v1.Tenant, err error) {
			t, created, err = c.CreateTenant(ctx, args[0])
			return t, err
		})
		if err != nil {
			return missing(err, "%s", tenantText(args[0]))
		}
		if !created && verb == "create" {
			return fmt.Errorf("tenant %s is there already, with %s", t.ID, count(t.Monitors, "monitor"))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), t)
		}
		done := "is made"
		if !created {
			done = "is there already"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "tenant %s %s\n", t.ID, done)
		return err
	}
	return cmd
}

func newTenantGet() *cobra.Command {
	var r apiReach
	cmd := &cobra.Command{
		Use: "get [TENANT]", Short: "Show a tenant in short",
		Long:    "Show a tenant in short: what it has, and when that was last changed. `ozmo export`\nprints its documents.",
		Example: "  ozmo tenant get acme\n  ozmo tenant get acme --output json",
	}
	tenantArgument(cmd, &r)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := r.named(cmd, args)
		if err != nil {
			return err
		}
		t, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) (v1.Tenant, error) { return c.Tenant(ctx, tenant) })
		if err != nil {
			return missing(err, "%s", tenantText(tenant))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), t)
		}
		w := newTable("TENANT", "SOURCE", "VERSION", "CHANGED", "NETWORKS", "MONITORS", "TRIGGERS", "SCRIPTS")
		w.AppendRow(table.Row{t.ID, t.Source, t.Version, t.Changed.UTC().Format(time.DateTime + " MST"), t.Networks, t.Monitors, t.Triggers, t.Scripts})
		writeTable(cmd.OutOrStdout(), w)
		return nil
	}
	return cmd
}

func newTenantDelete() *cobra.Command {
	var r apiReach
	var confirm deletion
	cmd := &cobra.Command{
		Use: "delete TENANT", Short: "Delete a tenant with all it has",
		Long: `Delete a tenant with all it has: documents, secrets, keys. What is still to be
delivered becomes dead letters. A tenant of the folder is taken out of there instead.`,
		Example: "  ozmo tenant delete acme\n  ozmo tenant delete acme --yes",
	}
	tenantArgument(cmd, &r)
	cmd.Args = exactArgs("TENANT") // what a context says is not enough
	confirm.register(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := confirm.check(cmd, cmd.InOrStdin()); err != nil {
			return err
		}
		t, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) (v1.Tenant, error) { return c.Tenant(ctx, args[0]) })
		if err != nil {
			return missing(err, "%s", tenantText(args[0]))
		}
		err = confirm.agree(cmd, fmt.Sprintf("Tenant %s with %s, %s and its secrets and keys will be deleted for good.", t.ID, count(t.Monitors, "monitor"), count(t.Triggers, "trigger")))
		if err != nil {
			return err
		}
		if err := tellAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) error { return c.DeleteTenant(ctx, args[0]) }); err != nil {
			return missing(err, "%s", tenantText(args[0]))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "tenant %s is deleted\n", args[0])
		return err
	}
	return cmd
}

func newTenantImport() *cobra.Command {
	var o applying
	var rules files.Import
	cmd := &cobra.Command{
		Use:   "import DIR",
		Short: "Take over an OpenZeppelin Monitor configuration, unchanged",
		Long: `Take over the configuration directory of OpenZeppelin Monitor 1.6, unchanged, or
what Defender has exported in its format: networks/, monitors/, triggers/ and the
scripts that they name, in DIR or in DIR/config. They are added to what the tenant
has; an operator's import makes the tenant where there is none.

All that is in the way is shown at once, and then nothing is changed: two documents
of one name, in the folder or with the tenant; scripts that are not there; secrets
that this machine does not have, and how to give them (the environment, --env-file
.env, a file); references to a vault; and all that ` + "`ozmo config check`" + ` finds.

Networks become the tenant's own. Where a shared network has the slug and the chain
of one, --use-shared-networks uses that.`,
		Example: `  ozmo tenant import ./openzeppelin-monitor --tenant acme --env-file ./openzeppelin-monitor/.env --dry-run
  ozmo tenant import ./config --tenant acme --use-shared-networks`,
		Args: exactArgs("DIR"),
	}
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "have everything checked and show what would change, and change nothing")
	f.BoolVar(&rules.UseShared, "use-shared-networks", false, "use shared networks in place of those of the same slug and chain")
	f.BoolVar(&rules.Replace, "replace", false, "replace documents that the tenant has under the same id")
	o.env.register(cmd)
	o.output = addOutput(cmd, "text", "json")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := o.tenant(cmd)
		if err != nil {
			return err
		}
		return o.importFolder(cmd, args[0], tenant, rules)
	}
	return cmd
}

func (o *applying) importFolder(cmd *cobra.Command, dir, tenant string, rules files.Import) error {
	ctx := cmd.Context()
	c, err := o.client()
	if err != nil {
		return err
	}
	env, err := o.env.lookup()
	if err != nil {
		return err
	}
	shared, err := sharedNetworks(ctx, c)
	if err != nil {
		return err
	}
	f, err := files.Open(ctx, dir, files.Options{Env: env, Shared: shared})
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Many {
		return fmt.Errorf("%s has tenants/ in it: `ozmo apply -f %s` takes all of them over; an import is of one tenant", dir, dir)
	}
	docs, problems, err := f.Tenant(ctx, tenant)
	if err != nil && problems.Err() == nil {
		return err
	}
	there, err := configurationOf(ctx, c, tenant)
	if err != nil && !client.NotFound(err) {
		return err
	}
	present, err := files.Parse(there)
	if err != nil {
		return err
	}
	docs.Align(present)
	more, err := rules.Check(docs, present, shared)
	if err != nil {
		return err
	}
	problems = append(problems, more...)
	if problems.Err() != nil {
		return o.showProblems(cmd, problems, f.Missing(problems))
	}
	if o.output.value == "text" {
		if err := writeFindings(cmd, "text", once(problems), nil); err != nil {
			return err
		}
	}
	b := &bulk{c: c, dryRun: o.dryRun, notices: true, jobs: []job{{tenant: tenant, read: func(context.Context) (*files.Documents, spec.Problems, error) { return docs, problems, nil }}}}
	r := b.one(ctx, &b.jobs[0])
	if o.output.value == "json" {
		err = writeJSON(cmd.OutOrStdout(), r)
	} else {
		r.write(cmd.OutOrStdout(), false)
	}
	if r.Error != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "ozmo: nothing was changed")
		return errFindings
	}
	if err == nil && o.output.value == "text" && !o.dryRun {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s imported from %s\n", tenant, count(docs.Count(), "document"), strings.TrimSuffix(f.Dir, "/"))
	}
	return err
}
