package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// moded is a tenant with one monitor of address 0 in a mode.
func moded(mode string, triggers ...string) tenantDoc {
	return tenantDoc{
		monitors: map[string]watching{"m": {networks: []string{"net"}, mode: mode, triggers: triggers}},
		hooks:    []string{"hook", "slow", "gone"},
	}
}

// one is a tenant "acme" on a chain of its own making, with one node. Blocks hold
// the transactions that the test says, all to address 0.
type one struct {
	*forks
	p *process
}

func newOne(t *testing.T, d tenantDoc, change ...func(*process, *Options)) *one {
	f := &forks{
		fleet: &fleet{world: newWorld(t), names: []string{node}}, inside: map[fsm.Hash][]int{}, last: map[int]uint64{},
	}
	f.setShared("net", forkDepth)
	f.setTenant("acme", d)
	for i := range 10 {
		f.txs = append(f.txs, transfer{fsm.Hash{0xee, byte(i)}, 0})
	}
	o := &one{forks: f, p: f.start(-1, change...)}
	o.add(nil)
	return o
}

// add announces a block.
func (o *one) add(txs []int) { o.announce("net", o.block(txs)) }

// back rolls back to a height.
func (o *one) back(height uint64) {
	o.t.Helper()
	e, ok := o.leave(height)
	if !ok {
		o.t.Fatalf("no way back to %d", height)
	}
	o.announce("net", e)
}

func (o *one) id(tx int) alert.ID {
	return alert.NewID("acme", "m", "net", o.txs[tx].hash.String())
}

// said lists what was accepted about a transaction: "state@position block".
func (o *one) said(tx int, trigger string) (out []string) {
	for _, s := range o.deliveries() {
		if s.Alert == o.id(tx) && s.Trigger == trigger {
			out = append(out, fmt.Sprintf("%s@%d %d", s.State, s.Position, s.Block.Height))
		}
	}
	return out
}

func (o *one) wantSaid(tx int, trigger string, want ...string) {
	o.t.Helper()
	if got := o.said(tx, trigger); !slices.Equal(got, want) {
		o.t.Errorf("%s heard of transaction %d: %q, want %q", trigger, tx, got, want)
	}
}

func (o *one) stop() {
	o.t.Helper()
	if err := o.p.stop(); err != nil {
		o.t.Error(err)
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[string][]string{
		// Block 101 is announced at 2, rolled back at 3; its transaction comes again in
		// 102' at 5, which lies 3 deep at 8.
		"":                 {"fired@8 102"},
		spec.ModeInstant:   {"fired@2 101", "retracted@3 101", "reinstated@5 102"},
		spec.ModeConfirmed: {"fired@8 102"},
		spec.ModeFinalized: {"fired@29 102"},
		spec.ModeBoth:      {"fired@2 101", "retracted@3 101", "reinstated@5 102", "confirmed@8 102"},
	} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOne(t, moded(mode, "hook"))
				o.window = forkWindow
				n, _ := o.state.View().Network("net")
				o.must(&fsm.GrantLease{Network: "net", Holder: node, IfEpoch: n.Lease.Epoch, Window: forkWindow})
				o.add([]int{0})
				synctest.Wait()
				o.back(100)
				o.add(nil)
				o.add([]int{0})
				for range forkWindow {
					o.add(nil)
				}
				o.drained("net")
				o.wantSaid(0, "hook", want...)
				if mode == "" {
					for f := range o.state.View().FiredOn("net") {
						if len(f.Content) > 0 {
							t.Error("the ledger keeps the content of a plain alert")
						}
					}
				}
				if o.repeated() != nil {
					t.Errorf("sent twice: %v", o.repeated())
				}
				o.stop()
			})
		})
	}
}

