package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// errStopped: nobody drives the outbox any more.
var errStopped = errors.New("the outbox has stopped")

// parkMargin is how long after an attempt's deadline another node may make the
// next one: the time to record that the attempt was accepted after all.
const parkMargin = 5 * time.Second

// Park makes sure that nothing is under way for tenants that leave this node. The
// caller has seen in the state that they are not this node's any more, so no
// attempt for them begins. Park waits until those under way have ended and their
// outcomes are recorded. Of those that take longer than limit it records that
// nobody is to repeat them before they must have ended.
func (o *Outbox) Park(ctx context.Context, tenant func(id string) bool, limit time.Duration) error {
	under := o.under(tenant)
	if len(under) == 0 {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if late, err := o.wait(ctx, under, timer.C); err != nil || !late {
		return err
	}
	settled := o.park(under)
	for len(settled) > 0 {
		batch := settled[:min(settleBatch, len(settled))]
		settled = settled[len(batch):]
		if !o.propose(ctx, batch) {
			return context.Cause(ctx)
		}
	}
	// What has ended meanwhile waits for the log only.
	for which, one := range under {
		if one.parked {
			delete(under, which)
		}
	}
	_, err := o.wait(ctx, under, nil)
	return err
}

// under lists the tries of tenants that have begun.
func (o *Outbox) under(tenant func(id string) bool) map[id]*try {
	o.tries.mu.Lock()
	defer o.tries.mu.Unlock()
	out := map[id]*try{}
	for which, one := range o.tries.all {
		if tenant(one.tenant) && (one.ended || !one.deadline().IsZero()) {
			out[which] = one
		}
	}
	return out
}

// wait waits for tries to be over and tells whether the time was before.
func (o *Outbox) wait(ctx context.Context, under map[id]*try, limit <-chan time.Time) (late bool, err error) {
	for _, one := range under {
		select {
		case <-one.over:
		case <-limit:
			return true, nil
		case <-o.stopped:
			return false, errStopped
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return false, nil
}

// park marks those of the tries that have not ended, and says what to record.
func (o *Outbox) park(under map[id]*try) (settled []fsm.Settled) {
	o.tries.mu.Lock()
	defer o.tries.mu.Unlock()
	for which, one := range under {
		if one.ended {
			continue
		}
		one.parked = true
		end := one.deadline()
		settled = append(settled, fsm.Settled{
			Tenant: one.tenant, Key: which.key, Outcome: fsm.HandedOver, Attempts: one.attempts, NotBefore: end.Add(parkMargin).UnixMilli(),
			Reason: fmt.Sprintf("no answer yet when the tenant was handed over; the attempt ends at %s", end.UTC().Format(time.RFC3339)),
		})
	}
	o.metrics.parked.Add(float64(len(settled)))
	return settled
}
