package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

func TestEveryBlockOnceAtItsDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 3)
		mine := networkDoc("mine", 1)
		mine.Watch = "net"
		r.setTenant("acme", simple())
		r.setTenant("beta", tenantDoc{
			networks: map[string]*spec.Network{"mine": mine},
			monitors: map[string]watching{"near": {networks: []string{"mine"}, address: 1, triggers: []string{"hook", "hook"}}},
			hooks:    []string{"hook"},
		})
		p := r.start(-1)
		synctest.Wait()
		r.extend("net", 40) // many at a time: in batches
		r.drained("net")
		for range 5 { // one at a time: at the tip
			r.extend("net", 1)
			synctest.Wait()
		}
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 141)...)
		var twice []uint64
		for _, h := range span(100, 143) {
			twice = append(twice, h, h)
		}
		r.wantHeights("beta", "near", twice...) // its trigger is listed twice
		if got := r.repeated(); got != nil {
			t.Errorf("keys sent twice: %v", got)
		}
		branch := r.chain("net").branch
		for _, s := range r.deliveries() {
			depth := uint64(3)
			if s.Tenant == "beta" {
				depth = 1
			}
			if want := s.Block.Height - 99 + depth; s.Position != want || s.Version != 1 {
				t.Errorf("block %d for %s at position %d, version %d; want %d, 1", s.Block.Height, s.Tenant, s.Position, s.Version, want)
			}
			if s.Block != branch[s.Block.Height-100] {
				t.Errorf("block %v is not the one announced", s.Block)
			}
		}
		first := branch[0]
		for occurrence := range 2 {
			want := keyOf("beta", "near", "net", "hook", occurrence, first, 1)
			if !slices.ContainsFunc(r.deliveries(), func(s sent) bool { return s.Key == want }) {
				t.Errorf("no delivery with the key of occurrence %d", occurrence)
			}
		}
		if len(r.alerts()) != 42+44 {
			t.Errorf("%d alerts recorded, want %d", len(r.alerts()), 42+44)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestVersionInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 5) // positions 1-5: version 1
		changed := simple()
		changed.monitors["m"] = watching{networks: []string{"net"}, address: 1, triggers: []string{"other"}}
		changed.hooks = []string{"other"}
		r.setTenant("acme", changed)
		r.extend("net", 5) // 6-10: version 2
		paused := simple()
		paused.monitors["m"] = watching{networks: []string{"net"}, paused: true, triggers: []string{"hook"}}
		paused.monitors["keeps"] = watching{networks: []string{"net"}, address: 2, triggers: []string{"hook"}}
		r.setTenant("acme", paused)
		r.extend("net", 5) // 11-15: version 3
		p := r.start(-1)   // all of it is still to be judged
		r.drained("net")
		defer p.stop() //nolint:errcheck // asserted elsewhere
		for _, s := range r.deliveries() {
			wantVersion := (s.Position-1)/5 + 1
			wantTrigger := map[uint64]string{1: "hook", 2: "other", 3: "hook"}[wantVersion]
			if s.Version != wantVersion || s.Trigger != wantTrigger || s.Block.Height != 98+s.Position {
				t.Errorf("position %d: version %d, trigger %s, block %d; want %d, %s, %d",
					s.Position, s.Version, s.Trigger, s.Block.Height, wantVersion, wantTrigger, 98+s.Position)
			}
		}
		r.wantHeights("acme", "m", span(100, 108)...)
		r.wantHeights("acme", "keeps", span(109, 113)...)
	})
}

// A tenant that comes, changes networks and goes while the worker is behind.
func TestTenantsComeAndGoWhileBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("keeper", simple("net", "other"))
		both := func() {
			r.extend("net", 4)
			r.extend("other", 4)
		}
		both() // 100-103
		r.setTenant("acme", simple())
		r.setTenant("gone", simple())
		both() // 104-107
		r.setTenant("acme", simple("other"))
		both() // 108-111
		r.deleteTenant("gone")
		both() // 112-115
		p := r.start(-1)
		r.drained("net", "other")
		defer p.stop() //nolint:errcheck // asserted elsewhere
		var twice []uint64
		for _, h := range span(100, 114) {
			twice = append(twice, h, h)
		}
		r.wantHeights("keeper", "m", twice...)
		// From position 5 on "net", which makes block 103 due, to 8; from 9 on "other".
		r.wantHeights("acme", "m", span(103, 114)...)
		r.wantHeights("gone", "m") // nobody is left to tell
	})
}

