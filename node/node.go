package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/node/secrets"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/console"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Node is one process of the cluster.
type Node struct {
	opts Options
	log  *slog.Logger

	state   *fsm.State
	group   *consensus.Group
	journal *journal.Journal
	keeper  *secrets.Keeper
	cache   blockcache.Cache
	fetcher *blockcache.Fetcher
	metrics *metrics
	watch   *watchers

	fatal chan error
	loops sync.WaitGroup
	stop  context.CancelFunc
	clean cleanup

	importing sync.Mutex
	health    healthState
}

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
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.clean.run())
		}
	}()
	key, err := secrets.LoadOrCreateKey(opts.DataDir)
	if err != nil {
		return nil, err
	}
	n.keeper = secrets.New(key)
	n.journal, err = journal.Open(journal.Options{Path: filepath.Join(opts.DataDir, "journal.db"), Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.clean.push(n.journal.Close)
	n.group, err = consensus.Open(consensus.Options{
		Dir: filepath.Join(opts.DataDir, "raft"), Node: opts.Name, State: n.state, Logger: n.log,
		Registerer: opts.Registry, Multiplier: opts.RaftMultiplier, Fatal: n.die,
	})
	if err != nil {
		return nil, err
	}
	n.clean.push(n.group.Close)
	cacheMetrics := blockcache.NewMetrics(opts.Registry)
	n.cache = blockcache.NewMemory(opts.CacheBytes, cacheMetrics)
	n.watch = &watchers{
		node: n, metrics: watcher.NewMetrics(opts.Registry), rpc: rpc.NewMetrics(opts.Registry), running: map[string]*watching{},
	}
	n.fetcher = blockcache.NewFetcher(n.cache, n.watch.load, cacheMetrics)
	registerProcess(opts.Registry)
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

// Start begins the node's work and returns when it is ready to take some. The
// folder of documents, if there is one, is taken over first.
func (n *Node) Start(ctx context.Context) error {
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.group.Barrier(ctx); err != nil {
		return fmt.Errorf("the log could not be replayed: %w", err)
	}
	epoch, err := n.group.Propose(ctx, &fsm.PutCohort{ID: n.opts.Name, Node: n.opts.Name})
	if err != nil {
		return fmt.Errorf("take up the tenants of this node: %w", err)
	}
	n.completeJournal()
	if n.opts.Config != "" {
		if err := n.importAtStart(ctx); err != nil {
			return err
		}
	}
	if n.opts.Checkpoints != "" {
		if err := n.importCheckpoints(ctx, n.opts.Checkpoints); err != nil {
			return err
		}
	}
	return n.begin(epoch.(uint64))
}

// importAtStart reads the folder. One that is refused stops a node that has
// nothing to go on with; any other goes on with what it had.
func (n *Node) importAtStart(ctx context.Context) error {
	report, err := n.Import(ctx, n.opts.Config)
	if err == nil && len(report.Refused) > 0 && len(report.Refused) == report.Tenants {
		err = fmt.Errorf("no tenant's configuration is valid: %w:\n%w", errRefused, report.Problems.Err())
	}
	if err == nil || !errors.Is(err, errRefused) && !errors.Is(err, ErrSharedNetworks) {
		return err
	}
	if !n.hasTenants() {
		return err
	}
	n.log.Error("the folder was not taken over; the node goes on with the configuration it had", "error", err)
	return nil
}

// begin starts the loops.
func (n *Node) begin(epoch uint64) error {
	sender := notify.NewSender(notify.SenderOptions{
		Channels: notify.Channels{
			"webhook": webhook.New(notify.NewHTTP(nil)),
			"console": console.New(n.opts.Console),
		},
		Logger: n.log, Registerer: n.opts.Registry,
	})
	triggers := store.NewTriggers(n.keeper)
	box := outbox.New(outbox.Options{
		Log: replicated{n}, Sender: sender, Triggers: triggers, Logger: n.log, Registerer: n.opts.Registry,
	})
	w := worker.New(worker.Options{
		Cohort: n.opts.Name, Epoch: epoch, Log: replicated{n}, Blocks: blocks{n.fetcher},
		Sender: sender, Triggers: triggers, Outbox: box, Recorder: recorder{n.journal},
		Logger: n.log, Registerer: n.opts.Registry, Patience: n.opts.Patience,
	})
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	// Leases of an earlier run are granted anew before anything is watched.
	granted := map[string]bool{}
	n.grant(ctx, granted)
	n.loops.Go(func() { n.reconcile(ctx, granted) })
	n.loops.Go(func() { n.watch.run(ctx) })
	n.loops.Go(func() { n.report(box.Run(ctx)) })
	n.loops.Go(func() { n.report(w.Run(ctx)) })
	n.loops.Go(func() { n.housekeeping(ctx) })
	n.health.started.Store(true)
	n.log.Info("ready", "data", n.opts.DataDir, "listen", n.opts.Listen)
	return nil
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

// stopPatience is how long Stop lets loops finish what they are at.
const stopPatience = 10 * time.Second

// Stop ends the work, then releases the files. What was not recorded is done
// again after the next start.
func (n *Node) Stop() error {
	n.health.draining.Store(true)
	if n.stop != nil {
		n.stop()
	}
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
			before := time.Now().Add(-time.Hour).UnixMilli()
			if _, err := n.group.Propose(ctx, &fsm.CollectBlobs{Before: before}); err != nil {
				n.log.Warn("unused documents could not be collected", "error", err)
			}
		}
	}
}
