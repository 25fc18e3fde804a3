package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func listBacktests(w io.Writer, tenant string, list []v1.Backtest) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "there are no backtests of tenant %s\n", tenant)
		return err
	}
	t := newTable("ID", "STATE", "MONITOR", "NETWORK", "BLOCKS", "JUDGED", "MATCHES", "NEAR MISSES", "CREATED")
	for _, b := range list {
		t.AppendRow(table.Row{
			b.ID, b.State, monitorText(&b), clean(b.Network), heightsText(b.From, b.To), percent(b.Progress), b.Counts.Matches, b.Counts.NearMisses,
			b.Created.UTC().Format(time.DateTime + " MST"),
		})
	}
	writeTable(w, t)
	return nil
}

func monitorText(b *v1.Backtest) string {
	if b.Monitor == "" {
		return clean(b.Name) + " (draft)"
	}
	return clean(b.Monitor)
}

func percent(p v1.BacktestProgress) string {
	return fmt.Sprintf("%d%%", p.Done*100/max(p.Total, 1))
}

// showBacktest shows one with what it has found.
func showBacktest(w io.Writer, b *v1.BacktestDetail, format string) error {
	if format == "json" {
		return writeJSON(w, b)
	}
	if len(b.Matches) > 0 {
		t := newTable("BLOCK", "TRANSACTION", "MATCHED ON")
		for _, m := range b.Matches {
			lines := make([]string, len(m.On))
			for i, on := range m.On {
				lines[i] = clean(on)
			}
			t.AppendRow(table.Row{m.Height, clean(m.Transaction), strings.Join(lines, "\n")})
		}
		writeTable(w, t)
		if more := int(b.Counts.Matches) - len(b.Matches); more > 0 { //nolint:gosec // of 100 000 blocks
			fmt.Fprintf(w, "... and %s\n", count(more, "more match"))
		}
		fmt.Fprintln(w)
	}
	for _, m := range b.NearMisses {
		kind := "near miss"
		if m.Elsewhere {
			kind = "seen elsewhere"
		}
		fmt.Fprintf(w, "%s: block %d, transaction %s\n", kind, m.Height, clean(m.Transaction))
		for _, r := range m.Reasons {
			about := strings.TrimSuffix(clean(r.Path)+", "+clean(r.Signature), ", ")
			if about = strings.TrimPrefix(about, ", "); about != "" {
				about += ": "
			}
			fmt.Fprintf(w, "    %s%s\n", about, clean(r.Message))
			for _, v := range r.Values {
				fmt.Fprintf(w, "        %s\n", clean(v))
			}
		}
	}
	if len(b.NearMisses) > 0 {
		fmt.Fprintln(w)
	}
	_, err := io.WriteString(w, backtestSummary(b))
	return err
}

func backtestSummary(b *v1.BacktestDetail) string {
	var s strings.Builder
	fmt.Fprintf(&s, "backtest %s: monitor %s on %s, blocks %s: %s", b.ID, monitorText(&b.Backtest), clean(b.Network), heightsText(b.From, b.To), b.State)
	switch {
	case b.Error != "":
		fmt.Fprintf(&s, ": %s\n", clean(b.Error))
	case b.Ended.IsZero():
		fmt.Fprintf(&s, ", %s judged\n", percent(b.Progress))
	default:
		fmt.Fprintf(&s, " after %v\n", b.Ended.Sub(b.Created).Round(time.Millisecond))
	}
	fmt.Fprintf(&s, "found:      %s and %s of %s in %s\n", count(b.Counts.Matches, "match"), count(b.Counts.NearMisses, "near miss"),
		count(b.Counts.Candidates, "candidate"), count(b.Progress.Done, "block"))
	var by []string
	for _, t := range b.Notifications.ByTrigger {
		by = append(by, fmt.Sprintf("%s %d", clean(t.Trigger), t.Count))
	}
	list := "the monitor has no trigger"
	if len(by) > 0 {
		list = strings.Join(by, ", ")
	}
	fmt.Fprintf(&s, "would send: %s (%s)", count(b.Notifications.Total, "notification"), list)
	if b.Notifications.Filters > 0 {
		fmt.Fprintf(&s, ", or fewer: the monitor has %s, not run here, that may drop matches", count(b.Notifications.Filters, "script"))
	}
	fmt.Fprintf(&s, "\ntook:       %s to the chain for %s, %d from a cache; %v of judging", count(b.Cost.Calls, "call"),
		count(b.Cost.Fetched, "block"), b.Cost.Blocks-b.Cost.Fetched, time.Duration(b.Cost.JudgingMS*float64(time.Millisecond)).Round(time.Millisecond))
	if b.Progress.Restarts > 0 {
		fmt.Fprintf(&s, "; %s because the chain was reorganised", count(b.Progress.Restarts, "new beginning"))
	}
	s.WriteByte('\n')
	return s.String()
}
