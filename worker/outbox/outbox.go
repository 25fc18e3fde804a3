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

// Schedule is how long to wait before each further attempt: that of Standard
// Webhooks, about 76 hours in all. After the last one a delivery is dead.
var Schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

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
	Schedule   []time.Duration // nil means Schedule
}

// Outbox drives the deliveries that are still to be made for this node's tenants.
type Outbox struct {
	opts    Options
	metrics *metrics
	settled chan fsm.Settled
	stopped chan struct{} // closed when Run ends
	wake    chan struct{} // something may be due
	freed   chan struct{} // an attempt has ended
	queue   queue
	tries   tries
}

const (
	// rescan is how long at least lies between two looks at the whole outbox,
	// however often it changes: what is due may be attempted that much later.
	rescan = 100 * time.Millisecond
	// rescanShare bounds the share of time spent looking: one part in as many.
	rescanShare = 10
	// maxAttempts bounds the attempts under way, and tenantAttempts those of one
	// tenant, so that its dead receiver does not keep the others waiting. Attempts
	// that were adopted do not count.
	maxAttempts    = 256
	tenantAttempts = 64
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
	return &Outbox{
		opts: opts, metrics: newMetrics(opts.Registerer),
		settled: make(chan fsm.Settled), stopped: make(chan struct{}), wake: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		tries: tries{all: map[string]*try{}},
	}
}

// Run makes what is due until ctx ends. Without contact it begins nothing.
func (o *Outbox) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer close(o.stopped)
	work.Go(func() { o.settle(ctx) })
	var changed, moved <-chan struct{}
	var earliest time.Time // of the next scan
	next := time.Now()     // when to scan
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !o.opts.Contact.Held() {
			if o.opts.Contact.Wait(ctx) != nil {
				return nil
			}
			continue
		}
		if began := time.Now(); !began.Before(next) {
			changed, moved = o.opts.Log.Changed(fsm.TopicOutbox), o.opts.Log.Changed(fsm.TopicLeases)
			due := o.scan(began)
			earliest = began.Add(max(rescan, rescanShare*time.Since(began)))
			if next = began.Add(due); next.Before(earliest) {
				next = earliest
			}
		}
		o.start(ctx, &work)
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			changed, next = nil, earliest
		case <-moved: // entries may be this node's from now on
			moved, next = nil, earliest
		case <-o.wake:
			next = earliest
		case <-o.freed:
		case <-timer.C:
		}
	}
}

// idle is how long Run sleeps when nothing is due and nothing changes.
const idle = time.Minute

// scan queues what is due and tells after what time more is.
func (o *Outbox) scan(now time.Time) time.Duration {
	v := o.opts.Log.View()
	next := idle
	o.metrics.waiting.Set(float64(v.OutboxLen()))
	o.metrics.dead.Set(float64(v.DeadLen()))
	o.queue.clear()
	ours := map[string]bool{}
	for entry := range v.Outbox() {
		wait := o.dueAt(entry).Sub(now)
		if wait >= next { // most of them: no more is asked of these
			continue
		}
		owned, known := ours[entry.Tenant]
		if !known {
			owned = o.owns(v, entry.Tenant)
			ours[entry.Tenant] = owned
		}
		switch {
		case !owned || o.tries.busy(entry.Key):
		case wait > 0:
			next = wait
		default:
			o.queue.push(entry.Tenant, entry.Key)
		}
	}
	return next
}

// owns reports whether a tenant's deliveries are this node's to attempt. Those
// of a tenant that is no more are everybody's: all that is left of them is a dead
// letter, which any node may write.
func (o *Outbox) owns(v *fsm.View, tenant string) bool {
	t, ok := v.Tenant(tenant)
	return !ok || v.Owner(t) == o.opts.Node
}

// start begins what is queued while there are slots.
func (o *Outbox) start(ctx context.Context, work *sync.WaitGroup) {
	for {
		tenant, key, ok := o.queue.pop()
		if !ok {
			return
		}
		one := &try{tenant: tenant}
		one.deadline = func() time.Time { return one.until }
		if !o.tries.claim(key, one) {
			o.queue.release(tenant)
			continue
		}
		// It may have been settled or attempted since it was queued. Nobody else has
		// it now, so its last outcome is in the state.
		entry, ok := o.opts.Log.View().FindOutgoing(key)
		if !ok || o.dueAt(entry).After(time.Now()) {
			o.tries.drop(key)
			o.queue.release(tenant)
			continue
		}
		one.attempts = entry.Attempts + 1
		work.Go(func() {
			a := o.attempt(ctx, entry, one)
			if a.Err == nil || ctx.Err() == nil { // a node that is stopping cuts attempts off: they do not count
				o.ended(key, one, a)
			}
			o.queue.release(tenant)
			poke(o.freed)
		})
	}
}

// dueAt is when an entry is due: as was recorded with the last outcome, and
// otherwise as the schedule says from the hand-over on, so that a node that is
// started again and again does not use the attempts up early.
func (o *Outbox) dueAt(entry *fsm.Outgoing) time.Time {
	if entry.NotBefore != 0 {
		return time.UnixMilli(entry.NotBefore)
	}
	at := time.UnixMilli(entry.At)
	for _, pause := range o.opts.Schedule[:min(max(int(entry.Attempts), 1), len(o.opts.Schedule))] {
		at = at.Add(pause)
	}
	return at
}
