package outbox

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

// One look at an outbox of 50 000 entries of 500 tenants, half of them another
// node's, with nothing due.
func BenchmarkScan(b *testing.B) {
	const entries, tenants = 50_000, 500
	r := &rig{t: b, state: fsm.New()}
	r.register("c")
	r.register("d")
	for i := range tenants {
		name := fmt.Sprintf("tenant-%d", i)
		r.configure(name, 0, "hook")
		if i%2 == 1 {
			r.move(name, "d", true)
		}
	}
	cohort, _ := r.state.View().Cohort("c")
	later := time.Now().Add(time.Hour).UnixMilli()
	for i := 0; i < entries; i += 1000 {
		c := &fsm.Progress{Cohort: "c", Epoch: cohort.Epoch, Network: "tenant-0/net"}
		for n := range 1000 {
			c.Outbox = append(c.Outbox, fsm.Outgoing{
				Key: fmt.Sprintf("%032x", (i+n)*7919), Tenant: fmt.Sprintf("tenant-%d", (i+n)%tenants), Trigger: "hook", At: 1, Attempts: 1, NotBefore: later,
			})
		}
		if _, err := r.apply(c); err != nil {
			b.Fatal(err)
		}
	}
	o := New(Options{Node: "c", Log: r, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	for b.Loop() {
		if wait := o.scan(time.Now()); wait != idle {
			b.Fatalf("something is due in %v", wait)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
}
