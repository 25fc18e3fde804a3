package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestReorganisation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 2)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 10) // 100-109; up to 107 due
		r.drained("net")
		old := slices.Clone(r.chain("net").branch)
		r.announce("net", r.rollback("net", 5)) // to 104: 105-107 were judged in vain
		r.extend("net", 7)                      // 105'-111'
		r.drained("net")
		r.wantHeights("acme", "m", slices.Concat(span(100, 105), []uint64{105, 106, 106, 107, 107, 108, 109})...)
		if got := r.repeated(); got != nil {
			t.Errorf("keys sent twice: %v", got)
		}
		// The old branch comes back: its blocks are judged again, their alerts known.
		r.announce("net", r.rollback("net", 7))
		c := r.chain("net")
		for i, ref := range old[5:] {
			r.announce("net", fsm.Entry{Kind: fsm.Extend, Ref: ref, Parent: old[4+i].Hash})
			c.branch = append(c.branch, ref)
		}
		before := len(r.deliveries())
		r.drained("net")
		if got := len(r.deliveries()) - before; got != 0 {
			t.Errorf("%d alerts of blocks that were judged before are sent again", got)
		}
		r.extend("net", 3)
		r.drained("net")
		if got := len(r.deliveries()) - before; got != 3 { // 108, 109 and the first new one
			t.Errorf("%d alerts after the old branch came back, want 3", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 6)                      // 100-105 at positions 1-6
		r.announce("net", r.rollback("net", 3)) // 7: to 102
		r.extend("net", 4)                      // 103'-106' at 8-11
		p := r.start(-1)                        // all of it is known when judging begins
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 105)...)
		for _, s := range r.deliveries() {
			if s.Block.Height > 102 && s.Position < 8 {
				t.Errorf("block %d was judged at position %d, which was known to be rolled back", s.Block.Height, s.Position)
			}
		}
		c, _ := r.state.View().Cursor("net", cohort)
		// Positions 5 and 6 made 103 and 104 due.
		if want := []fsm.Span{{From: 5, To: 6}}; !slices.Equal(c.Superseded, want) {
			t.Errorf("superseded %v, want %v", c.Superseded, want)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitsForABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 8)
		late := r.chain("net").branch[4]
		r.hide(late.Hash)
		p := r.start(-1)
		pass(3 * time.Hour)
		if got := r.cursor("net"); got != 5 { // 104 is due at position 6
			t.Errorf("the cursor is at %d, want 5: what was sent before the missing block is to be recorded", got)
		}
		r.wantHeights("acme", "m", span(100, 103)...)
		if p.metric("ozmo_worker_stalled") != 1 {
			t.Error("the stall is not shown")
		}
		r.found()
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 106)...)
		if p.metric("ozmo_worker_stalled") != 0 || p.metric("ozmo_worker_restarts_total") != 0 {
			t.Error("the stall is still shown, or judging began anew")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRolledBackWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 8)
		r.hide(r.chain("net").branch[4].Hash) // for good
		p := r.start(-1)
		pass(time.Minute)
		r.announce("net", r.rollback("net", 5)) // to 102
		r.extend("net", 3)
		r.drained("net")
		// 103 was judged in vain, as were 105 and 106, which had not to be waited for.
		if got := slices.Compact(r.heights("acme", "m")); !slices.Equal(got, span(100, 106)) {
			t.Errorf("told of %v, want 100-106", got)
		}
		for _, s := range r.deliveries() {
			if s.Block.Height == 104 && s.Block != r.chain("net").branch[4] {
				t.Error("told of the block that was not to be had")
			}
		}
		c, _ := r.state.View().Cursor("net", cohort)
		if !slices.ContainsFunc(c.Superseded, func(s fsm.Span) bool { return s.From <= 6 && 6 <= s.To }) {
			t.Errorf("superseded %v, want position 6 among them", c.Superseded)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