func TestDepthChanges(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to uint64
		moved    bool // by the tenant's own network document
	}{
		{"shared lowered", 6, 1, false},
		{"shared raised", 1, 6, false},
		{"own lowered", 9, 2, true},
		{"own raised", 2, 9, true},
	} {
		for _, behind := range []bool{false, true} {
			name := tc.name
			if behind {
				name += " while behind"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					set := func(depth uint64) {
						if !tc.moved {
							r.setShared("net", depth)
							return
						}
						mine := networkDoc("mine", depth)
						mine.Watch = "net"
						d := simple("mine")
						d.networks = map[string]*spec.Network{"mine": mine}
						r.setTenant("acme", d)
					}
					if tc.moved {
						r.setShared("net", 4)
						set(tc.from)
					} else {
						set(tc.from)
						r.setTenant("acme", simple())
					}
					p := r.start(-1)
					synctest.Wait()
					if behind {
						first := r.nextBlock("net")
						r.hide(first.Ref.Hash) // holds the worker back
						r.announce("net", first)
						r.extend("net", 19)
					} else {
						r.extend("net", 20)
						r.drained("net")
					}
					set(tc.to)
					r.extend("net", 20)
					r.found()
					r.drained("net")
					r.wantHeights("acme", "m", span(100, 139-tc.to)...)
					if got := r.repeated(); got != nil {
						t.Errorf("keys sent twice: %v", got)
					}
					if err := p.stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestReorganisation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 2)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 10) // 100-109; up to 107 due
		r.drained("net")
		old := slices.Clone(r.chain("net").branch)
		r.announce("net", r.rollback("net", 5)) // to 104: 105-107 were judged in vain
		r.extend("net", 7)                      // 105'-111'
		r.drained("net")
		r.wantHeights("acme", "m", slices.Concat(span(100, 105), []uint64{105, 106, 106, 107, 107, 108, 109})...)
		if got := r.repeated(); got != nil {
			t.Errorf("keys sent twice: %v", got)
		}
		// The old branch comes back: its blocks are judged again, their alerts known.
		r.announce("net", r.rollback("net", 7))
		c := r.chain("net")
		for i, ref := range old[5:] {
			r.announce("net", fsm.Entry{Kind: fsm.Extend, Ref: ref, Parent: old[4+i].Hash})
			c.branch = append(c.branch, ref)
		}
		before := len(r.deliveries())
		r.drained("net")
		if got := len(r.deliveries()) - before; got != 0 {
			t.Errorf("%d alerts of blocks that were judged before are sent again", got)
		}
		r.extend("net", 3)
		r.drained("net")
		if got := len(r.deliveries()) - before; got != 3 { // 108, 109 and the first new one
			t.Errorf("%d alerts after the old branch came back, want 3", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 6)                      // 100-105 at positions 1-6
		r.announce("net", r.rollback("net", 3)) // 7: to 102
		r.extend("net", 4)                      // 103'-106' at 8-11
		p := r.start(-1)                        // all of it is known when judging begins
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 105)...)
		for _, s := range r.deliveries() {
			if s.Block.Height > 102 && s.Position < 8 {
				t.Errorf("block %d was judged at position %d, which was known to be rolled back", s.Block.Height, s.Position)
			}
		}
		c, _ := r.state.View().Cursor("net", cohort)
		// Positions 5 and 6 made 103 and 104 due.
		if want := []fsm.Span{{From: 5, To: 6}}; !slices.Equal(c.Superseded, want) {
			t.Errorf("superseded %v, want %v", c.Superseded, want)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitsForABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 8)
		late := r.chain("net").branch[4]
		r.hide(late.Hash)
		p := r.start(-1)
		pass(3 * time.Hour)
		if got := r.cursor("net"); got != 5 { // 104 is due at position 6
			t.Errorf("the cursor is at %d, want 5: what was sent before the missing block is to be recorded", got)
		}
		r.wantHeights("acme", "m", span(100, 103)...)
		if p.metric("ozmo_worker_stalled") != 1 {
			t.Error("the stall is not shown")
		}
		r.found()
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 106)...)
		if p.metric("ozmo_worker_stalled") != 0 || p.metric("ozmo_worker_restarts_total") != 0 {
			t.Error("the stall is still shown, or judging began anew")
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRolledBackWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 8)
		r.hide(r.chain("net").branch[4].Hash) // for good
		p := r.start(-1)
		pass(time.Minute)
		r.announce("net", r.rollback("net", 5)) // to 102
		r.extend("net", 3)
		r.drained("net")
		// 103 was judged in vain, as were 105 and 106, which had not to be waited for.
		if got := slices.Compact(r.heights("acme", "m")); !slices.Equal(got, span(100, 106)) {
			t.Errorf("told of %v, want 100-106", got)
		}
		for _, s := range r.deliveries() {
			if s.Block.Height == 104 && s.Block != r.chain("net").branch[4] {
				t.Error("told of the block that was not to be had")
			}
		}
		c, _ := r.state.View().Cursor("net", cohort)
		if !slices.ContainsFunc(c.Superseded, func(s fsm.Span) bool { return s.From <= 6 && 6 <= s.To }) {
			t.Errorf("superseded %v, want position 6 among them", c.Superseded)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStaleEpoch(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			p := r.start(-1)
			r.extend("net", 3)
			r.drained("net")
			r.must(&fsm.PutCohort{ID: cohort, Node: "node-2"})
			p.ended = true
			if err := <-p.done; !errors.Is(err, fsm.ErrStaleEpoch) {
				t.Errorf("Run returned %v, want ErrStaleEpoch", err)
			}
			r.extend("net", 5)
			pass(time.Minute)
			r.wantHeights("acme", "m", span(100, 101)...)
		})
	})
	t.Run("while judging", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			r.extend("net", 3)
			var move sync.Once
			p := r.start(-1, func(p *process, o *Options) {
				o.Blocks = blocksFunc(func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
					move.Do(func() { r.must(&fsm.PutCohort{ID: cohort, Node: "node-2"}) })
					return p.Block(ctx, network, ref)
				})
			})
			p.ended = true
			if err := <-p.done; !errors.Is(err, fsm.ErrStaleEpoch) {
				t.Errorf("Run returned %v, want ErrStaleEpoch", err)
			}
			pass(time.Minute)
			r.wantHeights("acme", "m") // another worker sends it
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			r.extend("net", 40)
			// The assignment moves between sending and recording.
			var moved bool
			p := r.start(-1, func(p *process, _ *Options) {
				p.propose = func(fsm.Command) error {
					if !moved {
						moved = true
						r.must(&fsm.PutCohort{ID: cohort, Node: "node-2"})
					}
					return nil
				}
			})
			pass(time.Minute)
			p.ended = true
			if err := <-p.done; !errors.Is(err, fsm.ErrStaleEpoch) {
				t.Errorf("Run returned %v, want ErrStaleEpoch", err)
			}
			if got := r.cursor("net"); got != 0 {
				t.Errorf("the cursor moved to %d", got)
			}
			// One batch was on its way: nothing of the next.
			r.wantHeights("acme", "m", span(100, 100+batchSteps-2)...)
			p = r.start(-1)
			r.drained("net")
			if got := slices.Compact(r.heights("acme", "m")); !slices.Equal(got, span(100, 138)) {
				t.Errorf("told of %v, want 100-138", got)
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	})
}

