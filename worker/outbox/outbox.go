package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Schedule is how long to wait before each further attempt: that of Standard
// Webhooks, about 76 hours in all. After the last one a delivery is dead.
var Schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Attempt is how an attempt at a delivery ended.
type Attempt struct {
	Result notify.Result
	Err    error
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
	Log        Log
	Sender     Sender
	Triggers   *store.Triggers
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Schedule   []time.Duration // nil means Schedule
}

// Outbox drives the deliveries that are still to be made.
type Outbox struct {
	opts    Options
	metrics *metrics
	settled chan fsm.Settled
	stopped chan struct{} // closed when Run ends
	wake    chan struct{} // something may be due
	freed   chan struct{} // an attempt has ended
	queue   queue

	mu   sync.Mutex
	busy map[string]bool      // being attempted here
	due  map[string]time.Time // when to try again
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
)

// New makes an outbox; Run drives it.
func New(opts Options) *Outbox {
	if opts.Schedule == nil {
		opts.Schedule = Schedule
	}
	return &Outbox{
		opts: opts, metrics: newMetrics(opts.Registerer),
		settled: make(chan fsm.Settled), stopped: make(chan struct{}), wake: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		busy: map[string]bool{}, due: map[string]time.Time{},
	}
}

// Adopt says that a delivery about to be handed over is still being attempted:
// nobody else shall send it. Once the hand-over is committed, or was not, the
// caller tells so; the attempt's outcome then follows on done.
func (o *Outbox) Adopt(key string, done <-chan Attempt) (committed func(bool)) {
	o.mu.Lock()
	o.busy[key] = true
	o.mu.Unlock()
	return func(ok bool) {
		if !ok {
			o.forget(key)
			return
		}
		o.metrics.adopted.Inc()
		go func() { o.ended(key, 1, <-done) }()
	}
}

// Run makes what is due until ctx ends.
func (o *Outbox) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	defer close(o.stopped)
	work.Go(func() { o.settle(ctx) })
	var changed <-chan struct{}
	var earliest time.Time // of the next scan
	next := time.Now()     // when to scan
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if began := time.Now(); !began.Before(next) {
			changed = o.opts.Log.Changed(fsm.TopicOutbox)
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
	for entry := range v.Outbox() {
		o.mu.Lock()
		busy, wait := o.busy[entry.Key], o.dueAt(entry).Sub(now)
		o.mu.Unlock()
		switch {
		case busy:
		case wait > 0:
			next = min(next, wait)
		default:
			o.queue.push(entry.Tenant, entry.Key)
		}
	}
	o.tidy()
	return next
}

// start begins what is queued while there are slots.
func (o *Outbox) start(ctx context.Context, work *sync.WaitGroup) {
	for {
		tenant, key, ok := o.queue.pop()
		if !ok {
			return
		}
		// It may have been settled or attempted since it was queued.
		o.mu.Lock()
		latest := o.opts.Log.View()
		entry, ok := latest.FindOutgoing(key)
		ok = ok && !o.busy[key] && !o.dueAt(entry).After(time.Now())
		if ok {
			o.busy[key] = true
		}
		o.mu.Unlock()
		if !ok {
			o.queue.release(tenant)
			continue
		}
		work.Go(func() {
			o.attempt(ctx, latest, entry)
			o.queue.release(tenant)
			poke(o.freed)
		})
	}
}

// dueAt is when an entry is due. The caller holds mu.
func (o *Outbox) dueAt(entry *fsm.Outgoing) time.Time {
	if at, known := o.due[entry.Key]; known {
		return at
	}
	return o.firstDue(entry)
}

// tidy forgets when entries were due that left the outbox by another way than
// an attempt: with their tenant, say.
func (o *Outbox) tidy() {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.opts.Log.View()
	if len(o.due) <= v.OutboxLen() {
		return
	}
	maps.DeleteFunc(o.due, func(key string, _ time.Time) bool {
		_, ok := v.FindOutgoing(key)
		return !ok && !o.busy[key]
	})
}

// firstDue is when an entry is due that this process has not attempted itself:
// as the schedule says from the hand-over on, so that a node that is started
// again and again does not use the attempts up early.
func (o *Outbox) firstDue(entry *fsm.Outgoing) time.Time {
	if entry.NotBefore != 0 {
		return time.UnixMilli(entry.NotBefore)
	}
	at := time.UnixMilli(entry.At)
	for _, pause := range o.opts.Schedule[:min(max(int(entry.Attempts), 1), len(o.opts.Schedule))] {
		at = at.Add(pause)
	}
	return at
}

