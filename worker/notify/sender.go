package notify

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// SenderOptions configure a Sender. Limits of 0 or less take the default.
type SenderOptions struct {
	Channels Channels

	Overall        int // attempts at a time on this node; default 256
	PerTenant      int // of one tenant; default 32
	PerDestination int // of one tenant to one destination; default 8

	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: nothing is registered
	Random     func() float64        // in [0,1), for jitter; nil: math/rand
}

// Sender sends notifications within limits. A destination that hangs fills only
// the slots that its tenant has for it: the slots of the destination are taken
// first, then the tenant's, then the node's.
type Sender struct {
	channels    Channels
	destination *keyedLimit
	tenant      *keyedLimit
	overall     *semaphore.Weighted
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
	s := &Sender{
		channels:    o.Channels,
		destination: newKeyedLimit(size(o.PerDestination, 8)),
		tenant:      newKeyedLimit(size(o.PerTenant, 32)),
		overall:     semaphore.NewWeighted(int64(size(o.Overall, 256))),
		log:         o.Logger,
		metrics:     newMetrics(o.Registerer),
		random:      o.Random,
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
// wait longer than the policy ever would: waiting that long is for an outbox,
// and so is whatever ended without a permanent result. n is not changed. The
// result is that of the last attempt.
func (s *Sender) Deliver(ctx context.Context, n *Notification) (Result, error) {
	try := *n
	policy := n.Trigger.Retry
	for retry := 0; ; retry++ {
		res, err := s.Send(ctx, &try)
		if err == nil || res.Permanent || retry >= retries(policy) || res.RetryAfter > policy.Max {
			return res, err
		}
		if waitErr := wait(ctx, max(NextDelay(policy, retry, s.random), res.RetryAfter)); waitErr != nil {
			return res, fmt.Errorf("%w (%w before the next attempt)", err, waitErr)
		}
		try.Attempt++
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
	res, err := s.send(ctx, n)
	if err != nil {
		err = fmt.Errorf("tenant %s: trigger %q: %w", n.Alert.Tenant, n.Trigger.Name, err)
	}
	return res, err
}

func (s *Sender) send(ctx context.Context, n *Notification) (Result, error) {
	channel := s.channels[n.Trigger.Type]
	if channel == nil {
		return Result{Permanent: true}, fmt.Errorf("%w: %q", ErrNoChannel, n.Trigger.Type)
	}
	release, err := s.acquire(ctx, n)
	if err != nil {
		return Result{}, fmt.Errorf("waiting for a free slot to send: %w", err)
	}
	defer release()
	s.metrics.busy.Inc()
	defer s.metrics.busy.Dec()

	start := time.Now()
	res, err := s.guarded(ctx, channel, n)
	s.metrics.seconds.WithLabelValues(n.Trigger.Type).Observe(time.Since(start).Seconds())
	s.metrics.attempts.WithLabelValues(n.Trigger.Type, outcome(res, err)).Inc()
	return res, err
}

func outcome(res Result, err error) string {
	switch {
	case err == nil:
		return "sent"
	case res.Permanent:
		return "permanent"
	default:
		return "retryable"
	}
}

func (s *Sender) acquire(ctx context.Context, n *Notification) (release func(), err error) {
	tenant := n.Alert.Tenant
	releaseDestination, err := s.destination.acquire(ctx, tenant+" "+Destination(n.Trigger))
	if err != nil {
		return nil, err
	}
	releaseTenant, err := s.tenant.acquire(ctx, tenant)
	if err != nil {
		releaseDestination()
		return nil, err
	}
	if err := s.overall.Acquire(ctx, 1); err != nil {
		releaseTenant()
		releaseDestination()
		return nil, err
	}
	return func() {
		s.overall.Release(1)
		releaseTenant()
		releaseDestination()
	}, nil
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
