package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// crowd is a tenant whose every match goes to a receiver that is silent, three
// times, and then to one that answers.
func crowd(r *rig) (gate chan struct{}) {
	r.setShared("net", 1)
	d := simple()
	d.hooks = append(d.hooks, "slow")
	d.monitors["m"] = watching{networks: []string{"net"}, triggers: []string{"slow", "slow", "slow", "hook"}}
	r.setTenant("acme", d)
	gate = make(chan struct{})
	r.silent["slow"] = gate
	return gate
}

// Deliveries that get no slot go to the outbox without an attempt, due at once;
// nothing is lost, and nobody else sends what is under way.
func TestFirstAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gate := crowd(r)
		begun := 0
		p := r.prepare(-1, func(p *process, _ *Options) {
			p.deliver = func(*notify.Notification) { r.locked(func() { begun++ }) }
		})
		p.worker.slots.size = 2*freeShare + 1 // of which one tenant gets 2
		p.run()
		r.extend("net", 3) // 100 and 101 are due
		pass(10 * time.Second)
		if begun != 2 || r.cursor("net") != 3 {
			t.Errorf("%d first attempts under way, the cursor at %d; want 2, 3", begun, r.cursor("net"))
		}
		v := r.state.View()
		var adopted, waiting int
		for o := range v.Outbox() {
			r.locked(func() {
				switch {
				case r.adopted[o.Key] != nil && o.Attempts == 1 && o.NotBefore == 0:
					adopted++
				case r.adopted[o.Key] == nil && o.Attempts == 0 && o.NotBefore == o.At && o.At != 0:
					waiting++
				default:
					t.Errorf("in the outbox, adopted %v: %+v", r.adopted[o.Key] != nil, o)
				}
			})
		}
		if adopted != 2 || waiting != 6 {
			t.Errorf("%d deliveries adopted and %d without an attempt, want 2, 6", adopted, waiting)
		}
		for _, block := range r.chain("net").branch[:2] {
			for key, n := range map[string]int{"slow": 3, "hook": 1} {
				for occurrence := range n {
					if _, ok := v.FindOutgoing("acme", keyOf("acme", "m", "net", key, occurrence, block, 0)); !ok {
						t.Errorf("block %d: delivery %d of %s is not in the outbox", block.Height, occurrence, key)
					}
				}
			}
		}
		close(gate)
		synctest.Wait()
		r.extend("net", 4)
		r.drained("net")
		if got := len(r.deliveries()); got != 2+4*4 || begun != got {
			t.Errorf("%d deliveries of %d begun once the receiver answers, want 18", got, begun)
		}
		if r.state.View().OutboxLen() != 8 || r.repeated() != nil {
			t.Errorf("%d in the outbox, want 8; sent twice: %v", r.state.View().OutboxLen(), r.repeated())
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A slot that becomes free while there is patience is used.
func TestWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gate := crowd(r)
		p := r.prepare(-1)
		p.worker.slots.size = 1
		p.run()
		r.extend("net", 2)
		pass(500 * time.Millisecond)
		if got := len(r.deliveries()); got != 0 {
			t.Errorf("%d deliveries without a slot", got)
		}
		close(gate)
		synctest.Wait()
		if len(r.deliveries()) != 4 || r.state.View().OutboxLen() != 0 || r.cursor("net") != 2 {
			t.Errorf("%d delivered, %d in the outbox, the cursor at %d; want 4, 0, 2",
				len(r.deliveries()), r.state.View().OutboxLen(), r.cursor("net"))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A first attempt does not hang for ever: it counts as failed, and may be made
// again.
func TestFirstAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		crowd(r)
		p := r.start(-1)
		r.extend("net", 2)
		began := time.Now()
		pass(10 * time.Second)
		for occurrence := range 3 {
			var done <-chan outbox.Attempt
			r.locked(func() { done = r.adopted[keyOf("acme", "m", "net", "slow", occurrence, r.chain("net").branch[0], 0)] })
			if done == nil {
				t.Fatal("a delivery was not adopted by the outbox")
			}
			a := <-done
			if !errors.Is(a.Err, context.DeadlineExceeded) || errors.Is(a.Err, context.Canceled) || a.Result.Permanent {
				t.Errorf("the attempt ended with %+v, want a failure that may be repeated", a)
			}
			if got := time.Since(began); got != firstAttempts {
				t.Errorf("the attempt took %v, want %v", got, firstAttempts)
			}
		}
		synctest.Wait()
		if got := p.worker.slots.used; got != 0 {
			t.Errorf("%d slots are still taken", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// sated is an engine that always leaves one tenant for later, and panics then.
type sated struct {
	engine
	tenant string
}

func (e sated) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	if only != nil {
		panic("late")
	}
	f := e.engine.judge(b, position, budget, func(t string) bool { return t != e.tenant })
	f.over = append(f.over, e.tenant)
	return f
}

// What was delivered of the very first step of a batch is recorded as well when
// that step fails: it is not delivered again each time the step is tried.
func TestFirstStepFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		d := simple()
		d.hooks = []string{"hook", "slow", "busy"}
		d.monitors["m"] = watching{networks: []string{"net"}, triggers: d.hooks}
		r.setTenant("acme", d)
		r.setTenant("greedy", simple())
		gate := make(chan struct{})
		r.silent["slow"] = gate
		r.refuse["busy"] = notify.Result{Status: 503}
		r.extend("net", 2)
		begun := 0
		p := r.prepare(-1, func(p *process, _ *Options) {
			p.deliver = func(*notify.Notification) { r.locked(func() { begun++ }) }
		})
		pl := p.pipeline("net")
		try := func(damaged bool) error {
			v := r.state.View()
			n, _ := v.Network("net")
			b, err := openBook(v, "net", cohort, n.Entries[0].Index, 1, pl.onPanic)
			if err != nil {
				t.Fatal(err)
			}
			if damaged {
				b.engines[1] = sated{b.engines[1], "greedy"}
			}
			steps, _, err := plan(v, b, n.Base.Step(n.Entries[0], 64), n.Entries[1:], nil, 64)
			if err != nil {
				t.Fatal(err)
			}
			return pl.judgeAll(t.Context(), b, steps)
		}
		for range 5 {
			if err := try(true); err == nil || !strings.Contains(err.Error(), "position 2") || !strings.Contains(err.Error(), "late") {
				t.Errorf("error %v, want the panic at position 2", err)
			}
		}
		if r.cursor("net") != 0 || begun != 3 {
			t.Errorf("%d deliveries begun, the cursor at %d; want 3 once, and 0", begun, r.cursor("net"))
		}
		block := r.chain("net").branch[0]
		for _, trigger := range []string{"slow", "busy"} {
			if _, ok := r.state.View().FindOutgoing("acme", keyOf("acme", "m", "net", trigger, 0, block, 0)); !ok {
				t.Errorf("the delivery to %s is not in the outbox", trigger)
			}
		}
		close(gate)
		synctest.Wait()
		if err := try(false); err != nil {
			t.Fatal(err)
		}
		r.wantHeights("acme", "m", 100, 100)
		r.wantHeights("greedy", "m", 100)
		if r.cursor("net") != 2 || begun != 4 || r.repeated() != nil {
			t.Errorf("%d deliveries begun, the cursor at %d; want 4, 2; sent twice: %v", begun, r.cursor("net"), r.repeated())
		}
	})
}

