package testcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// path is the delivery path of one node over the real state, without Raft and
// without sockets: worker and outbox, and between them and the world the points
// at which a process may die.
type path struct {
	t     testing.TB
	state *fsm.State
	chain *fakechain.Chain

	mu        sync.Mutex
	index     uint64
	announced []*fakechain.Block // the branch, as announced
	taken     []farm.Delivery    // by any receiver
	attempts  map[string]int     // by key
}

// The triggers of each monitor: their receivers take everything, refuse the first
// attempt, take longer than the cursor waits, or are gone for good.
var pathTriggers = []string{"hook", "flaky", "slow", "gone"}

// pathModes are the tenants, by how their monitors judge.
var pathModes = []string{"", "instant", "both"}

const pathNode = "node-1"

func newPath(t testing.TB) *path {
	p := &path{
		t: t, state: fsm.New(), attempts: map[string]int{},
		chain: fakechain.New(fakechain.Options{First: firstHeight - 1, TxPerBlock: -1}),
	}
	p.register()
	network := `{"network_type":"EVM","slug":"net","name":"net","chain_id":1,"rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":"https://net.example"},"weight":100}],
		"block_time_ms":1000,"confirmation_blocks":2,"cron_schedule":"*/1 * * * * *","max_past_blocks":"unlimited"}`
	shared := p.read(map[string]string{"networks/net.json": network}).Networks
	packed, err := store.PackShared(t.Context(), shared, unsealed{})
	p.put(fsm.Shared, packed, err)
	for i, mode := range pathModes {
		files := map[string]string{"monitors/transfers.json": pathMonitor(mode)}
		for _, id := range pathTriggers {
			files["triggers/"+id+".json"] = fmt.Sprintf(`{%q:{"name":%q,"trigger_type":"webhook","config":{
				"url":{"type":"plain","value":"https://hooks.example/%s"},"method":"POST","payload_mode":"raw","retry_policy":{"max_retries":0}}}}`, id, id, id)
		}
		f := p.read(files, spec.WithTenantFolder(), spec.WithSharedNetworks(shared))
		packed, err := store.Pack(t.Context(), TenantName(i), f, shared, unsealed{})
		p.put(TenantName(i), packed, err)
		tenant, _ := p.state.View().Tenant(TenantName(i))
		p.must(&fsm.Move{Moves: []fsm.Moved{{Tenant: tenant.ID, Cohort: tenant.Cohort, To: pathNode, Reason: fsm.ReasonManual}}, At: 1})
	}
	return p
}

func pathMonitor(mode string) string {
	m := doc{
		"name": "transfers", "networks": []string{"net"}, "triggers": pathTriggers, "paused": false,
		"addresses":          []doc{{"address": fmt.Sprintf("0x%x", fakechain.Token[:]), "contract_spec": []doc{transferABI()}}},
		"match_conditions":   doc{"functions": []doc{}, "transactions": []doc{}, "events": []doc{{"signature": "Transfer(address,address,uint256)"}}},
		"trigger_conditions": []doc{},
	}
	if mode != "" {
		m["mode"] = mode
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain values
	}
	return string(text)
}

// read reads documents as a folder.
func (p *path) read(files map[string]string, options ...spec.Option) *spec.Folder {
	p.t.Helper()
	fsys := fstest.MapFS{"monitors": {Mode: fs.ModeDir}, "triggers": {Mode: fs.ModeDir}}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	f, problems := spec.ReadFolder(fsys, append(options, spec.WithTenantFolder())...)
	if err := problems.Err(); err != nil {
		p.t.Fatal(err)
	}
	return f
}

// unsealed leaves secrets as they are.
type unsealed struct{}

func (unsealed) SealAll(context.Context, string, []*spec.Secret) error { return nil }
func (unsealed) OpenAll(string, []*spec.Secret) error                  { return nil }
func (unsealed) OpenStored(_, _, sealed string) (string, error)        { return sealed, nil }

func (p *path) put(tenant string, packed *store.Packed, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	p.must(&fsm.PutBlobs{Blobs: packed.Blobs, At: 1})
	p.must(&fsm.SetTenantVersion{Tenant: tenant, Manifest: packed.Manifest, At: 1})
}

// apply puts a command into the log.
func (p *path) apply(c fsm.Command) (any, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index++
	return p.state.Apply(p.index, entry)
}

func (p *path) must(c fsm.Command) {
	p.t.Helper()
	if _, err := p.apply(c); err != nil {
		p.t.Fatal(err)
	}
}

func (p *path) register() {
	p.t.Helper()
	p.must(&fsm.RegisterNode{Name: pathNode, Server: pathNode + "@1", Address: pathNode + ":7000", Version: "1", Roles: fsm.AllRoles})
}

