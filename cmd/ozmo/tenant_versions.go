package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/client/files"
)

func newTenantVersions() *cobra.Command {
	var r apiReach
	cmd := &cobra.Command{
		Use: "versions [TENANT]", Short: "Show the versions of a tenant's documents",
		Long: `Show the versions of a tenant's documents that are kept, the newest first, which is
in force: when each was made, by whom and by what change, as far as the audit log
goes back, and how many documents it has. ` + "`ozmo tenant restore`" + ` puts one in force
again.`,
		Example: `  ozmo tenant versions acme
  ozmo tenant versions acme --output json | jq '.[0].number'`,
	}
	tenantArgument(cmd, &r)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := r.named(cmd, args)
		if err != nil {
			return err
		}
		list, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) ([]v1.ConfigurationVersion, error) {
			return c.Versions(ctx, tenant)
		})
		if err != nil {
			return missing(err, "%s", tenantText(tenant))
		}
		if output.value == "json" {
			return writeJSON(cmd.OutOrStdout(), list)
		}
		writeVersions(cmd.OutOrStdout(), list)
		return nil
	}
	return cmd
}

func writeVersions(w io.Writer, list []v1.ConfigurationVersion) {
	t := newTable("VERSION", "MADE", "BY", "CHANGE", "NETWORKS", "MONITORS", "TRIGGERS", "SCRIPTS")
	for _, v := range list {
		change := v.Action
		if v.Object != "" {
			change += " " + v.Object
		}
		t.AppendRow(table.Row{
			v.Number, v.At.UTC().Format(time.DateTime + " MST"), or(clean(v.Actor)), or(clean(change)),
			v.Networks, v.Monitors, v.Triggers, v.Scripts,
		})
	}
	writeTable(w, t)
}

// restoring is the flags of `ozmo tenant restore`.
type restoring struct {
	apiReach

	number  uint64
	dryRun  bool
	confirm confirmation
	output  *choice
}

func newTenantRestore() *cobra.Command {
	var o restoring
	cmd := &cobra.Command{
		Use: "restore TENANT --version N", Short: "Put an earlier version of a tenant's documents in force again",
		Long: `Put the documents of an earlier version in force again, all together, as a new
version. What would change is shown first, and asked about. It is refused if they do
not hold together any more: a shared network that they refer to may have gone.
Secrets that are stored keep their values of now.

` + "`ozmo tenant versions`" + ` shows which versions are kept. Restoring the one before undoes a
change, also a restore.`,
		Example: `  ozmo tenant restore acme --version 6 --dry-run
  ozmo tenant restore acme --version 6 --yes`,
		Args: exactArgs("TENANT"),
	}
	o.registerWay(cmd)
	f := cmd.Flags()
	f.Uint64Var(&o.number, "version", 0, "`NUMBER` of the version")
	f.BoolVar(&o.dryRun, "dry-run", false, "have everything checked and show what would change, and change nothing")
	o.confirm.register(cmd)
	o.output = addOutput(cmd, "text", "json")
	completeAPI(cmd, &o.apiReach, tenantNames)
	err := cmd.RegisterFlagCompletionFunc("version", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return o.words(cmd, versionNumbers, args[0])
	})
	if err != nil {
		panic(err) // the flag is not defined: a mistake in the program
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.number == 0 {
			return usagef("which version? Give --version N; `ozmo tenant versions %s` shows which are kept", args[0])
		}
		if !o.dryRun {
			if err := o.confirm.check(cmd, cmd.InOrStdin()); err != nil {
				return err
			}
		}
		return o.run(cmd, args[0])
	}
	return cmd
}

func versionNumbers(ctx context.Context, c *client.Client, tenant string) (out []string, err error) {
	list, err := c.Versions(ctx, tenant)
	for _, v := range list {
		out = append(out, strconv.FormatUint(v.Number, 10)+"\t"+v.At.UTC().Format(time.DateTime+" MST"))
	}
	return out, err
}

func (o *restoring) run(cmd *cobra.Command, tenant string) error {
	differences, tag, err := o.compare(cmd.Context(), tenant)
	if err != nil {
		return err
	}
	planned, err := o.restore(cmd.Context(), tenant, tag, differences, true)
	if err != nil {
		return err
	}
	if o.dryRun || !planned.Changed {
		planned.DryRun = o.dryRun
		return o.show(cmd.OutOrStdout(), planned)
	}
	if !o.confirm.yes {
		planned.write(cmd.ErrOrStderr(), false)
		if err := o.confirm.ask(cmd, fmt.Sprintf("Version %d of %s will be in force again, as version %d.", o.number, tenantText(tenant), planned.Version)); err != nil {
			return err
		}
	}
	done, err := o.restore(cmd.Context(), tenant, tag, differences, false)
	if err != nil {
		return err
	}
	return o.show(cmd.OutOrStdout(), done)
}

// compare tells how the version differs from what is in force, which has the tag.
func (o *restoring) compare(ctx context.Context, tenant string) (differences []files.Difference, tag string, err error) {
	type both struct {
		old, now client.Configuration
		tag      string
	}
	got, err := askAPI(ctx, &o.apiReach, func(ctx context.Context, c *client.Client) (b both, err error) {
		if b.now, b.tag, err = c.Configuration(ctx, tenant); err != nil {
			return b, missing(err, "%s", tenantText(tenant))
		}
		b.old, err = c.Version(ctx, tenant, o.number)
		return b, o.explain(err, tenant)
	})
	if err != nil {
		return nil, "", err
	}
	old, err := files.Parse(got.old)
	if err != nil {
		return nil, "", err
	}
	now, err := files.Parse(got.now)
	if err != nil {
		return nil, "", err
	}
	differences, err = files.Compare(old, now, true)
	return differences, got.tag, err
}

func (o *restoring) restore(ctx context.Context, tenant, tag string, differences []files.Difference, dryRun bool) (*appliedTenant, error) {
	done, err := askAPI(ctx, &o.apiReach, func(ctx context.Context, c *client.Client) (client.Applied, error) {
		return c.RestoreVersion(ctx, tenant, o.number, dryRun, tag)
	})
	if client.Changed(err) {
		return nil, fmt.Errorf("%s has changed since it was looked at, and nothing was restored: look again with --dry-run, and restore again", tenantText(tenant))
	}
	if err != nil {
		return nil, o.explain(err, tenant)
	}
	r := &appliedTenant{
		Tenant: tenant, Version: done.Version, Changed: done.Changed, DryRun: dryRun, Changes: told(done.Changes, differences),
		Unchanged: done.Unchanged, Effect: fillEffect(done.Effect), Warnings: done.Warnings,
	}
	fill(&r.Warnings)
	return r, nil
}

func (o *restoring) explain(err error, tenant string) error {
	if client.NotFound(err) {
		return fmt.Errorf("%w: `ozmo tenant versions %s` shows which are kept", missing(err, "version %d of %s", o.number, tenantText(tenant)), tenant)
	}
	return err
}

func (o *restoring) show(w io.Writer, r *appliedTenant) error {
	if o.output.value == "json" {
		return writeJSON(w, r)
	}
	r.write(w, false)
	return nil
}
