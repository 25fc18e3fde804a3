package worker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// pair is a fleet of two nodes with one tenant on the first, whose matches go to
// the receivers given.
func pair(t *testing.T, triggers ...string) *fleet {
	f := newFleet(t, 2)
	f.setShared("net", 1)
	d := simple()
	d.hooks = triggers
	d.monitors["m"] = watching{networks: []string{"net"}, triggers: triggers}
	f.configure("acme", d, 0)
	f.move("node-1", false, "acme")
	f.extend("net", 1)
	synctest.Wait()
	return f
}

func (f *fleet) owner(tenant string) string {
	v := f.state.View()
	return v.Owner(mustTenant(f.t, v, tenant))
}

// finish lets everything end and looks for what was told twice.
func (f *fleet) finish(want ...uint64) {
	f.t.Helper()
	f.calm()
	pass(10 * time.Minute)
	f.wantHeights("acme", "m", want...)
	if got := f.repeated(); got != nil {
		f.t.Errorf("sent twice: %v", got)
	}
	if got := f.state.View().OutboxLen(); got != 0 {
		f.t.Errorf("%d left in the outbox", got)
	}
	for _, b := range f.broken {
		f.t.Error(b)
	}
	for _, p := range f.processes {
		if err := p.stop(); err != nil {
			f.t.Error(err)
		}
	}
}

// A round on its way is recorded before the next node begins, and is not told
// again there.
func TestMoveWaitsForTheRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, "hook", "slow")
		f.hold()
		f.extend("net", 1) // 100 is due
		pass(300 * time.Millisecond)
		f.move("node-2", false, "acme")
		f.extend("net", 3)
		pass(500 * time.Millisecond)
		if got := f.owner("acme"); got != "" {
			t.Errorf("released to %q while a round is on its way", got)
		}
		f.answer()
		synctest.Wait()
		pass(time.Second)
		if got := f.owner("acme"); got != "node-2" {
			t.Errorf("the tenant is with %q, want node-2", got)
		}
		f.finish(100, 100, 101, 101, 102, 102, 103, 103)
		for _, s := range f.deliveries() {
			first := s.Block.Height == 100
			if by := f.processes["node-1"].epoch; first != (s.Epoch == by) {
				t.Errorf("%d was sent under epoch %d; node-1 has %d", s.Block.Height, s.Epoch, by)
			}
		}
	})
}

// First attempts that take longer than a hand-over waits are not repeated by the
// next node before they must have ended.
func TestMoveParksWhatHangs(t *testing.T) {
	for _, accepted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "slow")
			f.hold()
			began := time.Now()
			f.extend("net", 1)
			pass(1500 * time.Millisecond) // the outbox has adopted it
			f.move("node-2", false, "acme")
			pass(parkAfter + 100*time.Millisecond)
			if got := f.owner("acme"); got != "node-2" {
				t.Fatalf("the tenant is with %q after %v, want node-2", got, parkAfter)
			}
			waiting := slices.Collect(f.state.View().Outbox())
			if len(waiting) != 1 || time.UnixMilli(waiting[0].NotBefore).Before(began.Add(firstAttempts)) || waiting[0].Attempts != 1 {
				t.Fatalf("in the outbox: %+v; want one entry that is not due before %v", waiting, began.Add(firstAttempts))
			}
			if accepted {
				f.answer()
				synctest.Wait()
				if got := f.state.View().OutboxLen(); got != 0 {
					t.Errorf("%d in the outbox after the receiver accepted", got)
				}
			} else {
				pass(firstAttempts) // the attempt has failed by now, and so has the receiver's silence
				f.answer()
				pass(time.Minute)
				if got := len(f.deliveries()); got != 1 {
					t.Errorf("%d deliveries, want the next node's", got)
				}
			}
			f.finish(100)
		})
	}
}

// All tenants of a cohort leave while a round is on its way, and the empty cohort
// goes away: what was sent is recorded all the same.
func TestMoveOfAWholeCohort(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "hook", "slow")
			from := mustTenant(t, f.state.View(), "acme").Cohort
			f.hold()
			f.extend("net", 1)
			pass(300 * time.Millisecond)
			f.move("node-2", false, "acme")
			if gone && !f.merge(from, "node-1") {
				t.Fatal("the empty cohort stays")
			}
			pass(10 * time.Second)
			f.extend("net", 1)
			f.finish(100, 100, 101, 101)
		})
	}
}

// A release that cannot be proposed, or whose outcome is unknown, is proposed
// again.
func TestReleaseIsRepeated(t *testing.T) {
	for _, kind := range []string{"fail", "uncertain", "delay"} {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "hook")
			f.weather["node-1"].kind, f.weather["node-1"].left = kind, 3
			f.move("node-2", false, "acme")
			f.extend("net", 2)
			pass(5 * time.Second)
			if got := f.owner("acme"); got != "node-2" {
				t.Errorf("%s: the tenant is with %q, want node-2", kind, got)
			}
			f.finish(100, 101)
		})
	}
}

