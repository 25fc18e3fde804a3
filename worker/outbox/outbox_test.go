package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the real state with a scripted receiver.
type rig struct {
	t     testing.TB
	state *fsm.State
	epoch uint64

	mu       sync.Mutex
	index    uint64
	down     bool // nothing can be proposed
	settles  []*fsm.Settle
	attempts []attempt
	answer   func(n *notify.Notification) (notify.Result, error)
	busy     map[string]int // attempts under way, by key
	both     bool           // one delivery was attempted twice at a time

	viewed   func(v *fsm.View) // is called between reading the state and using it
	schedule []time.Duration   // of triggers that are configured from now on
}

type attempt struct {
	key    string
	number int
	at     time.Time
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, state: fsm.New(), busy: map[string]int{}}
	r.answer = func(*notify.Notification) (notify.Result, error) {
		return notify.Result{Status: 503}, errors.New("busy")
	}
	epoch, err := r.apply(&fsm.RegisterNode{Name: "c", Server: "c@1", Address: "c:7000", Version: "1", Roles: fsm.AllRoles})
	if err != nil {
		t.Fatal(err)
	}
	r.epoch = epoch.(uint64) //nolint:forcetypeassert // what RegisterNode answers
	r.configure("acme", 0, "hook")
	return r
}

// configure gives a tenant its triggers, in the place of a version.
func (r *rig) configure(tenant string, version uint64, triggers ...string) {
	r.t.Helper()
	id := uint64(1)
	f := &spec.Folder{
		Networks: map[string]*spec.Network{"net": {
			Type: spec.EVM, Slug: "net", Name: "net", ChainID: &id, ConfirmationBlocks: 1, BlockTime: time.Second, Cron: "* * * * * *",
			RPCURLs: []spec.RPCURL{{Type: "rpc", URL: spec.Plain("https://rpc.example"), Weight: 100}},
		}},
		Monitors: map[string]*spec.Monitor{"m": {Name: "m", Networks: []string{"net"}, Triggers: triggers}},
		Triggers: map[string]*spec.Trigger{},
	}
	for _, name := range triggers {
		f.Triggers[name] = &spec.Trigger{
			Name: name, Type: spec.TriggerWebhook, Retry: spec.DefaultRetryPolicy(), Schedule: r.schedule,
			Webhook: &spec.Webhook{URL: spec.Plain("https://hook.example"), Method: "POST", PayloadMode: spec.PayloadRaw},
		}
	}
	p, err := store.Pack(r.t.Context(), tenant, f, nil, plain{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range []fsm.Command{
		&fsm.PutBlobs{Blobs: p.Blobs, At: 1},
		&fsm.SetTenantVersion{Tenant: tenant, Expect: version, Manifest: p.Manifest},
	} {
		if _, err := r.apply(c); err != nil {
			r.t.Fatal(err)
		}
	}
	if version == 0 {
		r.move(tenant, "c", false)
	}
}

// move assigns a tenant to a node.
func (r *rig) move(tenant, to string, force bool) {
	r.t.Helper()
	t, ok := r.state.View().Tenant(tenant)
	if !ok {
		r.t.Fatalf("no tenant %s", tenant)
	}
	taken, err := r.apply(&fsm.Move{Moves: []fsm.Moved{{Tenant: tenant, Cohort: t.Cohort, To: to, Reason: fsm.ReasonManual}}, Force: force, At: 1})
	if err != nil || taken != 1 {
		r.t.Fatalf("%v tenants moved, error %v", taken, err)
	}
}

// plain leaves secrets as they are.
type plain struct{}

func (plain) SealAll(context.Context, string, []*spec.Secret) error { return nil }
func (plain) OpenAll(string, []*spec.Secret) error                  { return nil }
func (plain) OpenStored(_, _, sealed string) (string, error)        { return sealed, nil }

func (r *rig) apply(c fsm.Command) (any, error) {
	if progress, ok := c.(*fsm.Progress); ok {
		for i := range progress.Outbox {
			if t, ok := r.state.View().Tenant(progress.Outbox[i].Tenant); ok {
				progress.Outbox[i].Born = t.Born
			}
		}
		for i := range progress.Fired {
			if t, ok := r.state.View().Tenant(progress.Fired[i].Tenant); ok {
				progress.Fired[i].Born = t.Born
			}
		}
	}
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index++
	return r.state.Apply(r.index, entry)
}

func (r *rig) View() *fsm.View {
	v := r.state.View()
	if r.viewed != nil {
		r.viewed(v)
	}
	return v
}

func (r *rig) Changed(t fsm.Topic) <-chan struct{} { return r.state.Changed(t) }

func (r *rig) Propose(_ context.Context, c fsm.Command) (any, error) {
	r.mu.Lock()
	down := r.down
	if s, ok := c.(*fsm.Settle); ok && !down {
		r.settles = append(r.settles, s)
	}
	r.mu.Unlock()
	if down {
		return nil, errors.New("no leader")
	}
	return r.apply(c)
}

func (r *rig) Send(_ context.Context, n *notify.Notification) (notify.Result, error) {
	key := n.Key.String()
	r.mu.Lock()
	r.attempts = append(r.attempts, attempt{key, n.Round, time.Now()})
	r.busy[key]++
	r.both = r.both || r.busy[key] > 1
	answer := r.answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.busy[key]--
		r.mu.Unlock()
	}()
	return answer(n)
}

func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// tries lists the attempts so far.
func (r *rig) tries() []attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

// recorded lists the outcomes that were recorded so far.
func (r *rig) recorded() []*fsm.Settle {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.settles)
}