// Two branches take turns: each turn is told, with a key of its own.
func TestBranchesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOne(t, moded(spec.ModeInstant, "hook", "hook"))
		o.add([]int{0}) // 2
		synctest.Wait()
		for range 3 {
			o.back(100)
			o.add([]int{1})
			synctest.Wait()
			o.again()
			synctest.Wait()
		}
		o.drained("net")
		var want []string
		for _, s := range []string{
			"fired@2 101", "retracted@3 101", "reinstated@6 101", "retracted@8 101", "reinstated@11 101", "retracted@13 101", "reinstated@16 101",
		} {
			want = append(want, s, s) // its trigger is listed twice
		}
		o.wantSaid(0, "hook", want...)
		if o.repeated() != nil {
			t.Errorf("sent twice: %v", o.repeated())
		}
		o.stop()
	})
}

// again returns to the branch that was left last, which gets a block more at first.
func (o *one) again() {
	o.t.Helper()
	old := o.former[len(o.former)-1]
	o.back(100)
	for i, ref := range old[1:] {
		o.chain("net").branch = append(o.chain("net").branch, ref)
		o.announce("net", fsm.Entry{Kind: fsm.Extend, Ref: ref, Parent: old[i].Hash})
	}
	if len(old) == 2 {
		o.add(nil)
	}
}

// A change of mode is a change of depth: what is due at once at the new one is
// judged, and nothing is said twice.
func TestModeChanges(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		want     []string // about a transaction in block 103, the newest but one at the change
	}{
		{"", spec.ModeInstant, []string{"fired@6 103"}},
		{spec.ModeInstant, "", []string{"fired@4 103"}},
		{spec.ModeInstant, spec.ModeConfirmed, []string{"fired@4 103"}},
		{spec.ModeInstant, spec.ModeBoth, []string{"fired@4 103", "confirmed@7 103"}},
		{spec.ModeBoth, spec.ModeInstant, []string{"fired@4 103"}},
		{"", spec.ModeBoth, []string{"fired@6 103", "confirmed@7 103"}},
		{spec.ModeBoth, "", []string{"fired@4 103"}},
	} {
		t.Run(tc.from+" to "+tc.to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOne(t, moded(tc.from, "hook")) // 100 at 1
				o.add(nil)
				o.add(nil)
				o.add([]int{0}) // 103 at 4
				o.add(nil)
				synctest.Wait()
				o.setTenant("acme", moded(tc.to, "hook"))
				for range 6 {
					o.add(nil)
				}
				o.drained("net")
				o.wantSaid(0, "hook", tc.want...)
				o.stop()
			})
		})
	}
}

// Nobody hears of a retraction before what it retracts, and so on: while the first
// message is open, all that follows waits in the outbox for the one before.
func TestMessagesWaitForTheirTurn(t *testing.T) {
	for name, open := range map[string]func(o *one){
		"refused":    func(o *one) { o.refuse["slow"] = notify.Result{Status: 503, Excerpt: "busy"} },
		"unanswered": func(o *one) { o.silent["slow"] = make(chan struct{}) },
	} {
		for _, pause := range []time.Duration{0, 10 * time.Second} { // in rounds that overlap; in the outbox
			t.Run(fmt.Sprint(name, pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOne(t, moded(spec.ModeInstant, "hook", "slow"))
					o.locked(func() { open(o) })
					o.add([]int{0}) // 2
					pass(pause)
					o.back(100) // 3
					o.add(nil)
					o.add([]int{0}) // 5
					pass(time.Minute)
					o.wantSaid(0, "hook", "fired@2 101", "retracted@3 101", "reinstated@5 102")
					o.wantSaid(0, "slow")
					var last string
					for _, want := range []alert.State{alert.Fired, alert.Retracted, alert.Reinstated} {
						var entry *fsm.Outgoing
						for e := range o.state.View().OutboxOf("acme") {
							if d, err := alert.DecodeDelivery(e.Delivery); err == nil && d.Alert.State == want {
								entry = e
							}
						}
						switch {
						case entry == nil:
							t.Fatalf("no %s delivery in the outbox", want)
						case entry.After != last:
							t.Errorf("%s waits for %q, want %q", want, entry.After, last)
						case want == alert.Fired && entry.Attempts != 1, want != alert.Fired && entry.Attempts != 0:
							t.Errorf("%s has %d attempts", want, entry.Attempts)
						case want == alert.Fired && name == "refused" && (entry.Status != 503 || entry.Excerpt != "busy"):
							t.Errorf("the last answer is %d %q", entry.Status, entry.Excerpt)
						}
						last = entry.Key
					}
					o.locked(func() {
						if gate := o.silent["slow"]; gate != nil {
							close(gate)
						}
					})
					synctest.Wait()
					o.stop()
				})
			})
		}
	}
}