// A hand-over that somebody else ends is not insisted on.
func TestForcedWhileHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := pair(t, "hook")
		f.weather["node-1"].kind, f.weather["node-1"].left = "fail", 1000
		f.move("node-2", false, "acme")
		pass(3 * time.Second)
		f.move("node-2", true, "acme")
		f.extend("net", 2)
		pass(3 * time.Second)
		f.wantHeights("acme", "m", 100, 101)
		f.weather["node-1"].left = 0
		pass(3 * time.Second)
		f.finish(100, 101)
	})
}

// Without contact nothing begins to be sent and the cursor waits; once there is
// contact, only what is still this node's is sent.
func TestNoContact(t *testing.T) {
	t.Run("lost and found", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "hook")
			f.processes["node-1"].contact.lose()
			f.extend("net", 2)
			pass(time.Minute)
			if got := f.cursor("net"); got != 1 || len(f.deliveries()) != 0 {
				t.Errorf("the cursor is at %d after %d deliveries, want 1, 0", got, len(f.deliveries()))
			}
			f.processes["node-1"].contact.find()
			pass(time.Second)
			if got := f.cursor("net"); got != 3 || f.state.View().OutboxLen() != 0 {
				t.Errorf("the cursor is at %d, %d in the outbox; want 3, 0", got, f.state.View().OutboxLen())
			}
			f.finish(100, 101)
		})
	})
	t.Run("moved meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "hook")
			f.processes["node-1"].contact.lose()
			f.extend("net", 2)
			pass(time.Minute)
			f.move("node-2", true, "acme")
			pass(time.Minute)
			f.wantHeights("acme", "m", 100, 101)
			f.processes["node-1"].contact.find()
			pass(time.Minute)
			f.finish(100, 101)
		})
	})
	t.Run("cut off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "hook")
			p := f.processes["node-1"]
			f.extend("net", 1)
			pass(time.Second)
			p.freeze()
			p.contact.lose()
			f.extend("net", 2)
			f.move("node-2", true, "acme")
			pass(time.Minute)
			p.thaw()
			p.contact.find()
			f.finish(100, 101, 102)
		})
	})
	t.Run("from the outbox", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := pair(t, "slow")
			f.locked(func() { f.refuse["slow"] = notify.Result{Status: 503} })
			f.extend("net", 1)
			pass(2 * time.Second)
			f.locked(func() { clear(f.refuse) })
			f.processes["node-1"].contact.lose()
			pass(time.Minute)
			if len(f.deliveries()) != 0 || f.state.View().OutboxLen() != 1 {
				t.Errorf("%d deliveries without contact", len(f.deliveries()))
			}
			f.processes["node-1"].contact.find()
			pass(time.Second)
			f.wantHeights("acme", "m", 100)
			f.finish(100)
		})
	})
}

// ownDepth is a tenant that judges "net" at a depth of its own.
func ownDepth(depth uint64) tenantDoc {
	mine := networkDoc("mine", depth)
	mine.Watch = "net"
	return tenantDoc{
		networks: map[string]*spec.Network{"mine": mine}, hooks: []string{"hook"},
		monitors: map[string]watching{"m": {networks: []string{"mine"}, triggers: []string{"hook"}}},
	}
}

// What a tenant is owed because a depth was lowered is owed in whichever cohort
// it is by the next announcement.
func TestMergeKeepsWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("beta", simple())
		r.extend("net", 2)
		r.setTenant("acme", ownDepth(5)) // in a cohort of its own: beta's is behind
		apart := mustTenant(t, r.state.View(), "acme").Cohort
		if apart == cohort {
			t.Fatal("merged while the other cohort is behind")
		}
		p := r.start(-1)
		r.extend("net", 4) // 102-105: 100 is due at depth 5
		r.drained("net")
		r.wantHeights("acme", "m", 100)
		r.setTenant("acme", ownDepth(2))
		if !r.merge(apart, cohort) {
			t.Fatal("not merged")
		}
		r.extend("net", 1)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 104)...)
		r.wantHeights("beta", "m", span(100, 105)...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A tenant that is deleted and made again with a smaller depth before the next
// block is a new one: nothing before that block is owed to it.
func TestMadeAgainIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("keeper", simple())
		r.setTenant("acme", ownDepth(5))
		p := r.start(-1)
		r.extend("net", 6) // 100-105
		r.drained("net")
		r.wantHeights("acme", "m", 100)
		r.deleteTenant("acme")
		r.setTenant("acme", ownDepth(2))
		if got := mustTenant(t, r.state.View(), "acme").Cohort; got != cohort {
			t.Fatalf("in cohort %q, want the book to see it again in %q", got, cohort)
		}
		r.extend("net", 2)
		r.drained("net")
		r.wantHeights("acme", "m", 100, 104, 105)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A tenant that begins, with a depth that is lowered before the first block that
// it sees, is owed nothing from before, in whichever cohort it begins.
func TestNewTenantIsOwedNothing(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("keeper", simple())
			p := r.start(-1)
			r.extend("net", 6) // 100-105
			r.drained("net")
			r.unplaced = true
			r.setTenant("acme", ownDepth(5))
			if running {
				r.move(node, false, "acme")
				synctest.Wait()
			}
			r.setTenant("acme", ownDepth(2))
			if !running {
				r.move(node, false, "acme")
				synctest.Wait()
			}
			r.extend("net", 2)
			r.drained("net")
			r.wantHeights("acme", "m", 104, 105)
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
