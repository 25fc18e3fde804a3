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
		b, steps := r.planned(pl, 2, 3, func(b *book) { b.engines[2] = sluggish{b.engines[2], "greedy", time.Minute} })
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
