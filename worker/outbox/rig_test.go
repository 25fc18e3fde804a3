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

func (plain) OpenAll(string, []*spec.Secret) error { return nil }

func (plain) OpenStored(_, _, sealed string) (string, error) { return sealed, nil }

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
