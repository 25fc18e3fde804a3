package worker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		d := simple()
		d.hooks = append(d.hooks, "slow")
		d.monitors["m"] = watching{networks: []string{"net"}, triggers: []string{"hook", "slow"}}
		r.setTenant("acme", d)
		gate := make(chan struct{})
		r.silent["slow"] = gate
		p := r.start(-1, func(_ *process, o *Options) { o.Patience = 2 * time.Second })
		r.extend("net", 2)
		synctest.Wait()
		began := time.Now()
		changed := r.state.Changed(fsm.TopicOutbox)
		<-changed
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("the cursor waited %v, want 2s", got)
		}
		synctest.Wait()
		block := r.chain("net").branch[0]
		key := keyOf("acme", "m", "net", "slow", 0, block, 0)
		o, ok := r.state.View().FindOutgoing("acme", key)
		if !ok || o.Attempts != 1 || o.Tenant != "acme" || o.Trigger != "slow" {
			t.Fatalf("outbox: %+v, %v", o, ok)
		}
		back, err := alert.DecodeDelivery(o.Delivery)
		if err != nil || back.Key.String() != key || back.Alert.Block != block || back.Trigger != "slow" {
			t.Errorf("delivery in the outbox %+v, %v", back, err)
		}
		if r.cursor("net") != 2 {
			t.Errorf("the cursor is at %d, want 2", r.cursor("net"))
		}
		id := alert.NewID("acme", "m", "net", txHash(block.Hash, 0).String()).String()
		f, _ := r.state.View().FindFired("net", block, id, mustTenant(t, r.state.View(), "acme").Born)
		if f == nil || len(f.Deliveries) != 2 || f.Deliveries[0].Outcome != fsm.Sent || f.Deliveries[1].Outcome != fsm.HandedOver {
			t.Errorf("ledger %+v", f)
		}
		var done <-chan outbox.Attempt
		r.locked(func() { done = r.adopted[key] })
		if done == nil {
			t.Fatal("the delivery was not adopted by the outbox")
		}
		close(gate)
		if a := <-done; a.Err != nil {
			t.Errorf("the adopted attempt ended with %v", a.Err)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		d := simple()
		d.hooks = []string{"hook", "busy", "never"}
		d.monitors["m"] = watching{networks: []string{"net"}, triggers: []string{"hook", "busy", "never", "missing"}}
		r.setTenant("acme", d)
		r.refuse["busy"] = notify.Result{Status: 503}
		r.refuse["never"] = notify.Result{Status: 410, Permanent: true}
		p := r.start(-1)
		r.extend("net", 2)
		r.drained("net")
		v := r.state.View()
		block := r.chain("net").branch[0]
		if _, ok := v.FindOutgoing("acme", keyOf("acme", "m", "net", "busy", 0, block, 0)); !ok || v.OutboxLen() != 1 {
			t.Errorf("%d in the outbox, want what may yet succeed", v.OutboxLen())
		}
		r.locked(func() {
			if len(r.adopted) != 0 {
				t.Error("an attempt that has ended was adopted")
			}
		})
		reasons := map[string]string{}
		for dead := range v.DeadLetters() {
			reasons[dead.Trigger] = dead.Reason
		}
		if len(reasons) != 2 || reasons["never"] != "refused" || !strings.Contains(reasons["missing"], `trigger "missing"`) {
			t.Errorf("dead letters %v", reasons)
		}
		r.wantHeights("acme", "m", 100)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestUnsupportedTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		p := r.start(-1, func(_ *process, o *Options) { o.Sender = notify.NewSender(notify.SenderOptions{}) })
		r.extend("net", 2)
		r.drained("net")
		var reasons []string
		for dead := range r.state.View().DeadLetters() {
			reasons = append(reasons, dead.Reason)
		}
		if len(reasons) != 1 || !strings.Contains(reasons[0], notify.ErrNoChannel.Error()) || !strings.Contains(reasons[0], "webhook") {
			t.Errorf("dead letters %q", reasons)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestUncertainProposals(t *testing.T) {
	for _, applied := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			failures := 0
			p := r.start(-1, func(p *process, _ *Options) {
				p.propose = func(c fsm.Command) error {
					if failures++; failures > 5 {
						return nil
					}
					if applied {
						r.must(c)
					}
					return errors.New("leadership lost")
				}
			})
			r.extend("net", 4)
			r.drained("net")
			r.wantHeights("acme", "m", span(100, 102)...)
			if len(r.alerts()) != 3 || p.metric("ozmo_worker_restarts_total") != 0 {
				t.Errorf("%d alerts recorded, want 3; %v restarts", len(r.alerts()), p.metric("ozmo_worker_restarts_total"))
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMatchThatCannotBeDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		d := simple()
		d.monitors["m"] = watching{networks: []string{"net"}, address: 1, triggers: []string{"hook"}}
		r.setTenant("broken", d)
		r.extend("net", 2)
		p := r.start(-1)
		r.drained("net") // a book and an engine of its own serve below
		pl := p.pipeline("net")
		v := r.state.View()
		version, _ := mustTenant(t, v, "broken").InForce(v.Index())
		about := &monitor{name: "m", slug: "net", triggers: []string{"hook"}}
		ref := fsm.BlockRef{Height: 7, Hash: fsm.Hash{7}}
		s := &step{entry: fsm.Entry{Position: 2, Index: v.Index()}}
		rd := pl.newRound()
		f := rd.build(v, s, hitAt{hit: hit{
			Key: match.Key{Tenant: "broken", Monitor: "m"}, about: about, tx: "0x07", build: func() *match.Match { panic("no words") },
		}, ref: ref}, mustTenant(t, v, "broken").Born, version)
		if len(f.deliveries) != 1 || !f.deliveries[0].hasEnded() || !f.deliveries[0].attempt.Result.Permanent {
			t.Fatalf("%+v: want one delivery that is refused for good", f)
		}
		rd.fired = []*firing{f}
		if err := rd.record(t.Context(), []step{*s}); err != nil {
			t.Fatal(err)
		}
		dead := slices.Collect(r.state.View().DeadLetters())
		if len(dead) != 1 || !strings.Contains(dead[0].Reason, "no words") || dead[0].Tenant != "broken" {
			t.Errorf("dead letters %+v", dead)
		}
		if p.metric("ozmo_worker_panics_total") != 1 {
			t.Error("the panic is not counted")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

var _ Outbox = (*outbox.Outbox)(nil)
