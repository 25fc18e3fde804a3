package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// kindCommand is what the commands on one kind of documents share.
type kindCommand struct {
	name, plural string // as commands and paths have them
	sample       string // an id
	file         string // a file with such a document
	shared       bool   // there are also ones for all tenants
}

var (
	networkKind = kindCommand{"network", "networks", "ethereum_mainnet", "mainnet.json", true}
	monitorKind = kindCommand{"monitor", "monitors", "usdc", "usdc.json", false}
	triggerKind = kindCommand{"trigger", "triggers", "slack", "slack.json", false}
	scriptKind  = kindCommand{"script", "scripts", "filters/large.py", "filters/large.py", false}
)

// commands are those that every kind has.
func (k kindCommand) commands() []*cobra.Command {
	return []*cobra.Command{k.list(), k.get(), k.put("create"), k.put("apply"), k.delete()}
}

func newNetwork(*app) *cobra.Command {
	return group("network", "Work with networks, private and shared",
		"  ozmo network list --tenant acme\n  ozmo network apply --shared -f mainnet.json", networkKind.commands()...)
}

func newScript(*app) *cobra.Command {
	cmd := group("script", "Work with stored scripts",
		"  ozmo script apply filters/large.py --tenant acme -f filters/large.py\n  ozmo script list --tenant acme", scriptKind.commands()...)
	cmd.Long = `Monitors and triggers of the API refer to scripts that are stored with their tenant,
by the path under which they are stored. Its ending tells the language: .js, .py or
.sh.`
	return cmd
}

// kindReach is an apiReach of documents.
type kindReach struct {
	apiReach

	common bool // --shared
}

func (k kindCommand) register(cmd *cobra.Command) *kindReach {
	r := &kindReach{}
	r.register(cmd)
	if k.shared {
		cmd.Flags().BoolVar(&r.common, "shared", false, "those for all tenants, which operators look after")
	}
	return r
}

// owner is whose documents are meant.
func (r *kindReach) owner(cmd *cobra.Command) (string, error) {
	if r.common {
		if r.strength("tenant") == 2 {
			return "", usagef("--shared and --tenant: give one of them")
		}
		return client.Shared, nil
	}
	return r.tenant(cmd)
}

func whoseText(tenant string) string {
	if tenant == client.Shared {
		return "all tenants"
	}
	return "tenant " + tenant
}

func (k kindCommand) completeID(cmd *cobra.Command, r *kindReach) {
	completeAPI(cmd, &r.apiReach, func(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
		if r.common {
			tenant = client.Shared
		} else if tenant == client.Shared {
			return nil, nil
		}
		return k.ids(ctx, c, tenant)
	})
}

func (k kindCommand) ids(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
	list, err := c.Documents(ctx, tenant, k.plural)
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = d.ID
	}
	return out, err
}

// idsOf are the ids of a tenant's documents, and of the shared networks with them.
func idsOf(k kindCommand) apiNames {
	return func(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
		if tenant == client.Shared {
			return nil, nil // it is not known
		}
		out, err := k.ids(ctx, c, tenant)
		if err == nil && k.shared {
			var more []string
			more, err = k.ids(ctx, c, client.Shared)
			out = append(out, more...)
		}
		return out, err
	}
}

func (k kindCommand) list() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Show the " + k.plural + " of a tenant", Args: cobra.NoArgs,
		Long:    "Show the " + k.plural + " of a tenant: ids and names.",
		Example: fmt.Sprintf("  ozmo %s list --tenant acme\n  ozmo %s list --tenant acme --output json | jq -r '.[].id'", k.name, k.name),
	}
	r := k.register(cmd)
	if k.shared {
		cmd.Long = "Show the networks of a tenant, or with --shared, those for all tenants."
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		tenant, err := r.owner(cmd)
		if err != nil {
			return err
		}
		list, err := askAPI(cmd.Context(), &r.apiReach, func(ctx context.Context, c *client.Client) ([]v1.Listed, error) {
			return c.Documents(ctx, tenant, k.plural)
		})
		if err != nil {
			return missing(err, "%s", ofOwner(tenant))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		if len(list) == 0 {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "there are no %s of %s\n", k.plural, whoseText(tenant))
			return err
		}
		t := newTable("ID", "NAME")
		for _, d := range list {
			t.AppendRow(table.Row{clean(d.ID), or(clean(d.Name))})
		}
		writeTable(cmd.OutOrStdout(), t)
		return nil
	}
	return cmd
}

