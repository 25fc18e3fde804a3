package consensus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// BenchmarkFollowerApply measures how much later than the leader a follower
// shows a command that nothing follows: three servers over TCP, with files.
func BenchmarkFollowerApply(b *testing.B) {
	for _, c := range []struct {
		name  string
		quiet bool
	}{{"with-empty-entry", false}, {"without", true}} {
		b.Run(c.name, func(b *testing.B) {
			all := newSite(b).group("a", "b", "c")
			lead := leader(b, all)
			for _, m := range all {
				m.quiet = c.quiet
			}
			var lags []time.Duration
			n := 0
			for b.Loop() {
				n++
				entry, err := fsm.Encode(put(fmt.Sprint("fact", n)))
				if err != nil {
					b.Fatal(err)
				}
				index, _, err := lead.append(b.Context(), entry)
				if err != nil {
					b.Fatal(err)
				}
				committed := time.Now()
				for _, m := range others(all, lead) {
					if err := m.answers.reach(b.Context(), index); err != nil {
						b.Fatal(err)
					}
					lags = append(lags, time.Since(committed))
				}
				<-time.After(5 * time.Millisecond)
			}
			slices.Sort(lags)
			at := func(q float64) float64 {
				return float64(lags[int(q*float64(len(lags)-1))]) / float64(time.Millisecond)
			}
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
		})
	}
}

// BenchmarkPropose measures one proposer that waits for every answer, on the
// leader and on a follower.
func BenchmarkPropose(b *testing.B) {
	for _, where := range []string{"leader", "follower"} {
		b.Run(where, func(b *testing.B) {
			all := newSite(b).group("a", "b", "c")
			m := leader(b, all)
			if where == "follower" {
				m = others(all, m)[0]
			}
			n := 0
			for b.Loop() {
				n++
				if _, err := m.Propose(b.Context(), put(fmt.Sprint("fact", n))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