// follow announces what the chain has become, as a watcher does.
func (p *path) follow() {
	p.t.Helper()
	var entries []fsm.Entry
	seen := time.Now().UnixMilli()
	kept := p.announced
	for len(kept) > 0 && p.chain.At(kept[len(kept)-1].Number) != kept[len(kept)-1] {
		kept = kept[:len(kept)-1]
	}
	if len(kept) < len(p.announced) {
		entries = append(entries, fsm.Entry{Kind: fsm.Rollback, Ref: kept[len(kept)-1].Ref(), Seen: seen})
	}
	from := uint64(firstHeight - 1)
	if len(kept) > 0 {
		from = kept[len(kept)-1].Number + 1
	}
	for h := from; h <= p.chain.Head().Number; h++ {
		b := p.chain.At(h)
		entries = append(entries, fsm.Entry{Kind: fsm.Extend, Ref: b.Ref(), Parent: b.Parent, Seen: seen})
		kept = append(kept, b)
	}
	p.announced = kept
	n, ok := p.state.View().Network(slug)
	if !ok {
		p.t.Fatal("the network is not wanted")
	}
	if n.Lease.Holder == "" {
		p.must(&fsm.GrantLease{Network: slug, Holder: pathNode, IfEpoch: n.Lease.Epoch, Window: fsm.DefaultWindow})
		n, _ = p.state.View().Network(slug)
	}
	p.must(&fsm.Announce{Network: slug, Epoch: n.Lease.Epoch, Entries: entries})
}

var errRefused = errors.New("refused")

// receive is the world: the receivers.
func (p *path) receive(n *notify.Notification) (notify.Result, error) {
	p.mu.Lock()
	p.attempts[n.Key.String()]++
	first := p.attempts[n.Key.String()] == 1
	p.mu.Unlock()
	<-time.After(requestTime)
	switch {
	case n.Trigger.Name == "gone":
		return notify.Result{Status: 410, Permanent: true}, errRefused
	case n.Trigger.Name == "flaky" && first:
		return notify.Result{Status: 503}, errRefused
	case n.Trigger.Name == "slow":
		<-time.After(1500 * time.Millisecond) // also when the sender is gone meanwhile
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = append(p.taken, heardOf(n.Alert, n.Key, n.Trigger.Name))
	return notify.Result{Status: 204}, nil
}

func heardOf(a *alert.Alert, key alert.Key, trigger string) farm.Delivery {
	return farm.Delivery{
		Receiver: a.Tenant + "/" + trigger, Key: key.String(), Alert: a.ID.String(), State: a.State.String(), Position: a.Position,
		Tx: a.Tx, Block: a.Block.Hash.String(),
	}
}

// process is one run of the node, which may die at one of its points.
type process struct {
	*path
	worker  *worker.Worker
	outbox  *outbox.Outbox
	dropped chan struct{} // closed when nobody waits for anything of it any more
	cancel  context.CancelFunc
	ended   sync.WaitGroup

	crossings struct {
		sync.Mutex
		times map[string]int // by kind
		fatal point
		dead  bool
	}
}

// point is one crossing: the nth of a kind. The zero value is none.
type point struct {
	kind string
	nth  int
}

var errDead = errors.New("the process is dead")

// live starts a run that dies at a point.
func (p *path) live(fatal point) *process {
	p.t.Helper()
	p.register()
	l := &process{path: p, dropped: make(chan struct{})}
	l.crossings.fatal, l.crossings.times = fatal, map[string]int{}
	quiet := slog.New(slog.DiscardHandler)
	l.outbox = outbox.New(outbox.Options{
		Node: pathNode, Log: l, Sender: sends{l, "outbox's attempt"}, Triggers: store.NewTriggers(unsealed{}), Logger: quiet, Registerer: prometheus.NewRegistry(),
		Schedule: []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, time.Minute},
	})
	l.worker = worker.New(worker.Options{
		Node: pathNode, Log: l, Blocks: l, Sender: sends{l, "first attempt"}, Triggers: store.NewTriggers(unsealed{}),
		Outbox: handing{l}, Recorder: l, Logger: quiet, Registerer: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	l.cancel = cancel
	l.ended.Go(func() { _ = l.worker.Run(ctx) }) // what it is stopped by is ours
	l.ended.Go(func() { _ = l.outbox.Run(ctx) })
	return l
}

// stop ends a run, dead or alive, and waits until nothing is left of it.
func (l *process) stop() {
	l.crossings.Lock()
	l.crossings.dead = true
	l.crossings.Unlock()
	close(l.dropped)
	l.cancel()
	l.ended.Wait()
}

func (l *process) dead() bool {
	l.crossings.Lock()
	defer l.crossings.Unlock()
	return l.crossings.dead
}

// cross passes a point. Of a process that is dead nothing goes on: it waits until
// the run is dropped, and then fails.
func (l *process) cross(format string, args ...any) error {
	c := &l.crossings
	c.Lock()
	if !c.dead {
		kind := fmt.Sprintf(format, args...)
		c.times[kind]++
		c.dead = c.fatal == point{kind, c.times[kind]}
	}
	dead := c.dead
	c.Unlock()
	if !dead {
		return nil
	}
	<-l.dropped
	return errDead
}

// View implements worker.Log.
func (l *process) View() *fsm.View { return l.state.View() }

// Changed implements worker.Log.
func (l *process) Changed(t fsm.Topic) <-chan struct{} { return l.state.Changed(t) }

// commitTime and requestTime are what a commit and a request take: whoever sends
// before he should has sent by the time that the commit fails.
const (
	commitTime  = 5 * time.Millisecond
	requestTime = time.Millisecond
)

// Propose implements worker.Log: a process may die before a command is in the log
// and after it, without having heard of it.
func (l *process) Propose(_ context.Context, c fsm.Command) (any, error) {
	name := commandName(c)
	<-time.After(commitTime)
	if err := l.cross("before %s", name); err != nil {
		return nil, err
	}
	out, err := l.apply(c)
	if dead := l.cross("after %s", name); dead != nil {
		return nil, dead
	}
	return out, err
}

// commandName tells the commands of the path apart.
func commandName(c fsm.Command) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", c), "*fsm.")
	if p, ok := c.(*fsm.Progress); ok {
		switch {
		case p.To == 0:
			name += " without the cursor"
		case len(p.Outbox) > 0 || len(p.Dead) > 0:
			name += " with a hand-over"
		case len(p.Fired) == 0:
			name += " without alerts"
		}
	}
	return name
}

// Block implements worker.Blocks.
func (l *process) Block(ctx context.Context, _ string, ref fsm.BlockRef) ([]byte, error) {
	b, err := l.chain.Client(pathNode).BlockByHash(ctx, ref.Hash)
	if err != nil {
		return nil, err
	}
	return b.Payload, nil
}

// Record implements worker.Recorder.
func (l *process) Record([]worker.Recorded) { _ = l.cross("after recording for questions") }

// sends is the way out of a process.
type sends struct {
	*process
	what string
}

// Send implements outbox.Sender: a process may die before a request, and after
// it was accepted or refused, without having heard of it.
func (s sends) Send(_ context.Context, n *notify.Notification) (notify.Result, error) {
	if err := s.cross("before %s (%s)", s.what, n.Trigger.Name); err != nil {
		return notify.Result{}, err
	}
	result, err := s.receive(n)
	if dead := s.cross("after %s (%s)", s.what, n.Trigger.Name); dead != nil {
		return notify.Result{}, dead
	}
	return result, err
}

// Deliver implements worker.Sender.
func (s sends) Deliver(ctx context.Context, n *notify.Notification) (notify.Result, error) {
	return s.Send(ctx, n)
}

// handing is what the worker knows of the outbox.
type handing struct{ *process }

// Adopt implements worker.Outbox.
func (h handing) Adopt(a outbox.Adopted) func(bool) {
	if h.cross("before adopting") != nil {
		return func(bool) {}
	}
	committed := h.outbox.Adopt(a)
	return func(ok bool) {
		if h.cross("before the adoption is confirmed") == nil {
			committed(ok)
		} else {
			committed(false)
		}
	}
}

// Admit implements worker.Outbox.
func (h handing) Admit(tenant string) error { return h.outbox.Admit(tenant) }

// Readmit implements worker.Outbox.
func (h handing) Readmit(tenant string) { h.outbox.Readmit(tenant) }

// Park implements worker.Outbox.
func (h handing) Park(ctx context.Context, tenant func(string) bool, limit time.Duration) error {
	return h.outbox.Park(ctx, tenant, limit)
}

// heard is everything that was said, and what was given up: that has been heard of
// by whoever looks after dead letters.
func (p *path) heard() []farm.Delivery {
	p.t.Helper()
	p.mu.Lock()
	out := slices.Clone(p.taken)
	p.mu.Unlock()
	for dead := range p.state.View().DeadLetters() {
		d, err := alert.DecodeDelivery(dead.Delivery)
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, heardOf(d.Alert, d.Key, d.Trigger))
	}
	return out
}

