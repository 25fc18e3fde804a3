package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func TestSchedule(t *testing.T) {
	if hours := total().Hours(); hours < 75 || hours > 77 {
		t.Errorf("the schedule lasts %v hours, want about 76", hours)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start()
		began := time.Now()
		r.handOver("hook", 1)
		pass(total() * 13 / 10)
		if len(r.tries()) != len(Schedule) {
			t.Fatalf("%d attempts, want %d", len(r.tries()), len(Schedule))
		}
		last := began
		for i, a := range r.tries() {
			if a.number != i+2 {
				t.Errorf("attempt %d calls itself the %d.", i+2, a.number)
			}
			pause := a.at.Sub(last)
			if pause < Schedule[i] || pause > Schedule[i]*12/10 {
				t.Errorf("attempt %d came after %v, want %v and up to a fifth more", i+2, pause, Schedule[i])
			}
			last = a.at
		}
		d := r.dead()[keyOf(1)]
		if d == nil || r.state.View().OutboxLen() != 0 || d.Attempts != uint32(len(Schedule))+1 || d.Reason != "busy" {
			t.Errorf("dead letter %+v, %d still in the outbox", d, r.state.View().OutboxLen())
		}
		end()
	})
}

func TestSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			switch {
			case n.Key.String() == keyOf(2):
				return notify.Result{Status: 410, Permanent: true, Excerpt: "bye"}, errors.New("gone for good")
			case n.Round == 2:
				return notify.Result{Status: 503, Excerpt: "later"}, errors.New("busy")
			default:
				return notify.Result{Status: 200}, nil
			}
		}
		_, end := r.start()
		r.handOver("hook", 1, 2)
		pass(5 * time.Second)
		if o, ok := r.state.View().FindOutgoing("acme", keyOf(1)); !ok || o.Attempts != 2 || o.Reason != "busy" || o.Status != 503 || o.Excerpt != "later" {
			t.Errorf("after a failure: %+v, %v", o, ok)
		}
		pass(10 * time.Minute)
		if d := r.dead(); len(d) != 1 || d[keyOf(2)] == nil || d[keyOf(2)].Reason != "gone: the receiver wants no more: gone for good" || d[keyOf(2)].Status != 410 || d[keyOf(2)].Attempts != 2 || d[keyOf(2)].Excerpt != "bye" {
			t.Errorf("dead letters %+v", d[keyOf(2)])
		}
		if got := r.state.View().OutboxLen(); got != 0 || len(r.tries()) != 3 {
			t.Errorf("%d in the outbox after %d attempts, want 0, 3", got, len(r.tries()))
		}
		end()
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if n.Round == 2 {
				return notify.Result{Status: 429, RetryAfter: 3 * time.Hour}, errors.New("slow down")
			}
			return notify.Result{RetryAfter: time.Second}, errors.New("sooner than the schedule")
		}
		_, end := r.start()
		r.handOver("hook", 1)
		pass(5 * time.Second)
		first := time.Now()
		pass(3*time.Hour - time.Second)
		if len(r.tries()) != 1 {
			t.Fatalf("%d attempts before the receiver's time was over, want 1", len(r.tries()))
		}
		pass(time.Second)
		if len(r.tries()) != 2 || r.tries()[1].at.Sub(first) != 3*time.Hour {
			t.Fatalf("attempts %v, want the second after 3h", r.tries())
		}
		pass(30*time.Minute - time.Second)
		if len(r.tries()) != 2 {
			t.Error("a shorter Retry-After shortens the schedule")
		}
		end()
	})
}

// What a receiver asked for holds after a restart as well.
func TestRetryAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(*notify.Notification) (notify.Result, error) {
			return notify.Result{Status: 429, RetryAfter: 3 * time.Hour}, errors.New("slow down")
		}
		r.handOver("hook", 1)
		_, end := r.start()
		pass(time.Minute)
		for range 5 {
			end()
			_, end = r.start()
			pass(30 * time.Minute)
		}
		if got := len(r.tries()); got != 1 {
			t.Errorf("%d attempts before the receiver's time was over, want 1", got)
		}
		pass(30 * time.Minute)
		if got := len(r.tries()); got != 2 {
			t.Errorf("%d attempts after it, want 2", got)
		}
		end()
	})
}

