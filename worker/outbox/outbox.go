package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Log is the replicated state as the outbox reads and changes it.
type Log interface {
	View() *fsm.View
	Changed(topic fsm.Topic) <-chan struct{}
	Propose(ctx context.Context, c fsm.Command) (any, error)
}

// Sender makes one attempt.
type Sender interface {
	Send(ctx context.Context, n *notify.Notification) (notify.Result, error)
}

// Options are what an outbox needs.
type Options struct {
	Node       string  // name of this node: only its tenants' deliveries are attempted
	Contact    Contact // nil: always held
	Log        Log
	Sender     Sender
	Triggers   *store.Triggers
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Schedule   []time.Duration // of triggers without one of their own; nil means Schedule
}

// Outbox drives the deliveries that are still to be made for this node's tenants.
type Outbox struct {
	opts      Options
	metrics   *metrics
	schedules schedules
	settled   chan fsm.Settled
	stopped   chan struct{} // closed when Run ends
	wake      chan struct{} // something may be due, or a slot is free
	book      *book
	tries     tries
	quota     *allowances
}

const (
	// rescan is how long at least lies between two looks at what has changed,
	// however often it changes: what is due may be attempted that much later.
	rescan = 25 * time.Millisecond
	// rescanShare bounds the share of time spent looking: one part in as many.
	rescanShare = 10
	// idle is how long Run sleeps when nothing is due and nothing changes.
	idle = time.Minute
	// maxAttempts bounds the attempts under way; tenantAttempts those of one
	// tenant, so that its dead receivers do not keep the others waiting, and
	// laneAttempts those to one of its triggers, so that one dead receiver does not
	// keep its others waiting. More than the sender has slots for would only wait
	// there. Attempts that were adopted do not count.
	maxAttempts    = 1024
	tenantAttempts = 32
	laneAttempts   = 8
	// maxAttempt bounds how long one attempt may take, with its wait for a free
	// slot of the sender: so that it is known when it must have ended.
	maxAttempt = time.Minute
)

// New makes an outbox; Run drives it.
func New(opts Options) *Outbox {
	if opts.Schedule == nil {
		opts.Schedule = Schedule
	}
	if opts.Contact == nil {
		opts.Contact = always{}
	}
	o := &Outbox{
		opts: opts, metrics: newMetrics(opts.Registerer, opts.Log), schedules: schedules{otherwise: opts.Schedule},
		settled: make(chan fsm.Settled), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
		book: newBook(), tries: tries{all: map[id]*try{}},
	}
	o.quota = newAllowances(func(tenant string) int { return opts.Log.View().QuotaOf(tenant).NotificationsPerHour }, opts.Logger)
	o.book.due, o.book.owns, o.book.busy = o.dueAt, o.owns, o.tries.busy
	opts.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ozmo_outbox_over_quota_tenants", Help: "Tenants of this node whose deliveries wait for their quota of notifications.",
	}, func() float64 { return float64(len(o.OverQuota())) }))
	o.book.admit = func(tenant string, now time.Time) error { return o.quota.take(tenant, now, false, true) }
	return o
}

// Run makes what is due until ctx ends. Without contact it begins nothing.
func (o *Outbox) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer close(o.stopped)
	work.Go(func() { o.settle(ctx) })
	var changed, moved <-chan struct{}
	var earliest time.Time   // of the next look
	stale, all := true, true // there is something to look at; at whose the tenants are
	var over time.Time       // when to give up what has outlived its schedule
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !o.opts.Contact.Held() {
			if o.opts.Contact.Wait(ctx) != nil {
				return nil
			}
			continue
		}
		began := time.Now()
		if stale && !began.Before(earliest) {
			if changed == nil {
				changed = o.opts.Log.Changed(fsm.TopicOutbox)
			}
			if moved == nil {
				moved = o.opts.Log.Changed(fsm.TopicLeases)
			}
			o.book.look(o.opts.Log.View, all)
			earliest = began.Add(max(rescan, rescanShare*time.Since(began)))
			stale, all = false, false
		}
		if !began.Before(over) {
			over = began.Add(idle)
			o.giveUp(&work)
		}
		o.start(ctx, &work)
		now := time.Now()
		pause := min(o.book.next(now), over.Sub(now))
		if stale {
			pause = min(pause, earliest.Sub(now))
		}
		timer.Reset(max(pause, 0))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			changed, stale = nil, true
		case <-moved: // entries may be this node's from now on
			moved, stale, all = nil, true, true
		case <-o.wake:
		case <-timer.C:
		}
	}
}

// owns reports whether a tenant's deliveries are this node's to attempt. Those
// of a tenant that is no more are everybody's: all that is left of them is a dead
// letter, which any node may write.
func (o *Outbox) owns(v *fsm.View, tenant string) bool {
	t, ok := v.Tenant(tenant)
	return !ok || v.Owner(t) == o.opts.Node
}

// start begins what is due while there are slots.
func (o *Outbox) start(ctx context.Context, work *sync.WaitGroup) {
	for {
		due, lane := o.book.pop(time.Now())
		if due == nil {
			return
		}
		which := id{due.Tenant, due.Key}
		one := &try{tenant: due.Tenant, lane: lane}
		one.deadline = func() time.Time { return one.until }
		if !o.tries.claim(which, one) {
			o.book.release(lane) // whoever has it tells when it is over
			o.Readmit(due.Tenant)
			continue
		}
		// It may have been settled or attempted since it was looked at, or be another
		// node's. Nobody else here has it now, so its last outcome is in the state.
		v := o.opts.Log.View()
		entry, ok := v.FindOutgoing(due.Tenant, due.Key)
		if !ok || !o.owns(v, due.Tenant) || o.blocked(v, entry) || o.dueAt(v, entry).After(time.Now()) {
			o.tries.drop(which)
			o.book.release(lane)
			o.Readmit(due.Tenant)
			o.book.settled(o.opts.Log.View, which)
			o.book.reread(o.opts.Log.View, due.Tenant)
			continue
		}
		one.attempts = entry.Attempts + 1
		work.Go(func() {
			a := o.attempt(ctx, entry, one)
			if a.Err == nil || ctx.Err() == nil { // a node that is stopping cuts attempts off: they do not count
				o.ended(which, one, a)
			}
			o.book.release(lane)
			poke(o.wake)
		})
	}
}

// blocked reports whether another delivery has to be settled first.
func (o *Outbox) blocked(v *fsm.View, e *fsm.Outgoing) bool {
	if e.After == "" || e.After == e.Key {
		return false
	}
	_, there := v.FindOutgoing(e.Tenant, e.After)
	return there
}

// giveUp makes dead letters of deliveries whose schedule is long over while their
// receiver was not to be asked: the circuit to it is open, or it is asked by others.
func (o *Outbox) giveUp(work *sync.WaitGroup) {
	v, now := o.opts.Log.View(), time.Now()
	for _, e := range o.book.outlived(now, settleBatch, func(e *fsm.Outgoing) bool { return o.outlived(v, e, now) }) {
		which := id{e.Tenant, e.Key}
		one := &try{tenant: e.Tenant, attempts: e.Attempts}
		one.deadline = func() time.Time { return one.until }
		if !o.tries.claim(which, one) {
			continue
		}
		work.Go(func() {
			v := o.opts.Log.View() // where it may have been settled, or begun anew, since it was looked at
			entry, there := v.FindOutgoing(e.Tenant, e.Key)
			if !there || !o.owns(v, e.Tenant) || !o.outlived(v, entry, now) {
				o.forget(which)
				return
			}
			o.tries.end(one)
			o.record(o.tooOld(entry))
		})
	}
}
