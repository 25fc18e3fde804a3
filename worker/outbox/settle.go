package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Adopt says that a delivery about to be handed over is still being attempted:
// nobody else shall send it. Once the hand-over is committed, or was not, the
// caller tells so; the attempt's outcome then follows on Done.
func (o *Outbox) Adopt(a Adopted) (committed func(bool)) {
	one := &try{tenant: a.Tenant, attempts: 1, deadline: a.Deadline}
	claimed := o.tries.claim(a.Key, one)
	return func(ok bool) {
		if !claimed {
			return // it was handed over before, and is attempted as what it was then
		}
		if !ok {
			o.forget(a.Key)
			return
		}
		o.metrics.adopted.Inc()
		go func() { o.ended(a.Key, one, <-a.Done) }()
	}
}

// ended decides what becomes of an entry and has it recorded.
func (o *Outbox) ended(key string, one *try, a Attempt) {
	parked := o.tries.end(one)
	s := fsm.Settled{Key: key, Attempts: one.attempts, Outcome: fsm.Sent}
	switch {
	case a.Err == nil:
		o.metrics.attempts.WithLabelValues("sent").Inc()
	case errors.Is(a.Err, ErrNotBegun), errors.Is(a.Err, context.Canceled), parked:
		o.forget(key)
		return
	case a.Result.Permanent, int(one.attempts) > len(o.opts.Schedule):
		s.Outcome, s.Reason = fsm.Refused, a.Err.Error()
		o.metrics.attempts.WithLabelValues("dead").Inc()
		o.opts.Logger.Error("delivery given up: it is a dead letter now", "tenant", one.tenant, "key", key, "attempts", one.attempts, "error", a.Err)
	default:
		s.Outcome, s.Reason = fsm.HandedOver, a.Err.Error()
		o.metrics.attempts.WithLabelValues("failed").Inc()
		pause := o.opts.Schedule[one.attempts-1]
		pause += time.Duration(rand.Float64() * 0.2 * float64(pause)) // so that receivers are not met by all at once
		s.NotBefore = notBefore(time.Now().Add(max(pause, a.Result.RetryAfter)))
	}
	select {
	case o.settled <- s:
	case <-o.stopped:
		// Nobody records it any more: it is made again after the restart, with
		// the same key.
	}
}

// notBefore rounds up to what is recorded, so that nothing is attempted early.
func notBefore(at time.Time) int64 { return at.Add(time.Millisecond - 1).UnixMilli() }

// forget makes an entry due again as the log says.
func (o *Outbox) forget(key string) {
	o.tries.drop(key)
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
		if !o.propose(ctx, batch) {
			return
		}
		keys := make([]string, len(batch))
		for i, s := range batch {
			keys[i] = s.Key
		}
		o.tries.drop(keys...)
		poke(o.wake)
	}
}

// propose has outcomes recorded, however long that takes; it gives up only when
// ctx ends. The command says the same when it is told twice.
func (o *Outbox) propose(ctx context.Context, batch []fsm.Settled) bool {
	c := &fsm.Settle{Settled: batch, At: time.Now().UnixMilli()}
	for {
		_, err := o.opts.Log.Propose(ctx, c)
		if err == nil {
			return true
		}
		o.opts.Logger.Warn("outcome of deliveries cannot be recorded; trying again", "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
	}
}
