package outbox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// entryOf makes an entry that was not attempted yet.
func (r *rig) entryOf(n int, trigger, after string) fsm.Outgoing {
	r.t.Helper()
	d := delivery(n, trigger)
	data, err := alert.EncodeDelivery(d)
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	return fsm.Outgoing{Key: d.Key.String(), Tenant: "acme", Trigger: trigger, Delivery: data, At: now, NotBefore: now, After: after}
}

// A delivery waits until the one before it is settled, and is made at once then.
func TestOrder(t *testing.T) {
	for _, tc := range []struct {
		name string
		last notify.Result
		err  error
	}{
		{"accepted", notify.Result{Status: 200}, nil},
		{"refused", notify.Result{Status: 400, Permanent: true}, errors.New("no")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.answer = func(n *notify.Notification) (notify.Result, error) {
					switch {
					case n.Key.String() != keyOf(1):
						return notify.Result{Status: 200}, nil
					case n.Round < 4:
						return notify.Result{Status: 503}, errors.New("busy")
					default:
						return tc.last, tc.err
					}
				}
				_, end := r.start()
				// The later ones are there first, and the whole chain is.
				r.put(r.entryOf(3, "hook", keyOf(2)), r.entryOf(2, "hook", keyOf(1)), r.entryOf(1, "hook", ""), r.entryOf(4, "hook", ""))
				pass(7 * time.Minute)
				if got := r.keysTried(); !slices.Equal(got, []string{"4", "1", "1", "1"}) && !slices.Equal(got, []string{"1", "4", "1", "1"}) {
					t.Errorf("attempts %v: want those that wait for nothing", got)
				}
				pass(30 * time.Minute * 13 / 10)
				tries := r.tries()
				if got := r.keysTried(); len(got) != 7 || !slices.Equal(got[4:], []string{"1", "2", "3"}) {
					t.Fatalf("attempts %v: want 1, then 2, then 3", got)
				}
				if took := tries[6].at.Sub(tries[4].at); took > 10*rescan {
					t.Errorf("the last was made %v after the first was settled, want at once", took)
				}
				if got := r.state.View().OutboxLen(); got != 0 {
					t.Errorf("%d left", got)
				}
				end()
			})
		})
	}
}

// keysTried lists the attempts by the numbers of their deliveries.
func (r *rig) keysTried() (out []string) {
	names := map[string]string{}
	for n := range 100 {
		names[keyOf(n)] = fmt.Sprint(n)
	}
	for _, a := range r.tries() {
		out = append(out, names[a.key])
	}
	return out
}

// What was waited for may also be purged, or come back.
func TestOrderAfterChangesFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start()
		r.put(r.entryOf(1, "hook", ""), r.entryOf(2, "hook", keyOf(1)))
		pass(time.Minute)
		if got := r.keysTried(); len(got) != 2 || slices.Contains(got, "2") {
			t.Errorf("attempts %v", got)
		}
		if _, err := r.apply(&fsm.Purge{Tenant: "acme", Keys: []string{keyOf(1)}}); err != nil {
			t.Fatal(err)
		}
		pass(2 * rescan)
		if got := r.keysTried(); len(got) != 3 || got[2] != "2" {
			t.Errorf("attempts %v, want 2 at once", got)
		}
		// Deliveries that died are redelivered: the order holds again.
		for _, n := range []int{1, 2} {
			r.put(r.entryOf(n, "hook", map[int]string{2: keyOf(1)}[n]))
			if _, err := r.apply(&fsm.Settle{Settled: []fsm.Settled{{Tenant: "acme", Key: keyOf(n), Outcome: fsm.Refused}}}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		before := len(r.keysTried())
		done, err := r.apply(&fsm.Redeliver{Tenant: "acme", Keys: []string{keyOf(2), keyOf(1)}, At: time.Now().UnixMilli()})
		if err != nil || done != 2 {
			t.Fatalf("%v redelivered, %v", done, err)
		}
		pass(time.Minute)
		if got := r.keysTried()[before:]; len(got) != 2 || slices.Contains(got, "2") {
			t.Errorf("attempts %v, want only those of 1", got)
		}
		r.locked(r.accept)
		pass(10 * time.Minute)
		if got := r.keysTried()[before:]; !slices.Equal(got, []string{"1", "1", "1", "2"}) {
			t.Errorf("attempts %v, want 2 after 1", got)
		}
		end()
	})
}

// What is pending and redelivered is due at once, as if it was never attempted.
func TestRedeliverPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start()
		r.handOver("hook", 1)
		pass(time.Hour) // attempts at 5 s, 5 min, 35 min: the next one is hours away
		before := len(r.tries())
		if done, err := r.apply(&fsm.Redeliver{Tenant: "acme", Keys: []string{keyOf(1)}, At: time.Now().UnixMilli()}); err != nil || done != 1 {
			t.Fatalf("%v, %v", done, err)
		}
		pass(2 * rescan)
		if got := r.tries(); len(got) != before+1 || got[before].number != 1 {
			t.Errorf("%d attempts before, then %v", before, got[before:])
		}
		end()
	})
}

