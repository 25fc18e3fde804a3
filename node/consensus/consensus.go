package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Options says where and how a node takes part in the group.
type Options struct {
	Dir        string // log, votes and snapshots
	Server     string // this node's server id: name@instance, new with every data directory
	Address    string // where the others reach it; needed with a Layer
	State      *fsm.State
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Layer connects the members; nil for a group of this node alone.
	Layer Layer
	// Locate says where a server is now, as gossip knows it; nil or false: at
	// the address that the group's configuration holds.
	Locate func(server string) (address string, ok bool)
	// Forward takes an entry to the leader's ProposeEntry. Its error wraps
	// ErrNotLeader, ErrNoLeader or ErrGated only when the entry was certainly
	// not appended; every other error counts as ErrUncertain.
	Forward func(ctx context.Context, leader Server, entry []byte) (index uint64, err error)
	// ReadIndex asks the leader's ReadIndex.
	ReadIndex func(ctx context.Context, leader Server) (uint64, error)
	// Gate is asked on the leader before a command is appended, wherever it
	// comes from; its error goes to the proposer as ErrGated. nil: all pass.
	Gate func(fsm.Type) error

	// Multiplier scales Raft's timeouts for slow machines; 0 means 1.
	Multiplier float64
	// Fatal is called once when this node cannot go on: its disk failed or
	// hangs, its log holds what it does not understand, or a restore set it
	// apart from the others. The process should end.
	Fatal func(error)
	// Stores gives a test's stores instead of files in Dir.
	Stores func() (Stores, error)
	// WrapLog lets a test stand between Raft and its log.
	WrapLog func(raft.LogStore) raft.LogStore
}

// Group is this node's membership in the Raft group.
type Group struct {
	raft      *raft.Raft
	started   chan struct{} // closed once raft is set
	store     *store
	transport *transport // nil: alone
	machine   *machine
	answers   *answers
	metrics   *metrics
	watchdog  *watchdog
	opts      Options
	fatal     func(error)

	pending  *pending
	gated    turnstile     // commands that were let through the gate
	commands atomic.Int64  // appended here as the leader and not applied yet
	settled  atomic.Uint64 // the last term in which this leader knew all that is committed
	flush    chan struct{} // a command was applied and none follows
	quiet    bool          // no empty entries (to measure what they are worth)

	closed    chan struct{}
	closeOnce sync.Once
	notify    chan bool
	watching  sync.WaitGroup

	leads       atomic.Bool
	leadsChange signal
	leader      signal // fires when another leads, or nobody
}

// drainFor is how long Close waits for what is under way. A leader that has
// lost the others gives up sooner than that.
const drainFor = 2 * time.Second

// Open starts the node's part of the group. A node without a log waits: until
// Bootstrap begins a group with it, or the leader of one adds it. ErrDiverged
// says that the log in Dir cannot be used any more.
func Open(opts Options) (*Group, error) {
	if opts.Multiplier == 0 {
		opts.Multiplier = 1
	}
	if opts.Address == "" {
		opts.Address = opts.Server
	}
	if err := checkServerID(opts.Server); err != nil {
		return nil, err
	}
	g := &Group{
		opts:    opts,
		started: make(chan struct{}),
		answers: newAnswers(answersKept),
		pending: newPending(),
		flush:   make(chan struct{}, 1),
		closed:  make(chan struct{}),
		notify:  make(chan bool, 16),
	}
	g.metrics = newMetrics(opts.Registerer, g)
	var once sync.Once
	g.fatal = func(err error) {
		once.Do(func() {
			opts.Logger.Error("this node cannot go on", "error", err)
			opts.Fatal(err)
		})
	}
	logger := raftLogger(opts.Logger, g.hasPeers)
	var err error
	if g.store, err = openStores(opts, logger, g.fatal); err != nil {
		return nil, err
	}
	g.machine = &machine{state: opts.State, answers: g.answers, fatal: g.fatal, persisted: g.persisted}
	g.watchdog = newWatchdog(opts.Multiplier, g.probe, g.fatal)
	if err := g.start(logger); err != nil {
		return nil, errors.Join(err, g.store.Close())
	}
	return g, nil
}

