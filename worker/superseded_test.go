package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// What was rolled back before it was judged is told with the step that it belongs
// to, though a slow tenant of that step keeps everybody waiting and what the
// others were told is recorded meanwhile.
func TestSupersededBesideASlowTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 2)
		mine := networkDoc("mine", 1)
		mine.Watch = "net"
		for _, id := range []string{"acme", "greedy"} {
			r.setTenant(id, tenantDoc{
				networks: map[string]*spec.Network{"mine": mine},
				monitors: map[string]watching{
					"m": {networks: []string{"net"}, triggers: []string{"hook"}},
					"n": {networks: []string{"mine"}, triggers: []string{"hook"}},
				},
				hooks: []string{"hook"},
			})
		}
		r.extend("net", 3) // at 3, 100 is due at depth 2, and 101 at depth 1
		r.announce("net", r.rollback("net", 2))
		pl := r.prepare(-1).pipeline("net")
		v := r.state.View()
		n, _ := v.Network("net")
		b, err := openBook(v, "net", cohort, n.Entries[1].Index, 2, pl.onPanic)
		if err != nil {
			t.Fatal(err)
		}
		b.engines[2] = sluggish{b.engines[2], "greedy", time.Minute}
		branch := n.Base.Step(n.Entries[0], 64).Step(n.Entries[1], 64)
		steps, _, err := plan(v, b, branch, n.Entries[2:3], n.Entries[3:], 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := pl.judgeAll(t.Context(), b, steps); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c, _ := r.state.View().Cursor("net", cohort)
		if want := []fsm.Span{{From: 3, To: 3}}; c.Position != 3 || !slices.Equal(c.Superseded, want) {
			t.Errorf("the cursor is at %d, superseded %v; want 3, %v", c.Position, c.Superseded, want)
		}
	})
}
