package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newKey(*app) *cobra.Command {
	cmd := group("key", "Make and delete keys of the API",
		"  ozmo key create --operator --name ci\n  ozmo key create acme --role owner\n  ozmo key list acme\n  ozmo key delete acme 4ksj2pq7xw3a",
		newKeyCreate(), newKeyList(), newKeyGet(), newKeyDelete())
	cmd.Long = `Who asks the API of a node's HTTP port sends a key: 'Authorization: Bearer KEY'.
A key is of one tenant, with a role, or of an operator, who may everything. The
first one is made here; owners of a tenant and operators make others over the API.`
	return cmd
}

// keyOwner says whose keys a command is about.
type keyOwner struct{ operator bool }

func (w *keyOwner) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.operator, "operator", false, "operators' keys, instead of a tenant's")
}

// args takes the tenant off the arguments, unless it is about operators.
func (w *keyOwner) args(r *apiReach, cmd *cobra.Command, args []string, others ...string) (tenant string, rest []string, err error) {
	if !w.operator && (r.broken != nil || len(args) == len(others)+1 || len(args) == len(others) && r.knownTenant() != "") {
		return r.takeTenant(cmd, args, others...)
	}
	names := others
	if !w.operator {
		names = append([]string{"TENANT"}, others...)
	}
	if err := exactArgs(names...)(cmd, args); err != nil {
		if !w.operator && len(args) == len(others) {
			return "", nil, usagef("%s: whose keys? Name the TENANT first, or give --operator", cmd.CommandPath())
		}
		return "", nil, err
	}
	if w.operator {
		return "", args, nil
	}
	return args[0], args[1:], nil
}

func newKeyCreate() *cobra.Command {
	var node apiReach
	var of keyOwner
	var name string
	var valid time.Duration
	role := newChoice("viewer", "viewer", "member", "admin", "owner")
	cmd := &cobra.Command{
		Use:   "create [TENANT | --operator]",
		Short: "Make a key, and show it this once",
		Long: `Make a key, and show it this once: the cluster keeps only what is needed to know
it again. A viewer reads; a member also writes monitors and triggers; an admin also
networks and secrets; an owner also keys.`,
		Example: `  ozmo key create --operator --name provisioning --valid 24h
  ozmo key create acme --role member --name ci
  KEY=$(ozmo key create acme --role owner)`,
		Args: cobra.ArbitraryArgs,
	}
	node.register(cmd)
	of.register(cmd)
	f := cmd.Flags()
	f.Var(role, "role", "of a tenant's key: "+role.list())
	f.StringVar(&name, "name", "", "for people, to tell keys apart")
	f.DurationVar(&valid, "valid", 0, "how long it serves (default: until it is deleted)")
	completeChoice(cmd, "role", role)
	output := addOutput(cmd, "text", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, _, err := of.args(&node, cmd, args)
		switch {
		case err != nil:
			return err
		case valid < 0:
			return usagef("--valid %v: want more than nothing, like 720h", valid)
		case of.operator && cmd.Flags().Changed("role"):
			return usagef("--role is of a tenant's key: an operator's may everything")
		}
		request := v1.KeyRequest{Role: role.value, Name: name}
		if valid > 0 {
			request.Expires = time.Now().Add(valid)
		}
		k, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (v1.NewKey, error) {
			return c.CreateKey(ctx, tenant, request)
		})
		if err != nil {
			return missing(err, "%s", keyOwnerText(tenant))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), k)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "key %s (%s) of %s; it cannot be shown again:\n", k.ID, k.Role, keysOf(tenant))
		_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Text)
		return err
	}
	return cmd
}

func keysOf(tenant string) string {
	if tenant == "" {
		return "operators"
	}
	return "tenant " + tenant
}

func keyOwnerText(tenant string) string {
	if tenant == "" {
		return "operators"
	}
	return tenantText(tenant)
}

func newKeyList() *cobra.Command {
	var node apiReach
	var of keyOwner
	cmd := &cobra.Command{
		Use:     "list [TENANT | --operator]",
		Short:   "Show which keys there are",
		Long:    "Show which keys there are, with their roles. What their bearers send is not kept.",
		Example: "  ozmo key list acme\n  ozmo key list --operator --output json",
		Args:    cobra.ArbitraryArgs,
	}
	node.register(cmd)
	of.register(cmd)
	output := addOutput(cmd, "table", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, _, err := of.args(&node, cmd, args)
		if err != nil {
			return err
		}
		list, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) ([]v1.Key, error) { return c.Keys(ctx, tenant) })
		if err != nil {
			return missing(err, "%s", keyOwnerText(tenant))
		}
		fill(&list)
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		return showKeys(cmd.OutOrStdout(), tenant, list)
	}
	return cmd
}

