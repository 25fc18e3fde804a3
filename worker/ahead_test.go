package worker

import (
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// What is compiled ahead is used for the version it is of, and for no other: of two
// changes with an announcement between them, that is judged with the first.
func TestCompiledAhead(t *testing.T) {
	r := newRig(t)
	r.setShared("net", 1)
	change := func(address int) fsm.Hash {
		t.Helper()
		d := simple()
		w := d.monitors["m"]
		w.address = address
		d.monitors["m"] = w
		r.setTenant("acme", d)
		doc, ok := mustTenant(t, r.state.View(), "acme").Current.Manifest.Find(fsm.DocMonitor, "m")
		if !ok {
			t.Fatal("no monitor")
		}
		return doc.Hash
	}
	announce := func() fsm.Entry {
		t.Helper()
		r.extend("net", 1)
		n, _ := r.state.View().Network("net")
		return n.Entries[len(n.Entries)-1]
	}
	change(0)
	begun := announce()
	b, err := openBook(r.state.View(), "net", cohort, begun.Index, begun.Position, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	b.changed = func(time.Time) { told++ }
	inForce := func(e fsm.Entry) fsm.Hash {
		t.Helper()
		if _, err := b.advance(r.state.View(), e.Index, e.Position); err != nil {
			t.Fatal(err)
		}
		return b.tenants["acme"].monitors[occasion{monitor: "m"}].doc.Hash
	}
	b.prepare(r.state.View())
	if told != 0 || len(b.ahead.ready) != 0 {
		t.Fatalf("%d told, %d ready, and nothing has changed", told, len(b.ahead.ready))
	}

	first := change(1)
	b.prepare(r.state.View())
	key := monitorOf{"acme", "m"}
	if r := b.ahead.ready[key]; told != 1 || r == nil || r.hash != first {
		t.Fatalf("%d told, ready %+v", told, b.ahead.ready)
	}
	b.prepare(r.state.View())
	between := announce()
	second := change(2)
	b.prepare(r.state.View())
	if r := b.ahead.ready[key]; told != 2 || r.hash != second || len(b.ahead.ready) != 1 {
		t.Fatalf("%d told, ready %+v", told, b.ahead.ready)
	}
	if got := inForce(between); got != first {
		t.Errorf("the announcement between the changes is judged with %v, want %v", got.Short(), first.Short())
	}
	if r := b.ahead.ready[key]; r == nil || r.hash != second {
		t.Errorf("what comes into force next is not ready any more: %+v", b.ahead.ready)
	}
	prepared := b.ahead.ready[key].compiled
	if got := inForce(announce()); got != second || len(b.ahead.ready) != 0 {
		t.Errorf("judged with %v, want %v; ready %+v", got.Short(), second.Short(), b.ahead.ready)
	}
	if m := b.engines[1].(*evmEngine).about; m[prepared.(*evm.Monitor)] == nil {
		t.Error("what was compiled ahead is not what judges")
	}
	if told != 2 {
		t.Errorf("%d told", told)
	}

	// What was not seen before it came into force is told then.
	third := change(3)
	if got := inForce(announce()); got != third || told != 3 {
		t.Errorf("judged with %v, want %v; %d told", got.Short(), third.Short(), told)
	}
	r.deleteTenant("acme")
	b.prepare(r.state.View())
	if len(b.ahead.ready) != 0 || told != 3 {
		t.Errorf("%d told, ready %+v", told, b.ahead.ready)
	}
}
