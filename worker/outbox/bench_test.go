package outbox

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// crowd fills the outbox with entries of dead receivers, spread over tenants, half
// of which are another node's.
func (r *rig) crowd(entries, tenants int) {
	r.register("c")
	r.register("d")
	r.configure("healthy", 0, "hook")
	for i := range tenants {
		name := fmt.Sprintf("tenant-%d", i)
		r.configure(name, 0, "hook")
		if i%2 == 1 {
			r.move(name, "d", true)
		}
	}
	later := time.Now().Add(time.Hour).UnixMilli()
	for i := 0; i < entries; i += 1000 {
		var list []fsm.Outgoing
		for n := range 1000 {
			list = append(list, fsm.Outgoing{
				Key: fmt.Sprintf("%032x", (i+n)*7919), Tenant: fmt.Sprintf("tenant-%d", (i+n)%tenants), Trigger: "hook", At: 1, Attempts: 1, NotBefore: later,
			})
		}
		r.put(list...)
	}
}

// put hands entries over as they are.
func (r *rig) put(list ...fsm.Outgoing) {
	r.t.Helper()
	c, _ := r.state.View().Cohort("c")
	n := ""
	for network := range r.state.View().Networks() {
		n = network.Key
	}
	if _, err := r.apply(&fsm.Progress{Cohort: "c", Epoch: c.Epoch, Network: n, Outbox: list}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) outbox() *Outbox {
	return New(Options{
		Node: "c", Log: r, Sender: r, Triggers: store.NewTriggers(plain{}), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
}

// What one delivery of a healthy receiver costs, from the look that finds it to the
// look that misses it, while others wait: none, and 100 000 of 100 or 10 000 dead
// receivers.
func BenchmarkHealthyAmongDead(b *testing.B) {
	for _, size := range []struct{ entries, tenants int }{{0, 1}, {100_000, 100}, {100_000, 10_000}} {
		b.Run(fmt.Sprintf("%d waiting of %d", size.entries, size.tenants), func(b *testing.B) {
			r := &rig{t: b, state: fsm.New()}
			r.crowd(size.entries, size.tenants)
			o := r.outbox()
			o.book.look(r.View, true)
			n := 0
			for b.Loop() {
				n++
				key := fmt.Sprintf("%032x", n)
				b.StopTimer()
				r.put(fsm.Outgoing{Key: key, Tenant: "healthy", Trigger: "hook", At: 1})
				b.StartTimer()
				o.book.look(r.View, false)
				e, l := o.book.pop(time.Now())
				if e == nil || e.Key != key {
					b.Fatalf("%+v is due, want the delivery of the healthy receiver", e)
				}
				o.book.release(l)
				b.StopTimer()
				if _, err := r.apply(&fsm.Settle{Settled: []fsm.Settled{{Tenant: "healthy", Key: key, Outcome: fsm.Sent}}}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				o.book.settled(r.View, id{"healthy", key})
				o.book.look(r.View, false)
			}
		})
	}
}

// The first look at an outbox, and one after all tenants may have moved.
func BenchmarkFirstLook(b *testing.B) {
	r := &rig{t: b, state: fsm.New()}
	r.crowd(100_000, 1000)
	o := r.outbox()
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			o = r.outbox()
			o.book.look(r.View, true)
		}
	})
	b.Run("moved", func(b *testing.B) {
		for b.Loop() {
			o.book.look(r.View, true)
		}
	})
}
