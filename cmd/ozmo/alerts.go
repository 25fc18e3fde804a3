package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
)

func newAlert(*app) *cobra.Command {
	cmd := group("alert", "Show alerts, and watch them come",
		"  ozmo alert list acme --since 2h\n  ozmo alert watch acme --monitor usdc",
		newAlertList(), newAlertWatch())
	cmd.Long = `Show a tenant's alerts with what became of them: fired, confirmed, retracted when
their block was rolled back, reinstated when it came back, replayed. They are kept
in the nodes' journals: the last 30 days, 1 000 000 a node.`
	return cmd
}

// alertFlags choose alerts.
type alertFlags struct {
	monitor, network, transaction string
	state                         *choice
}

const anyState = "any"

func (f *alertFlags) register(cmd *cobra.Command, node *apiReach) {
	f.state = newChoice(anyState, anyState, "fired", "confirmed", "retracted", "reinstated", "replayed")
	cmd.Flags().StringVar(&f.monitor, "monitor", "", "only of this monitor: id or name")
	cmd.Flags().StringVar(&f.network, "network", "", "only on this network")
	cmd.Flags().StringVar(&f.transaction, "transaction", "", "only of this transaction: `HASH`")
	cmd.Flags().Var(f.state, "state", "only in this state: "+f.state.list())
	completeChoice(cmd, "state", f.state)
	completeAPIFlag(cmd, "monitor", node, idsOf(monitorKind))
	completeAPIFlag(cmd, "network", node, idsOf(networkKind))
}

func (f *alertFlags) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"monitor": f.monitor, "network": f.network, "transaction": f.transaction, "state": f.state.value} {
		if value != "" && value != anyState {
			q.Set(name, value)
		}
	}
	return q
}

func newAlertList() *cobra.Command {
	var node apiReach
	var flags alertFlags
	var since, until string
	var limit int
	cmd := &cobra.Command{
		Use:   "list [TENANT]",
		Short: "Show a tenant's alerts, the newest first",
		Long: `Show a tenant's alerts, the newest first. Nodes that do not answer are named: what
only their journals have is missing.`,
		Example: `  ozmo alert list acme
  ozmo alert list acme --monitor usdc --state retracted --since 3d
  ozmo alert list acme --limit 0 --output json | jq -r '.[].transaction'`,
		Args: cobra.MaximumNArgs(1),
	}
	node.register(cmd)
	flags.register(cmd, &node)
	cmd.Flags().StringVar(&since, "since", "", "that fired since: how long ago, like 90m or 3d, or a `TIME` like 2026-03-01T12:00:00Z")
	cmd.Flags().StringVar(&until, "until", "", "that fired until then: the same")
	cmd.Flags().IntVar(&limit, "limit", 100, "show so `MANY`; 0: all")
	output := addOutput(cmd, "table", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var wrong mistakes
		q := flags.query()
		for name, text := range map[string]string{"since": since, "until": until} {
			at, err := readTime(text, time.Now())
			if err != nil {
				wrong.addf("--%s %q: %v", name, text, err)
			} else if !at.IsZero() {
				q.Set(name, at.UTC().Format(time.RFC3339Nano))
			}
		}
		if limit < 0 {
			wrong.addf("--limit %d: want 0, for all, or more", limit)
		}
		if err := wrong.err(); err != nil {
			return usageError{err}
		}
		tenant, _, err := node.takeTenant(cmd, args)
		if err != nil {
			return err
		}
		list, more, silent, err := listAlerts(cmd.Context(), &node, tenant, q, limit)
		if err != nil {
			return err
		}
		if output.value == "json" {
			err = writeJSON(cmd.OutOrStdout(), list)
		} else {
			err = writeAlerts(cmd.OutOrStdout(), list)
		}
		if more {
			fmt.Fprintf(cmd.ErrOrStderr(), "there are more than %d: --limit shows more, or choose by monitor, network, state or time\n", limit)
		}
		warnSilent(cmd, silent)
		return err
	}
	return cmd
}

const alertPage = 500 // alerts that are asked for at a time

