package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// apart gives a tenant a cohort of its own, as a slow one gets it.
func (r *rig) apart(tenant string) {
	r.t.Helper()
	r.must(&fsm.Move{Force: true, At: 1, Moves: []fsm.Moved{{
		Tenant: tenant, Cohort: mustTenant(r.t, r.state.View(), tenant).Cohort, To: node, Reason: fsm.ReasonLaggard,
	}}})
}

// passOver leaves out for a tenant what it has not judged.
func (r *rig) passOver(tenant string) {
	r.t.Helper()
	r.must(&fsm.PassOver{Tenant: tenant, Born: mustTenant(r.t, r.state.View(), tenant).Born, Network: "net", Least: 1, At: 1})
}

// wantCoverage compares what coverage says of a tenant's positions, in order.
func (r *rig) wantCoverage(tenant string, want ...fsm.CoverageStatus) {
	r.t.Helper()
	v := r.state.View()
	var got []fsm.CoverageStatus
	for _, row := range v.Coverage(mustTenant(r.t, v, tenant), "net", 0, 0) {
		for range row.ToPosition - row.FromPosition + 1 {
			got = append(got, row.Status)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("coverage of %s: %q, want %q", tenant, got, want)
	}
}

func times[T any](n int, v T) []T { return slices.Repeat([]T{v}, n) }

// What is left out for a tenant is neither fetched nor judged, and what follows is.
func TestPassesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("slow", simple())
		r.apart("slow")
		r.extend("net", 40)
		r.passOver("slow")
		for _, ref := range r.chain("net").branch[:39] { // the last is due with what follows
			r.hide(ref.Hash)
		}
		p := r.start(-1)
		pass(10 * time.Second)
		v := r.state.View()
		if c, _ := v.Cursor("net", mustTenant(t, v, "slow").Cohort); c.Position != 40 {
			t.Errorf("the slow tenant's cursor is at %d: it asks for blocks that are left out", c.Position)
		}
		if c, _ := v.Cursor("net", cohort); c.Position != 1 { // nothing is due with the first one
			t.Errorf("the others' cursor is at %d: they have judged what is not to be had", c.Position)
		}
		r.found()
		r.extend("net", 3)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 141)...)
		r.wantHeights("slow", "m", 139, 140, 141)
		r.wantCoverage("acme", times(43, fsm.Judged)...)
		r.wantCoverage("slow", append(times(40, fsm.Behind), times(3, fsm.Judged)...)...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What was told before is taken back, though the roll-back is among what is left out.
func TestPassesOverMeetsRollbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"))
		o.setTenant("beta", simple())
		o.apart("acme")
		pass(time.Second)
		o.add([]int{0}) // 2
		pass(time.Second)
		o.wantSaid(0, "hook", "fired@2 101")
		if err := o.p.stop(); err != nil {
			t.Error(err)
		}
		o.add([]int{1}) // 3: never told
		o.back(100)     // 4
		o.add([]int{2}) // 5
		o.passOver("acme")
		o.p = o.start(-1)
		o.drained("net")
		o.wantSaid(0, "hook", "fired@2 101", "retracted@4 101")
		o.wantSaid(1, "hook")
		o.wantSaid(2, "hook")
		o.add([]int{3}) // 6
		o.drained("net")
		o.wantSaid(3, "hook", "fired@6 102")
		o.wantCoverage("acme", fsm.Judged, fsm.Judged, fsm.Superseded, fsm.RolledBack, fsm.Behind, fsm.Judged)
		o.stop()
	})
}

// A tenant that waits for room in its outbox in the midst of a block waits no longer
// once the block is left out, and tells no more of it.
func TestPassesOverInTheMidst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.noisy("noisy", 30)
		gate := make(chan struct{})
		r.silent["loud"] = gate
		p := r.start(-1, withOutbox)
		for range 2 {
			r.crowdedBlock(200)
		}
		r.extend("net", 1)
		pass(30 * time.Second)
		v := r.state.View()
		apart := mustTenant(t, v, "noisy").Cohort
		own, _ := v.Cursor("net", apart)
		if apart == cohort || own.Position >= 2 || v.Box("noisy").Bytes < roomyBox {
			t.Fatalf("in cohort %s at position %d with %d bytes: it does not wait for room", apart, own.Position, v.Box("noisy").Bytes)
		}
		r.passOver("noisy")
		pass(5 * time.Second)
		v = r.state.View()
		if own, _ := v.Cursor("net", apart); own.Position != 3 {
			t.Errorf("its cursor is at %d, want 3", own.Position)
		}
		if v.DeadLen() != 0 {
			t.Errorf("%d dead letters of what was left out", v.DeadLen())
		}
		r.wantHeights("acme", "m", 100, 101)
		close(gate)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
