package outbox

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

func numbered(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// handOverTo puts n deliveries of a tenant into the outbox, to each of the triggers
// in turn; to "hook" if none is named.
func (r *rig) handOverTo(tenant string, n int, triggers ...string) {
	r.t.Helper()
	c := &fsm.Progress{Cohort: "c", Epoch: r.epoch, Network: "acme/net"}
	for i := range n {
		trigger := "hook"
		if len(triggers) > 0 {
			trigger = triggers[i%len(triggers)]
		}
		d := delivery(i, trigger)
		a := *d.Alert
		a.ID, a.Tenant = alert.NewID(tenant, "m", a.Network, a.Tx), tenant
		d = &alert.Deliveries(&a, []string{trigger})[0]
		data, err := alert.EncodeDelivery(d)
		if err != nil {
			r.t.Fatal(err)
		}
		c.Outbox = append(c.Outbox, fsm.Outgoing{
			Key: d.Key.String(), Tenant: tenant, Trigger: trigger, Delivery: data, At: time.Now().UnixMilli(), Attempts: 1,
		})
	}
	if _, err := r.apply(c); err != nil {
		r.t.Fatal(err)
	}
}

// A receiver that hangs holds a bounded number of attempts: of its trigger, of its
// tenant and in all; the rest is made once it answers.
func TestAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		tenants := []string{"acme"}
		for len(tenants) < maxAttempts/tenantAttempts+2 {
			tenants = append(tenants, fmt.Sprintf("tenant-%d", len(tenants)))
		}
		triggers := []string{"hook", "two", "three", "four", "five"}
		for _, tenant := range tenants[1:] {
			r.configure(tenant, 0, triggers...)
		}
		r.configure("acme", 1, triggers...)
		gate := make(chan struct{})
		r.answer = func(*notify.Notification) (notify.Result, error) {
			<-gate
			return notify.Result{Status: 200}, nil
		}
		_, end := r.start()
		r.handOverTo("acme", 300)
		pass(time.Minute)
		if got := len(r.tries()); got != laneAttempts {
			t.Errorf("%d attempts under way for one trigger, want %d", got, laneAttempts)
		}
		r.handOverTo("acme", 1000, triggers...)
		pass(time.Minute)
		if got := len(r.tries()); got != tenantAttempts {
			t.Errorf("%d attempts under way for one tenant, want %d", got, tenantAttempts)
		}
		for _, tenant := range tenants[1:] {
			r.handOverTo(tenant, 100, triggers...)
		}
		pass(time.Minute)
		if got := len(r.tries()); got != maxAttempts {
			t.Errorf("%d attempts under way, want %d", got, maxAttempts)
		}
		all := r.state.View().OutboxLen()
		close(gate)
		pass(time.Minute)
		if got := len(r.tries()); got != all || r.state.View().OutboxLen() != 0 {
			t.Errorf("%d attempts, %d left in the outbox; want %d, 0", got, r.state.View().OutboxLen(), all)
		}
		end()
	})
}

// A dead receiver of a tenant does not keep the tenant's others waiting.
func TestTriggersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.configure("acme", 1, "hook", "dead")
		gate := make(chan struct{})
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if n.Trigger.Name == "dead" {
				<-gate
				return notify.Result{}, errors.New("no answer")
			}
			return notify.Result{Status: 200}, nil
		}
		_, end := r.start()
		r.handOverTo("acme", 500, "dead")
		pass(time.Minute)
		r.handOverTo("acme", 500, "hook")
		pass(Schedule[0] + 3*rescan)
		if got := r.state.View().OutboxLen(); got != 500 {
			t.Errorf("%d left in the outbox, want the 500 of the dead receiver", got)
		}
		close(gate)
		pass(time.Minute)
		end()
	})
}

// A tenant's dead receiver does not keep another tenant waiting.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.configure("beta", 0, "hook")
		gate := make(chan struct{})
		r.answer = func(n *notify.Notification) (notify.Result, error) {
			if n.Alert.Tenant == "acme" {
				<-gate
				return notify.Result{}, errors.New("no answer")
			}
			return notify.Result{Status: 200}, nil
		}
		_, end := r.start()
		r.handOverTo("acme", 500)
		pass(time.Minute)
		r.handOverTo("beta", 500)
		pass(Schedule[0] + 3*rescan) // a freed slot is used without another look
		if got := r.state.View().OutboxLen(); got != 500 {
			t.Errorf("%d left in the outbox, want the 500 of the dead receiver", got)
		}
		close(gate)
		pass(time.Minute)
		end()
	})
}

// What was handed over without an attempt is attempted at once, as the first.
func TestNotAttemptedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, end := r.start()
		pass(time.Hour)
		d := delivery(1, "hook")
		data, err := alert.EncodeDelivery(d)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if _, err := r.apply(&fsm.Progress{Cohort: "c", Epoch: r.epoch, Network: "acme/net", Outbox: []fsm.Outgoing{{
			Key: keyOf(1), Tenant: "acme", Trigger: "hook", Delivery: data, At: now.UnixMilli(), NotBefore: now.UnixMilli(),
		}}}); err != nil {
			t.Fatal(err)
		}
		pass(rescan)
		if got := r.tries(); len(got) != 1 || got[0].number != 1 {
			t.Errorf("attempts %v, want the first at once", got)
		}
		pass(7 * time.Second)
		if got := r.tries(); len(got) != 2 || got[1].number != 2 || got[1].at.Sub(now) < Schedule[0] {
			t.Errorf("attempts %v, want the second after %v", got, Schedule[0])
		}
		end()
	})
}

// However often the outbox changes, it is looked at forty times a second at most,
// and nothing that is due is late by more than that.
func TestLooksAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.answer = func(*notify.Notification) (notify.Result, error) { return notify.Result{Status: 200}, nil }
		o, end := r.start()
		began := time.Now()
		for n := range 1000 {
			r.handOver("hook", n)
			pass(time.Millisecond)
		}
		o.book.mu.Lock()
		if got := o.book.looks; got > uint64(time.Second/rescan)+2 {
			t.Errorf("%d looks at the state in a second of 1000 changes", got)
		}
		o.book.mu.Unlock()
		pass(10 * time.Second)
		if got := r.state.View().OutboxLen(); got != 0 {
			t.Errorf("%d left in the outbox", got)
		}
		for i, a := range r.tries() {
			if late := a.at.Sub(began) - Schedule[0] - time.Second; late > rescan {
				t.Errorf("attempt %d came %v late", i, late)
			}
		}
		end()
	})
}