func (k kindCommand) get() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get ID", Short: "Print a " + k.name, Args: exactArgs("ID"),
		Long: "Print a " + k.name + " as it is in force. In the place of a secret is what keeps it when the\ndocument is applied again.",
		Example: fmt.Sprintf("  ozmo %s get %s --tenant acme > %s", k.name, k.sample, path.Base(k.file)) +
			fmt.Sprintf("\n  ozmo %s get %s --tenant acme --output json", k.name, k.sample),
	}
	r := k.register(cmd)
	formats := []string{"json"}
	if k == scriptKind {
		formats = []string{"text", "json"}
		cmd.Long = "Print a script, or, as JSON, with its language."
	}
	output := addOutput(cmd, formats...)
	k.completeID(cmd, r)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := r.owner(cmd)
		if err != nil {
			return err
		}
		doc, err := askAPI(cmd.Context(), &r.apiReach, func(ctx context.Context, c *client.Client) (json.RawMessage, error) {
			return c.Document(ctx, tenant, k.plural, args[0])
		})
		if err != nil {
			return missing(err, "%s %q of %s", k.name, args[0], ofOwner(tenant))
		}
		if output.value == "text" {
			var s client.Script
			if err := json.Unmarshal(doc, &s); err != nil {
				return err
			}
			_, err := io.WriteString(cmd.OutOrStdout(), s.Content)
			return err
		}
		return writeJSON(cmd.OutOrStdout(), doc)
	}
	return cmd
}

