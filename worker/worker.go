package worker

import (
	"context"
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
	// Admit takes from the tenant's quota of notifications for a first attempt that is
	// about to begin. Its error is an *outbox.QuotaError: the delivery is to be handed
	// over. Readmit gives back what an attempt took that was not made.
	Admit(tenant string) error
	Readmit(tenant string)
	// Adopt says that a delivery about to be handed over is still being
	// attempted here. The caller tells whether the hand-over was committed; the
	// outcome then follows on Done.
	Adopt(a outbox.Adopted) (committed func(bool))
	// Park returns once nothing is under way for tenants that leave this node, or
	// once nobody is to repeat what still is before it must have ended. It waits no
	// longer than limit for attempts to end.
	Park(ctx context.Context, tenant func(id string) bool, limit time.Duration) error
}

// Recorder keeps what became of alerts for later questions.
type Recorder interface {
	Record(fired []Recorded)
}

// Meter is told what tenants have caused. It must not wait.
type Meter interface {
	// Evaluated tells that judging a block for a tenant took so long.
	Evaluated(tenant string, took time.Duration)
	// Matched tells of so many matches.
	Matched(tenant string, n int)
	// OverQuota tells of a notification that has to wait for the tenant's quota.
	OverQuota(tenant string)
}

// noMeter is the meter where nobody asks.
type noMeter struct{}

func (noMeter) Evaluated(string, time.Duration) {}
func (noMeter) Matched(string, int)             {}
func (noMeter) OverQuota(string)                {}

// Recorded is an alert in one of its states, with what the ledger says of it.
type Recorded struct {
	Alert *alert.Alert
	Fired fsm.Fired
}

// Options are what a worker needs.
type Options struct {
	Node       string  // name of this node: its cohorts are judged
	Contact    Contact // nil: always held
	Log        Log
	Blocks     Blocks
	Sender     Sender
	Triggers   *store.Triggers
	Outbox     Outbox
	Recorder   Recorder
	Meter      Meter // nil: nobody asks
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// Patience is how long a cursor waits for first attempts; 0 means 1 s.
	Patience time.Duration
	// Grace is how long Run finishes what it has begun when it is told to end; 0
	// means 5 s. What is not finished is done again after the next start.
	Grace time.Duration
	// Budget is what one tenant may cost in one block before it is judged after
	// everybody else's alerts have gone out; see evm.Limits. 0 means what the tenant's
	// quota says. A tenant that has a cohort of its own has no budget.
	Budget int
}

const (
	defaultPatience = time.Second
	defaultGrace    = 5 * time.Second
)

// Worker judges for the cohorts of one node.
type Worker struct {
	opts     Options
	metrics  *metrics
	log      *slog.Logger
	slots    slots // as many as deliveries whose first attempts are under way
	flights  flights
	decoded  decoded
	activity activity
	aside    sync.WaitGroup // proposals that nobody waits for
}

// New makes a worker; Run starts it.
func New(opts Options) *Worker {
	if opts.Patience == 0 {
		opts.Patience = defaultPatience
	}
	if opts.Grace == 0 {
		opts.Grace = defaultGrace
	}
	if opts.Meter == nil {
		opts.Meter = noMeter{}
	}
	if opts.Contact == nil {
		opts.Contact = always{}
	}
	return &Worker{opts: opts, metrics: newMetrics(opts.Registerer), log: opts.Logger, slots: slots{size: maxFirstAttempts}}
}

// Run judges for every cohort that is assigned to this node, whatever cohorts
// come and go, until ctx ends, and then finishes within Grace what it has begun.
// It returns nil.
func (w *Worker) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.opts.Grace, stop) })()
	s := &supervisor{
		Worker: w, ctx: ctx, work: work, runners: map[string]*runner{}, leaving: map[leaving]bool{}, ended: make(chan struct{}, 1),
	}
	defer w.aside.Wait()
	defer s.busy.Wait()
	for {
		changed := w.opts.Log.Changed(fsm.TopicLeases)
		began := time.Now()
		s.follow(w.opts.Log.View())
		rest := lookShare * time.Since(began)
		select {
		case <-changed:
		case <-s.ended:
		case <-ctx.Done():
			return nil
		}
		select { // nothing to wait for while a look costs next to nothing
		case <-time.After(rest):
		case <-ctx.Done():
			return nil
		}
	}
}

// lookShare bounds the share of time spent looking at cohorts and cursors, which
// change with every tenant that comes or goes: one part in as many.
const lookShare = 10
