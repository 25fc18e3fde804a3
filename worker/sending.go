package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// sending is a delivery of a round with its first attempts.
type sending struct {
	alert.Delivery
	firing  *firing
	trigger *spec.Trigger
	before  *sending // what the listener is to hear first, if that is under way here
	begun   bool     // its first attempts have; guarded by starts.mu

	done    chan outbox.Attempt // buffered: for the outbox, if it adopts the attempts
	ended   chan struct{}       // closed once attempt is set
	attempt outbox.Attempt      // how the first attempts ended, or why there are none
	until   atomic.Int64        // when they will have ended at the latest, Unix nanoseconds; 0 until they begin
}

func newSending(f *firing, d alert.Delivery) *sending {
	return &sending{Delivery: d, firing: f, done: make(chan outbox.Attempt, 1), ended: make(chan struct{})}
}

// listener is one entry of a monitor's list of triggers, as one alert has it.
type listener struct {
	alert      alert.ID
	trigger    string
	occurrence int
}

func (d *sending) listener() listener { return listener{d.Alert.ID, d.Trigger, d.Occurrence} }

// deadline is when the first attempts will have ended; zero until they begin.
func (d *sending) deadline() time.Time {
	if until := d.until.Load(); until != 0 {
		return time.Unix(0, until)
	}
	return time.Time{}
}

// end says how the first attempts ended, once.
func (d *sending) end(a outbox.Attempt) {
	d.attempt = a
	d.done <- a
	close(d.ended)
}

func (d *sending) hasEnded() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

// accepted reports whether the receiver has accepted it.
func (d *sending) accepted() bool { return d.hasEnded() && d.attempt.Err == nil }

// left reports whether the delivery is left to the tenant's next owner.
func (d *sending) left() bool { return d.hasEnded() && errors.Is(d.attempt.Err, outbox.ErrNotBegun) }

// errInTurn is why a delivery is not attempted: what its listener is to hear
// before is still in the outbox.
var errInTurn = errors.New("not attempted yet: an earlier message of the same alert is still to be delivered")

// firstAttempts bounds how long a delivery's first attempts may take in all. The
// outbox goes on after that.
const firstAttempts = time.Minute

// starts begins the first attempts of a round's deliveries, until it is closed.
type starts struct {
	mu       sync.Mutex
	closed   bool
	over     chan struct{}  // closed with it
	attempts sync.WaitGroup // that have begun
}

// begin tells whether first attempts may begin; then they have.
func (s *starts) begin(d *sending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		d.begun = true
		s.attempts.Add(1)
	}
	return !s.closed
}

// close lets nothing more begin: what has not is handed over as it is.
func (s *starts) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.over)
	}
}

// start begins the first attempts of deliveries: at once where nothing stands in
// the way, otherwise when their intent is recorded, a slot is free, and the one
// before has been accepted.
func (r *round) start(ctx context.Context, in *intent, list []*sending) {
	waiting := map[string][]*sending{}
	for _, d := range list {
		switch {
		case d.hasEnded():
		case d.before != nil:
			go r.startAfter(ctx, in, d)
		case in != nil:
			waiting[d.Alert.Tenant] = append(waiting[d.Alert.Tenant], d)
		default:
			if release, ok := r.trySlot(d.Alert.Tenant); ok {
				r.begin(ctx, d, release)
			} else {
				waiting[d.Alert.Tenant] = append(waiting[d.Alert.Tenant], d)
			}
		}
	}
	for _, queue := range waiting { // one for each tenant: none waits for another's slots
		go func() {
			for _, d := range queue {
				if !r.startLater(ctx, in, d) {
					return
				}
			}
		}()
	}
}

// startLater begins the first attempts once they may; not at all when the round
// is over before.
func (r *round) startLater(ctx context.Context, in *intent, d *sending) bool {
	if in != nil {
		select {
		case <-in.done:
		case <-r.starts.over:
			return false
		}
		if in.err != nil {
			d.end(outbox.Attempt{Err: fmt.Errorf("%w (%w)", outbox.ErrNotBegun, in.err)})
			return true
		}
	}
	release, ok := r.awaitSlot(d.Alert.Tenant, r.starts.over)
	if ok {
		r.begin(ctx, d, release)
	}
	return ok
}

