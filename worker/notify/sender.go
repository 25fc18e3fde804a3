package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// SenderOptions configure a Sender. Limits of 0 or less take the default.
type SenderOptions struct {
	Channels Channels

	// Overall is how many attempts are made at a time on this node, default 2048;
	// a quarter of it is kept for tenants that have next to nothing under way.
	Overall        int
	PerTenant      int // of one tenant; default 32
	PerDestination int // of one tenant to one destination; default 8
	Limits         Limits

	// Ready is the last look before each attempt, after any wait. Its error ends
	// the sending as it is: no attempt is made. Nil: always.
	Ready func(ctx context.Context, n *Notification) error
	// Observe is told of each attempt that was made, and must not wait. Nil:
	// nobody is.
	Observe func(n *Notification, res Result, err error, began time.Time)

	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is registered
	Random     func() float64        // in [0,1), for jitter; nil: math/rand
}

const (
	defaultOverall        = 2048
	defaultPerTenant      = 32
	defaultPerDestination = 8
	// reservePart of the node's slots are for tenants with no more than firstFew
	// attempts under way, none of them to an endpoint in doubt.
	reservePart = 4
	firstFew    = 2
)

// Sender sends notifications within limits. A destination that hangs fills only
// the slots that its tenant has for it: the slots of the destination are taken
// first, then the tenant's, then the node's. A destination that keeps failing is
// left alone for a while.
type Sender struct {
	channels    Channels
	rates       *rates
	breakers    *breakers
	destination *keyedLimit
	tenant      *keyedLimit
	overall     *slots
	ready       func(context.Context, *Notification) error
	observe     func(*Notification, Result, error, time.Time)
	log         *slog.Logger
	metrics     *metrics
	random      func() float64
}

