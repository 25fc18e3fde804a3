package rpc

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

const (
	penaltyHalfLife = 10 * time.Second
	penaltyMax      = 8.0
	// An endpoint with this much penalty stands behind all healthy ones,
	// whatever its weight: two failures in a row.
	penaltyDemoted = 1.5

	missingFor     = time.Hour        // a missing method is tried again after that
	verifiedFor    = time.Minute      // an endpoint not used for so long is verified when it is switched to
	maxPause       = 2 * time.Minute  // the longest Retry-After honoured: a typo must not stop a network for a day
	firstPause     = time.Second      // when a 429 names no time; doubled each time
	maxUnnamed     = 30 * time.Second // the longest pause nobody asked for
	breakerWindow  = 30 * time.Second
	breakerSamples = 20
	breakerStreak  = 5
)

// endpoint is one URL and what is known of its health.
type endpoint struct {
	url     string
	weight  int
	index   int // place in the configuration: decides between equals
	redact  *redactor
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	limiter *rate.Limiter

	verifying chan struct{} // held while the endpoint is verified
	exclusion time.Duration // how long an endpoint of another chain is left alone

	mu          sync.Mutex
	penalty     float64 // failures, halved every penaltyHalfLife
	penaltyAt   time.Time
	pausedUntil time.Time // the endpoint asked for it
	pauses      int       // in a row
	wrongUntil  time.Time // serves another chain
	wrong       error
	verified    time.Time // zero: to be verified before use
	refused     time.Time // when a verification failed last, and why
	refusal     error
	lastUsed    time.Time
	missing     map[string]time.Time // method -> until when it counts as missing
}

func newEndpoint(e Endpoint, u *url.URL, index int, opts *Options) *endpoint {
	ep := &endpoint{
		url: e.URL, weight: e.Weight, index: index, redact: newRedactor(u),
		verifying: make(chan struct{}, 1), exclusion: opts.Exclusion,
		missing: map[string]time.Time{},
	}
	if opts.Rate > 0 {
		ep.limiter = rate.NewLimiter(rate.Limit(opts.Rate), max(1, opts.Burst))
	}
	ep.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         ep.redact.host,
		Interval:     breakerWindow,
		BucketPeriod: breakerWindow / 10,
		Timeout:      opts.BreakerTimeout,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakerStreak ||
				c.Requests >= breakerSamples && c.TotalFailures*2 >= c.Requests
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			opts.Logger.Info("circuit breaker changed", "network", opts.Network, "endpoint", ep.redact.host, "state", to.String())
		},
	})
	return ep
}

// standing is what decides the place of an endpoint in the order of asking.
type standing struct {
	usable  bool // not paused, not of another chain
	open    bool // the circuit breaker refuses requests
	demoted bool
	weight  int
	missing bool // lacks the method that the caller is going to need
	index   int
}

// compare puts the endpoint to ask first at the front. Weights are priority
// classes: a lighter endpoint is asked before a heavier one only while that
// one fails. Within a class the order of the configuration stands, so that a
// healthy network keeps to one endpoint and thereby to one view of the chain.
func (s standing) compare(o standing) int {
	first := func(a, b bool) int { // true first
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	return cmp.Or(
		first(s.usable, o.usable),
		first(!s.open, !o.open),
		first(!s.demoted, !o.demoted),
		cmp.Compare(o.weight, s.weight),
		first(!s.missing, !o.missing),
		cmp.Compare(s.index, o.index),
	)
}

// order sorts endpoints by standing, usable ones only.
func order(all []*endpoint, needs string, now time.Time) []*endpoint {
	type placed struct {
		ep *endpoint
		standing
	}
	list := make([]placed, 0, len(all))
	for _, ep := range all {
		if s := ep.standing(needs, now); s.usable {
			list = append(list, placed{ep, s})
		}
	}
	slices.SortFunc(list, func(a, b placed) int { return a.standing.compare(b.standing) })
	out := make([]*endpoint, len(list))
	for i := range list {
		out[i] = list[i].ep
	}
	return out
}

func (ep *endpoint) standing(needs string, now time.Time) standing {
	open := ep.breaker.State() == gobreaker.StateOpen
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return standing{
		usable:  now.After(ep.pausedUntil) && now.After(ep.wrongUntil),
		open:    open,
		demoted: ep.decayed(now) >= penaltyDemoted,
		weight:  ep.weight,
		missing: now.Before(ep.missing[needs]),
		index:   ep.index,
	}
}

func (ep *endpoint) decayed(now time.Time) float64 {
	return ep.penalty * math.Exp2(-float64(now.Sub(ep.penaltyAt))/float64(penaltyHalfLife))
}

// fault records a failure of the endpoint.
func (ep *endpoint) fault(now time.Time) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.penalty = min(ep.decayed(now)+1, penaltyMax)
	ep.penaltyAt = now
}

