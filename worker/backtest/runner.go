package backtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// ErrBusy: what the network's watcher does for now comes first; the block can be asked
// for again at once.
var ErrBusy = errors.New("the network's head comes first")

// Log is the replicated state and the way to change it.
type Log interface {
	View() *fsm.View
	Changed(fsm.Topic) <-chan struct{}
	// Propose commits a command. When it returns without error, View shows it.
	Propose(context.Context, fsm.Command) (any, error)
}

// Blocks gives the blocks of the past.
type Blocks interface {
	// Past fetches the payload of the block that is canonical at a height for a tenant,
	// and tells how many calls of the network's endpoints that took; 0: it was in a cache.
	// Errors may wrap ErrBusy.
	Past(ctx context.Context, tenant, network string, height uint64) (payload []byte, calls uint64, err error)
}

// Meter is told what tenants have caused. It must not wait.
type Meter interface {
	// Evaluated tells how long judging a block took.
	Evaluated(tenant string, took time.Duration)
}

type noMeter struct{}

func (noMeter) Evaluated(string, time.Duration) {}

// Options are what a Runner is made of.
type Options struct {
	Node       string // this node's name, under which it is given parts
	Log        Log
	Blocks     Blocks
	Meter      Meter // nil: nobody asks
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Runner judges the parts of backtests that are this node's.
type Runner struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics

	judging sync.Mutex // one block at a time
	running map[place]context.CancelFunc
}

// place is a part as it was given to this node.
type place struct {
	tenant, id string
	part       int
	epoch      uint64
}

// New makes a runner; Run has it work.
func New(opts Options) *Runner {
	if opts.Meter == nil {
		opts.Meter = noMeter{}
	}
	return &Runner{opts: opts, log: opts.Logger.With("component", "backtest"), metrics: newMetrics(opts.Registerer), running: map[place]context.CancelFunc{}}
}

// Run judges what this node is given until ctx ends. What was not reported then is
// judged again by whoever has the part next.
func (r *Runner) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		changed := r.opts.Log.Changed(fsm.TopicBacktests)
		r.align(ctx, &all)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// align compares what runs with what this node has been given.
func (r *Runner) align(ctx context.Context, all *sync.WaitGroup) {
	mine := map[place]bool{}
	for b := range r.opts.Log.View().ActiveBacktests() {
		for i := range b.Parts {
			if p := &b.Parts[i]; p.Node == r.opts.Node && !p.Done() {
				mine[place{b.Tenant, b.ID, i, p.Epoch}] = true
			}
		}
	}
	for at, cancel := range r.running {
		if !mine[at] {
			cancel()
			delete(r.running, at)
		}
	}
	for at := range mine {
		if r.running[at] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		r.running[at] = cancel
		all.Go(func() {
			defer cancel()
			r.metrics.running.Inc()
			defer r.metrics.running.Dec()
			r.work(ctx, at)
		})
	}
}

// How long a part waits.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 15 * time.Second
	// patience is how long nothing may be had of a network before the job is given up;
	// notFoundPatience, how long its endpoints may say that they do not have a block.
	patience         = 5 * time.Minute
	notFoundPatience = 30 * time.Second
)

// work judges a part until it is judged, is another's, or cannot go on.
func (r *Runner) work(ctx context.Context, at place) {
	log := r.log.With("tenant", at.tenant, "backtest", at.id, "part", at.part)
	pause, since := firstPause, time.Now()
	var j judge // of what the state says is left
	for ctx.Err() == nil {
		v := r.opts.Log.View()
		b, ok := v.Backtest(at.tenant, at.id)
		if !ok || b.State.Over() || b.Parts[at.part].Epoch != at.epoch || b.Parts[at.part].Done() {
			return
		}
		p := &b.Parts[at.part]
		var err error
		if j == nil || p.Next == p.From {
			if j, err = newJudge(v, b, p); err != nil {
				err = fmt.Errorf("%w: %w", errJudge, err)
			}
		}
		s := &stretch{r: r, at: at, job: b, part: p, judge: j, next: p.Next, parent: p.Parent, last: p.Last}
		moved := false
		if err == nil {
			moved, err = s.run(ctx)
		}
		if moved || errors.Is(err, ErrBusy) || errors.Is(err, errUntold) {
			pause, since = firstPause, time.Now()
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		j = nil // it has judged what does not count
		waited := time.Since(since)
		if errors.Is(err, errJudge) || waited > patience || waited > notFoundPatience && errors.Is(err, chain.ErrNotFound) {
			log.Warn("a backtest is given up", "error", err)
			if r.giveUp(ctx, s, err) {
				return
			}
		}
		log.Debug("a backtest has to wait", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// giveUp ends the job, if that can be committed.
func (r *Runner) giveUp(ctx context.Context, s *stretch, err error) bool {
	c := s.command()
	c.Error = err.Error()
	_, err = r.opts.Log.Propose(ctx, c)
	return err == nil
}