// A dead receiver costs its own deliveries only, and the cursor waits for it no
// longer than its patience.
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
		o, ok := r.state.View().FindOutgoing(key)
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
		f, _ := r.state.View().FindFired("net", block, id)
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
		if _, ok := v.FindOutgoing(keyOf("acme", "m", "net", "busy", 0, block, 0)); !ok || v.OutboxLen() != 1 {
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

// A node whose sender serves no such trigger makes a dead letter that says so.
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

// A proposal whose outcome is unknown is made again until it is known.
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

func TestNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 5)
		r.drained("net")
		r.setTenant("acme", simple("other"))
		pass(time.Minute)
		if c, _ := r.state.View().Cursor("net", cohort); !c.Parked() {
			t.Errorf("the cursor %+v is not parked", c)
		}
		for restart := range 2 {
			// Wanted again, far above: what lies between is nobody's.
			gap := uint64(1000 * (restart + 1))
			r.setTenant("acme", simple("net", "other"))
			r.chain("net").branch = []fsm.BlockRef{{Height: gap, Hash: fsm.Hash{byte(restart + 1)}}}
			r.extend("net", 4)
			r.drained("net")
			// Not wanted and wanted again before anybody looks.
			r.setTenant("acme", simple("other"))
		}
		r.wantHeights("acme", "m", slices.Concat(span(100, 103), span(1001, 1003), span(2001, 2003))...)
		if got := p.metric("ozmo_worker_restarts_total"); got != 0 {
			t.Errorf("%v restarts", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A network that is wanted again while its pipeline is about to end.
func TestWantedAgainAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		hold, held := make(chan struct{}), make(chan struct{})
		var once sync.Once
		p := r.start(-1, func(p *process, _ *Options) {
			p.viewed = func(v *fsm.View) {
				if c, ok := v.Cursor("net", cohort); ok && c.Parked() && calledBy("(*pipeline)") {
					once.Do(func() { close(held); <-hold })
				}
			}
		})
		r.extend("net", 2)
		r.drained("net")
		r.setTenant("acme", simple("other"))
		// Parked cursors wake the pipeline with the next change of the network.
		<-held
		r.setTenant("acme", simple("net", "other"))
		r.chain("net").branch = nil
		r.chain("net").salt++
		r.extend("net", 3)
		synctest.Wait()
		close(hold)
		r.drained("net")
		r.wantHeights("acme", "m", 100, 100, 101)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Blocks that nobody wants any more are not waited for.
func TestNotWantedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		r.extend("net", 4)
		last := r.chain("net").branch[2]
		r.hide(last.Hash)
		p := r.start(-1)
		synctest.Wait()
		r.setTenant("acme", simple("other")) // positions up to 4 are still owed
		r.extend("net", 4)
		never := r.chain("net").branch[5]
		r.hide(never.Hash)
		r.locked(func() { delete(r.missing, last.Hash) })
		pass(time.Minute)
		if c, _ := r.state.View().Cursor("net", cohort); !c.Parked() {
			t.Errorf("the cursor %+v is not parked", c)
		}
		r.setTenant("acme", simple("net", "other"))
		r.chain("net").branch = []fsm.BlockRef{{Height: 500}}
		r.extend("net", 3)
		r.drained("net")
		r.wantHeights("acme", "m", slices.Concat(span(100, 102), span(501, 502))...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A match that cannot be described is a dead letter with the reason; the others
// are delivered.
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
		pl := newPipeline(p.worker, "net", p.worker.log)
		v := r.state.View()
		version, _ := mustTenant(t, v, "broken").InForce(v.Index())
		about := &monitor{name: "m", slug: "net", triggers: []string{"hook"}}
		ref := fsm.BlockRef{Height: 7, Hash: fsm.Hash{7}}
		s := &step{entry: fsm.Entry{Position: 2, Index: v.Index()}}
		rd := &round{pipeline: pl}
		f := rd.build(v, s, hitAt{hit: hit{
			Key: match.Key{Tenant: "broken", Monitor: "m"}, about: about, tx: "0x07", build: func() *match.Match { panic("no words") },
		}, ref: ref}, version)
		if len(f.deliveries) != 1 || f.deliveries[0].attempt == nil || !f.deliveries[0].attempt.Result.Permanent {
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

func mustTenant(t *testing.T, v *fsm.View, id string) *fsm.Tenant {
	t.Helper()
	tenant, ok := v.Tenant(id)
	if !ok {
		t.Fatalf("no tenant %q", id)
	}
	return tenant
}

// panicky is an engine that panics at one position.
type panicky struct {
	engine
	at uint64
}

func (e panicky) judge(b block, position uint64, budget int, only func(string) bool) ([]hit, []string) {
	if position == e.at {
		panic("engine")
	}
	return e.engine.judge(b, position, budget, only)
}

// A panic of an engine fails its own step; what came before is recorded.
func TestEnginePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 6)
		p := r.prepare(-1)
		pl := newPipeline(p.worker, "net", p.worker.log)
		v := r.state.View()
		n, _ := v.Network("net")
		b, err := openBook(v, "net", cohort, n.Entries[0].Index, 1, p.worker.log, pl.onPanic)
		if err != nil {
			t.Fatal(err)
		}
		b.engines[1] = panicky{b.engines[1], 4}
		steps, _ := plan(v, b, n.Base, n.Entries, nil, 64)
		if err := pl.process(t.Context(), b, steps); err == nil || !strings.Contains(err.Error(), "position 4") {
			t.Errorf("error %v, want one that names position 4", err)
		}
		if got := r.cursor("net"); got != 3 {
			t.Errorf("the cursor is at %d, want 3", got)
		}
		r.wantHeights("acme", "m", 100, 101)
	})
}