// NewSender makes a Sender. It starts nothing and needs no closing.
func NewSender(o SenderOptions) *Sender {
	size := func(n, otherwise int) int {
		if n <= 0 {
			return otherwise
		}
		return n
	}
	overall := size(o.Overall, defaultOverall)
	s := &Sender{
		channels:    o.Channels,
		rates:       newRates(o.Limits, maxRecent),
		destination: newKeyedLimit(size(o.PerDestination, defaultPerDestination)),
		tenant:      newKeyedLimit(size(o.PerTenant, defaultPerTenant)),
		overall:     &slots{size: overall, reserve: overall / reservePart},
		ready:       o.Ready,
		observe:     o.Observe,
		log:         o.Logger,
		metrics:     newMetrics(o.Registerer),
		random:      o.Random,
	}
	s.breakers = newBreakers(maxRecent, s.metrics)
	if s.ready == nil {
		s.ready = func(context.Context, *Notification) error { return nil }
	}
	if s.observe == nil {
		s.observe = func(*Notification, Result, error, time.Time) {}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random == nil {
		s.random = rand.Float64
	}
	return s
}

// Deliver sends a notification, repeating attempts that may yet succeed as the
// trigger's retry policy says. It gives up early when the destination asks to
// wait longer than the policy ever would, and when no further attempt may be
// made now: waiting is for an outbox, and so is whatever ended without a
// permanent result. n is not changed. The result is that of the last attempt
// made; ErrOpen and ErrLimited mean that there was none.
func (s *Sender) Deliver(ctx context.Context, n *Notification) (Result, error) {
	try := *n
	policy := n.Trigger.Retry
	var last outcome
	for retry := 0; ; retry++ {
		this := s.attempt(ctx, &try, false)
		if !this.made && last.made {
			return last.without(ctx, this)
		}
		if !this.made || this.err == nil || this.res.Permanent || retry >= retries(policy) || this.res.RetryAfter > policy.Max {
			return this.res, this.err
		}
		if waitErr := wait(ctx, max(NextDelay(policy, retry, s.random), this.res.RetryAfter)); waitErr != nil {
			return this.res, fmt.Errorf("%w (%w before the next attempt)", this.err, waitErr)
		}
		last = this
		try.Attempt++
	}
}

// outcome is what came of an attempt, or of asking for one.
type outcome struct {
	res  Result
	err  error
	made bool // a request was made, or might have been
}

// without is the outcome of attempts after which a further one was not made.
func (o outcome) without(ctx context.Context, next outcome) (Result, error) {
	switch {
	case errors.Is(next.err, ErrOpen), errors.Is(next.err, ErrLimited):
		o.res.RetryAfter = max(o.res.RetryAfter, next.res.RetryAfter)
		return o.res, o.err
	case ctx.Err() != nil:
		return o.res, fmt.Errorf("%w (%w before the next attempt)", o.err, context.Cause(ctx))
	default: // not ours to send any more
		return next.res, next.err
	}
}

func retries(p spec.RetryPolicy) int { return int(p.MaxRetries) }

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Send makes one attempt as soon as the limits allow. Errors name tenant and
// trigger. A panic of the channel is an error like any other.
func (s *Sender) Send(ctx context.Context, n *Notification) (Result, error) {
	o := s.attempt(ctx, n, false)
	return o.res, o.err
}

// Probe is Send for somebody who wants to know whether the destination works: it
// is attempted also while it is left alone, and is not any more once it has
// accepted. That a probe fails only counts for how long the destination asks to
// wait.
func (s *Sender) Probe(ctx context.Context, n *Notification) (Result, error) {
	o := s.attempt(ctx, n, true)
	return o.res, o.err
}

// LeftAlone is the time before which a notification's destination is left alone,
// which may have passed; zero if it is not.
func (s *Sender) LeftAlone(n *Notification) time.Time { return s.breakers.until(place(n)) }

func (s *Sender) attempt(ctx context.Context, n *Notification, asked bool) outcome {
	o := s.send(ctx, n, asked)
	if o.err != nil {
		o.err = fmt.Errorf("tenant %s: trigger %q: %w", n.Alert.Tenant, n.Trigger.Name, o.err)
	}
	if later, ok := errors.AsType[*notNow](o.err); ok && !o.made {
		o.res.RetryAfter = later.after
	}
	return o
}

func (s *Sender) send(ctx context.Context, n *Notification, asked bool) outcome {
	channel := s.channels[n.Trigger.Type]
	if channel == nil {
		return outcome{Result{Permanent: true}, fmt.Errorf("%w: %q", ErrNoChannel, n.Trigger.Type), false}
	}
	to := place(n)
	release, p, err := s.admit(ctx, n, to, asked)
	if err != nil {
		s.metrics.held.WithLabelValues(n.Trigger.Type, heldBy(err)).Inc()
		return outcome{err: err}
	}
	defer release()
	s.metrics.busy.Inc()
	defer s.metrics.busy.Dec()

	began := time.Now()
	res, err := s.guarded(ctx, channel, n)
	s.breakers.end(to, time.Now(), p, judge(ctx, res, err), res.RetryAfter)
	s.metrics.seconds.WithLabelValues(n.Trigger.Type).Observe(time.Since(began).Seconds())
	s.metrics.attempts.WithLabelValues(n.Trigger.Type, outcomeLabel(res, err)).Inc()
	s.observe(n, res, err, began)
	return outcome{res, err, true}
}

// admit returns when an attempt may be made at once. It waits for the rates
// without holding a slot, and gives the pass for the attempt last, since that
// may be the only one there is.
func (s *Sender) admit(ctx context.Context, n *Notification, to endpoint, asked bool) (release func(), p pass, err error) {
	after, doubt := s.breakers.look(to, time.Now())
	if after > 0 && !asked {
		return nil, pass{}, openFor(after)
	}
	if err := s.rates.wait(ctx, n, to); err != nil {
		return nil, pass{}, err
	}
	if release, err = s.acquire(ctx, n, doubt); err != nil {
		return nil, pass{}, err
	}
	if err = s.ready(ctx, n); err == nil {
		if p, after = s.breakers.begin(to, time.Now(), asked); after > 0 {
			err = openFor(after)
		}
	}
	if err != nil {
		release()
		return nil, pass{}, err
	}
	return release, p, nil
}

func openFor(after time.Duration) error {
	return &notNow{reason: ErrOpen, what: fmt.Sprintf("at least the last %d attempts have failed", breakerStreak), after: after}
}

func heldBy(err error) string {
	switch {
	case errors.Is(err, ErrOpen):
		return "open"
	case errors.Is(err, ErrLimited):
		return "limited"
	default:
		return "stopped"
	}
}

func outcomeLabel(res Result, err error) string {
	switch {
	case err == nil:
		return "sent"
	case res.Permanent:
		return "permanent"
	default:
		return "retryable"
	}
}

// acquire takes a slot of the destination, of the tenant and of the node, in
// that order: what waits for its destination is in nobody else's way.
func (s *Sender) acquire(ctx context.Context, n *Notification, doubt bool) (release func(), err error) {
	tenant := n.Alert.Tenant
	releaseDestination, _, later, err := s.destination.acquire(ctx, tenant+" "+Destination(n.Trigger))
	if err != nil {
		return nil, waiting(err, "destination", later)
	}
	releaseTenant, count, later, err := s.tenant.acquire(ctx, tenant)
	if err != nil {
		releaseDestination()
		return nil, waiting(err, "tenant", later)
	}
	if _, err := s.overall.acquire(ctx, count <= firstFew && !doubt); err != nil {
		releaseTenant()
		releaseDestination()
		if errors.Is(err, errStuck) {
			later = s.overall.later()
		}
		return nil, waiting(err, "node", later)
	}
	return func() {
		s.overall.release()
		releaseTenant()
		releaseDestination()
	}, nil
}

// waiting explains why the wait for a slot has ended without one.
func waiting(err error, whose string, later time.Duration) error {
	if errors.Is(err, errStuck) {
		return &notNow{
			reason: ErrLimited, after: later,
			what: fmt.Sprintf("all attempts that this %s may have at a time are under way, and none has ended for %v", whose, patience),
		}
	}
	return fmt.Errorf("waiting for a free slot to send: %w", err)
}

func (s *Sender) guarded(ctx context.Context, c Channel, n *Notification) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value of a panic may quote anything, so it is not shown.
			s.log.ErrorContext(ctx, "a notification channel panicked",
				"tenant", n.Alert.Tenant, "trigger", n.Trigger.Name, "type", n.Trigger.Type, "stack", string(debug.Stack()))
			res, err = Result{}, fmt.Errorf("%w: %T; the log of this node has the stack", ErrPanic, p)
		}
	}()
	return c.Send(ctx, n)
}
