package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	breakerStreak   = 5 // failures in a row that open a breaker
	breakerFirst    = 10 * time.Second
	breakerMost     = 5 * time.Minute
	breakerLongest  = time.Hour   // for the sake of a Retry-After; one attempt then finds out
	breakerProbing  = time.Second // how soon to come back while somebody probes
	breakerForgets  = 15 * time.Minute
	breakerStep     = 20 * time.Millisecond // between those who are to come back
	breakerFurthest = 30 * time.Second      // that the last of them is put off by this
)

// verdict is what an attempt says of its endpoint.
type verdict uint8

const (
	works verdict = iota + 1
	fails
	unclear // the attempt never got there, or was cut off by us
)

// judge reads a verdict from the outcome of an attempt. An endpoint that
// refuses one request for good works: the next request may be a better one.
func judge(ctx context.Context, res Result, err error) verdict {
	switch {
	case err == nil:
		return works
	case errors.Is(err, ErrMisconfigured), errors.Is(err, ErrForbidden), errors.Is(err, ErrPanic):
		return unclear
	case ctx.Err() != nil && !errors.Is(err, ErrTimeout):
		return unclear
	case res.Permanent && res.Status != 0:
		return works
	case res.Permanent:
		return unclear
	default:
		return fails
	}
}

// breaker is one endpoint's, from its first failure until it works again. It is
// closed while round is 0, open until a time, and half-open after that: one
// attempt finds out whether the endpoint works.
type breaker struct {
	failures int // in a row, while closed
	round    int // how often it has opened since the endpoint last worked
	until    time.Time
	probing  bool
	used     time.Time
	pace     pace
}

// pass is the permission for one attempt.
type pass struct {
	round int // of the breaker when the attempt began
	probe bool
	asked bool // an operator's, while the breaker gives none
}

// wait is for how long no attempt may begin; 0: one may.
func (b *breaker) wait(now time.Time) time.Duration {
	switch {
	case b.round == 0:
		return 0
	case now.Before(b.until):
		return b.until.Sub(now)
	case b.probing:
		return breakerProbing
	}
	return 0
}

// begin gives a pass; wait must be 0.
func (b *breaker) begin(now time.Time) pass {
	b.used = now
	if b.round > 0 {
		b.probing = true
	}
	return pass{round: b.round, probe: b.probing}
}

// end takes an attempt's verdict and tells whether the breaker may be forgotten.
// What began before it opened says nothing new, but for how long to wait.
func (b *breaker) end(now time.Time, p pass, v verdict, retryAfter time.Duration) (forget bool) {
	b.used = now
	if p.probe {
		b.probing = false
	}
	switch {
	case p.round != b.round, p.asked && v == fails:
		if v == fails && retryAfter > 0 {
			b.extend(now.Add(min(retryAfter, breakerLongest)))
		}
	case v == works:
		return true
	case v == fails:
		if b.failures++; p.probe || b.failures >= breakerStreak {
			b.open(now, retryAfter)
		}
	}
	return false
}

func (b *breaker) open(now time.Time, retryAfter time.Duration) {
	pause := breakerMost
	if b.round < 10 {
		pause = min(breakerFirst<<b.round, breakerMost)
	}
	b.round++
	b.extend(now.Add(max(pause, min(retryAfter, breakerLongest))))
}

func (b *breaker) extend(until time.Time) {
	if until.After(b.until) {
		b.until = until
	}
}

// breakers are those of the endpoints that failed last. Endpoints that work
// take no memory.
type breakers struct {
	mu     sync.Mutex
	keys   *recent[endpoint, *breaker]
	gauge  prometheus.Gauge   // not closed now
	opened prometheus.Counter // changes from closed to open
}

func newBreakers(size int, m *metrics) *breakers {
	b := &breakers{gauge: m.open, opened: m.opened}
	b.keys = newRecent[endpoint](size, func(one *breaker) {
		if one.round > 0 {
			b.gauge.Dec()
		}
	})
	return b
}

// look tells how long an endpoint is not to be asked, and whether there is
// doubt that it works.
func (b *breakers) look(key endpoint, now time.Time) (wait time.Duration, doubt bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.keys.find(key)
	if !ok {
		return 0, false
	}
	one.used = now
	return one.refuse(now), true
}

// until tells when an endpoint may be asked again; zero: it is not left alone.
func (b *breakers) until(key endpoint) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one, ok := b.keys.find(key); ok {
		return one.until
	}
	return time.Time{}
}

// begin gives a pass, or tells how long to wait for one. Who asks for one whatever
// the breaker says need not wait.
func (b *breakers) begin(key endpoint, now time.Time, asked bool) (pass, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys.tidy(func(one *breaker) bool {
		return now.Sub(one.used) > breakerForgets && now.After(one.until) && !one.probing
	})
	one, ok := b.keys.find(key)
	if !ok {
		return pass{}, 0
	}
	if asked && one.wait(now) > 0 {
		one.used = now
		return pass{round: one.round, asked: true}, 0
	}
	if wait := one.refuse(now); wait > 0 {
		return pass{}, wait
	}
	return one.begin(now), 0
}

// refuse is wait with the turned away spread over some time: they would all
// come back at once.
func (b *breaker) refuse(now time.Time) time.Duration {
	wait := b.wait(now)
	if wait == 0 {
		return 0
	}
	return b.pace.next(now, wait, breakerStep, wait+breakerFurthest)
}

// end takes the verdict of an attempt that had a pass.
func (b *breakers) end(key endpoint, now time.Time, p pass, v verdict, retryAfter time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.keys.find(key)
	if !ok {
		if v != fails {
			return
		}
		one, p = &breaker{}, pass{}
		b.keys.add(key, one)
	}
	closed := one.round == 0
	if one.end(now, p, v, retryAfter) {
		b.keys.remove(key)
		return
	}
	if closed && one.round > 0 {
		b.opened.Inc()
		b.gauge.Inc()
	}
}