// What was not attempted counts as no attempt, and waits as long as it was told to.
func TestNotAttempted(t *testing.T) {
	for _, reason := range []error{notify.ErrOpen, notify.ErrLimited} {
		synctest.Test(t, func(t *testing.T) {
			o := newOne(t, moded("", "hook"), func(_ *process, opts *Options) { opts.Sender = failing{notify.Result{RetryAfter: time.Hour}, reason} })
			o.add([]int{0})
			for range forkDepth {
				o.add(nil)
			}
			o.drained("net")
			list := slices.Collect(o.state.View().Outbox())
			if len(list) != 1 || list[0].Attempts != 0 || list[0].NotBefore-list[0].At != time.Hour.Milliseconds() || !strings.Contains(list[0].Reason, reason.Error()) {
				t.Errorf("in the outbox: %+v", list)
			}
			o.stop()
		})
	}
}

// An alert that is too large is told, recorded and retracted all the same.
func TestLargeAlerts(t *testing.T) {
	r := newRig(t)
	p := r.prepare(-1)
	rd := &round{pipeline: newPipeline(p.worker.newRunner(t.Context(), t.Context(), cohort, 1), "net", p.worker.log)}
	noise := func(n int) string { // does not compress
		rng, out := rand.New(rand.NewPCG(1, 1)), make([]byte, n)
		for i := range out {
			out[i] = "0123456789abcdef"[rng.IntN(16)]
		}
		return string(out)
	}
	a := &alert.Alert{ID: alert.ID{1}, State: alert.Fired, Variables: map[string]string{"k": "v"}, Match: []byte(`"` + noise(1<<10) + `"`)}
	read := func(withMatch bool) *alert.Alert {
		back, err := alert.DecodeAlert(rd.content(a, withMatch))
		if err != nil {
			t.Fatal(err)
		}
		return back
	}
	if back := read(true); back.Match == nil || back.Variables == nil {
		t.Error("a small alert is not kept whole")
	}
	if back := read(false); back.Match != nil {
		t.Error("the match object is kept though nobody sends it")
	}
	a.Match = []byte(`"` + noise(1<<16) + `"`)
	if back := read(true); back.Match != nil || back.Variables == nil {
		t.Error("a large match object is kept, or the variables are not")
	}
	a.Variables["k"] = noise(1 << 16)
	if back := read(true); back.Variables != nil {
		t.Error("large variables are kept")
	}
	a.Tx = noise(1 << 16)
	if data := rd.content(a, true); len(data) > maxContent {
		t.Errorf("%d bytes are kept", len(data))
	}
	f := &firing{alert: a}
	for _, raw := range []bool{true, false} {
		d := newSending(f, alert.Delivery{Key: alert.Key{1}, Alert: a, Trigger: "hook"})
		a.Tx, a.Variables, a.Match = "0x1", nil, []byte(`"`+noise(1<<18)+`"`)
		d.trigger = hook("hook")
		if !raw {
			d.trigger.Webhook.PayloadMode = spec.PayloadTemplate
		}
		d.end(outbox.Attempt{Err: errors.New("refused")})
		var c fsm.Progress
		outcome, _ := d.settle(&c, 1)
		switch {
		case raw && (outcome != fsm.Refused || len(c.Dead) != 1 || c.Dead[0].Delivery != nil || !strings.Contains(c.Dead[0].Reason, "refused; and it cannot be repeated")):
			t.Errorf("raw: %v, %+v", outcome, c)
		case !raw && (outcome != fsm.HandedOver || len(c.Outbox) != 1 || len(c.Outbox[0].Delivery) > fsm.MaxOutgoing):
			t.Errorf("from a template: %v, %+v", outcome, c)
		}
	}
}