// An empty depth costs nothing: no block is fetched for it.
func TestUnusedDepthIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 4)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 10)
		r.drained("net")
		r.setShared("net", 1)
		r.extend("net", 1)
		r.drained("net")
		r.locked(func() { clear(r.asked) })
		r.extend("net", 5)
		r.drained("net")
		r.locked(func() {
			for hash, n := range r.asked {
				if n != 1 {
					t.Errorf("block %s was fetched %d times, want once", hash.Short(), n)
				}
			}
			if len(r.asked) != 5 {
				t.Errorf("%d blocks were fetched, want 5", len(r.asked))
			}
		})
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Judging again finds what the worker found.
func TestRejudge(t *testing.T) {
	r := newRig(t)
	r.setShared("net", 3)
	d := simple()
	d.monitors["other address"] = watching{networks: []string{"net"}, address: 9, triggers: []string{"hook"}}
	r.setTenant("acme", d)
	v := r.state.View()
	version := mustTenant(t, v, "acme").Current
	ref := fsm.BlockRef{Height: 5, Hash: fsm.Hash{5}}
	j, err := NewRejudge(v, "acme", version, "net", 3)
	if err != nil {
		t.Fatal(err)
	}
	found, err := j.Judge(payloadOf(ref))
	if err != nil || len(found) != 1 || found[0].Monitor != "m" || found[0].MonitorName != "m" || found[0].Transaction != txHash(ref.Hash, 0).String() {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := j.Judge([]byte("{")); err == nil {
		t.Error("a broken block was judged")
	}
	if j, err = NewRejudge(v, "acme", version, "net", 2); err != nil {
		t.Fatal(err)
	}
	if found, err := j.Judge(payloadOf(ref)); err != nil || len(found) != 0 {
		t.Errorf("at another depth: found %+v, %v", found, err)
	}
	if _, err := NewRejudge(v, "acme", version, "unknown", 2); !errors.Is(err, fsm.ErrNotFound) {
		t.Errorf("unknown network: %v, want ErrNotFound", err)
	}
}

// Nothing of an attempt to judge a step that fails again and again is repeated
// but the step itself.
func TestBrokenBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 10)
		bad := r.chain("net").branch[5].Hash
		good := r.payloads[bad]
		r.payloads[bad] = []byte(`{"block":`)
		p := r.start(-1)
		pass(time.Hour)
		if got := r.cursor("net"); got != 6 { // 105 is due at position 7
			t.Errorf("the cursor is at %d, want 6", got)
		}
		if p.metric("ozmo_worker_restarts_total") < 100 {
			t.Errorf("%v restarts in an hour: judging is to begin again", p.metric("ozmo_worker_restarts_total"))
		}
		r.wantHeights("acme", "m", span(100, 104)...)
		r.mu.Lock()
		r.payloads[bad] = good
		r.mu.Unlock()
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 108)...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestPanicsAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		panics := 3
		p := r.start(-1, func(p *process, o *Options) {
			o.Blocks = blocksFunc(func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
				r.mu.Lock()
				panicking := panics > 0
				panics--
				r.mu.Unlock()
				if panicking {
					panic("blocks")
				}
				return p.Block(ctx, network, ref)
			})
		})
		r.extend("net", 4)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 102)...)
		if p.metric("ozmo_worker_panics_total") != 3 {
			t.Errorf("%v panics counted, want 3", p.metric("ozmo_worker_panics_total"))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

type blocksFunc func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error)