// damage puts a version in force whose monitor cannot be read.
func (r *rig) damage(tenant string) {
	r.t.Helper()
	held, ok := r.state.View().Tenant(tenant)
	if !ok {
		r.t.Fatalf("no tenant %s", tenant)
	}
	now := held.Current.Manifest
	broken := []byte(`{"monitor":`)
	r.must(&fsm.PutBlobs{Blobs: [][]byte{broken}, At: 1})
	m := *now
	m.Docs = slices.Clone(now.Docs)
	for i := range m.Docs {
		if len(m.Docs[i].Watches) > 0 {
			m.Docs[i].Hash = fsm.HashBlob(broken)
		}
	}
	r.must(&fsm.SetTenantVersion{Tenant: tenant, Expect: r.versions[tenant], Manifest: m, At: 1})
	r.versions[tenant]++
}

// A monitor that cannot be loaded is not left out silently: what it should have
// judged waits, what came before is judged, and the log says whose it is.
func TestDamagedMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("beta", simple())
		r.extend("net", 4)
		r.damage("acme")
		r.extend("net", 4) // positions 5-8
		var log strings.Builder
		start := func() *process {
			return r.start(-1, func(_ *process, o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		}
		for range 2 {
			log.Reset()
			p := start()
			pass(time.Minute)
			if got := r.cursor("net"); got != 4 {
				t.Errorf("the cursor is at %d, want 4", got)
			}
			r.wantHeights("beta", "m", span(100, 102)...)
			if p.metric("ozmo_worker_restarts_total") == 0 {
				t.Error("the failure is not counted")
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
			for _, want := range []string{"position 5", "tenant acme", `monitor \"m\"`, "net"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not say %q: %s", want, log.String())
				}
			}
		}
		v := r.state.View()
		if _, err := openBook(v, "net", cohort, v.Index(), 8, nil); err == nil || !strings.Contains(err.Error(), "tenant acme") {
			t.Errorf("opened where the monitor is in force: %v, want an error that names the tenant", err)
		}
		r.deleteTenant("acme")
		p := start()
		r.drained("net")
		r.wantHeights("beta", "m", span(100, 106)...)
		r.wantHeights("acme", "m", span(100, 102)...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A panic while judging is the answer, not a block without matches.
func TestRejudgePanics(t *testing.T) {
	r := newRig(t)
	r.setShared("net", 1)
	r.setTenant("acme", simple())
	v := r.state.View()
	j, err := NewRejudge(v, "acme", mustTenant(t, v, "acme").Current, "net", 1, 64, 1)
	if err != nil {
		t.Fatal(err)
	}
	chain, ok := j.chain.(*evmEngines)
	if !ok {
		t.Fatalf("engines of %T", j.chain)
	}
	j.engine = faulty{j.engine, func() { chain.onPanic(match.Key{Tenant: "acme", Monitor: "m"}, "boom") }}
	found, err := j.Judge(payloadOf(fsm.BlockRef{Height: 5, Hash: fsm.Hash{5}}))
	if err == nil || found != nil || !strings.Contains(err.Error(), `monitor "m"`) || !strings.Contains(err.Error(), "boom") {
		t.Errorf("found %v, %v; want the panic", found, err)
	}
}

// faulty is an engine with a monitor that panics in every block.
type faulty struct {
	engine
	panicked func()
}

func (e faulty) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	e.panicked()
	return e.engine.judge(b, position, budget, only)
}
