package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/backtest"
	"github.com/ozmo-dev/ozmo/worker/notify/egress"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// Node is one process of the cluster.
type Node struct {
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	state    *fsm.State
	journal  *journal.Journal
	news     *news
	tables   *tables         // nil: no tenant source
	contents *postgres.Store // nil: all contents are in the state, as far as this node was told
	cache    blockcache.Cache
	fetcher  *blockcache.Fetcher // for workers: cache, then the lease holder
	held     *blockcache.Fetcher // for others, of what is watched here: cache, then the chain
	watch    *watchers
	worker   atomic.Pointer[worker.Worker]
	outbox   atomic.Pointer[outbox.Outbox]
	guard    *egress.Guard                    // of what tenants have us connect to
	own      atomic.Pointer[[]netip.AddrPort] // what the cluster listens at

	// Set once the node is part of a cluster; see join.
	membership  *membership
	keeper      *secrets.Keeper
	credentials *pki.Credentials // nil: plaintext
	mux         *mux.Mux
	peers       *http.Transport
	gossip      *gossip.Gossip
	group       *consensus.Group
	address     string // at which others reach this node
	instance    string
	boot        atomic.Uint64 // log index of this run's registration
	kept        *membership   // as last written, by keepUp
	contact     *contact

	contacts  contacts // on the leader
	certainty *certainty
	pending   atomic.Pointer[[]consensus.PeerChange]
	nudge     chan struct{}                      // has the reconciler look at once
	activity  atomic.Pointer[map[string]float64] // weight of tenants where they are placed by activity, as last asked

	joined    chan *membership // hands over what Join has got
	joining   sync.Mutex
	asked     *asked // under joining
	alone     alone
	reading   sync.Mutex // of an archive
	isMember  atomic.Bool
	entered   atomic.Bool // group and gossip are there
	begun     atomic.Bool // the cluster has had a leader
	pledged   atomic.Bool
	removed   atomic.Bool // from the cluster, by somebody
	restoring atomic.Bool
	founders  founders
	ready     chan struct{} // closed when Start is done

	fatal chan error
	loops sync.WaitGroup
	stop  context.CancelFunc
	clean cleanup

	importing  sync.Mutex
	resolved   map[spec.Secret]string // of the folder, when it was read last; guarded by importing
	health     healthState
	pulse      *pulse // nil: nobody wants heartbeats
	replays    sync.Mutex
	tenants    http.Handler               // the API for tenants
	turns      v1.Turns                   // to change tenants, which this node gives while it leads
	delivering atomic.Pointer[delivering] // once the node works
	meter      meter
}

// ErrTooOld ends a node whose log holds what only a newer version understands.
var ErrTooOld = fsm.ErrUnknownCommand

// cleanup is what has to be undone, last first.
type cleanup []func() error

func (c *cleanup) push(f func() error) { *c = append(*c, f) }

func (c *cleanup) run() error {
	var errs []error
	for _, undo := range slices.Backward(*c) {
		errs = append(errs, undo())
	}
	*c = nil
	return errors.Join(errs...)
}

