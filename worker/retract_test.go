package worker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// What a process has sent and could not record is taken back as well: the ledger
// knew of it before the receiver.
func TestRetractsWhatWasNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"))
		synctest.Wait()
		o.locked(func() { o.p.life = 3 }) // the intent takes two effects, the third is that the receiver accepts
		o.add([]int{0})
		synctest.Wait()
		o.locked(func() {
			if !o.p.dead {
				t.Fatal("the process is to die when the receiver has the alert")
			}
			o.p.rig.missing[o.chain("net").branch[1].Hash] = true // its body is gone
		})
		_ = o.p.stop()
		o.back(100)
		o.add(nil)
		o.p = o.start(-1)
		o.drained("net")
		if got := o.said(0, "hook"); len(got) == 0 || got[len(got)-1] != "retracted@3 101" {
			t.Errorf("heard %q, want it retracted in the end", got)
		}
		o.stop()
	})
}

// A process that is cut off puts what it is about to say into the ledger, and dies.
// The next one does it all again from the cursor on: what it has just told of an
// earlier position does not hide from it what is to be taken back later.
func TestRetractsAgainAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"))
		o.add([]int{0}) // 2
		synctest.Wait()
		o.p.contact.lose()
		o.back(100)
		o.add(nil)
		o.add([]int{0}) // 102' at 5
		synctest.Wait()
		o.back(100) // 6
		synctest.Wait()
		_ = o.p.stop()
		old := o.former[len(o.former)-1]
		for i, ref := range old[1:] {
			o.chain("net").branch = append(o.chain("net").branch, ref)
			o.announce("net", fsm.Entry{Kind: fsm.Extend, Ref: ref, Parent: old[i].Hash})
		}
		o.p = o.start(-1)
		o.drained("net")
		o.wantSaid(0, "hook", "fired@2 101", "retracted@3 101", "retracted@6 102", "reinstated@8 102")
		o.stop()
	})
}

// What was not begun because the ledger could not be told of it before is still to be
// sent: the cursor must not pass it, though the log may take commands again.
func TestNotBegunIsNotPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", moded(spec.ModeInstant, "hook"))
		r.extend("net", 2)
		p := r.prepare(-1)
		pl := p.pipeline("net")
		b, steps := r.planned(pl, 1, 2, nil)
		ctx, cancel := context.WithCancel(t.Context())
		p.propose = func(fsm.Command) error {
			cancel()
			return errCutOff
		}
		j := pl.judgeStep(t.Context(), b, &steps[0])
		rd := pl.newRound()
		if _, err := rd.fire(ctx, &steps[0], j); err != nil || len(rd.fired) == 0 {
			t.Fatalf("%d alerts: %v", len(rd.fired), err)
		}
		synctest.Wait()
		p.propose = nil
		if err := rd.record(t.Context(), steps); err == nil {
			t.Error("recorded, though nothing was sent")
		}
		if c, _ := r.state.View().Cursor("net", cohort); c.Position >= steps[0].entry.Position {
			t.Errorf("the cursor is at %d, and nothing was sent", c.Position)
		}
	})
}

// A roll-back waits until the ledger knows of what it takes back, however slow the
// log is.
func TestRetractsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"), func(p *process, _ *Options) {
			p.propose = func(fsm.Command) error {
				<-time.After(300 * time.Millisecond)
				return nil
			}
		})
		pass(time.Second)
		o.add([]int{0})
		pass(100 * time.Millisecond)
		o.back(100)
		o.add([]int{0})
		o.drained("net")
		o.wantSaid(0, "hook", "fired@2 101", "retracted@3 101", "reinstated@4 101")
		o.stop()
	})
}

