package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Log is the replicated state as the worker reads and changes it.
type Log interface {
	View() *fsm.View
	Changed(topic fsm.Topic) <-chan struct{}
	Propose(ctx context.Context, c fsm.Command) (any, error)
}

// Blocks gives the payload of an announced block: from the block cache, or
// from whoever watches the network.
type Blocks interface {
	Block(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error)
}

// Sender makes the first attempts of a delivery.
type Sender interface {
	Deliver(ctx context.Context, n *notify.Notification) (notify.Result, error)
}

// Outbox takes over what could not be delivered at once.
type Outbox interface {
	// Adopt says that a delivery about to be handed over is still being
	// attempted here. The caller tells whether the hand-over was committed; the
	// outcome then follows on done.
	Adopt(key string, done <-chan outbox.Attempt) (committed func(bool))
}

// Recorder keeps what was fired for later questions.
type Recorder interface {
	Record(fired []Recorded)
}

// Recorded is an alert that was fired, with what the ledger says of it.
type Recorded struct {
	Alert *alert.Alert
	Fired fsm.Fired
}

// Options are what a worker needs.
type Options struct {
	Cohort     string
	Epoch      uint64 // of the cohort's assignment to this node
	Log        Log
	Blocks     Blocks
	Sender     Sender
	Triggers   *store.Triggers
	Outbox     Outbox
	Recorder   Recorder
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Patience is how long a cursor waits for first attempts; 0 means 1 s.
	Patience time.Duration
	// Grace is how long Run finishes what it has begun when it is told to end; 0
	// means 5 s. What is not finished is done again after the next start.
	Grace time.Duration
	// Budget is what one tenant may cost in one block before it is judged after
	// everybody else's alerts have gone out; see evm.Limits. 0 means defaultBudget.
	Budget int
}

const (
	defaultPatience = time.Second
	defaultGrace    = 5 * time.Second
	defaultBudget   = 2_000_000
)

// Worker judges for one cohort.
type Worker struct {
	opts    Options
	metrics *metrics
	log     *slog.Logger
	slots   chan struct{} // as many as deliveries whose first attempts are under way
}

// New makes a worker; Run starts it.
func New(opts Options) *Worker {
	if opts.Patience == 0 {
		opts.Patience = defaultPatience
	}
	if opts.Grace == 0 {
		opts.Grace = defaultGrace
	}
	if opts.Budget == 0 {
		opts.Budget = defaultBudget
	}
	return &Worker{opts: opts, metrics: newMetrics(opts.Registerer), log: opts.Logger, slots: make(chan struct{}, maxFirstAttempts)}
}

// Run judges every network that the cohort wants until ctx ends, and then
// finishes within Grace what it has begun. It returns nil then, or
// fsm.ErrStaleEpoch when the cohort has moved to another node.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.opts.Grace, stop) })()
	var (
		pipelines sync.WaitGroup
		mu        sync.Mutex
		running   = map[string]bool{}
		ended     = make(chan struct{}, 1) // a network may be wanted again before its pipeline has ended
	)
	defer pipelines.Wait()
	for {
		changed := w.opts.Log.Changed(fsm.TopicLeases)
		v := w.opts.Log.View()
		if w.fenced(v) {
			cancel(fsm.ErrStaleEpoch)
			return fsm.ErrStaleEpoch
		}
		for c := range v.AllCursors() {
			mu.Lock()
			start := c.Cohort == w.opts.Cohort && !running[c.Network]
			if start {
				running[c.Network] = true
			}
			mu.Unlock()
			if !start {
				continue
			}
			pipelines.Go(func() {
				err := w.follow(ctx, work, c.Network)
				mu.Lock()
				delete(running, c.Network)
				mu.Unlock()
				if errors.Is(err, fsm.ErrStaleEpoch) {
					cancel(err)
				}
				select {
				case ended <- struct{}{}:
				default:
				}
			})
		}
		select {
		case <-changed:
		case <-ended:
		case <-ctx.Done():
			if err := context.Cause(ctx); errors.Is(err, fsm.ErrStaleEpoch) {
				return err
			}
			return nil
		}
	}
}

// fenced reports whether the cohort was assigned anew after this worker's
// epoch: whatever it would still send, another worker sends as well.
func (w *Worker) fenced(v *fsm.View) bool {
	c, ok := v.Cohort(w.opts.Cohort)
	return ok && c.Epoch > w.opts.Epoch
}

// How long follow waits after a failure: longer after each, from the beginning
// again after a pipeline that ran for a while.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	longRun    = time.Minute
)

// follow judges one network, beginning anew after a failure.
func (w *Worker) follow(ctx, work context.Context, network string) error {
	log := w.log.With("network", network)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := newPipeline(w, network, log).run(ctx, work)
		switch {
		case errors.Is(err, errMoved):
			pause = firstPause / 2 // which makes the next one the first
			continue
		case ctx.Err() != nil, errors.Is(err, errUnwanted):
			return nil
		case errors.Is(err, fsm.ErrStaleEpoch):
			return err
		}
		if time.Since(began) > longRun {
			pause = firstPause
		}
		w.metrics.restarts.WithLabelValues(network).Inc()
		log.Error("judging stopped and begins again at the cursor", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