// forgive ends the penalty of an endpoint that proved to work again.
func (ep *endpoint) forgive() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.penalty = 0
}

// pause honours a request to come back later. Zero means that the endpoint
// named no time.
func (ep *endpoint) pause(now time.Time, after time.Duration) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if after <= 0 {
		after = min(firstPause<<min(ep.pauses, 10), maxUnnamed)
	}
	ep.pauses++
	if until := now.Add(min(after, maxPause)); until.After(ep.pausedUntil) {
		ep.pausedUntil = until
	}
}

// answered records a good answer.
func (ep *endpoint) answered() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.pauses = 0
}

// disconnected makes the next use verify the endpoint anew: behind the same
// name another node may answer.
func (ep *endpoint) disconnected() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.verified = time.Time{}
}

func (ep *endpoint) lacks(method string, now time.Time) bool {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return now.Before(ep.missing[method])
}

func (ep *endpoint) setLacks(method string, now time.Time) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.missing[method] = now.Add(missingFor)
}

// mustVerify reports whether the endpoint is to be verified before a use now,
// and notes the use.
func (ep *endpoint) mustVerify(now time.Time) bool {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if now.Sub(ep.lastUsed) > verifiedFor {
		ep.verified = time.Time{}
	}
	ep.lastUsed = now
	return ep.verified.IsZero()
}

// verify runs the hook, once for all who wait for it. Its error excludes the
// endpoint when it says that the endpoint serves another chain.
func (ep *endpoint) verify(ctx context.Context, hook func(context.Context) error) (newlyWrong bool, err error) {
	asked := time.Now()
	select {
	case ep.verifying <- struct{}{}:
		defer func() { <-ep.verifying }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	ep.mu.Lock()
	passed, failed, refusal := ep.verified.After(asked), ep.refused.After(asked), ep.refusal
	ep.mu.Unlock()
	switch {
	case passed:
		return false, nil
	case failed: // while we waited: to ask again would line up the waiting times
		return false, refusal
	}
	err = hook(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	switch {
	case err == nil:
		ep.verified, ep.wrong = time.Now(), nil
		return false, nil
	case errors.Is(err, chain.ErrWrongChain):
		newlyWrong = ep.wrong == nil
		ep.wrong, ep.wrongUntil = err, time.Now().Add(ep.exclusion)
	}
	ep.refused, ep.refusal = time.Now(), err
	return newlyWrong, err
}

// obstacle says why an endpoint is not usable.
func (ep *endpoint) obstacle(now time.Time) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	switch {
	case now.Before(ep.wrongUntil):
		return ep.wrong
	case now.Before(ep.pausedUntil):
		return &Error{
			Endpoint: ep.redact.host, reason: ReasonRateLimited, RetryAfter: ep.pausedUntil.Sub(now),
			Message: "asked to wait " + ep.pausedUntil.Sub(now).Round(time.Millisecond).String(),
		}
	}
	return nil
}