// delivery makes a delivery of its own for each number.
func delivery(n int, trigger string) *alert.Delivery {
	tx := fmt.Sprintf("0x%064x", n)
	a := &alert.Alert{
		ID: alert.NewID("acme", "m", "acme/net", tx), Tenant: "acme", MonitorID: "m", MonitorName: "m", Network: "acme/net",
		Block: fsm.BlockRef{Height: 1, Hash: fsm.Hash{1}}, Tx: tx, State: alert.Fired, Match: []byte(`{"EVM":{}}`),
	}
	return &alert.Deliveries(a, []string{trigger})[0]
}

func keyOf(n int) string { return delivery(n, "hook").Key.String() }

// handOver puts deliveries into the outbox, as a worker does after one attempt.
func (r *rig) handOver(trigger string, numbers ...int) {
	r.t.Helper()
	c := &fsm.Progress{Cohort: "c", Epoch: r.epoch, Network: "acme/net"}
	for _, n := range numbers {
		d := delivery(n, trigger)
		data, err := alert.EncodeDelivery(d)
		if err != nil {
			r.t.Fatal(err)
		}
		c.Outbox = append(c.Outbox, fsm.Outgoing{
			Key: d.Key.String(), Tenant: "acme", Trigger: trigger, Delivery: data, At: time.Now().UnixMilli(), Attempts: 1, Reason: "first",
		})
	}
	if _, err := r.apply(c); err != nil {
		r.t.Fatal(err)
	}
}

// start runs an outbox; end stops it and waits.
func (r *rig) start(change ...func(*Options)) (_ *Outbox, end func()) {
	opts := Options{
		Node: "c", Log: r, Sender: r, Triggers: store.NewTriggers(plain{}), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	for _, c := range change {
		c(&opts)
	}
	o := New(opts)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return o, func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.both {
			r.t.Error("a delivery was attempted twice at a time")
		}
	}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *rig) dead() map[string]*fsm.Dead {
	out := map[string]*fsm.Dead{}
	for d := range r.state.View().DeadLetters() {
		out[d.Key] = d
	}
	return out
}

// total is how long a delivery is attempted.
func total() (sum time.Duration) {
	for _, d := range Schedule {
		sum += d
	}
	return sum
}

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
