package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// sending is a delivery of a round with its first attempts.
type sending struct {
	alert.Delivery
	begin   func()              // begins the first attempts; nil once they are, or when there are none
	done    chan outbox.Attempt // buffered: the sender never waits for us
	attempt *outbox.Attempt     // nil until they have ended
	until   atomic.Int64        // when they will have ended at the latest, Unix nanoseconds; 0 until they begin
}

// deadline is when the first attempts will have ended; zero until they begin.
func (d *sending) deadline() time.Time {
	if until := d.until.Load(); until != 0 {
		return time.Unix(0, until)
	}
	return time.Time{}
}

// left reports whether the delivery is left to the tenant's next owner.
func (d *sending) left() bool {
	return d.attempt != nil && errors.Is(d.attempt.Err, outbox.ErrNotBegun)
}

const (
	// maxFirstAttempts bounds the deliveries of a worker whose first attempts are
	// under way, over all its networks and also after the outbox has adopted them.
	maxFirstAttempts = 4096
	// firstAttempts bounds how long a delivery's first attempts may take in all.
	// The outbox goes on after that.
	firstAttempts = time.Minute
)

// send begins the first attempts of a delivery, as soon as there is a slot.
func (r *round) send(ctx context.Context, v *fsm.View, s *step, f *firing, d *sending) {
	trigger, err := r.opts.Triggers.Find(v, d.Alert.Tenant, f.version.Manifest, d.Trigger)
	if err != nil {
		// A trigger that is not there is not there; whatever else is wrong, such as
		// a key that does not open its secrets, may be mended.
		d.attempt = &outbox.Attempt{Result: notify.Result{Permanent: errors.Is(err, fsm.ErrNotFound)}, Err: err}
		return
	}
	d.begin = func() {
		d.begin = nil
		r.attempts.Go(func() {
			defer func() { <-r.slots }()
			if err := r.clear(ctx, f, d); err != nil {
				d.done <- outbox.Attempt{Err: err}
				return
			}
			d.done <- r.deliver(ctx, d.deadline(), s.entry.Seen, &notify.Notification{
				Alert: d.Alert, Key: d.Key, Trigger: trigger, Attempt: 1, Time: time.Now(),
			})
		})
	}
	select {
	case r.slots <- struct{}{}:
		d.begin()
	default: // await begins it
	}
}

// clear is the last look before a send: with contact, and while the tenant is
// this runner's. What a hand-over may have to wait for is made known before.
func (r *round) clear(ctx context.Context, f *firing, d *sending) error {
	for {
		if !r.opts.Contact.Held() {
			if err := r.opts.Contact.Wait(ctx); err != nil {
				return err
			}
		}
		d.until.Store(time.Now().Add(firstAttempts).UnixNano())
		owned := r.owns(r.opts.Log.View(), f.alert.Tenant, f.born)
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
func (r *round) deliver(ctx context.Context, until time.Time, seen int64, n *notify.Notification) outbox.Attempt {
	limited, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	result, err := r.opts.Sender.Deliver(limited, n)
	switch {
	case err == nil && seen > 0:
		r.metrics.blockToAlert.Observe(time.Since(time.UnixMilli(seen)).Seconds())
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		// Cut off by us, not refused by the receiver.
		result.Permanent = result.Permanent && !errors.Is(err, context.DeadlineExceeded)
		err = fmt.Errorf("not accepted within %v: %w", firstAttempts, err)
	}
	return outbox.Attempt{Result: result, Err: err}
}

// await begins what has no slot yet and waits for first attempts. It tells
// whether some have not ended when the time is over.
func (r *round) await(ctx context.Context, limit time.Duration) (slow bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if err := r.begin(ctx, timer); err != nil {
		return false, err
	}
	for _, f := range r.fired {
		for _, d := range f.deliveries {
			if d.attempt == nil && d.begin == nil {
				if err := d.await(ctx, timer); err != nil {
					return false, err
				}
			}
			slow = slow || d.attempt == nil
		}
	}
	return slow, nil
}

// begin waits for slots while there is patience.
func (r *round) begin(ctx context.Context, patience *time.Timer) error {
	for _, f := range r.fired {
		for _, d := range f.deliveries {
			if d.begin == nil {
				continue
			}
			select {
			case r.slots <- struct{}{}:
				d.begin()
			case <-patience.C:
				patience.Reset(0) // over for what follows as well
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (d *sending) await(ctx context.Context, patience *time.Timer) error {
	select { // what has ended counts, also when patience has too
	case a := <-d.done:
		d.attempt = &a
		return nil
	default:
	}
	select {
	case a := <-d.done:
		d.attempt = &a
	case <-patience.C:
		patience.Reset(0) // over for the rest as well
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