func newKeyGet() *cobra.Command {
	var node apiReach
	var of keyOwner
	cmd := &cobra.Command{
		Use:     "get [TENANT | --operator] ID",
		Short:   "Show one key",
		Long:    "Show one key, by its id. What its bearer sends is not kept.",
		Example: "  ozmo key get acme 4ksj2pq7xw3a",
		Args:    cobra.ArbitraryArgs,
	}
	node.register(cmd)
	of.register(cmd)
	output := addOutput(cmd, "table", "json")
	of.completeID(cmd, &node)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, rest, err := of.args(&node, cmd, args, "ID")
		if err != nil {
			return err
		}
		list, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) ([]v1.Key, error) { return c.Keys(ctx, tenant) })
		if err != nil {
			return missing(err, "%s", keyOwnerText(tenant))
		}
		i := slices.IndexFunc(list, func(k v1.Key) bool { return k.ID == rest[0] })
		if i < 0 {
			return fmt.Errorf("key %q of %s: not found", rest[0], keyOwnerText(tenant))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list[i])
		}
		return showKeys(cmd.OutOrStdout(), tenant, list[i:i+1])
	}
	return cmd
}

// completeID lets shells complete [TENANT] ID, or with --operator, ID.
func (w *keyOwner) completeID(cmd *cobra.Command, r *apiReach) {
	names := func(ctx context.Context, c *client.Client, tenant string) (out []string, err error) {
		list, err := c.Keys(ctx, tenant)
		for _, k := range list {
			out = append(out, k.ID)
		}
		return out, err
	}
	completeAPI(cmd, r, func(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
		switch {
		case w.operator:
			return names(ctx, c, "")
		case tenant == "":
			return tenantNames(ctx, c, "")
		}
		return names(ctx, c, tenant)
	}, func(ctx context.Context, c *client.Client, tenant string) ([]string, error) {
		if w.operator || tenant == "" {
			return nil, nil // there is no second argument
		}
		return names(ctx, c, tenant)
	})
}

func showKeys(w io.Writer, tenant string, list []v1.Key) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "there are no keys of %s\n", keysOf(tenant))
		return err
	}
	t := newTable("ID", "ROLE", "NAME", "CREATED", "BY", "EXPIRES")
	for _, k := range list {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.UTC().Format(time.DateTime + " MST")
		}
		if k.Expired {
			expires += " (over)"
		}
		t.AppendRow(table.Row{k.ID, k.Role, or(clean(k.Name)), k.Created.UTC().Format(time.DateTime + " MST"), clean(k.By), expires})
	}
	writeTable(w, t)
	return nil
}

func newKeyDelete() *cobra.Command {
	var node apiReach
	var of keyOwner
	var confirm deletion
	cmd := &cobra.Command{
		Use:     "delete [TENANT | --operator] ID",
		Short:   "Delete a key: who has it is refused from now on",
		Long:    "Delete a key by its id, which is the part of its text between the underscores: who\nhas it is refused from now on.",
		Example: "  ozmo key delete acme 4ksj2pq7xw3a\n  ozmo key delete --operator 4ksj2pq7xw3a --yes",
		Args:    cobra.ArbitraryArgs,
	}
	node.register(cmd)
	of.register(cmd)
	confirm.register(cmd, true)
	of.completeID(cmd, &node)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, rest, err := of.args(&node, cmd, args, "ID")
		if err != nil {
			return err
		}
		if err := confirm.agree(cmd, fmt.Sprintf("The key %q of %s will be deleted: who has it is refused from then on.", rest[0], keyOwnerText(tenant))); err != nil {
			return err
		}
		err = tellAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.DeleteKey(ctx, tenant, rest[0]) })
		if err != nil {
			return missing(err, "key %q of %s", rest[0], keyOwnerText(tenant))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "key %s of %s is deleted\n", rest[0], keysOf(tenant))
		return err
	}
	return cmd
}