// startAfter begins the first attempts once the delivery before was accepted. If
// it was not, this one's turn comes in the outbox.
func (r *round) startAfter(ctx context.Context, in *intent, d *sending) {
	select {
	case <-d.before.ended:
	case <-r.starts.over:
		return
	}
	switch before := d.before.attempt; {
	case before.Err == nil, before.Result.Permanent:
		r.startLater(ctx, in, d)
	case d.before.left():
		d.end(outbox.Attempt{Err: before.Err})
	default:
		d.end(outbox.Attempt{Err: errInTurn})
	}
}

// begin makes the first attempts in the background, within the tenant's quota.
func (r *round) begin(ctx context.Context, d *sending, release func()) {
	if err := r.opts.Outbox.Admit(d.Alert.Tenant); err != nil {
		release()
		r.opts.Meter.OverQuota(d.Alert.Tenant)
		d.end(outbox.Attempt{Err: err})
		return
	}
	if !r.starts.begin(d) {
		release()
		r.opts.Outbox.Readmit(d.Alert.Tenant)
		return
	}
	go func() {
		defer r.starts.attempts.Done()
		defer release()
		if err := r.clear(ctx, d); err != nil {
			r.opts.Outbox.Readmit(d.Alert.Tenant)
			d.end(outbox.Attempt{Err: err})
			return
		}
		a := r.deliver(ctx, d.deadline(), d.Alert.Seen, &notify.Notification{
			Alert: d.Alert, Key: d.Key, Trigger: d.trigger, TriggerID: d.Trigger, Round: 1, Attempt: 1, Time: time.Now(),
		})
		if notAttempted(a.Err) || errors.Is(a.Err, outbox.ErrNotBegun) {
			r.opts.Outbox.Readmit(d.Alert.Tenant)
		}
		d.end(a)
	}()
}

// clear is the last look before a send: with contact, and while the tenant is
// this runner's. What a hand-over may have to wait for is made known before.
func (r *round) clear(ctx context.Context, d *sending) error {
	for {
		if !r.opts.Contact.Held() {
			if err := r.opts.Contact.Wait(ctx); err != nil {
				return err
			}
		}
		d.until.Store(time.Now().Add(firstAttempts).UnixNano())
		owned := r.owns(r.opts.Log.View(), d.Alert.Tenant, d.firing.born)
		if owned && r.opts.Contact.Held() {
			return nil
		}
		d.until.Store(0)
		if !owned {
			return outbox.ErrNotBegun
		}
	}
}

// deliver makes the first attempts, until their deadline.
func (r *round) deliver(ctx context.Context, until, seen time.Time, n *notify.Notification) outbox.Attempt {
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	result, err := r.opts.Sender.Deliver(limited, n)
	switch {
	case err == nil && !seen.IsZero():
		r.metrics.blockToAlert.Observe(time.Since(seen).Seconds())
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		// Cut off by us, not refused by the receiver.
		result.Permanent = result.Permanent && !errors.Is(err, context.DeadlineExceeded)
		err = fmt.Errorf("not accepted within %v: %w", firstAttempts, err)
	}
	return outbox.Attempt{Result: result, Err: err}
}

// await waits for first attempts. It tells whether some have not ended when the
// time is over.
func (r *round) await(ctx context.Context, limit time.Duration) (slow bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, f := range r.fired {
		for _, d := range f.deliveries {
			if d.hasEnded() { // what has ended counts, also when patience has too
				continue
			}
			select {
			case <-d.ended:
			case <-timer.C:
				return true, nil
			case <-ctx.Done():
				return false, context.Cause(ctx)
			}
		}
	}
	return false, nil
}

// find reads the trigger of a delivery, as the alert's configuration has it.
func (r *round) find(v *fsm.View, d *sending) error {
	var err error
	d.trigger, err = r.opts.Triggers.Find(v, d.Alert.Tenant, d.firing.version.Manifest, d.Trigger)
	return err
}
