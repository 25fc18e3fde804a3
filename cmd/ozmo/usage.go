package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

// usageOrders are what tenants may be sorted by, as the command and the API call it.
var usageOrders = map[string]string{
	"evaluation": "evaluation_ms", "rpc": "rpc_calls", "blocks": "blocks", "matches": "matches", "sent": "notifications_sent",
	"failed": "notifications_failed", "held": "notifications_held", "bytes": "bytes_delivered",
}

type usageFlags struct {
	since, until string
	limit        int
}

// read reads the flags; now is what they are told from.
func (f *usageFlags) read(now time.Time) (from, to time.Time, err error) {
	var wrong mistakes
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"since", f.since, &from}, {"until", f.until, &to}} {
		at, err := readTime(t.text, now)
		if err != nil {
			wrong.addf("--%s %q: %s", t.name, t.text, err)
		}
		*t.to = at
	}
	if f.limit < 1 {
		wrong.addf("--limit %d: want at least 1", f.limit)
	}
	return from, to, wrong.err()
}

func newUsage(*app) *cobra.Command {
	var node apiReach
	var flags usageFlags
	by := newChoice("hour", "hour", "day")
	order := newChoice("evaluation", "evaluation", "rpc", "blocks", "matches", "sent", "failed", "held", "bytes")
	cmd := &cobra.Command{
		Use:   "usage [TENANT]",
		Short: "Show what tenants have caused: calls, evaluation, notifications, bytes",
		Long: `Show what a tenant has caused, by hour or day; without one, of the context neither,
those that have caused most. Every node is asked for what happened there: it is kept
for 92 days, and is lost with the node's disk.

  RPC         calls to endpoints: all of its private networks, and its part of shared
              ones, which all that want a network bear alike
  BLOCKS      announcements that were judged for it
  EVALUATION  time that judging took of it
  SENT        notifications that were accepted
  FAILED      attempts that were not
  HELD        notifications that had to wait for the quota
  BYTES       sent with attempts`,
		Example: `  ozmo usage
  ozmo usage --sort rpc --since 7d --limit 10
  ozmo usage acme --since 30d --by day
  ozmo usage acme --output json | jq .total`,
		Args: cobra.MaximumNArgs(1),
	}
	node.register(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.since, "since", "", "from this `TIME` on: 2h or 3d ago, or like 2026-03-01T12:00:00Z (default: 24h)")
	f.StringVar(&flags.until, "until", "", "up to this `TIME` (default: now)")
	f.Var(by, "by", "of one tenant: "+by.list())
	f.Var(order, "sort", "of all tenants, those first with most of: "+order.list())
	f.IntVar(&flags.limit, "limit", 20, "how many tenants to show at most")
	completeChoice(cmd, "by", by)
	completeChoice(cmd, "sort", order)
	output := addOutput(cmd, "table", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if tenant := node.knownTenant(); len(args) == 0 && tenant != "" {
			args = []string{tenant}
		}
		from, to, err := flags.read(time.Now())
		switch {
		case err != nil:
			return usageError{err}
		case len(args) == 1 && (f.Changed("sort") || f.Changed("limit")):
			return usagef("--sort and --limit are of all tenants: leave out %s, or them", args[0])
		case len(args) == 0 && f.Changed("by"):
			return usagef("--by is of one tenant: name it, or leave --by out")
		case len(args) == 1:
			return showUsage(cmd, &node, args[0], from, to, by.value, output.value)
		}
		p, err := askAPI(cmd.Context(), &node, func(ctx context.Context, c *client.Client) (v1.UsagePage, error) {
			return c.TopUsage(ctx, from, to, usageOrders[order.value], flags.limit)
		})
		if err != nil {
			return err
		}
		fill(&p.Items)
		fill(&p.Silent)
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), p)
		} else {
			writeTopUsage(cmd.OutOrStdout(), &p)
		}
		if err != nil {
			return err
		}
		return silentNodes(p.Silent)
	}
	return cmd
}

