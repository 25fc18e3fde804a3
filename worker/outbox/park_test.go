package outbox

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// line is contact that can be lost and found.
type line struct {
	mu   sync.Mutex
	back chan struct{} // nil while contact is held
}

func (l *line) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back == nil
}

func (l *line) Wait(ctx context.Context) error {
	l.mu.Lock()
	back := l.back
	l.mu.Unlock()
	if back == nil {
		return nil
	}
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *line) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = make(chan struct{})
}

func (l *line) find() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.back)
	l.back = nil
}

func (r *rig) accept() {
	r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{Status: 200}, nil }
}

// hang makes the receiver accept once the gate is closed.
func (r *rig) hang() (gate chan struct{}) {
	gate = make(chan struct{})
	r.answer = func(*notify.Notification) (notify.Result, error) {
		<-gate
		return notify.Result{Status: 200}, nil
	}
	return gate
}

func (r *rig) register(name string) {
	r.t.Helper()
	if _, err := r.apply(&fsm.RegisterNode{Name: name, Server: name + "@1", Address: name + ":7000", Version: "1", Roles: fsm.AllRoles}); err != nil {
		r.t.Fatal(err)
	}
}

func everybody(string) bool { return true }

// Entries of tenants that are elsewhere are not attempted; those of tenants that
// come are at once when they are due.
func TestOnlyOwnTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.register("d")
		r.accept()
		_, end := r.start()
		r.handOver("hook", 1, 2)
		r.move("acme", "d", true)
		pass(time.Hour)
		if got := len(r.tries()); got != 0 {
			t.Errorf("%d attempts for a tenant of another node", got)
		}
		r.move("acme", "c", false)
		pass(rescan)
		if got := len(r.tries()); got != 0 {
			t.Errorf("%d attempts while it is handed over", got)
		}
		tenant, _ := r.state.View().Tenant("acme")
		c, _ := r.state.View().Cohort(tenant.Cohort)
		if _, err := r.apply(&fsm.Release{Cohort: c.ID, Epoch: c.Epoch}); err != nil {
			t.Fatal(err)
		}
		pass(rescan)
		if got := len(r.tries()); got != 2 || r.state.View().OutboxLen() != 0 {
			t.Errorf("%d attempts, %d left; want 2, 0", got, r.state.View().OutboxLen())
		}
		end()
	})
}

// An attempt that another node has made since counts, whatever was known here.
func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.register("d")
		_, end := r.start()
		r.handOver("hook", 1)
		pass(6 * time.Second) // the second attempt failed
		r.move("acme", "d", true)
		later := time.Now().Add(3 * time.Hour)
		if _, err := r.apply(&fsm.Settle{Settled: []fsm.Settled{{
			Tenant: "acme", Key: keyOf(1), Outcome: fsm.HandedOver, Attempts: 3, NotBefore: later.UnixMilli(),
		}}}); err != nil {
			t.Fatal(err)
		}
		r.move("acme", "c", true)
		pass(3*time.Hour - time.Second)
		if got := len(r.tries()); got != 1 {
			t.Errorf("%d attempts before the time is over that another node recorded", got)
		}
		pass(time.Second)
		if got := r.tries(); len(got) != 2 || got[1].number != 4 {
			t.Errorf("attempts %v, want the fourth", got)
		}
		end()
	})
}

// Without contact nothing begins; with it, only what is still this node's.
func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.register("d")
		r.configure("beta", 0, "hook")
		r.accept()
		contact := &line{}
		_, end := r.start(func(o *Options) { o.Contact = contact })
		contact.lose()
		r.handOverTo("beta", 3)
		r.handOver("hook", 1)
		pass(time.Hour)
		if got := len(r.tries()); got != 0 {
			t.Errorf("%d attempts without contact", got)
		}
		r.move("beta", "d", true)
		contact.find()
		pass(time.Second)
		if got := r.tries(); len(got) != 1 || got[0].key != keyOf(1) {
			t.Errorf("attempts %v, want the one of the tenant that stayed", got)
		}
		contact.lose()
		end() // does not wait for contact
	})
}

// calledBy reports whether a function whose name holds a text is being run.
func calledBy(name string) bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// Contact, or the tenant, that is lost right before a send stops that send; the
// entry stays due.
func TestLostAtTheLastMoment(t *testing.T) {
	for _, moved := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.register("d")
			r.accept()
			contact := &line{}
			lost := false
			r.viewed = func(*fsm.View) {
				switch {
				case lost:
				case moved && calledBy("(*Outbox).attempt") && !calledBy("(*Outbox).begin"):
					lost = true
					r.move("acme", "d", true)
				case !moved && calledBy("(*Outbox).begin"):
					lost = true
					contact.lose()
				}
			}
			o, end := r.start(func(o *Options) { o.Contact = contact })
			r.handOver("hook", 1)
			pass(time.Minute)
			if got := len(r.tries()); got != 0 || !lost {
				t.Errorf("moved %v: %d attempts, lost %v", moved, got, lost)
			}
			o.tries.mu.Lock()
			if len(o.tries.all) != 0 {
				t.Errorf("still held: %v", o.tries.all)
			}
			o.tries.mu.Unlock()
			if moved {
				r.move("acme", "c", true)
			} else {
				contact.find()
			}
			pass(time.Second)
			if got := r.tries(); len(got) != 1 || got[0].number != 2 {
				t.Errorf("attempts %v, want the second", got)
			}
			end()
		})
	}
}

