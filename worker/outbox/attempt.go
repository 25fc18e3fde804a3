package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// attempt makes one attempt at an entry, unless it is not to begin.
func (o *Outbox) attempt(ctx context.Context, entry *fsm.Outgoing, one *try) Attempt {
	permanent := func(err error) Attempt { return Attempt{notify.Result{Permanent: true}, err} }
	v := o.opts.Log.View()
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
	if !o.begin(entry.Tenant, one) {
		return Attempt{Err: ErrNotBegun}
	}
	limited, cancel := context.WithDeadline(ctx, one.until)
	defer cancel()
	result, err := o.opts.Sender.Send(limited, &notify.Notification{
		Alert: d.Alert, Key: d.Key, Trigger: trigger, TriggerID: d.Trigger, Round: int(entry.Attempts) + 1, Attempt: 1, Time: time.Now(),
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		// Cut off by us, not refused by the receiver.
		result.Permanent = result.Permanent && !errors.Is(err, context.DeadlineExceeded)
		err = fmt.Errorf("not accepted within %v: %w", maxAttempt, err)
	}
	return Attempt{result, err}
}

// begin is the last look before a send: with contact, and while the tenant is
// this node's. What Park may have to wait for is made known before.
func (o *Outbox) begin(tenant string, one *try) bool {
	until := func(at time.Time) {
		o.tries.mu.Lock()
		defer o.tries.mu.Unlock()
		one.until = at
	}
	until(time.Now().Add(maxAttempt))
	if o.owns(o.opts.Log.View(), tenant) && o.opts.Contact.Held() {
		return true
	}
	until(time.Time{})
	return false
}
