package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// A tenant that stopped wanting a network keeps no versions for it: that must not
// hold up the others of its cohort when a block of its alerts is rolled back.
func TestRollbackAfterManyVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook"))
		defer o.stop()
		pass(10 * time.Second)
		o.setTenant("other", moded("", "hook"))
		o.add([]int{0})
		pass(10 * time.Second)
		d := moded(spec.ModeInstant, "hook")
		m := d.monitors["m"]
		m.paused = true
		d.monitors["m"] = m
		o.setTenant("acme", d)
		o.add(nil)
		pass(10 * time.Second)
		o.p.freeze()
		o.back(100)
		for i := range 40 { // more than are kept of a tenant
			d.hooks = [][]string{{"hook", "slow"}, {"hook", "slow", "gone"}}[i%2]
			o.setTenant("acme", d)
		}
		for range 5 {
			o.add(nil)
		}
		o.p.thaw()
		pass(time.Minute)
		n, _ := o.state.View().Network("net")
		if at := o.cursor("net"); at != n.Next-1 {
			t.Errorf("the cursor is at %d of %d", at, n.Next-1)
		}
		if said := o.said(0, "hook"); len(said) != 2 {
			t.Errorf("said %v: want fired and retracted", said)
		}
	})
}

// What was under way for a tenant that was deleted is nothing to one that was made
// under its name meanwhile.
func TestAlertOfADeletedTenantIsNotItsSuccessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded("", "slow"))
		defer o.stop()
		pass(10 * time.Second)
		o.setTenant("other", moded("", "hook"))
		pass(10 * time.Second)
		hang := make(chan struct{})
		o.locked(func() { o.silent["slow"] = hang })
		o.add([]int{0})
		for range 3 {
			o.add(nil)
		}
		synctest.Wait()
		o.deleteTenant("acme")
		o.setTenant("acme", moded("", "slow"))
		pass(5 * time.Second)
		for e := range o.state.View().OutboxOf("acme") {
			t.Errorf("in the new tenant's outbox: %s to %s: %s", e.Key, e.Trigger, e.Reason)
		}
		close(hang)
	})
}
