package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// quotaNames are the limits of a tenant as v1.Limits calls them, with what they bound.
var quotaNames = []struct{ name, what string }{
	{"monitors", "monitors"},
	{"networks", "private networks"},
	{"triggers", "triggers"},
	{"triggers_per_monitor", "triggers of one monitor"},
	{"scripts", "stored scripts"},
	{"bytes", "bytes of documents and contract specifications"},
	{"backtest_blocks", "blocks of one backtest"},
	{"rpc_per_minute", "calls a minute to private networks"},
	{"notifications_per_hour", "notifications an hour"},
	{"evaluation_ms_per_block", "milliseconds of evaluation a block"},
}

func newTenantQuota() *cobra.Command {
	return group("quota", "See and set what a tenant may have",
		"  ozmo tenant quota get acme\n  ozmo tenant quota set acme monitors=20000 notifications_per_hour=3600",
		newTenantQuotaGet(), newTenantQuotaSet())
}

func newTenantQuotaGet() *cobra.Command {
	var r apiReach
	cmd := &cobra.Command{
		Use: "get [TENANT]", Short: "Show what a tenant may have, and has",
		Long: `Show what a tenant may have at most, and what it has of that now. SET tells which
limits are this tenant's own; the others are the default.`,
		Example: "  ozmo tenant quota get acme\n  ozmo tenant quota get acme --output json | jq .limits.monitors",
	}
	tenantArgument(cmd, &r)
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant, err := r.named(cmd, args)
		if err != nil {
			return err
		}
		q, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) (v1.Quota, error) {
			q, _, err := c.Quota(ctx, tenant)
			return q, err
		})
		if err != nil {
			return missing(err, "%s", tenantText(tenant))
		}
		return showQuota(cmd.OutOrStdout(), output, q)
	}
	return cmd
}

func newTenantQuotaSet() *cobra.Command {
	var r apiReach
	cmd := &cobra.Command{
		Use: "set TENANT NAME=VALUE...", Short: "Set what a tenant may have",
		Long: `Set limits of a tenant; those that are not named stay as they are. NAME=default takes
an own limit back. What a tenant has already stays where a limit is lowered. This is
for operators. The names:

` + quotaHelp(),
		Example: "  ozmo tenant quota set acme monitors=20000 notifications_per_hour=3600\n  ozmo tenant quota set acme monitors=default",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s needs TENANT NAME=VALUE..., got %s", cmd.CommandPath(), count(len(args), "argument"))
			}
			return nil
		},
	}
	r.registerWay(cmd)
	output := addOutput(cmd, "table", "json")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
		if len(args) == 0 {
			return r.words(cmd, tenantNames, "")
		}
		for _, n := range quotaNames {
			words = append(words, n.name+"=\t"+n.what)
		}
		return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wanted, err := readQuota(args[1:])
		if err != nil {
			return err
		}
		q, err := askAPI(cmd.Context(), &r, func(ctx context.Context, c *client.Client) (v1.Quota, error) {
			now, tag, err := c.Quota(ctx, args[0])
			if err != nil {
				return now, err
			}
			own := limitsOf(now.Own)
			maps.Copy(own, wanted)
			return c.SetQuota(ctx, args[0], tag, wantedLimits(own))
		})
		if client.Changed(err) {
			return fmt.Errorf("the quota of %s was set by somebody else meanwhile, and nothing was changed: look, and set it again", tenantText(args[0]))
		}
		if err != nil {
			return missing(err, "%s", tenantText(args[0]))
		}
		return showQuota(cmd.OutOrStdout(), output, q)
	}
	return cmd
}

func quotaHelp() string {
	var b strings.Builder
	for _, n := range quotaNames {
		fmt.Fprintf(&b, "  %-24s %s\n", n.name, n.what)
	}
	return strings.TrimRight(b.String(), "\n")
}

// readQuota reads NAME=VALUE, where 0 is the default. It names all that is wrong.
func readQuota(args []string) (wanted map[string]int64, err error) {
	wanted = map[string]int64{}
	var wrong []string
	for _, arg := range args {
		name, text, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(text, 10, 64)
		_, twice := wanted[name]
		switch {
		case quotaText(name) == "":
			wrong = append(wrong, fmt.Sprintf("%q: there is no limit of that name", name))
		case twice:
			wrong = append(wrong, name+" is given twice")
		case text == "default":
			wanted[name] = 0
		case err != nil || n < 1:
			wrong = append(wrong, fmt.Sprintf("%s: want %s=NUMBER, of 1 or more, or %s=default", arg, name, name))
		default:
			wanted[name] = n
		}
	}
	if len(wrong) > 0 {
		return nil, usagef("%s\nThe names are:\n%s", strings.Join(wrong, "\n"), quotaHelp())
	}
	return wanted, nil
}

func quotaText(name string) string {
	for _, n := range quotaNames {
		if n.name == name {
			return n.what
		}
	}
	return ""
}

// limitsOf are those of v1.Limits, v1.WantedLimits or v1.Usage that are there, by name.
func limitsOf(limits any) (out map[string]int64) {
	body, err := json.Marshal(limits)
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		panic(err) // these are plain numbers
	}
	return out
}

func wantedLimits(own map[string]int64) (out v1.WantedLimits) {
	body, err := json.Marshal(own)
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		panic(err) // these are plain numbers
	}
	return out
}

func showQuota(w io.Writer, output *choice, q v1.Quota) error {
	if output.value == "json" {
		return writeJSON(w, q)
	}
	limits, own, used := limitsOf(q.Limits), limitsOf(q.Own), limitsOf(q.Used)
	t := newTable("LIMIT", "AT MOST", "USED", "SET", "OF")
	for _, n := range quotaNames {
		row := table.Row{n.name, "no bound", "-", "-", n.what}
		if most, ok := limits[n.name]; ok {
			row[1] = most
		}
		if has, ok := used[n.name]; ok {
			row[2] = has
		}
		if _, set := own[n.name]; set {
			row[3] = "own"
		}
		t.AppendRow(row)
	}
	writeTable(w, t)
	return nil
}