// A trigger may have a schedule of its own.
func TestScheduleOfATrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.schedule = []time.Duration{time.Second, time.Minute}
		r.configure("acme", 1, "hook")
		_, end := r.start()
		began := time.Now()
		r.handOver("hook", 1)
		pass(time.Hour)
		tries := r.tries()
		if len(tries) != 2 || tries[0].at.Sub(began) != time.Second || tries[1].at.Sub(tries[0].at) < time.Minute || tries[1].at.Sub(tries[0].at) > 72*time.Second {
			t.Errorf("attempts %v after %v, want one after 1s and one a minute later", tries, began)
		}
		if d := r.dead()[keyOf(1)]; d == nil || d.Attempts != 3 {
			t.Errorf("dead letter %+v", d)
		}
		end()
	})
}

// A receiver that is not to be asked is not: nothing counts, nothing is recorded,
// and the rest goes on. It is asked with care when it may be, and by all once it
// accepts.
func TestNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.configure("acme", 1, "hook", "other")
		open := true
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if n.Trigger.Name == "hook" && open {
				return notify.Result{RetryAfter: 10 * time.Minute}, fmt.Errorf("acme: %w", notify.ErrOpen)
			}
			return notify.Result{Status: 200}, nil
		}
		_, end := r.start()
		r.handOver("hook", numbered(40)...)
		pass(Schedule[0] + time.Second)
		asked := len(r.tries()) // until the first was told
		if asked < 1 || asked > laneAttempts {
			t.Errorf("%d attempts, want %d at most: the rest waits", asked, laneAttempts)
		}
		r.handOver("other", 50)
		pass(time.Minute)
		if _, ok := r.state.View().FindOutgoing("acme", delivery(50, "other").Key.String()); ok {
			t.Error("a delivery of another trigger waits as well")
		}
		pass(30 * time.Minute)
		if got := len(r.tries()) - 1 - asked; got < 2 || got > 4 {
			t.Errorf("%d attempts after half an hour, want one every ten minutes or so", got)
		}
		for e := range r.state.View().OutboxOf("acme") {
			if e.Attempts != 1 || e.Reason != "first" {
				t.Fatalf("in the outbox %+v: want it as it was", e)
			}
		}
		r.locked(func() { open = false })
		pass(12 * time.Minute)
		if got := r.state.View().OutboxLen(); got != 0 || len(r.recorded()) > 41 {
			t.Errorf("%d left after %d commands", got, len(r.recorded()))
		}
		end()
	})
}

// What waits since its receiver keeps failing goes out as soon as somebody has
// found that it works, if it is due, to whichever of the tenant's triggers. What is
// for another receiver goes on waiting.
func TestWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.configure("acme", 1, "hook", "twin", "other")
		works := false
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if !works || n.Trigger.Name == "other" {
				return notify.Result{RetryAfter: time.Hour}, notify.ErrOpen
			}
			return notify.Result{Status: 200}, nil
		}
		o, end := r.start()
		r.handOver("hook", 1, 2, 3)
		r.handOver("twin", 4, 5)
		r.handOver("other", numbered(20)[9:]...)
		pass(time.Minute)
		r.locked(func() { works = true })
		left := r.state.View().OutboxLen()
		r.redeliver(1)
		pass(time.Minute)
		o.Works("nobody")
		pass(time.Minute)
		if got := r.state.View().OutboxLen(); got != left {
			t.Fatalf("%d in the outbox while the receiver is left alone, want %d", got, left)
		}
		asked := len(r.tries())
		o.Works("acme")
		pass(time.Minute)
		for e := range r.state.View().OutboxOf("acme") {
			if left--; e.Trigger != "other" {
				t.Errorf("a delivery to %s waits", e.Trigger)
			}
		}
		if got := len(r.tries()) - asked; left != 5 || got != 5+1 {
			t.Errorf("%d have left the outbox with %d attempts, want 5 with one at the other receiver", left, got)
		}
		end()
	})
}

// A first attempt that was not made after all is not counted.
func TestAdoptedButNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accept()
		o, end := r.start()
		done := make(chan Attempt, 1)
		committed := o.Adopt(adopted(1, done))
		r.handOver("hook", 1)
		committed(true)
		done <- Attempt{Result: notify.Result{RetryAfter: time.Minute}, Err: notify.ErrLimited}
		pass(time.Second)
		if e, ok := r.state.View().FindOutgoing("acme", keyOf(1)); !ok || e.Attempts != 0 {
			t.Errorf("in the outbox %+v, %v; want no attempt counted", e, ok)
		}
		pass(time.Minute)
		if got := r.tries(); len(got) != 1 || got[0].number != 1 {
			t.Errorf("attempts %v, want the first", got)
		}
		end()
	})
}