// listAlerts asks for pages until there are enough.
func listAlerts(ctx context.Context, node *apiReach, tenant string, q url.Values, limit int) (list []api.Alert, more bool, silent []string, err error) {
	list = []api.Alert{}
	for {
		size := alertPage
		if limit > 0 {
			size = min(size, limit-len(list))
		}
		q.Set("limit", strconv.Itoa(size))
		p, err := askAPI(ctx, node, func(ctx context.Context, c *client.Client) (v1.AlertPage, error) { return c.Alerts(ctx, tenant, q) })
		if err != nil {
			return nil, false, nil, missing(err, "%s", tenantText(tenant))
		}
		list, silent = append(list, p.Items...), p.Silent
		if full := limit > 0 && len(list) >= limit; p.Next == "" || full {
			return list, p.Next != "", silent, nil
		}
		q.Set("cursor", p.Next)
	}
}

func writeAlerts(w io.Writer, list []api.Alert) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "there are no such alerts")
		return err
	}
	t := newTable("FIRED", "STATE", "MONITOR", "NETWORK", "BLOCK", "TRANSACTION")
	for _, a := range list {
		t.AppendRow(table.Row{a.FiredAt.UTC().Format(time.DateTime), a.State, clean(a.Monitor), a.Network, a.Block.Height, clean(a.Transaction)})
	}
	writeTable(w, t)
	return nil
}

// watchPause is how long after a break a stream is asked for again, growing from the
// first to the second.
const (
	watchPause     = time.Second
	longWatchPause = 15 * time.Second
)

func newAlertWatch() *cobra.Command {
	var node apiReach
	var flags alertFlags
	var last string
	cmd := &cobra.Command{
		Use:   "watch [TENANT]",
		Short: "Show a tenant's alerts as they change, until Ctrl-C",
		Long: `Show each change of a tenant's alerts as it happens, until Ctrl-C. When the
connection breaks, it is made again and goes on where it was: a change may come
twice then. What was missed is said.

With --output json, each change is a line: --after takes its "stream_id", and goes
on from there.`,
		Example: `  ozmo alert watch acme
  ozmo alert watch acme --monitor usdc --state fired --output json | jq -r .transaction`,
		Args: cobra.MaximumNArgs(1),
	}
	node.register(cmd)
	flags.register(cmd, &node)
	cmd.Flags().StringVar(&last, "after", "", "go on from this `ID`")
	output := addOutput(cmd, "text", "json")
	completeAPI(cmd, &node, tenantNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w := watch{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), json: output.value == "json", last: last}
		tenant, _, err := node.takeTenant(cmd, args)
		if err != nil {
			return err
		}
		c, err := node.client()
		if err != nil {
			return err
		}
		return w.run(cmd.Context(), c, tenant, flags.query())
	}
	return cmd
}

// watch shows what a stream tells.
type watch struct {
	out, err io.Writer
	json     bool
	last     string // id to go on from
	begun    bool
}

func (w *watch) run(ctx context.Context, c *client.Client, tenant string, q url.Values) error {
	for pause := watchPause; ; pause = min(2*pause, longWatchPause) {
		if w.last != "" {
			q.Set("last_event_id", w.last)
		}
		err := c.FollowAlerts(ctx, tenant, q, func(e client.AlertEvent) error {
			pause = watchPause
			return w.show(e)
		})
		refused, ok := errors.AsType[*client.Refusal](err)
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case errors.Is(err, client.ErrStreamEnded):
			w.begun = true
		case ok && errors.Is(refused, api.ErrUnavailable):
		case ok, !w.begun && w.last == "":
			return missing(err, "%s", tenantText(tenant))
		}
		fmt.Fprintf(w.err, "%v: connecting again\n", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (w *watch) show(e client.AlertEvent) error {
	w.last, w.begun = cmp.Or(e.ID, w.last), true
	switch e.Name {
	case "gap":
		var gap api.AlertGap
		if err := json.Unmarshal(e.Data, &gap); err != nil {
			return err
		}
		what := ""
		if gap.Missed > 0 {
			what = count(gap.Missed, "change") + " left out: "
		}
		if len(gap.Nodes) > 0 {
			what += strings.Join(gap.Nodes, ", ") + ": "
		}
		_, err := fmt.Fprintf(w.err, "%s%s\n", what, clean(gap.Reason))
		return err
	case "alert":
		var a api.AlertEvent
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return err
		}
		if w.json {
			return writeJSONLine(w.out, struct {
				StreamID string `json:"stream_id"`
				api.AlertEvent
			}{e.ID, a})
		}
		_, err := fmt.Fprintf(w.out, "%s  %-10s  %s  %s  block %d  %s\n",
			a.At.Local().Format(time.DateTime), a.State, clean(a.Monitor), a.Network, a.Block.Height, clean(a.Transaction))
		return err
	}
	return nil // of a newer version
}
