package worker

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// noisy gives a tenant so many monitors of address 1.
func (r *rig) noisy(tenant string, monitors int) {
	r.t.Helper()
	d := tenantDoc{monitors: map[string]watching{}, hooks: []string{"loud"}}
	for i := range monitors {
		d.monitors[fmt.Sprintf("m%03d", i)] = watching{networks: []string{"net"}, address: 1, triggers: []string{"loud"}}
	}
	r.setTenant(tenant, d)
}

// crowdedBlock announces a block with one transaction to address 0 and so many to
// address 1.
func (r *rig) crowdedBlock(transactions int) {
	r.t.Helper()
	e := r.nextBlock("net")
	list := []transfer{{txHash(e.Ref.Hash, 0), 0}}
	for i := range transactions {
		list = append(list, transfer{fsm.HashBlob(fmt.Appendf(e.Ref.Hash[:], "%d", i)), 1})
	}
	r.mu.Lock()
	r.payloads[e.Ref.Hash] = payloadWith(e.Ref, list)
	r.mu.Unlock()
	r.announce("net", e)
}

// withOutbox gives a process the real outbox.
func withOutbox(p *process, o *Options) {
	p.outbox = outbox.New(outbox.Options{
		Node: o.Node, Contact: p.contact, Log: p, Sender: p, Triggers: store.NewTriggers(unsealed{}), Logger: o.Logger, Registerer: p.reg,
	})
	o.Outbox = p.outbox
}

func (r *rig) countOf(tenant string) (n int) {
	for _, s := range r.deliveries() {
		if s.Tenant == tenant {
			n++
		}
	}
	return n
}