// A restart neither loses nor hastens anything, however often it happens.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handOver("hook", 1)
		began := time.Now()
		_, end := r.start()
		pass(time.Minute)
		if len(r.tries()) != 1 {
			t.Fatalf("%d attempts in a minute, want 1", len(r.tries()))
		}
		for range 20 {
			end()
			_, end = r.start()
			pass(time.Second)
		}
		if len(r.tries()) != 1 {
			t.Fatalf("%d attempts after restarts, want 1", len(r.tries()))
		}
		pass(5 * time.Minute)
		end()
		if len(r.tries()) != 2 {
			t.Fatalf("%d attempts after 6 minutes, want 2", len(r.tries()))
		}
		if got := r.tries()[1].at.Sub(began); got < Schedule[0]+Schedule[1] || got > Schedule[0]+Schedule[1]*12/10 {
			t.Errorf("the third attempt came after %v, want %v and up to a fifth of the last pause more", got, Schedule[0]+Schedule[1])
		}
		// What became due while nothing ran is made at once, once.
		pass(24 * time.Hour)
		_, end = r.start()
		pass(time.Second)
		if len(r.tries()) != 3 || r.tries()[2].number != 4 {
			t.Errorf("attempts %v, want the fourth at once", r.tries())
		}
		end()
	})
}

// adopted are first attempts that end within an hour.
func adopted(n int, done <-chan Attempt) Adopted {
	until := time.Now().Add(time.Hour)
	return Adopted{Key: keyOf(n), Tenant: "acme", Deadline: func() time.Time { return until }, Done: done}
}

func TestAdopt(t *testing.T) {
	t.Run("accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			o, end := r.start()
			done := make(chan Attempt, 1)
			committed := o.Adopt(adopted(1, done))
			r.handOver("hook", 1)
			committed(true)
			pass(time.Hour)
			if len(r.tries()) != 0 || r.state.View().OutboxLen() != 1 {
				t.Errorf("%d attempts while another one is under way", len(r.tries()))
			}
			done <- Attempt{Result: notify.Result{Status: 200}}
			synctest.Wait()
			if got := r.state.View().OutboxLen(); got != 0 {
				t.Errorf("%d in the outbox after it was accepted", got)
			}
			end()
		})
	})
	t.Run("failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			o, end := r.start()
			done := make(chan Attempt, 1)
			committed := o.Adopt(adopted(1, done))
			r.handOver("hook", 1)
			committed(true)
			pass(time.Hour)
			ended := time.Now()
			done <- Attempt{Result: notify.Result{Status: 503}, Err: errors.New("busy")}
			pass(7 * time.Second)
			if len(r.tries()) != 1 || r.tries()[0].number != 2 || r.tries()[0].at.Sub(ended) < Schedule[0] {
				t.Errorf("attempts %v, want the second 5s after the first ended", r.tries())
			}
			end()
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			o, end := r.start()
			done := make(chan Attempt, 1)
			committed := o.Adopt(adopted(1, done))
			r.handOver("hook", 1)
			committed(true)
			done <- Attempt{Result: notify.Result{Permanent: true}, Err: errors.New("no")}
			synctest.Wait()
			if d := r.dead()[keyOf(1)]; d == nil || d.Attempts != 1 {
				t.Errorf("dead letter %+v", d)
			}
			end()
		})
	})
	t.Run("not committed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{}, nil }
			o, end := r.start()
			o.Adopt(adopted(1, make(chan Attempt)))(false)
			r.handOver("hook", 1) // by another command
			pass(5 * time.Second)
			if len(r.tries()) != 1 || r.state.View().OutboxLen() != 0 {
				t.Errorf("%d attempts, want 1: nobody else makes any", len(r.tries()))
			}
			end()
		})
	})
	t.Run("cut off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{}, nil }
			o, end := r.start()
			done := make(chan Attempt, 1)
			committed := o.Adopt(adopted(1, done))
			r.handOver("hook", 1)
			committed(true)
			pass(2 * time.Second)
			done <- Attempt{Err: fmt.Errorf("the worker ends: %w", context.Canceled)}
			pass(3 * time.Second)
			if len(r.tries()) != 1 || r.state.View().OutboxLen() != 0 {
				t.Errorf("%d attempts when it was due, want 1", len(r.tries()))
			}
			end()
		})
	})
}

// Outcomes that come while a command is on its way are recorded together.
func TestSettlesInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handOver("hook", numbered(600)...)
		r.down = true
		o, end := r.start()
		for n := range 600 {
			done := make(chan Attempt, 1)
			o.Adopt(adopted(n, done))(true)
			done <- Attempt{Result: notify.Result{Status: 200}}
		}
		pass(time.Minute)
		r.locked(func() { r.down = false })
		pass(time.Minute)
		if got := r.state.View().OutboxLen(); got != 0 {
			t.Errorf("%d still in the outbox", got)
		}
		if len(r.recorded()) > 5 {
			t.Errorf("%d commands for 600 outcomes", len(r.recorded()))
		}
		seen := 0
		for _, s := range r.recorded() {
			seen += len(s.Settled)
			if len(s.Settled) > settleBatch {
				t.Errorf("%d outcomes in one command, want at most %d", len(s.Settled), settleBatch)
			}
		}
		if seen != 600 || len(r.tries()) != 0 {
			t.Errorf("%d outcomes and %d more attempts, want 600, 0", seen, len(r.tries()))
		}
		end()
	})
}

func TestNothingIsLostWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if n.Round < 4 {
				return notify.Result{}, errors.New("busy")
			}
			return notify.Result{}, nil
		}
		_, end := r.start()
		r.handOver("hook", 1, 2, 3)
		pass(4 * time.Second)
		r.locked(func() { r.down = true })
		pass(time.Hour)
		if len(r.tries()) != 3 {
			t.Errorf("%d attempts, want 3: none is made again before it is recorded", len(r.tries()))
		}
		r.locked(func() { r.down = false })
		pass(2 * time.Hour)
		if r.state.View().OutboxLen() != 0 || r.state.View().DeadLen() != 0 || len(r.tries()) != 9 {
			t.Errorf("%d waiting, %d dead, %d attempts; want 0, 0, 9", r.state.View().OutboxLen(), r.state.View().DeadLen(), len(r.tries()))
		}
		end()
	})
}

// An outbox that ends while nothing can be recorded makes the attempt again.
func TestStopsWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{}, nil }
		r.handOver("hook", 1)
		r.down = true
		_, end := r.start()
		pass(time.Minute)
		end()
		r.down = false
		_, end = r.start()
		pass(time.Second)
		if r.state.View().OutboxLen() != 0 || len(r.tries()) != 2 || r.tries()[0].key != r.tries()[1].key {
			t.Errorf("%d waiting after attempts %v", r.state.View().OutboxLen(), r.tries())
		}
		end()
	})
}

func TestTriggerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start()
		r.handOver("hook", 1)
		r.configure("acme", 1, "another")
		pass(time.Minute)
		if d := r.dead()[keyOf(1)]; d == nil || d.Reason != `trigger "hook": not found` {
			t.Errorf("dead letter %+v", d)
		}
		if len(r.tries()) != 0 {
			t.Errorf("%d attempts without a trigger", len(r.tries()))
		}
		end()
	})
}

// A deleted tenant's deliveries leave the outbox by themselves; what is known of
// them leaves the memory.
func TestTenantIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		o, end := r.start()
		r.handOver("hook", 1, 2, 3)
		pass(time.Minute)
		if _, err := r.apply(&fsm.DeleteTenant{Tenant: "acme", Expect: 1, At: 5}); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if len(r.tries()) != 3 || len(r.dead()) != 3 {
			t.Errorf("%d attempts, %d dead letters; want 3, 3", len(r.tries()), len(r.dead()))
		}
		o.tries.mu.Lock()
		if len(o.tries.all) != 0 {
			t.Errorf("still remembered: %v", o.tries.all)
		}
		o.tries.mu.Unlock()
		end()
	})
}

// An outcome that is recorded while Run looks at an older state is not forgotten.
func TestOlderView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handOver("hook", 1)
		pass(time.Hour)
		var once sync.Once
		r.viewed = func(*fsm.View) {
			once.Do(func() {
				if _, err := r.apply(&fsm.Settle{Settled: []fsm.Settled{{Tenant: "acme", Key: keyOf(1), Outcome: fsm.Sent, Attempts: 2}}}); err != nil {
					t.Error(err)
				}
			})
		}
		_, end := r.start()
		pass(time.Hour)
		if len(r.tries()) != 0 {
			t.Errorf("%d attempts at what was settled", len(r.tries()))
		}
		end()
	})
}

func TestDamagedEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := &fsm.Progress{Cohort: "c", Epoch: r.epoch, Network: "acme/net", Outbox: []fsm.Outgoing{
			{Key: "bad", Tenant: "acme", Trigger: "hook", Delivery: []byte("{"), At: time.Now().UnixMilli(), Attempts: 1},
		}}
		if _, err := r.apply(c); err != nil {
			t.Fatal(err)
		}
		_, end := r.start()
		pass(time.Minute)
		if !slices.ContainsFunc(slices.Collect(r.state.View().DeadLetters()), func(d *fsm.Dead) bool { return d.Key == "bad" }) {
			t.Error("what cannot be read is not a dead letter")
		}
		end()
	})
}