func showUsage(cmd *cobra.Command, node *apiReach, tenant string, from, to time.Time, by, output string) error {
	u, err := askAPI(cmd.Context(), node, func(ctx context.Context, c *client.Client) (v1.TenantUsage, error) {
		return c.Usage(ctx, tenant, from, to, by)
	})
	if err != nil {
		return missing(err, "%s", tenantText(tenant))
	}
	fill(&u.Items)
	if output == "json" {
		err = writeJSON(cmd.OutOrStdout(), u)
	} else {
		writeUsage(cmd.OutOrStdout(), &u, time.Now())
	}
	if err != nil {
		return err
	}
	return silentNodes(u.Silent)
}

// silentNodes is the finding that some of it may be missing.
func silentNodes(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("what happened on %s is missing: no answer", strings.Join(names, ", "))
}

var consumptionHeaders = []string{"RPC", "BLOCKS", "EVALUATION", "MATCHES", "SENT", "FAILED", "HELD", "BYTES"}

func consumptionRow(c v1.Consumption) table.Row {
	evaluation := time.Duration(c.Evaluation * float64(time.Millisecond))
	return table.Row{
		strconv.FormatFloat(c.RPCCalls, 'f', 1, 64), c.Blocks, evaluation.Round(evaluation / 1000).String(), c.Matches, c.Sent, c.Failed, c.Held,
		byteCount(c.BytesDelivered),
	}
}

// byteCount is a number of bytes for people.
func byteCount(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10)
	}
	x, unit := float64(n)/1024, 0
	for ; x >= 1024; unit++ {
		x /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", x, units[unit])
}

func periodText(from, to time.Time) string {
	return fmt.Sprintf("%s to %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
}

func writeTopUsage(w io.Writer, p *v1.UsagePage) {
	fmt.Fprintln(w, periodText(p.From, p.To))
	if len(p.Items) == 0 {
		fmt.Fprintln(w, "no tenant has caused anything")
		return
	}
	t := newTable(append([]string{"TENANT"}, consumptionHeaders...)...)
	for _, one := range p.Items {
		t.AppendRow(append(table.Row{clean(one.Tenant)}, consumptionRow(one.Consumption)...))
	}
	writeTable(w, t)
	if p.Next != "" {
		fmt.Fprintln(w, "there are more: give a greater --limit")
	}
}

func writeUsage(w io.Writer, u *v1.TenantUsage, now time.Time) {
	fmt.Fprintf(w, "tenant %s, %s\n", clean(u.Tenant), periodText(u.From, u.To))
	if len(u.Items) == 0 {
		fmt.Fprintln(w, "it has caused nothing")
	} else {
		form, name := "2006-01-02 15:04", "HOUR (UTC)"
		if u.By == "day" {
			form, name = time.DateOnly, "DAY (UTC)"
		}
		t := newTable(append([]string{name}, consumptionHeaders...)...)
		for _, p := range u.Items {
			t.AppendRow(append(table.Row{p.At.UTC().Format(form)}, consumptionRow(p.Consumption)...))
		}
		t.AppendRow(append(table.Row{"in all"}, consumptionRow(u.Total)...))
		writeTable(w, t)
	}
	fmt.Fprintf(w, "stored now: %s of documents, %s waiting to be delivered, %s of dead letters\n",
		byteCount(uint64(max(u.Stored.Documents, 0))), byteCount(uint64(max(u.Stored.Outbox, 0))), byteCount(uint64(max(u.Stored.DeadLetters, 0))))
	for _, q := range []struct {
		what, per string
		now       *v1.RateNow
	}{{"notifications", "an hour", u.Notifications}, {"calls to private networks", "a minute", u.RPC}} {
		if q.now == nil {
			continue
		}
		fmt.Fprintf(w, "quota: %d %s %s, %d left now", q.now.Limit, q.what, q.per, q.now.Left)
		if q.now.Again.After(now) {
			fmt.Fprintf(w, ", the next in %s", ago(q.now.Again.Sub(now)))
		}
		fmt.Fprintln(w)
	}
	if u.Missing > 0 && len(u.Silent) == 0 {
		fmt.Fprintf(w, "what happened on %s is missing: no answer\n", count(u.Missing, "node"))
	}
}
