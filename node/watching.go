package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// watchers runs a watcher for every network whose lease this node holds.
type watchers struct {
	node    *Node
	metrics *watcher.Metrics
	rpc     *rpc.Metrics

	mu      sync.Mutex
	running map[string]*watching
	past    map[string]api.Calls // of watchers that have ended
	gates   map[string]*gate     // of tenants with private networks that are, or were, watched here
}

// watching is one network that is being watched.
type watching struct {
	epoch    uint64
	doc      fsm.Hash     // of the network's document it was started with
	stored   store.Stored // secrets it was started with, once it has begun
	client   chain.Client
	aside    *aside // beside which the past is fetched
	pressure pressure
	cancel   context.CancelFunc
	done     chan struct{}
}

var errNotWatched = errors.New("this node does not watch the network")

// run starts and stops watchers as leases and documents change.
func (w *watchers) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		leases := w.node.state.Changed(fsm.TopicLeases)
		tenants := w.node.state.Changed(fsm.TopicTenants)
		secrets := w.node.state.Changed(fsm.TopicSecrets)
		w.align(ctx, &all)
		select {
		case <-ctx.Done():
			return
		case <-leases:
		case <-tenants:
		case <-secrets:
		}
	}
}

// align compares what runs with the leases.
func (w *watchers) align(ctx context.Context, all *sync.WaitGroup) {
	v := w.node.state.View()
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, r := range w.running {
		n, ok := v.Network(key)
		if ok && n.Lease.Holder == w.node.opts.Name && n.Lease.Epoch == r.epoch && networkHash(v, key) == r.doc && r.stored.Fresh(v, ownerOf(key)) {
			continue
		}
		r.cancel()
		delete(w.running, key)
		all.Go(func() { <-r.done })
	}
	maps.DeleteFunc(w.gates, func(tenant string, _ *gate) bool { _, there := v.Tenant(tenant); return !there })
	for n := range v.Networks() {
		if n.Lease.Holder != w.node.opts.Name || w.running[n.Key] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r := &watching{epoch: n.Lease.Epoch, doc: networkHash(v, n.Key), aside: newAside(func() bool { return w.spare(n.Key) }), cancel: cancel, done: make(chan struct{})}
		r.pressure.log = w.node.log.With("network", n.Key)
		w.running[n.Key] = r
		all.Go(func() {
			defer close(r.done)
			defer cancel()
			w.follow(ctx, n.Key, r)
		})
	}
}

func ownerOf(key string) string {
	owner, _ := store.Owner(key)
	return owner
}

// networkHash identifies the document of a network.
func networkHash(v *fsm.View, key string) fsm.Hash {
	owner, slug := store.Owner(key)
	t, ok := v.Tenant(owner)
	if !ok {
		return fsm.Hash{}
	}
	d, _ := t.Current.Manifest.Find(fsm.DocNetwork, slug)
	return d.Hash
}

// follow watches one network under one lease, beginning anew after failures.
func (w *watchers) follow(ctx context.Context, key string, r *watching) {
	log := w.node.log.With("network", key, "epoch", r.epoch)
	waits := false // for its document: told once
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		err := w.watch(ctx, key, r)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, watcher.ErrFenced) {
			log.Info("the lease has moved: watching ends")
			return
		}
		level, away := slog.LevelError, errors.Is(err, fsm.ErrUnreachable)
		if away {
			if pause = min(pause, time.Second); waits { // asking costs next to nothing
				level = slog.LevelDebug
			}
		}
		waits = away
		w.node.metrics.watcherRestarts.WithLabelValues(key).Inc()
		log.Log(ctx, level, "watching failed and begins again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (w *watchers) watch(ctx context.Context, key string, r *watching) error {
	v, doc, err := w.document(key, r)
	if err != nil {
		return err
	}
	client, err := w.client(key, doc)
	if err != nil {
		return err
	}
	w.mu.Lock()
	r.client = client
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		r.client = nil
		if w.past == nil {
			w.past = map[string]api.Calls{}
		}
		w.past[key] = w.past[key].Plus(callsOf(client))
		w.mu.Unlock()
		_ = client.Close() // nothing of it is kept
	}()
	n, ok := v.Network(key)
	if !ok {
		return fmt.Errorf("network %s: %w", key, fsm.ErrNotFound)
	}
	log := sequence{w.node}
	start, err := w.begin(ctx, n, client, r.epoch)
	if err != nil {
		return err
	}
	follower, err := watcher.New(watcher.Options{
		Network: key, Spec: doc, Client: headFirst{client, r.aside}, Cache: w.node.cache, Journal: log, Epoch: r.epoch,
		Start: start, Window: int(n.Lease.Window), Room: func() int { return w.room(key, r) },
		Held: w.held(key, r), Logger: w.node.log, Metrics: w.metrics,
	})
	if err != nil {
		return err
	}
	return follower.Run(ctx)
}