// check compares what each receiver believes in the end with the chain.
func (p *path) check() (errs []error, duplicates int) {
	v := p.state.View()
	for o := range v.Outbox() {
		errs = append(errs, fmt.Errorf("still in the outbox: %s of %s to %s: %s", o.Key, o.Tenant, o.Trigger, o.Reason))
	}
	p.mu.Lock()
	id := farm.CheckIdentity(p.taken)
	p.mu.Unlock()
	errs = append(errs, id.Errors...)
	by := map[string][]farm.Delivery{}
	for _, d := range p.heard() {
		by[d.Receiver] = append(by[d.Receiver], d)
	}
	for i, mode := range pathModes {
		for _, trigger := range pathTriggers {
			receiver := TenantName(i) + "/" + trigger
			for _, err := range p.compare(i, mode, by[receiver]) {
				errs = append(errs, fmt.Errorf("%s: %w", receiver, err))
			}
			delete(by, receiver)
		}
	}
	for receiver := range maps.Keys(by) {
		errs = append(errs, fmt.Errorf("nobody asked for what went to %s", receiver))
	}
	return errs, id.Duplicates
}

// compare compares one receiver's last words with the chain.
func (p *path) compare(tenant int, mode string, list []farm.Delivery) (errs []error) {
	depth := map[string]uint64{"": pathDepth, "instant": 0, "both": 0}[mode]
	return farm.Truth{Mode: mode, Depth: depth, Confirmed: pathDepth, Alerts: canonical(p.chain, tenant)}.Check(list)
}

// pathDepth is the depth of the network here.
const pathDepth = 2