func (g *Group) start(logger hclogLogger) error {
	cfg := config(g.opts, logger)
	cfg.NotifyCh = g.notify
	var trans raft.Transport
	if g.opts.Layer != nil {
		s := newStreams(g.opts.Layer, g.opts.Server, g.opts.Address, g.opts.Logger, g.metrics.refused)
		g.transport = newTransport(s, g.opts.Locate, logger)
		trans = g.transport
	} else {
		_, trans = raft.NewInmemTransport(raft.ServerAddress(g.opts.Address))
	}
	var err error
	g.raft, err = raft.NewRaft(cfg, g.machine, g.store.log, g.store.stable, g.store.snapshots, trans)
	if err != nil {
		err = fmt.Errorf("start raft: %w", err)
		if g.transport != nil {
			err = errors.Join(err, g.transport.Close(), g.transport.cut())
		}
		return err
	}
	close(g.started)
	leaders := make(chan raft.Observation, 16)
	g.raft.RegisterObserver(raft.NewObserver(leaders, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	g.watching.Go(func() { g.watchLeadership(leaders) })
	g.watching.Go(g.announceCommits)
	g.watching.Go(func() { g.watchdog.run(g.closed) })
	g.watching.Go(func() { g.store.watch(g.closed, g.opts.Multiplier) })
	return nil
}

func config(opts Options, logger hclogLogger) *raft.Config {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * opts.Multiplier) }
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(opts.Server)
	cfg.HeartbeatTimeout = scaled(500 * time.Millisecond)
	cfg.ElectionTimeout = scaled(500 * time.Millisecond)
	cfg.LeaderLeaseTimeout = scaled(250 * time.Millisecond)
	cfg.MaxAppendEntries = 256
	cfg.SnapshotThreshold = 8192
	cfg.SnapshotInterval = snapshotInterval
	cfg.TrailingLogs = 10240
	cfg.BatchApplyCh = true
	cfg.ShutdownOnRemove = false // a node that is removed goes on following until it is told otherwise
	cfg.NoLegacyTelemetry = true
	cfg.Logger = logger
	return cfg
}

// hasPeers reports whether the group has other servers than this one.
func (g *Group) hasPeers() bool {
	select {
	case <-g.started:
		return len(g.raft.GetConfiguration().Configuration().Servers) > 1
	default:
		return false
	}
}

// Snapshot writes a snapshot now, so that the next start replays less.
func (g *Group) Snapshot() error {
	_, err := await(context.Background(), g.pending, g.raft.Snapshot)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// snapshotInterval is how often Raft looks whether a snapshot is due; after a
// snapshot it waits at least snapshotRest times as long as that one took.
const (
	snapshotInterval = 2 * time.Minute
	snapshotRest     = 20
)

func (g *Group) persisted(took time.Duration, size int64) {
	<-g.started
	g.metrics.snapshotSeconds.Set(took.Seconds())
	g.metrics.snapshotBytes.Set(float64(size))
	rc := g.raft.ReloadableConfig()
	rc.SnapshotInterval = max(snapshotInterval, snapshotRest*took)
	if err := g.raft.ReloadConfig(rc); err != nil {
		g.opts.Logger.Warn("snapshot interval", "error", err)
	}
}

// Close leaves the group's work to the others and releases the files. It does
// not leave the group: the others go on counting on this server. It fails
// without releasing the files when the disk hangs.
func (g *Group) Close() error {
	var err error
	g.closeOnce.Do(func() {
		g.pending.close(drainFor)
		down := g.raft.Shutdown()
		if g.transport != nil {
			err = g.transport.cut()
		}
		ended := make(chan error, 1)
		go func() {
			err := down.Error()
			close(g.closed)
			g.watching.Wait()
			ended <- errors.Join(err, g.store.Close())
		}()
		select {
		case end := <-ended:
			err = errors.Join(err, end)
		case <-g.store.hung:
			err = errors.Join(err, fmt.Errorf("close %s: the disk hangs", g.store.path))
		}
	})
	return err
}