// New opens a node's files. Nothing runs before Start.
func New(opts Options) (_ *Node, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	n := &Node{
		opts: opts, log: opts.Logger.With("node", opts.Name),
		state: fsm.New(), fatal: make(chan error, 1), metrics: newMetrics(opts.Registry),
		news: newNews(), nudge: make(chan struct{}, 1), joined: make(chan *membership), ready: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.clean.run())
		}
	}()
	unlock, err := lockDir(opts.DataDir)
	if err != nil {
		return nil, err
	}
	n.clean.push(unlock)
	if n.guard, err = n.newGuard(); err != nil {
		return nil, err
	}
	n.journal, err = journal.Open(journal.Options{Path: filepath.Join(opts.DataDir, "journal.db"), Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.clean.push(n.journal.Close)
	n.watch = &watchers{
		node: n, metrics: watcher.NewMetrics(opts.Registry), rpc: rpc.NewMetrics(opts.Registry), running: map[string]*watching{},
	}
	registerProcess(opts.Registry)
	n.tenants = v1.New(v1.Options{
		Backend: tenantAPI{n}, Logger: n.log, Registerer: opts.Registry,
		Rates: v1.Rates{Key: opts.HTTP.KeyRate, Address: opts.HTTP.AddressRate},
	})
	return n, nil
}

func registerProcess(reg *prometheus.Registry) {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// die ends the node: it cannot keep what it promises any more.
func (n *Node) die(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// Name is the node's name.
func (n *Node) Name() string { return n.opts.Name }

// View is the state as this node has it now.
func (n *Node) View() *fsm.View { return n.state.View() }

// Leader is the node that leads as far as this one knows, empty for none, and
// the term.
func (n *Node) Leader() (name string, term uint64) {
	group := n.groupNow()
	if group == nil {
		return "", 0
	}
	leader, _ := group.Leader()
	return consensus.NameOf(leader.ID), group.Term()
}

// Changed is closed when what the topic covers changes in the state.
func (n *Node) Changed(t fsm.Topic) <-chan struct{} { return n.state.Changed(t) }

// Address is where other nodes reach it, once started.
func (n *Node) Address() string { return n.address }

func (n *Node) ttl() time.Duration {
	return time.Duration(float64(leaseTTL) * n.opts.RaftMultiplier)
}

// groupNow is the Raft group, or nil while the node has none.
func (n *Node) groupNow() *consensus.Group {
	if !n.entered.Load() {
		return nil
	}
	return n.group
}

func (n *Node) clusterName() string {
	if n.isMember.Load() {
		return n.membership.Cluster
	}
	return ""
}

// Start begins the node's work and returns when it is ready to take some. A node
// that belongs to no cluster waits until it has joined one. The folder of
// documents, if there is one, is taken over first.
func (n *Node) Start(ctx context.Context) error {
	if err := n.listen(); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	if n.opts.HeartbeatURL != "" {
		n.pulse = newPulse(n)
		n.loops.Go(func() { n.pulse.run(background) })
	}
	if err := n.become(ctx); err != nil {
		return err
	}
	if err := n.openTables(); err != nil {
		return err
	}
	if err := n.openContents(background); err != nil {
		return err
	}
	if err := n.enter(ctx); err != nil {
		return err
	}
	n.loops.Go(func() { n.beat(background) })
	n.loops.Go(func() { n.watchStanding(background) })
	n.loops.Go(func() { n.lead(background) })
	n.loops.Go(func() { n.keepUp(background) })
	old := n.begun.Load() // this data directory was of the cluster before
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.settleStore(ctx); err != nil {
		return err
	}
	n.completeJournal()
	n.loops.Go(func() { n.followServers(background, old) })
	n.begin(background)
	if n.opts.Config != "" {
		if err := n.importAtStart(ctx); err != nil {
			return err
		}
	}
	if n.opts.Config == "" && n.opts.Checkpoints != "" {
		if err := n.importCheckpoints(ctx, n.networksCalled); err != nil {
			return err
		}
	}
	if n.opts.Config != "" {
		n.loops.Go(func() { n.watchSecrets(background) })
	}
	if n.tables != nil {
		n.loops.Go(func() { n.tables.run(background) })
	}
	n.health.started.Store(true)
	close(n.ready)
	n.log.Info("ready", "data", n.opts.DataDir, "listen", n.opts.Listen, "address", n.address)
	return nil
}

// become finds out, or waits to be told, which cluster this node belongs to.
func (n *Node) become(ctx context.Context) error {
	m, err := readMembership(n.opts.DataDir)
	switch {
	case err != nil:
		return err
	case m != nil:
		if n.opts.Insecure != m.Insecure {
			return fmt.Errorf("the data directory is of a cluster with insecure=%v: start the node accordingly", m.Insecure)
		}
		err = n.opts.checkCluster(m.Cluster, "the data directory "+n.opts.DataDir)
	case n.opts.Bundle != "":
		m, err = fromBundle(&n.opts)
	case n.opts.Bootstrap:
		m, err = found(&n.opts)
	default:
		n.log.Info("waiting: " + errNotMember.Error())
		select {
		case m = <-n.joined:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err != nil {
		return err
	}
	if m.Peers == nil {
		m.Peers = map[string]string{}
	}
	maps.Copy(m.Peers, n.opts.Peers)
	n.membership = m
	n.isMember.Store(true)
	return nil
}

// importAtStart reads the folder, and takes it over if it is news. One that is
// refused stops a node whose cluster has nothing to go on with; any other goes on
// with what there was.
func (n *Node) importAtStart(ctx context.Context) error {
	n.importing.Lock()
	defer n.importing.Unlock()
	f, err := n.readFolder(ctx, n.opts.Config)
	if err == nil {
		var news bool
		if news, err = n.isNews(f); err == nil && !news {
			n.log.Info("the folder is not taken over: it has not changed since this node read it last, or the cluster has its tenants already; SIGHUP takes it over",
				"folder", n.opts.Config)
			return n.noteFolder(f, true)
		}
		// Before any tenant wants the networks: they begin at once then.
		if err == nil && n.opts.Checkpoints != "" {
			err = n.importCheckpoints(ctx, f.networksCalled)
		}
		if err == nil {
			err = n.takeOver(ctx, f)
		}
	}
	if err == nil && len(f.report.Refused) > 0 && len(f.report.Refused) == f.report.Tenants {
		err = fmt.Errorf("no tenant's configuration is valid: %w:\n%w", errRefused, f.report.Problems.Err())
	}
	if err == nil || !errors.Is(err, errRefused) && !errors.Is(err, ErrSharedNetworks) {
		return err
	}
	if !n.hasTenants(fsm.SourceFolder, fsm.SourceAPI, fsm.SourceTables) {
		return err
	}
	n.log.Error("the folder was not taken over; the node goes on with the configuration it had", "error", err)
	return nil
}

// begin starts judging and watching.
func (n *Node) begin(ctx context.Context) {
	n.lookUpOwn(ctx, map[string][]netip.Addr{}) // before anything is sent
	n.loops.Go(func() { n.learnOwn(ctx) })
	sender := noted{n.newSender(), &n.alone}
	triggers := store.NewTriggers(n.keeper)
	box := outbox.New(outbox.Options{
		Node: n.opts.Name, Contact: n.contact,
		Log: replicated{n}, Sender: sender, Triggers: triggers, Logger: n.log, Registerer: n.opts.Registry,
	})
	w := worker.New(worker.Options{
		Node: n.opts.Name, Contact: n.contact, Log: replicated{n}, Blocks: blocks{n.fetcher},
		Sender: sender, Triggers: triggers, Outbox: box, Recorder: recorder{n.journal, n.news}, Meter: &n.meter,
		Logger: n.log, Registerer: n.opts.Registry, Patience: n.opts.Patience,
	})
	n.worker.Store(w)
	n.outbox.Store(box)
	n.delivering.Store(&delivering{sender, triggers})
	n.loops.Go(func() { n.warm(ctx) })
	n.loops.Go(func() { n.mirror(ctx) })
	n.loops.Go(func() { n.watch.run(ctx) })
	n.loops.Go(func() { n.report(box.Run(ctx)) })
	n.loops.Go(func() { n.report(w.Run(ctx)) })
	past := backtest.New(backtest.Options{
		Node: n.opts.Name, Log: replicated{n}, Blocks: pastBlocks{n}, Meter: &n.meter, Logger: n.log, Registerer: n.opts.Registry,
	})
	n.loops.Go(func() { past.Run(ctx) })
	n.loops.Go(func() { n.housekeeping(ctx) })
	n.loops.Go(func() { n.meterUsage(ctx) })
}

// report ends the node on the error of a loop.
func (n *Node) report(err error) {
	if err != nil {
		n.die(err)
	}
}

// Wait returns when the node cannot go on, with the reason, or when ctx ends.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case err := <-n.fatal:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Failed delivers the reason when the node cannot go on, also during Start.
func (n *Node) Failed() <-chan error { return n.fatal }

// stopPatience is how long Stop lets loops finish what they are at.
const stopPatience = 10 * time.Second

// Stop hands the node's work to the others, as far as there are any, ends what
// is left and releases the files. What was not recorded is done again after the
// next start.
func (n *Node) Stop() error {
	n.health.draining.Store(true)
	if n.pulse != nil {
		n.pulse.leaving.Store(true)
	}
	n.handOver()
	return n.end()
}

// Kill ends the node as a crash would: nothing is handed over. For tests.
func (n *Node) Kill() error {
	n.health.draining.Store(true)
	return n.end()
}

func (n *Node) end() error {
	if n.stop != nil {
		n.stop()
	}
	n.news.close()
	done := make(chan struct{})
	go func() { n.loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopPatience):
		n.log.Warn("some work did not end in time; it is done again after the next start")
	}
	return n.clean.run()
}

// housekeeping does what is only due now and then.
func (n *Node) housekeeping(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if leads, _ := n.group.Leads(); !leads {
				continue
			}
			before := time.Now().Add(-time.Hour).UnixMilli()
			if _, err := n.group.Propose(ctx, &fsm.CollectBlobs{Before: before}); err != nil {
				n.log.Warn("unused documents could not be collected", "error", err)
			}
			n.collectContents(ctx)
		}
	}
}
