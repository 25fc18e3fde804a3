package outbox

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Adopt says that a delivery about to be handed over is still being attempted:
// nobody else shall send it. Once the hand-over is committed, or was not, the
// caller tells so; the attempt's outcome then follows on Done.
func (o *Outbox) Adopt(a Adopted) (committed func(bool)) {
	which := id{a.Tenant, a.Key}
	one := &try{tenant: a.Tenant, attempts: 1, adopted: true, deadline: a.Deadline}
	claimed := o.tries.claim(which, one)
	return func(ok bool) {
		if !claimed {
			return // it was handed over before, and is attempted as what it was then
		}
		if !ok {
			o.forget(which)
			return
		}
		o.metrics.adopted.Inc()
		go func() { o.ended(which, one, <-a.Done) }()
	}
}

// reasonGone is what 410 says.
const reasonGone = "gone: the receiver wants no more"

// ended decides what becomes of an entry and has it recorded.
func (o *Outbox) ended(which id, one *try, a Attempt) {
	parked := o.tries.end(one)
	open, limited := errors.Is(a.Err, notify.ErrOpen), errors.Is(a.Err, notify.ErrLimited)
	notMade := open || limited
	cutOff := errors.Is(a.Err, ErrNotBegun) || errors.Is(a.Err, context.Canceled)
	switch {
	case one.lane == nil, cutOff:
	case open:
		o.book.hold(one.lane, time.Now().Add(jittered(max(a.Result.RetryAfter, leastOpen))), true)
	case limited:
		o.book.hold(one.lane, time.Now().Add(max(a.Result.RetryAfter, leastLimited)), false)
	default:
		o.book.made(one.lane, a.Err == nil)
	}
	if one.lane != nil && (open || limited || cutOff) {
		o.Readmit(which.tenant)
	}
	if a.Err != nil && (parked || cutOff || notMade && !one.adopted) {
		if notMade {
			o.metrics.attempts.WithLabelValues("not made").Inc()
		}
		o.forget(which) // the state has it as it is, and it counts for nothing
		return
	}
	o.record(o.outcome(which, one, a, notMade))
}

// How long a receiver is left alone at least that is not to be asked: because it
// keeps failing, or because it was asked often enough.
const (
	leastOpen    = time.Second
	leastLimited = 100 * time.Millisecond
)

// outcome is what is recorded of an attempt.
func (o *Outbox) outcome(which id, one *try, a Attempt, notMade bool) fsm.Settled {
	s := fsm.Settled{
		Tenant: which.tenant, Key: which.key, Attempts: one.attempts, Outcome: fsm.Sent, Status: a.Result.Status, Excerpt: a.Result.Excerpt,
	}
	if a.Err == nil {
		o.metrics.attempts.WithLabelValues("sent").Inc()
		return s
	}
	s.Outcome, s.Reason = fsm.HandedOver, a.Err.Error()
	if notMade { // the first one: the state says that it was
		o.metrics.attempts.WithLabelValues("not made").Inc()
		s.Attempts = 0
		s.NotBefore = notBefore(time.Now().Add(max(a.Result.RetryAfter, leastOpen)))
		return s
	}
	var schedule []time.Duration
	v := o.opts.Log.View()
	if e, ok := v.FindOutgoing(which.tenant, which.key); ok {
		schedule = o.schedules.of(v, e)
		s.Attempts = min(s.Attempts, e.Attempts+1) // redelivered meanwhile, it has begun anew
	}
	if a.Result.Permanent || a.Result.Status == http.StatusGone || int(s.Attempts) > len(schedule) {
		s.Outcome = fsm.Refused
		if a.Result.Status == http.StatusGone {
			s.Reason = reasonGone + ": " + s.Reason
		}
		o.metrics.attempts.WithLabelValues("dead").Inc()
		o.opts.Logger.Error("delivery given up: it is a dead letter now",
			"tenant", which.tenant, "key", which.key, "attempts", s.Attempts, "error", s.Reason)
		return s
	}
	o.metrics.attempts.WithLabelValues("failed").Inc()
	s.NotBefore = notBefore(time.Now().Add(max(jittered(schedule[max(s.Attempts, 1)-1]), a.Result.RetryAfter)))
	return s
}

// tooOld is the end of a delivery whose schedule is long over.
func (o *Outbox) tooOld(e *fsm.Outgoing) fsm.Settled {
	s := fsm.Settled{
		Tenant: e.Tenant, Key: e.Key, Attempts: e.Attempts, Outcome: fsm.Refused, Status: e.Status, Excerpt: e.Excerpt,
		Reason: "its time is over, and the receiver is not to be asked at present",
	}
	if e.Reason != "" {
		s.Reason += "; last: " + e.Reason
	}
	o.metrics.attempts.WithLabelValues("dead").Inc()
	o.opts.Logger.Error("delivery given up: it is a dead letter now",
		"tenant", e.Tenant, "key", e.Key, "attempts", e.Attempts, "error", s.Reason)
	return s
}

// record has an outcome written to the log. When nobody does that any more, the
// attempt is made again after the restart, with the same key.
func (o *Outbox) record(s fsm.Settled) {
	select {
	case o.settled <- s:
	case <-o.stopped:
	}
}

// notBefore rounds up to what is recorded, so that nothing is attempted early.
func notBefore(at time.Time) int64 { return at.Add(time.Millisecond - 1).UnixMilli() }

// Works says that a receiver of a tenant has accepted something else. What waits for
// its receivers waits no longer; where that is another one, it waits again.
func (o *Outbox) Works(tenant string) {
	o.book.free(tenant)
	poke(o.wake)
}

// forget makes an entry due again as the log says.
func (o *Outbox) forget(which id) {
	o.tries.drop(which)
	o.book.settled(o.opts.Log.View, which)
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
		for _, s := range batch {
			which := id{s.Tenant, s.Key}
			o.tries.drop(which)
			o.book.settled(o.opts.Log.View, which)
		}
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