// A tenant with more alerts in a block than go among others' gets a cohort of its own,
// and there it waits while its outbox is full. The others' cursor goes on before it,
// nothing becomes a dead letter, and in the end everything has come, once.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const monitors, transactions, blocks = 30, 60, 4
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.noisy("noisy", monitors)
		gate := make(chan struct{})
		r.silent["loud"] = gate
		p := r.prepare(-1, withOutbox)
		most := 0
		p.propose = func(c fsm.Command) error {
			if progress, ok := c.(*fsm.Progress); ok {
				most = max(most, len(progress.Fired))
			}
			return nil
		}
		p.run()
		r.extend("net", 1)
		for range blocks {
			r.crowdedBlock(transactions)
		}
		r.extend("net", 2)
		pass(30 * time.Second)
		v := r.state.View()
		apart := mustTenant(t, v, "noisy").Cohort
		if apart == cohort {
			t.Fatal("the noisy tenant is not judged apart")
		}
		main, _ := v.Cursor("net", cohort)
		own, _ := v.Cursor("net", apart)
		if main.Position != 7 || own.Position >= 6 {
			t.Errorf("the others' cursor is at %d, its own at %d; want 7, and less than 6", main.Position, own.Position)
		}
		r.wantHeights("acme", "m", span(100, 105)...)
		if box := v.Box("noisy"); box.Bytes > fsm.MaxOutboxTenant || box.Bytes < roomyBox || v.DeadLen() != 0 {
			t.Errorf("%d bytes in its outbox, %d dead letters", box.Bytes, v.DeadLen())
		}
		close(gate)
		pass(20 * time.Minute)
		v = r.state.View()
		if left, dead := v.OutboxLen(), v.DeadLen(); left != 0 || dead != 0 || r.cursor("net") != 7 {
			t.Errorf("%d in the outbox, %d dead letters, the cursor at %d", left, dead, r.cursor("net"))
		}
		if n, want := r.countOf("noisy"), monitors*(2+blocks*transactions); n != want { // the plain blocks have a transaction each; the last is not due
			t.Errorf("the noisy tenant was told of %d, want %d", n, want)
		}
		if r.repeated() != nil || most >= 2*maxPart {
			t.Errorf("sent twice: %d; at most %d alerts recorded together", len(r.repeated()), most)
		}
		if p.metric("ozmo_worker_crowded_total") == 0 || p.metric("ozmo_worker_laggards_total") == 0 {
			t.Error("it is not counted")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A process that ends between the parts of a crowd leaves the rest to the next one.
func TestCrowdIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.noisy("noisy", 30)
		gate := make(chan struct{})
		r.silent["loud"] = gate
		p := r.start(-1, withOutbox)
		for range 3 {
			r.crowdedBlock(60)
		}
		r.extend("net", 1)
		pass(10 * time.Second)
		v := r.state.View()
		if own, _ := v.Cursor("net", mustTenant(t, v, "noisy").Cohort); own.Position >= 4 {
			t.Errorf("its cursor is at %d: nothing is left to be taken up", own.Position)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		close(gate)
		p = r.start(-1, withOutbox)
		pass(20 * time.Minute)
		told := map[string]bool{}
		for _, s := range r.deliveries() {
			told[s.Key] = s.Tenant == "noisy"
		}
		n := 0
		for _, noisy := range told {
			if noisy {
				n++
			}
		}
		if v = r.state.View(); n != 30*3*60 || v.OutboxLen() != 0 || v.DeadLen() != 0 || r.cursor("net") != 4 {
			t.Errorf("%d alerts, %d in the outbox, %d dead letters, the cursor at %d", n, v.OutboxLen(), v.DeadLen(), r.cursor("net"))
		}
		r.wantHeights("acme", "m", 100, 101, 102)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Where a tenant cannot leave its cohort, its alerts go out all the same.
func TestCrowdThatCannotLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.noisy("noisy", 30)
		p := r.prepare(-1, withOutbox)
		p.propose = func(c fsm.Command) error {
			if _, ok := c.(*fsm.Move); ok {
				return errors.New("no")
			}
			return nil
		}
		p.run()
		r.crowdedBlock(60)
		r.extend("net", 2)
		r.drained("net")
		pass(10 * time.Minute)
		if n := r.countOf("noisy"); n != 30*(60+1) {
			t.Errorf("the noisy tenant was told of %d", n)
		}
		r.wantHeights("acme", "m", 100, 101)
		if mustTenant(t, r.state.View(), "noisy").Cohort != cohort || r.repeated() != nil {
			t.Error("it has left, or was told twice")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What a quota keeps from going out fills the outbox and then holds back the tenant
// alone: nothing becomes a dead letter. With another quota, everything comes.
func TestQuotaHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const monitors, blocks = 100, 60
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.source = fsm.SourceAPI
		r.noisy("noisy", monitors)
		r.must(&fsm.SetQuota{Tenant: "noisy", Quota: fsm.Quota{NotificationsPerHour: 4}})
		p := r.start(-1, withOutbox)
		for range blocks {
			r.extend("net", 1)
			pass(12 * time.Second)
		}
		v := r.state.View()
		main, _ := v.Cursor("net", cohort)
		own, _ := v.Cursor("net", mustTenant(t, v, "noisy").Cohort)
		if main.Position != blocks || own.Position >= blocks {
			t.Errorf("the others' cursor is at %d, its own at %d; want %d, and less", main.Position, own.Position, blocks)
		}
		if box := v.Box("noisy"); box.Bytes > fsm.MaxOutboxTenant || box.Bytes < roomyBox || v.DeadLen() != 0 || r.countOf("noisy") > 4 {
			t.Errorf("%d bytes in its outbox, %d dead letters, %d sent", box.Bytes, v.DeadLen(), r.countOf("noisy"))
		}
		r.must(&fsm.SetQuota{Tenant: "noisy", Quota: fsm.Quota{}, Expect: mustTenant(t, v, "noisy").QuotaIndex})
		pass(30 * time.Minute)
		v = r.state.View()
		if v.OutboxLen() != 0 || v.DeadLen() != 0 || r.countOf("noisy") != monitors*(blocks-1) || r.cursor("net") != blocks {
			t.Errorf("%d in the outbox, %d dead letters, %d sent, the cursor at %d", v.OutboxLen(), v.DeadLen(), r.countOf("noisy"), r.cursor("net"))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
