package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
)

var (
	// ErrNoLeader: no node leads the group now; the command was not proposed.
	ErrNoLeader = errors.New("no leader: try again")
	// ErrUncertain: the command may or may not have been committed.
	ErrUncertain = errors.New("the outcome is unknown: leadership was lost on the way")
)

// Options says where and how a node takes part in the group.
type Options struct {
	Dir        string // log, votes and snapshots
	Node       string // this node's name, unique and stable
	State      *fsm.State
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Transport connects the members; nil for a group of this node alone.
	Transport raft.Transport
	// Multiplier scales Raft's timeouts for slow machines; 0 means 1.
	Multiplier float64
	// Fatal is called once when this node cannot go on: its disk failed or its
	// log holds what it does not understand. The process should end.
	Fatal func(error)
	// WrapLog lets a test stand between Raft and its log.
	WrapLog func(raft.LogStore) raft.LogStore
}

// Group is this node's membership in the Raft group.
type Group struct {
	raft    *raft.Raft
	store   *store
	machine *machine
	metrics *metrics
	opts    Options

	closed    chan struct{}
	closeOnce sync.Once
	notify    chan bool
	watching  sync.WaitGroup

	mu     sync.Mutex
	leads  bool
	change chan struct{} // closed when leads changes
}

// holdFor is how long a proposal waits for a leader before it is refused.
const holdFor = 5 * time.Second

// Open starts the node's part of the group. A directory without a log becomes
// a new group of this node alone.
func Open(opts Options) (*Group, error) {
	if opts.Multiplier == 0 {
		opts.Multiplier = 1
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	g := &Group{
		opts:    opts,
		metrics: newMetrics(opts.Registerer),
		closed:  make(chan struct{}),
		notify:  make(chan bool, 16),
		change:  make(chan struct{}),
	}
	var once sync.Once
	fatal := func(err error) {
		once.Do(func() {
			opts.Logger.Error("this node cannot go on", "error", err)
			opts.Fatal(err)
		})
	}
	logger := raftLogger(opts.Logger)
	st, err := openStore(filepath.Join(opts.Dir, "raft.db"), opts.WrapLog, fatal)
	if err != nil {
		return nil, err
	}
	g.store = st
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(opts.Dir, 3, logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot directory: %w", err), st.Close())
	}
	g.machine = &machine{state: opts.State, fatal: fatal, persisted: g.persisted}

	cfg := config(opts, logger)
	cfg.NotifyCh = g.notify
	transport := opts.Transport
	if transport == nil {
		_, transport = raft.NewInmemTransport(raft.ServerAddress(opts.Node))
	}
	if err := bootstrap(cfg, st, snapshots, transport); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	g.raft, err = raft.NewRaft(cfg, g.machine, st.log, st.stable, snapshots, transport)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), st.Close())
	}
	g.watching.Go(g.watchLeadership)
	return g, nil
}

func config(opts Options, logger hclogLogger) *raft.Config {
	scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) * opts.Multiplier) }
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(opts.Node)
	cfg.HeartbeatTimeout = scaled(500 * time.Millisecond)
	cfg.ElectionTimeout = scaled(500 * time.Millisecond)
	cfg.LeaderLeaseTimeout = scaled(250 * time.Millisecond)
	cfg.SnapshotThreshold = 8192
	cfg.SnapshotInterval = snapshotInterval
	cfg.TrailingLogs = 10240
	cfg.BatchApplyCh = true
	cfg.Logger = logger
	return cfg
}

func bootstrap(cfg *raft.Config, st *store, snapshots raft.SnapshotStore, transport raft.Transport) error {
	exists, err := raft.HasExistingState(st.log, st.stable, snapshots)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if exists {
		return nil
	}
	alone := raft.Configuration{Servers: []raft.Server{{ID: cfg.LocalID, Address: transport.LocalAddr()}}}
	if err := raft.BootstrapCluster(cfg, st.log, st.stable, snapshots, transport, alone); err != nil {
		return fmt.Errorf("begin a new group: %w", err)
	}
	return nil
}

// watchLeadership keeps track of whether this node leads.
func (g *Group) watchLeadership() {
	for {
		select {
		case <-g.closed:
			return
		case leads := <-g.notify:
			g.mu.Lock()
			g.leads = leads
			close(g.change)
			g.change = make(chan struct{})
			g.mu.Unlock()
			g.metrics.leader.Set(map[bool]float64{true: 1}[leads])
		}
	}
}

// Leads reports whether this node leads, and a channel closed when that changes.
func (g *Group) Leads() (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leads, g.change
}

// AwaitLeader waits until this node leads the group.
func (g *Group) AwaitLeader(ctx context.Context) error {
	for {
		leads, change := g.Leads()
		if leads {
			return nil
		}
		select {
		case <-change:
		case <-g.closed:
			return ErrNoLeader
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNoLeader, context.Cause(ctx))
		}
	}
}

// Propose commits a command and answers with what the state machine made of
// it. When it returns without error, this node's state shows the change. The
// command's own refusals come back as they are.
func (g *Group) Propose(ctx context.Context, c fsm.Command) (any, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	held, cancel := context.WithTimeout(ctx, holdFor)
	defer cancel()
	if err := g.AwaitLeader(held); err != nil {
		return nil, err
	}
	start := time.Now()
	future := g.raft.Apply(entry, 0)
	done := make(chan error, 1)
	go func() { done <- future.Error() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUncertain, context.Cause(ctx))
	}
	g.metrics.commit.Observe(time.Since(start).Seconds())
	g.metrics.bytes.Add(float64(len(entry)))
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return nil, ErrNoLeader
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	answer, ok := future.Response().(answer)
	if !ok {
		return nil, ErrUncertain
	}
	return answer.result, answer.err
}

// Barrier waits until everything committed before is applied here.
func (g *Group) Barrier(ctx context.Context) error {
	if err := g.AwaitLeader(ctx); err != nil {
		return err
	}
	timeout := holdFor
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	if err := g.raft.Barrier(timeout).Error(); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	return nil
}

// Snapshot writes a snapshot now, so that the next start replays less.
func (g *Group) Snapshot() error {
	err := g.raft.Snapshot().Error()
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
	g.metrics.snapshotSeconds.Set(took.Seconds())
	g.metrics.snapshotBytes.Set(float64(size))
	rc := g.raft.ReloadableConfig()
	rc.SnapshotInterval = max(snapshotInterval, snapshotRest*took)
	if err := g.raft.ReloadConfig(rc); err != nil {
		g.opts.Logger.Warn("snapshot interval", "error", err)
	}
}

// Close leaves the group's work to the others and releases the files.
func (g *Group) Close() error {
	var err error
	g.closeOnce.Do(func() {
		err = g.raft.Shutdown().Error()
		close(g.closed)
		g.watching.Wait()
		err = errors.Join(err, g.store.Close())
	})
	return err
}