// A rate limit holds a trigger's deliveries for as long as it says.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		count := 0
		r.answer = func(*notify.Notification) (notify.Result, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if count++; count%4 != 0 {
				return notify.Result{RetryAfter: time.Second}, notify.ErrLimited
			}
			return notify.Result{Status: 200}, nil
		}
		_, end := r.start()
		r.handOver("hook", numbered(50)...)
		pass(5 * time.Minute)
		if r.state.View().OutboxLen() != 0 || r.state.View().DeadLen() != 0 {
			t.Errorf("%d left, %d dead", r.state.View().OutboxLen(), r.state.View().DeadLen())
		}
		for _, a := range r.tries() {
			if a.number != 2 {
				t.Fatalf("an attempt calls itself the %d., want the second: those not made do not count", a.number)
			}
		}
		end()
	})
}

// While the receiver is not to be asked, the schedule comes to its end all the same.
func TestOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(*notify.Notification) (notify.Result, error) {
			return notify.Result{RetryAfter: time.Hour}, notify.ErrOpen
		}
		_, end := r.start()
		r.handOver("hook", numbered(30)...)
		pass(total())
		if got := r.state.View().OutboxLen(); got != 30 {
			t.Errorf("%d left before the time is over", got)
		}
		pass(total()/2 + 2*graceful)
		if got, dead := r.state.View().OutboxLen(), len(r.dead()); got != 0 || dead != 30 {
			t.Errorf("%d left, %d dead; want 0, 30", got, dead)
		}
		if d := r.dead()[keyOf(1)]; d.Attempts != 1 || d.Reason != "its time is over, and the receiver is not to be asked at present; last: first" {
			t.Errorf("dead letter %+v", d)
		}
		end()
	})
}

// What is redelivered while the receiver is not to be asked has its whole time again.
func TestRedeliveredIsNotOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(*notify.Notification) (notify.Result, error) {
			return notify.Result{RetryAfter: time.Hour}, notify.ErrOpen
		}
		_, end := r.start()
		r.handOver("hook", 1)
		life := total() + total()/2 + graceful
		pass(life)
		r.redeliver(1)
		pass(life - time.Second)
		if got := r.state.View().OutboxLen(); got != 1 {
			t.Fatalf("%d left before the time is over again", got)
		}
		pass(2*idle + time.Second)
		if got := len(r.dead()); got != 1 {
			t.Errorf("%d dead in the end, want 1", got)
		}
		end()
	})
}

func (r *rig) redeliver(n int) {
	r.t.Helper()
	if done, err := r.apply(&fsm.Redeliver{Tenant: "acme", Keys: []string{keyOf(n)}, At: time.Now().UnixMilli()}); err != nil || done != 1 {
		r.t.Fatalf("%v, %v", done, err)
	}
}

// What is redelivered during its last attempt is not given up by that.
func TestRedeliveredDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gate := make(chan struct{})
		r.answer = func(*notify.Notification) (notify.Result, error) {
			<-gate
			return notify.Result{Status: 503}, errors.New("busy")
		}
		_, end := r.start()
		last := r.entryOf(1, "hook", "")
		last.Attempts, last.NotBefore = uint32(len(Schedule)), 1
		r.put(last)
		pass(time.Second)
		if got := r.tries(); len(got) != 1 || got[0].number != len(Schedule)+1 {
			t.Fatalf("attempts %v, want the last", got)
		}
		r.redeliver(1)
		close(gate)
		pass(time.Second)
		if e, ok := r.state.View().FindOutgoing("acme", keyOf(1)); !ok || e.Attempts != 1 {
			t.Errorf("%+v, %v: want it to be in the outbox after one attempt", e, ok)
		}
		end()
	})
}

// What was redelivered since the last look is not given up by what that has seen.
func TestRedeliveredSinceTheLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handOver("hook", 1, 2)
		pass(2 * total())
		o := r.outbox()
		o.book.look(r.View, true)
		o.book.hold(o.book.boxes["acme"].lanes["hook"], time.Now().Add(time.Hour), true)
		r.redeliver(1)
		var work sync.WaitGroup
		o.giveUp(&work)
		if s := <-o.settled; s.Key != keyOf(2) || s.Outcome != fsm.Refused {
			t.Errorf("settled %+v, want that the other is given up", s)
		}
		synctest.Wait()
		select {
		case s := <-o.settled:
			t.Errorf("settled %+v", s)
		default:
		}
		work.Wait()
		if id := (id{"acme", keyOf(1)}); o.tries.busy(id) {
			t.Error("what is not given up is held")
		}
	})
}

// However long nothing ran, each delivery gets one more attempt.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.accept()
		r.handOver("hook", numbered(30)...)
		pass(10 * total())
		_, end := r.start()
		pass(time.Minute)
		if got := len(r.tries()); got != 30 || r.state.View().OutboxLen() != 0 {
			t.Errorf("%d attempts, %d left", got, r.state.View().OutboxLen())
		}
		end()
	})
}