func (k kindCommand) put(verb string) *cobra.Command {
	var file string
	short, isNew := "Create or replace a "+k.name, false
	if verb == "create" {
		short, isNew = "Create a "+k.name+", if there is none of that id", true
	}
	ids := map[kindCommand]string{
		networkKind: "Its id is its slug.",
		monitorKind: "Its id is the argument; without one, it is the tenant's monitor of the same name, or a\nnew one whose id is the name.",
		triggerKind: "The file holds the trigger alone, as `ozmo trigger get` prints it, or by its id, as in a\nfolder: {\"slack\": {...}}. Its id is the argument, else the one in the file; without\neither, it is the tenant's trigger of the same name, or a new one whose id is the name.",
		scriptKind:  "ID is the path by which documents refer to it; its ending tells the language. The file\nis the script itself, or the JSON of `ozmo script get --output json`.",
	}[k]
	cmd := &cobra.Command{
		Use: verb + " [ID] -f FILE", Short: short, Args: cobra.MaximumNArgs(1),
		Long:    short + ", from a file, or from standard input with -f -.\n" + ids + "\n\nReferences to the environment and to files are resolved on this machine.",
		Example: fmt.Sprintf("  ozmo %s %s %s --tenant acme -f %s", k.name, verb, k.sample, k.file),
	}
	if k.shared {
		cmd.Example += fmt.Sprintf("\n  ozmo %s %s --shared -f %s", k.name, verb, k.file)
	}
	if k == scriptKind {
		cmd.Long = short + ", from a file, or from standard input with -f -.\n" + ids
		cmd.Use, cmd.Args = verb+" ID -f FILE", exactArgs("ID")
	}
	r := k.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` with the "+k.name+", or - for standard input")
	if err := cmd.MarkFlagFilename("file"); err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	output := addOutput(cmd, "text", "json")
	k.completeID(cmd, r)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if file == "" {
			return usagef("%s needs a file: -f FILE, or -f - for standard input", cmd.CommandPath())
		}
		tenant, err := r.owner(cmd)
		if err != nil {
			return err
		}
		id := ""
		if len(args) > 0 {
			id = args[0]
		}
		given, warned, err := k.read(cmd, file, id)
		if err != nil {
			return err
		}
		if id == "" {
			if id, err = k.known(cmd.Context(), r, tenant, given); err != nil {
				return err
			}
		}
		w, err := askAPI(cmd.Context(), &r.apiReach, func(ctx context.Context, c *client.Client) (v1.Written, error) {
			return c.PutDocument(ctx, tenant, k.plural, id, given.doc, isNew)
		})
		if isNew && client.Changed(err) {
			return fmt.Errorf("%s %q of %s is there already: `ozmo %s apply` replaces it", k.name, id, ofOwner(tenant), k.name)
		}
		if client.NotFound(err) {
			return missing(err, "%s", ofOwner(tenant))
		}
		if err != nil {
			return fmt.Errorf("%s %q of %s: %w", k.name, id, ofOwner(tenant), err)
		}
		return k.written(cmd, output.value, tenant, w, warned, isNew)
	}
	return cmd
}

// written tells what a change has come to.
func (k kindCommand) written(cmd *cobra.Command, format, tenant string, w v1.Written, warned spec.Problems, isNew bool) error {
	if format == "json" {
		return writeJSON(cmd.OutOrStdout(), w)
	}
	for _, p := range once(warned.Warnings()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: %s\n", clean(p.String()))
	}
	for _, p := range untold(w.Warnings, warned.Warnings()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "ozmo: %s\n", warningText(p))
	}
	done := "is as it was"
	switch {
	case isNew:
		done = "is created"
	case w.Changed:
		done = "is applied"
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s of %s %s: version %d%s\n", k.name, clean(w.ID), whoseText(tenant), done, w.Version, effectText(w.Changed, w.Effect))
	return err
}

// effectText says from where on a change holds.
func effectText(changed bool, effect []v1.Effect) string {
	if !changed || len(effect) == 0 {
		return ""
	}
	parts := make([]string, len(effect))
	for i, e := range effect {
		parts[i] = fmt.Sprintf("%s from position %d", e.Network, e.Position)
		if e.Height > 0 {
			parts[i] = fmt.Sprintf("%s from block %d (position %d)", e.Network, e.Height, e.Position)
		}
	}
	return ", on " + strings.Join(parts, ", on ")
}

func (k kindCommand) delete() *cobra.Command {
	var confirm deletion
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a " + k.name, Args: exactArgs("ID"),
		Long: "Delete a " + k.name + ". It is refused while another document refers to it. `ozmo tenant restore`\n" +
			"brings it back, as long as the version before is kept.",
		Example: fmt.Sprintf("  ozmo %s delete %s --tenant acme", k.name, k.sample),
	}
	r := k.register(cmd)
	if k.shared {
		cmd.Long += " Shared ones have no versions."
		cmd.Example += fmt.Sprintf("\n  ozmo %s delete %s --shared --yes", k.name, k.sample)
	}
	confirm.register(cmd, false)
	if k.shared {
		cmd.Flags().Lookup("yes").Usage = "go on without being asked; with --shared, required where there is no terminal"
	}
	output := addOutput(cmd, "text", "json")
	k.completeID(cmd, r)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := r.owner(cmd)
		if err != nil {
			return err
		}
		confirm.lasting = tenant == client.Shared
		if err := confirm.agree(cmd, fmt.Sprintf("The %s %q of %s will be deleted.", k.name, args[0], ofOwner(tenant))); err != nil {
			return err
		}
		w, err := askAPI(cmd.Context(), &r.apiReach, func(ctx context.Context, c *client.Client) (v1.Written, error) {
			return c.DeleteDocument(ctx, tenant, k.plural, args[0])
		})
		if client.NotFound(err) {
			return missing(err, "%s %q of %s", k.name, args[0], ofOwner(tenant))
		}
		if err != nil {
			return fmt.Errorf("%s %q of %s: %w", k.name, args[0], ofOwner(tenant), err)
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), w)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s of %s is deleted: version %d%s\n", k.name, clean(args[0]), whoseText(tenant), w.Version, effectText(w.Changed, w.Effect))
		return err
	}
	return cmd
}