// A retraction goes to everybody who was told, as long as the trigger is there.
func TestRetractionsFollowTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		o := newOne(t, moded(spec.ModeInstant, "hook", "gone", "slow"), captureLog(&log))
		o.add([]int{0})
		synctest.Wait()
		d := moded(spec.ModeInstant, "hook") // slow is not listed any more, gone is no more
		d.hooks = []string{"hook", "slow"}
		o.setTenant("acme", d)
		o.back(100)
		o.add(nil)
		o.drained("net")
		for _, trigger := range []string{"hook", "slow"} {
			o.wantSaid(0, trigger, "fired@2 101", "retracted@3 101")
		}
		o.wantSaid(0, "gone", "fired@2 101")
		if n := o.state.View().DeadLen(); n != 0 {
			t.Errorf("%d dead letters, want none for a trigger that is gone", n)
		}
		if !strings.Contains(log.String(), "trigger=gone") {
			t.Errorf("the log does not name the trigger that is gone:\n%s", log.String())
		}
		was, ok := o.state.View().Retracted("net", o.id(0).String(), mustTenant(t, o.state.View(), "acme").Born)
		if !ok || was.Position != 3 {
			t.Errorf("retracted at %+v, %v; want position 3", was, ok)
		}
		var states []string
		for _, r := range o.alerts() {
			states = append(states, r.Alert.State.String())
		}
		if want := []string{"fired", "retracted"}; !slices.Equal(states, want) {
			t.Errorf("recorded %q, want %q", states, want)
		}
		o.stop()
	})
}

// Who was told of an alert is told that it is no more, though nobody wants the network
// by then; once that cannot happen any more, nobody follows it.
func TestRetractedWhileNotWanted(t *testing.T) {
	paused := moded(spec.ModeBoth, "hook")
	paused.monitors = map[string]watching{"m": {networks: []string{"net"}, mode: spec.ModeBoth, triggers: []string{"hook"}, paused: true}}
	elsewhere := moded(spec.ModeBoth, "hook")
	elsewhere.monitors = map[string]watching{"m": {networks: []string{"other"}, mode: spec.ModeBoth, triggers: []string{"hook"}}}
	for name, d := range map[string]tenantDoc{"paused": paused, "deleted": {hooks: []string{"hook"}}, "elsewhere": elsewhere} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOne(t, moded(spec.ModeBoth, "hook"))
				o.setShared("other", 1)
				o.add([]int{0}) // 101 at 2
				o.add([]int{1}) // 102 at 3
				synctest.Wait()
				o.setTenant("acme", d)
				o.add([]int{2}) // nobody is to be told of it
				pass(time.Minute)
				asked := len(o.asked)
				o.back(101) // 5
				o.add(nil)
				synctest.Wait()
				o.wantSaid(0, "hook", "fired@2 101")
				o.wantSaid(1, "hook", "fired@3 102", "retracted@5 102")
				o.wantSaid(2, "hook")
				if err := o.p.stop(); err != nil { // whoever takes over goes on
					t.Error(err)
				}
				o.p = o.start(-1)
				o.back(100) // 7
				for range fsm.DefaultWindow + 1 {
					o.add(nil)
				}
				pass(time.Minute)
				o.wantSaid(0, "hook", "fired@2 101", "retracted@7 101")
				if c, _ := o.state.View().Cursor("net", cohort); c.Parked() {
					t.Errorf("the cursor %+v is parked while 102 is not final", c)
				}
				o.add(nil)
				o.add(nil)
				pass(time.Minute)
				if c, _ := o.state.View().Cursor("net", cohort); !c.Parked() {
					t.Errorf("the cursor %+v is not parked", c)
				}
				n, _ := o.state.View().Network("net")
				if n.Lease.Holder != "" || o.repeated() != nil || len(o.asked) != asked {
					t.Errorf("network held by %q; sent twice: %v; %d blocks fetched, want none", n.Lease.Holder, o.repeated(), len(o.asked)-asked)
				}
				o.stop()
			})
		})
	}
}

// What was promised is kept: an alert of a mode that is no more is retracted, and
// comes back with the plain monitor.
func TestRetractedThenPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"))
		o.add([]int{0})
		synctest.Wait()
		o.setTenant("acme", moded("", "hook"))
		o.back(100)
		o.add(nil)
		o.add([]int{0}) // 102' at 5
		for range 5 {
			o.add(nil)
		}
		o.drained("net")
		o.wantSaid(0, "hook", "fired@2 101", "retracted@3 101", "reinstated@8 102")
		o.back(100)
		for range 7 {
			o.add(nil)
		}
		o.drained("net")
		o.wantSaid(0, "hook", "fired@2 101", "retracted@3 101", "reinstated@8 102") // a plain one is never taken back
		o.stop()
	})
}
