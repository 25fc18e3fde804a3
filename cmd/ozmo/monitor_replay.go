package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
)

func newMonitorReplay() *cobra.Command {
	var node reach
	var q api.Replay
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Judge blocks of the past again, and deliver what was never delivered",
		Long: `Judges a range of blocks of the past with a tenant's monitor as it is now, and
says of every match whether it was delivered before, and how that is known.

Without --send nothing is written anywhere. With it, what was never delivered is
handed to the outbox, under the key that it would have had: a receiver that got
it after all can tell. Nothing is delivered twice: the heights are noted with the
deliveries, so that the same command can be run again after it was interrupted.

BEFORE is one of

  yes      it was delivered, or is in the outbox or among the dead letters
  no       it was not; --send delivers it
  pending  the block is announced and about to be judged: it comes by itself
  unknown  the configuration it was judged with is no longer kept, and a node's
           journal has forgotten that time or cannot be asked. It is not sent
           unless --include-unknown says so

A paused monitor can be replayed, if its network is watched for another one. The
range ends at the last block that the monitor judges by now, and has at most
100 000 blocks. With --output json the result is one object, with ndjson each
match is a line, and the summary the last one.

Exit status 1: with --send, something was held back as pending or unknown, or is
a dead letter, since the outbox did not take it.`,
		Example: `  # what did this monitor match, and was it delivered?
  ozmo monitor replay --tenant acme --monitor "Large transfers" --network ethereum_mainnet \
      --from 19000000 --to 19000100

  # deliver what never was: a monitor that was added late, or paused for a while
  ozmo monitor replay --tenant acme --monitor "Large transfers" --network ethereum_mainnet \
      --from 19000000 --to 19000100 --send

  # for another program
  ozmo monitor replay --tenant acme --monitor usdc --network base --from 1 --to 100 --output ndjson |
      jq -r 'select(.deliveries) | .transaction'`,
		Args: cobra.NoArgs,
	}
	node.register(cmd)
	f := cmd.Flags()
	f.StringVar(&q.Tenant, "tenant", "", "tenant, like \"default\"")
	f.StringVar(&q.Monitor, "monitor", "", "its monitor's `NAME`")
	f.StringVar(&q.Network, "network", "", "network, as the monitor calls it")
	f.Uint64Var(&q.From, "from", 0, "first block height")
	f.Uint64Var(&q.To, "to", 0, "last block height")
	f.BoolVar(&q.Send, "send", false, "deliver what was never delivered")
	f.BoolVar(&q.IncludeUnknown, "include-unknown", false, "deliver also what nobody knows of any more")
	output := addOutput(cmd, "table", "json", "ndjson")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		var wrong mistakes
		for _, name := range []string{"tenant", "monitor", "network", "from", "to"} {
			if !cmd.Flags().Changed(name) {
				wrong.addf("--%s is needed", name)
			}
		}
		if q.From > q.To {
			wrong.addf("--from %d lies above --to %d", q.From, q.To)
		}
		if q.IncludeUnknown && !q.Send {
			wrong.addf("--include-unknown is for --send")
		}
		if err := wrong.err(); err != nil {
			return usageError{err}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		p := replayPrinter{w: cmd.OutOrStdout(), format: output.value}
		bar := newProgress(cmd.ErrOrStderr(), "judging again")
		done, err := node.client().Replay(ctx, q, func(now api.Progress) { bar.set(now.Done, now.Total) }, p.match)
		bar.finish()
		if err == nil {
			err = p.finish(done)
		} else if ctx.Err() != nil && cmd.Context().Err() == nil {
			err = errInterrupted
		}
		if p.err != nil && err == nil {
			err = p.err
		}
		if err == nil && done.Send && done.HeldBack()+done.Dead > 0 {
			err = errFindings
		}
		return err
	}
	return cmd
}

// replayPrinter shows the matches of a replay.
type replayPrinter struct {
	w       io.Writer
	format  string
	matches []api.ReplayMatch
	err     error
}

func (p *replayPrinter) match(m api.ReplayMatch) {
	if p.format == "ndjson" {
		if err := writeJSONLine(p.w, m); err != nil && p.err == nil {
			p.err = err
		}
		return
	}
	p.matches = append(p.matches, m)
}

func (p *replayPrinter) finish(done *api.Replayed) error {
	switch p.format {
	case "ndjson":
		return writeJSONLine(p.w, done)
	case "json":
		if p.matches == nil {
			p.matches = []api.ReplayMatch{}
		}
		return writeJSON(p.w, struct {
			*api.Replayed
			Found []api.ReplayMatch `json:"found"`
		}{done, p.matches})
	}
	t := newTable("BLOCK", "TRANSACTION", "ALERT", "TRIGGER", "BEFORE", "HOW IT IS KNOWN")
	for _, m := range p.matches {
		for _, d := range m.Deliveries {
			how := d.How
			switch {
			case d.Sent:
				how += "; sent now"
			case d.Dead:
				how += "; a dead letter now"
			}
			t.AppendRow(table.Row{m.Height, clean(m.Transaction), m.Alert, clean(d.Trigger), d.Before, clean(how)})
		}
		if len(m.Deliveries) == 0 {
			t.AppendRow(table.Row{m.Height, clean(m.Transaction), m.Alert, "-", "-", "the monitor has no trigger"})
		}
	}
	if t.Length() > 0 {
		writeTable(p.w, t)
	}
	return p.summary(done)
}

func (p *replayPrinter) summary(done *api.Replayed) error {
	var b strings.Builder
	fmt.Fprintf(&b, "tenant %s, monitor %s on %s, blocks %s: %s in %s; of %s",
		done.Tenant, clean(done.Monitor), done.Key, heightsText(done.From, done.To), count(done.Matches, "match"), count(done.Blocks, "block"),
		count(done.Deliveries, "delivery"))
	fmt.Fprintf(&b, " %d delivered before, %d never, %d pending, %d unknown", done.Before, done.New, done.Pending, done.Unknown)
	switch {
	case done.Send:
		fmt.Fprintf(&b, "; %d handed to the outbox now", done.Sent)
		if done.Dead > 0 {
			fmt.Fprintf(&b, ", %d are dead letters: the outbox did not take them, see `ozmo delivery list --tenant %s --state dead`", done.Dead, done.Tenant)
		}
	case done.New > 0:
		b.WriteString("; nothing was sent: --send delivers those that never were")
	}
	b.WriteByte('\n')
	if len(done.Silent) > 0 {
		fmt.Fprintf(&b, "not all journals could be asked: %s\n", strings.Join(done.Silent, ", "))
	}
	if done.Unknown > 0 && !done.IncludeUnknown {
		b.WriteString("what is unknown is only sent with --send --include-unknown\n")
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}