func TestPark(t *testing.T) {
	const limit = 2 * time.Second
	// begun starts an outbox with an attempt that hangs, and moves the tenant away.
	begun := func(t *testing.T) (r *rig, o *Outbox, end func(), gate chan struct{}) {
		r = newRig(t)
		r.register("d")
		gate = r.hang()
		o, end = r.start()
		r.handOver("hook", 1)
		pass(Schedule[0])
		if len(r.tries()) != 1 {
			t.Fatal("no attempt under way")
		}
		r.move("acme", "d", false)
		return r, o, end, gate
	}
	t.Run("nothing under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			o, end := r.start()
			r.handOver("hook", 1)
			began := time.Now()
			if err := o.Park(t.Context(), everybody, limit); err != nil || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			end()
		})
	})
	t.Run("ends in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, o, end, gate := begun(t)
			time.AfterFunc(time.Second, func() { close(gate) })
			began := time.Now()
			if err := o.Park(t.Context(), everybody, limit); err != nil || time.Since(began) != time.Second {
				t.Errorf("%v after %v, want nil after 1s", err, time.Since(began))
			}
			if r.state.View().OutboxLen() != 0 {
				t.Error("the outcome is not recorded")
			}
			end()
		})
	})
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, o, end, gate := begun(t)
			attempt := r.tries()[0].at
			began := time.Now()
			if err := o.Park(t.Context(), everybody, limit); err != nil || time.Since(began) != limit {
				t.Errorf("%v after %v, want nil after %v", err, time.Since(began), limit)
			}
			e, ok := r.state.View().FindOutgoing("acme", keyOf(1))
			if want := attempt.Add(maxAttempt + parkMargin); !ok || time.UnixMilli(e.NotBefore).Before(want.Truncate(time.Millisecond)) || e.Attempts != 2 {
				t.Errorf("in the outbox %+v; want it not due before %v", e, want)
			}
			close(gate) // it is accepted after all
			synctest.Wait()
			if r.state.View().OutboxLen() != 0 {
				t.Error("what was accepted is still in the outbox")
			}
			end()
		})
	})
	t.Run("hangs and fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, o, end, gate := begun(t)
			r.answer = nil // nobody asks again
			if err := o.Park(t.Context(), everybody, limit); err != nil {
				t.Error(err)
			}
			before, _ := r.state.View().FindOutgoing("acme", keyOf(1))
			o.tries.mu.Lock()
			one := o.tries.all[id{"acme", keyOf(1)}]
			o.tries.mu.Unlock()
			o.ended(id{"acme", keyOf(1)}, one, Attempt{Err: errors.New("no answer")})
			synctest.Wait()
			if after, _ := r.state.View().FindOutgoing("acme", keyOf(1)); after != before {
				t.Errorf("the next owner's entry was changed: %+v", after)
			}
			close(gate)
			synctest.Wait()
			end()
		})
	})
	t.Run("other tenants", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, o, end, gate := begun(t)
			began := time.Now()
			if err := o.Park(t.Context(), func(id string) bool { return id != "acme" }, limit); err != nil || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			close(gate)
			synctest.Wait()
			end()
		})
	})
	t.Run("adopted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			o, end := r.start()
			done := make(chan Attempt, 1)
			var until time.Time
			a := Adopted{Key: keyOf(1), Tenant: "acme", Deadline: func() time.Time { return until }, Done: done}
			committed := o.Adopt(a)
			r.handOver("hook", 1)
			committed(true)
			began := time.Now()
			if err := o.Park(t.Context(), everybody, limit); err != nil || time.Since(began) != 0 {
				t.Errorf("attempts that have not begun: %v after %v", err, time.Since(began))
			}
			until = began.Add(40 * time.Second)
			if err := o.Park(t.Context(), everybody, limit); err != nil || time.Since(began) != limit {
				t.Errorf("%v after %v, want nil after %v", err, time.Since(began), limit)
			}
			if e, _ := r.state.View().FindOutgoing("acme", keyOf(1)); time.UnixMilli(e.NotBefore).Before(until) || e.Attempts != 1 {
				t.Errorf("in the outbox %+v; want it not due before %v", e, until)
			}
			done <- Attempt{Err: ErrNotBegun}
			synctest.Wait()
			if got := r.state.View().OutboxLen(); got != 1 {
				t.Errorf("%d in the outbox", got)
			}
			end()
		})
	})
	t.Run("without a leader", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, o, end, gate := begun(t)
			r.locked(func() { r.down = true })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := o.Park(ctx, everybody, limit); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want that of the context", err)
			}
			close(gate)
			synctest.Wait()
			end()
		})
	})
	t.Run("stopped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, o, end, gate := begun(t)
			result := make(chan error)
			go func() { result <- o.Park(t.Context(), everybody, time.Hour) }()
			synctest.Wait()
			go end()
			synctest.Wait()
			if err := <-result; !errors.Is(err, errStopped) {
				t.Errorf("error %v, want errStopped", err)
			}
			close(gate)
			synctest.Wait()
		})
	})
}

// An attempt does not hang for ever, and its end is no refusal.
func TestAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start(func(o *Options) { o.Sender = patient{r} })
		r.handOver("hook", 1)
		pass(Schedule[0] + maxAttempt)
		e, ok := r.state.View().FindOutgoing("acme", keyOf(1))
		if !ok || e.Attempts != 2 || e.NotBefore < time.Now().Add(Schedule[1]).UnixMilli() {
			t.Errorf("in the outbox %+v, %v; want the third attempt to come", e, ok)
		}
		end()
	})
}

// patient waits for its context, and calls that a refusal.
type patient struct{ *rig }

func (patient) Send(ctx context.Context, _ *notify.Notification) (notify.Result, error) {
	<-ctx.Done()
	return notify.Result{Permanent: true}, ctx.Err()
}