func (f blocksFunc) Block(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
	return f(ctx, network, ref)
}

// A tenant over its budget is judged apart; it loses nothing and neither do
// the others.
func TestOverBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		greedy := simple()
		for _, name := range []string{"a", "b", "c", "d"} {
			greedy.monitors[name] = watching{networks: []string{"net"}, address: 1, triggers: []string{"hook"}}
		}
		r.setTenant("greedy", greedy)
		p := r.start(-1, func(_ *process, o *Options) { o.Budget = 2 })
		r.extend("net", 5)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 103)...)
		for _, name := range []string{"m", "a", "b", "c", "d"} {
			r.wantHeights("greedy", name, span(100, 103)...)
		}
		if got := p.metric("ozmo_worker_over_budget_total"); got != 4 {
			t.Errorf("%v times over the budget, want 4", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What is under way when the worker is told to end is finished and recorded.
func TestEndsGracefully(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		gate := make(chan struct{})
		r.silent["hook"] = gate
		p := r.start(-1, func(_ *process, o *Options) { o.Grace, o.Patience = time.Minute, time.Hour })
		r.extend("net", 2)
		synctest.Wait()
		p.cancel()
		pass(30 * time.Second)
		close(gate)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if r.cursor("net") != 2 || len(r.alerts()) != 1 {
			t.Errorf("the cursor is at %d, %d alerts recorded; want 2, 1", r.cursor("net"), len(r.alerts()))
		}
	})
}

var _ Outbox = (*outbox.Outbox)(nil)
