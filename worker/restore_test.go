package worker

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// restore puts a backup in place of the state, as a cluster does, and gives its
// tenants a node. The chain goes on from the branch of the backup.
func (o *one) restore(backup *fsm.View) {
	o.t.Helper()
	var buf bytes.Buffer
	if _, err := fsm.Rebase(backup, o.state.View()).WriteTo(&buf); err != nil {
		o.t.Fatal(err)
	}
	o.must(&fsm.CollectBlobs{Before: 1}) // whatever: the log goes on meanwhile
	if err := o.state.Restore(&buf); err != nil {
		o.t.Fatal(err)
	}
	o.chain("net").branch = o.chain("net").branch[:0]
	n, _ := o.state.View().Network("net")
	o.chain("net").branch = append(o.chain("net").branch, n.Branch.Refs...)
}

// A restore moves positions up. What is told again after it has the keys of before,
// and what was only intended when the backup was made is told at last.
func TestRestoreKeepsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeBoth, "hook"))
		o.add([]int{0, 1}) // 101 at 2
		synctest.Wait()
		o.p.contact.lose()
		o.back(100) // 3
		o.add(nil)
		o.add([]int{0}) // 102' at 5
		for range forkDepth {
			o.add(nil)
		}
		synctest.Wait()
		backup := o.state.View()
		o.p.contact.find()
		synctest.Wait()
		for range 4 {
			o.add(nil)
		}
		o.drained("net")
		before := []string{"fired@2 101", "retracted@3 101", "reinstated@5 102", "confirmed@8 102"}
		o.wantSaid(0, "hook", before...)
		o.wantSaid(1, "hook", before[:2]...)
		o.stop()

		first := map[string]bool{}
		for _, s := range o.deliveries() {
			first[s.Key] = true
		}
		o.locked(func() { o.sent = nil })
		o.restore(backup)
		o.move(node, true, "acme")
		o.p = o.start(-1)
		o.add([]int{1}) // 106'
		o.drained("net")
		n, _ := o.state.View().Network("net")
		if n.Origin(n.Next-2) == n.Next-2 {
			t.Fatal("the restore has moved nothing: the test shows nothing")
		}
		states := map[string]int{}
		for _, s := range o.deliveries() {
			states[s.State.String()]++
			if again := s.Position < n.Next-1; again != first[s.Key] {
				t.Errorf("%s@%d of block %d: told before %v, with a key of before %v", s.State, s.Position, s.Block.Height, again, first[s.Key])
			}
		}
		for _, want := range []alert.State{alert.Retracted, alert.Reinstated, alert.Confirmed} {
			if states[want.String()] == 0 {
				t.Errorf("nothing is %s after the restore: %v", want, states)
			}
		}
		o.stop()
	})
}

// A tenant that is deleted and made again begins anew: what the one before it had
// been told neither hides an alert nor makes it one that comes back.
func TestModesOfATenantMadeAgain(t *testing.T) {
	for name, back := range map[string]bool{"its block stays": false, "its block was rolled back": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOne(t, moded(spec.ModeInstant, "hook"))
				defer o.stop()
				o.setTenant("other", moded("", "hook"))
				o.add([]int{0}) // 2
				synctest.Wait()
				if back {
					o.back(100)
					o.add([]int{1})
					synctest.Wait()
				}
				o.locked(func() { o.sent = nil })
				o.deleteTenant("acme")
				o.setTenant("acme", moded(spec.ModeInstant, "hook"))
				pass(time.Second)
				if back {
					o.again() // 101 is back, with the transaction
				} else {
					o.back(100) // the new tenant was told of nothing: nothing is taken back
					o.add([]int{0})
				}
				o.drained("net")
				if said := o.said(0, "hook"); len(said) != 1 || said[0][:5] != "fired" {
					t.Errorf("the new tenant heard %q, want it fired, once", said)
				}
			})
		})
	}
}