// document reads a network's document, with its secrets in clear. From then on
// align knows with which stored secrets; a change before that begins anew here.
func (w *watchers) document(key string, r *watching) (*fsm.View, *spec.Network, error) {
	for {
		v := w.node.state.View()
		doc, owner, err := store.FindNetwork(v, key)
		if err != nil {
			return nil, nil, err
		}
		stored, err := store.OpenSecrets(v, owner, doc.Secrets(), w.node.keeper)
		w.mu.Lock()
		r.stored = stored
		w.mu.Unlock()
		switch {
		case !stored.Fresh(w.node.state.View(), owner):
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("network %s: %w", key, err)
		}
		return v, doc, nil
	}
}

// room is how many announcements the slowest cursor lets a watcher make now.
func (w *watchers) room(key string, r *watching) int {
	v := w.node.state.View()
	n, ok := v.Network(key)
	if !ok {
		return 0
	}
	room, slowest := roomOf(v, n, w.node.opts.MaxAhead)
	r.pressure.note(v, n, room, slowest)
	return room
}

// client makes the client of a network's chain.
func (w *watchers) client(key string, doc *spec.Network) (chain.Client, error) {
	if w.node.opts.Client != nil {
		return w.node.opts.Client(key, doc)
	}
	switch doc.Type {
	case spec.EVM:
		return evm.New(evm.Options{
			Options: rpc.Options{
				Network: key, Endpoints: Endpoints(doc), Dial: w.node.tenantDial(key), Gate: w.gate(key), Logger: w.node.log, Metrics: w.rpc,
			},
			ChainID: doc.ChainID, BlockTime: doc.BlockTime,
		})
	default:
		return nil, fmt.Errorf("network %s: %s is not supported yet", key, doc.Type)
	}
}

// Endpoints are a network's endpoints; its secrets must be plain.
func Endpoints(doc *spec.Network) []rpc.Endpoint {
	out := make([]rpc.Endpoint, len(doc.RPCURLs))
	for i, u := range doc.RPCURLs {
		out[i] = rpc.Endpoint{URL: u.URL.Value, Weight: int(u.Weight)}
	}
	return out
}

// begin is where a network that has no head starts. Blocks that the peer had
// missed before its checkpoint are announced first, each alone, the heights
// between them as left out: the peer has judged those.
func (w *watchers) begin(ctx context.Context, n *fsm.Network, client chain.Client, epoch uint64) (*uint64, error) {
	if n.Gap != 0 {
		start := n.Gap + 1
		return &start, nil
	}
	if _, begun := n.Branch.Tip(); begun || n.Start == nil {
		return nil, nil
	}
	if len(n.Start.Missed) == 0 {
		return &n.Start.Height, nil
	}
	var list []watcher.Announcement
	for i, height := range n.Start.Missed {
		b, err := client.Block(ctx, height)
		if err != nil {
			return nil, fmt.Errorf("network %s: block %d, which was missed before: %w", n.Key, height, err)
		}
		w.node.cache.Put(ctx, n.Key, b.Ref.Hash, b.Payload)
		list = append(list, watcher.Announcement{Kind: watcher.Extend, Ref: b.Ref, Parent: b.Parent, Time: b.Time})
		next := n.Start.Height
		if i+1 < len(n.Start.Missed) {
			next = n.Start.Missed[i+1]
		}
		if next > height+1 {
			list = append(list, watcher.Announcement{Kind: watcher.Skip, From: height + 1, To: next - 1})
		}
	}
	start := n.Start.Height
	return &start, sequence{w.node}.Announce(ctx, n.Key, epoch, list)
}

// load gets a block that the cache does not have: from whoever watches the
// network. Nobody else asks the chain.
func (w *watchers) load(ctx context.Context, network string, hash fsm.Hash) ([]byte, error) {
	n, ok := w.node.state.View().Network(network)
	switch {
	case !ok:
		return nil, fmt.Errorf("network %s: %w", network, fsm.ErrNotFound)
	case n.Lease.Holder == "":
		return nil, fmt.Errorf("network %s: nobody watches it at the moment", network)
	case n.Lease.Holder == w.node.opts.Name:
		return w.refetch(ctx, network, hash)
	}
	return w.node.askHolder(ctx, n.Lease.Holder, network, hash)
}

// refetch gets a block from the chain of a network that is watched here.
func (w *watchers) refetch(ctx context.Context, network string, hash fsm.Hash) ([]byte, error) {
	client, err := w.clientOf(network)
	if err != nil {
		return nil, err
	}
	b, err := client.BlockByHash(chain.Refetch(ctx), hash)
	if err != nil {
		return nil, err
	}
	return b.Payload, nil
}

func (w *watchers) clientOf(network string) (chain.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.running[network]; r != nil && r.client != nil {
		return r.client, nil
	}
	return nil, fmt.Errorf("network %s: %w", network, errNotWatched)
}

// allCalls counts, by network, what this node has asked of chains since it started.
func (w *watchers) allCalls() map[string]api.Calls {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := maps.Clone(w.past)
	if out == nil {
		out = map[string]api.Calls{}
	}
	for key, r := range w.running {
		if r.client != nil {
			out[key] = out[key].Plus(callsOf(r.client))
		}
	}
	return out
}

func callsOf(client chain.Client) api.Calls {
	if counted, ok := client.(interface{ Counters() rpc.Counters }); ok {
		return api.Calls(counted.Counters())
	}
	return api.Calls{}
}
