package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/worker/match"
	_ "github.com/ozmo-dev/ozmo/worker/match/evm" // compiles monitors of EVM networks
)

func newConfigCheck(*app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Check a configuration folder and name every mistake",
		Long: `Checks a configuration folder: networks/, monitors/ and triggers/ as OpenZeppelin
Monitor has them, or tenants/NAME/ with the same inside. Nothing is connected to
and nothing is sent.

Every problem of every file is shown, with its place and what is expected there.
Secrets are looked up, so that a variable which is not set is an error; monitors
are compiled, so that a misspelt argument in an expression is one too.

  error    the document cannot be used, or a monitor does not do what it says
  warning  it probably does not do what was meant; an error with --strict
  notice   something is kept but has no effect here`,
		Example: `  ozmo config check ./config
  ozmo config check ./config --strict
  ozmo config check ./config --output json | jq '.problems[] | select(.severity == "error")'`,
		Args: exactArgs("DIR"),
	}
	strict := cmd.Flags().Bool("strict", false, "warnings count as errors")
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := checkConfig(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), c)
		} else {
			err = c.writeText(cmd.OutOrStdout())
		}
		if err != nil {
			return err
		}
		if c.Errors > 0 || *strict && c.Warnings > 0 {
			return errFindings
		}
		return nil
	}
	return cmd
}

// exactArgs wants the arguments that are named.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s needs %s, got %s", cmd.CommandPath(), strings.Join(names, " "), count(len(args), "argument"))
		}
		return nil
	}
}

// configCheck is the outcome of checking a folder.
type configCheck struct {
	Tenants  int           `json:"tenants"`
	Networks int           `json:"networks"`
	Monitors int           `json:"monitors"`
	Triggers int           `json:"triggers"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Notices  int           `json:"notices"`
	Problems spec.Problems `json:"problems"`
}

// checkConfig checks the folder dir. The error is about the folder itself.
func checkConfig(ctx context.Context, dir string) (*configCheck, error) {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder %s does not exist", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder: give the folder that holds networks/, monitors/ and triggers/", dir)
	}
	resolver, err := secrets.NewResolver(dir, nil)
	if err != nil {
		return nil, err
	}
	defer resolver.Close()
	fsys := os.DirFS(dir)
	tree, problems := spec.ReadTree(fsys, spec.WithResolver(ctx, resolver), spec.WithTime(time.Now()))
	refused := refusedMonitors(fsys, tree, problems)
	problems = slices.Concat(problems, match.CheckTree(tree), match.CheckTree(refused))
	slices.SortStableFunc(problems, func(a, b spec.Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(rank(a.Severity), rank(b.Severity)))
	})
	c := &configCheck{
		Tenants: len(tree.Tenants),
		Errors:  len(problems.Errors()), Warnings: len(problems.Warnings()), Notices: len(problems.Notices()),
		Problems: problems,
	}
	if problems == nil {
		c.Problems = spec.Problems{} // [] in JSON
	}
	c.countDocuments(tree)
	return c, nil
}

// refusedMonitors are the monitors that were left out of a tree because of what
// they refer to. Their conditions can be checked all the same, so that one run
// shows everything.
func refusedMonitors(fsys fs.FS, tree *spec.Tree, problems spec.Problems) *spec.Tree {
	out := &spec.Tree{Networks: tree.Networks, Tenants: make(map[string]*spec.Folder)}
	done := make(map[string]bool)
	for name, f := range tree.Tenants {
		out.Tenants[name] = &spec.Folder{Networks: f.Networks, Monitors: make(map[string]*spec.Monitor), Files: make(map[string]string)}
		for _, file := range f.Files {
			done[file] = true
		}
	}
	for _, p := range problems.Errors() {
		tenant, folder := spec.DefaultTenant, path.Dir(p.File)
		if rest, ok := strings.CutPrefix(folder, "tenants/"); ok {
			tenant, folder = path.Split(rest)
			tenant = strings.TrimSuffix(tenant, "/")
		}
		f := out.Tenants[tenant]
		if folder != "monitors" || f == nil || done[p.File] {
			continue
		}
		done[p.File] = true
		data, err := fs.ReadFile(fsys, p.File)
		if err != nil {
			continue // reported
		}
		if m, _ := spec.ParseMonitor(data); m != nil {
			f.Monitors[p.File] = m
			f.Files[spec.DocKey(spec.KindMonitor, p.File)] = p.File
		}
	}
	return out
}

func rank(s spec.Severity) int {
	return slices.Index([]spec.Severity{spec.SeverityError, spec.SeverityWarning, spec.SeverityNotice}, s)
}

// countDocuments counts the documents that were accepted and those that an
// error has refused.
func (c *configCheck) countDocuments(tree *spec.Tree) {
	accepted := make(map[string]bool) // files, for triggers with the id
	note := func(files map[string]string) {
		for key, file := range files {
			if id, ok := strings.CutPrefix(key, string(spec.KindTrigger)+"/"); ok {
				file += "#" + id
			}
			accepted[file] = true
		}
	}
	c.Networks = len(tree.Networks)
	note(tree.Files)
	for _, f := range tree.Tenants {
		c.Networks += len(f.Networks)
		c.Monitors += len(f.Monitors)
		c.Triggers += len(f.Triggers)
		note(f.Files)
	}
	for _, p := range c.Problems.Errors() {
		parts := strings.Split(p.File, "/")
		if !strings.EqualFold(path.Ext(p.File), ".json") || len(parts) < 2 {
			continue
		}
		file, folder := p.File, parts[len(parts)-2]
		if folder == "triggers" {
			id := firstKey(p.Path)
			if id == "" {
				continue // the file itself cannot be read: nobody knows what is in it
			}
			file += "#" + id
		}
		if accepted[file] {
			continue
		}
		accepted[file] = true
		switch folder {
		case "networks":
			c.Networks++
		case "monitors":
			c.Monitors++
		case "triggers":
			c.Triggers++
		}
	}
}

// firstKey is the first key of a JSON path: a in a.b, a b in ["a b"].c.
func firstKey(path string) string {
	if rest, ok := strings.CutPrefix(path, `["`); ok {
		key, _, _ := strings.Cut(rest, `"]`)
		return key
	}
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

// writeProblems writes problems under their files, in whose order they are.
func writeProblems(b *strings.Builder, problems spec.Problems) {
	for i, p := range problems {
		if i == 0 || p.File != problems[i-1].File {
			fmt.Fprintln(b, cmp.Or(clean(p.File), "(folder)"))
		}
		place := clean(p.Path)
		if place != "" {
			place += ": "
		}
		fmt.Fprintf(b, "  %-8s %s%s\n", p.Severity, place, clean(p.Message))
	}
}

// writeText writes the problems under their files, and a summary.
func (c *configCheck) writeText(w io.Writer) error {
	var b strings.Builder
	if writeProblems(&b, c.Problems); b.Len() > 0 {
		b.WriteByte('\n')
	}
	if c.Tenants > 1 {
		b.WriteString(count(c.Tenants, "tenant") + ", ")
	}
	fmt.Fprintf(&b, "%s, %s, %s: %s, %s, %s\n",
		count(c.Networks, "network"), count(c.Monitors, "monitor"), count(c.Triggers, "trigger"),
		count(c.Errors, "error"), count(c.Warnings, "warning"), count(c.Notices, "notice"))
	_, err := io.WriteString(w, b.String())
	return err
}
