package worker

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// listed is the same trigger n times.
func listed(trigger string, n int) tenantDoc {
	d := simple()
	d.hooks = append(d.hooks, "slow")
	d.monitors["m"] = watching{networks: []string{"net"}, triggers: slices.Repeat([]string{trigger}, n)}
	return d
}

// A receiver that never answers costs its own tenant: another tenant hears of each
// following block at once, and the cursor follows a second behind.
func TestDeadReceiverDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 200 * time.Millisecond
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", listed("slow", 3))
		r.setTenant("beta", simple())
		gate := make(chan struct{})
		r.silent["slow"] = gate
		p := r.start(-1)
		r.extend("net", 1)
		for n := 1; n <= 40; n++ {
			before := time.Now()
			r.extend("net", 1)
			synctest.Wait()
			if got := len(r.heights("beta", "m")); got != n || !time.Now().Equal(before) {
				t.Fatalf("%d alerts of %d blocks that are due, %v after the last", got, n, time.Since(before))
			}
			n, _ := r.state.View().Network("net")
			if behind := n.Next - 1 - r.cursor("net"); behind > uint64(time.Second/every)+1 {
				t.Fatalf("the cursor is %d announcements behind", behind)
			}
			pass(every)
		}
		pass(time.Second)
		if got := r.cursor("net"); got != 41 {
			t.Errorf("the cursor is at %d, want 41", got)
		}
		if got := r.state.View().Box("acme").Entries; got != 3*40 {
			t.Errorf("%d deliveries in the outbox, want those of the dead receiver", got)
		}
		if r.state.View().Box("beta").Entries != 0 || r.repeated() != nil {
			t.Errorf("in the outbox: %+v; sent twice: %v", r.state.View().Box("beta"), r.repeated())
		}
		close(gate)
		synctest.Wait()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Rounds overlap up to a bound, and are recorded in order: one whose attempts have
// ended waits for those before it.
func TestRoundsAreBoundedAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		d := simple("net")
		d.hooks = append(d.hooks, "slow")
		d.monitors["s"] = watching{networks: []string{"net"}, triggers: []string{"slow"}}
		r.setTenant("acme", d)
		gate := make(chan struct{})
		r.silent["slow"] = gate
		begun := 0
		p := r.start(-1, func(p *process, o *Options) {
			o.Patience = time.Hour
			p.deliver = func(n *notify.Notification) {
				if n.Trigger.Name == "slow" {
					r.locked(func() { begun++ })
				}
			}
		})
		r.extend("net", 1)
		synctest.Wait()
		for range 3 * maxRounds {
			r.extend("net", 1)
			synctest.Wait()
		}
		// The first announcement made nothing due and is recorded.
		if got := r.cursor("net"); begun != maxRounds || got != 1 {
			t.Errorf("%d rounds have begun to send, the cursor is at %d; want %d, 1", begun, got, maxRounds)
		}
		pass(time.Second) // what the quick receiver has accepted is recorded meanwhile
		if n := len(slices.Collect(r.state.View().FiredOn("net"))); n != maxRounds {
			t.Errorf("%d alerts in the ledger, want %d", n, maxRounds)
		}
		r.locked(func() { delete(r.silent, "slow") })
		close(gate)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 100+3*maxRounds-1)...)
		r.wantHeights("acme", "s", span(100, 100+3*maxRounds-1)...)
		if r.repeated() != nil || r.state.View().OutboxLen() != 0 {
			t.Errorf("sent twice: %v; %d in the outbox", r.repeated(), r.state.View().OutboxLen())
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// When a round cannot be recorded, those after it record what they have sent and
// leave the cursor: all is judged again from there, and only what the failed round
// sent is sent again.
func TestRoundThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		failed, beside := false, 0
		var moves []uint64
		p := r.start(-1, func(p *process, _ *Options) {
			p.propose = func(c fsm.Command) error {
				progress, ok := c.(*fsm.Progress)
				switch {
				case !ok:
				case progress.To == 3 && !failed:
					<-time.After(time.Second) // others are judged meanwhile
					failed = true
					return errors.Join(fsm.ErrNotFound, errWeather)
				case failed && progress.To == 0:
					beside++
				case failed:
					moves = append(moves, progress.To)
				}
				return nil
			}
		})
		for range 6 { // each makes a round of its own
			r.extend("net", 1)
			synctest.Wait()
		}
		r.drained("net")
		r.wantHeights("acme", "m", 100, 101, 101, 102, 103, 104)
		if !failed || beside != 3 || !slices.Equal(moves, []uint64{6}) {
			t.Errorf("failed: %v, %d records beside the cursor, then moves to %d; want 3, and one to 6", failed, beside, moves)
		}
		if got := p.metric("ozmo_worker_restarts_total"); got != 1 {
			t.Errorf("%v restarts, want 1", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A tenant has a share of the slots: however many of its receivers are dead,
// others' first attempts begin at once. What finds no slot is in the outbox
// without an attempt.
func TestSlotsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", listed("slow", tenantFirstAttempts+100))
		r.setTenant("beta", simple())
		gate := make(chan struct{})
		r.silent["slow"] = gate
		p := r.start(-1)
		r.extend("net", 2)
		synctest.Wait()
		r.wantHeights("beta", "m", 100)
		if got := p.worker.slots.used; got != tenantFirstAttempts {
			t.Errorf("%d slots are taken, want %d", got, tenantFirstAttempts)
		}
		pass(10 * time.Second)
		attempted := map[uint32]int{}
		for o := range r.state.View().Outbox() {
			attempted[o.Attempts]++
		}
		if attempted[1] != tenantFirstAttempts || attempted[0] != 100 {
			t.Errorf("in the outbox by attempts: %v", attempted)
		}
		close(gate)
		synctest.Wait()
		if got := p.worker.slots.used; got != 0 || len(p.worker.slots.tenants) != 0 {
			t.Errorf("%d slots of %d tenants are still taken", got, len(p.worker.slots.tenants))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