// attempt makes one attempt at an entry.
func (o *Outbox) attempt(ctx context.Context, v *fsm.View, entry *fsm.Outgoing) {
	a := o.send(ctx, v, entry)
	if ctx.Err() != nil && a.Err != nil {
		return // the node is stopping: the attempt does not count
	}
	o.ended(entry.Key, entry.Attempts+1, a)
}

func (o *Outbox) send(ctx context.Context, v *fsm.View, entry *fsm.Outgoing) Attempt {
	permanent := func(err error) Attempt { return Attempt{notify.Result{Permanent: true}, err} }
	d, err := alert.DecodeDelivery(entry.Delivery)
	if err != nil {
		return permanent(err)
	}
	t, ok := v.Tenant(entry.Tenant)
	if !ok {
		return permanent(fmt.Errorf("tenant %q: %w", entry.Tenant, fsm.ErrNotFound))
	}
	trigger, err := o.opts.Triggers.Find(v, entry.Tenant, t.Current.Manifest, d.Trigger)
	if err != nil {
		return Attempt{notify.Result{Permanent: errors.Is(err, fsm.ErrNotFound)}, err}
	}
	result, err := o.opts.Sender.Send(ctx, &notify.Notification{
		Alert: d.Alert, Key: d.Key, Trigger: trigger, Attempt: int(entry.Attempts) + 1, Time: time.Now(),
	})
	return Attempt{result, err}
}

// ended decides what becomes of an entry and has it recorded.
func (o *Outbox) ended(key string, attempts uint32, a Attempt) {
	s := fsm.Settled{Key: key, Attempts: attempts, Outcome: fsm.Sent}
	switch {
	case a.Err == nil:
		o.metrics.attempts.WithLabelValues("sent").Inc()
	case errors.Is(a.Err, context.Canceled):
		o.forget(key)
		return
	case a.Result.Permanent, int(attempts) > len(o.opts.Schedule):
		s.Outcome, s.Reason = fsm.Refused, a.Err.Error()
		o.metrics.attempts.WithLabelValues("dead").Inc()
		o.opts.Logger.Error("delivery given up: it is a dead letter now", "key", key, "attempts", attempts, "error", a.Err)
	default:
		s.Outcome, s.Reason = fsm.HandedOver, a.Err.Error()
		o.metrics.attempts.WithLabelValues("failed").Inc()
		pause := o.opts.Schedule[attempts-1]
		pause += time.Duration(rand.Float64() * 0.2 * float64(pause)) // so that receivers are not met by all at once
		due := time.Now().Add(max(pause, a.Result.RetryAfter))
		s.NotBefore = due.UnixMilli()
		o.mu.Lock()
		o.due[key] = due
		o.mu.Unlock()
	}
	select {
	case o.settled <- s:
	case <-o.stopped:
		// Nobody records it any more: it is made again after the restart, with
		// the same key.
	}
}

// forget makes an entry due again at the next start.
func (o *Outbox) forget(key string) {
	o.mu.Lock()
	delete(o.busy, key)
	o.mu.Unlock()
	poke(o.wake)
}

// poke has Run look once more.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settleBatch bounds how many outcomes one command records.
const settleBatch = 256

// settle records outcomes, those that come together in one command.
func (o *Outbox) settle(ctx context.Context) {
	for {
		var batch []fsm.Settled
		select {
		case s := <-o.settled:
			batch = append(batch, s)
		case <-ctx.Done():
			return
		}
	more:
		for len(batch) < settleBatch {
			select {
			case s := <-o.settled:
				batch = append(batch, s)
			default:
				break more
			}
		}
		o.commit(ctx, batch)
	}
}

func (o *Outbox) commit(ctx context.Context, batch []fsm.Settled) {
	c := &fsm.Settle{Settled: batch, At: time.Now().UnixMilli()}
	for {
		_, err := o.opts.Log.Propose(ctx, c)
		if err == nil {
			break
		}
		o.opts.Logger.Warn("outcome of deliveries cannot be recorded; trying again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range batch {
		delete(o.busy, s.Key)
		if s.Outcome != fsm.HandedOver {
			delete(o.due, s.Key)
		}
	}
	poke(o.wake)
}
