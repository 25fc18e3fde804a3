package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Do runs f against one endpoint after another until it succeeds, each
// distinct endpoint once at most. All calls f makes on its Conn go to one
// endpoint, so that what they answer fits together. An error of f that is not
// the endpoint's own, such as chain.ErrIncomplete, moves on as well.
//
// Needs names the method that f cannot well do without: among endpoints of
// one weight, those known to lack it come last.
func Do[T any](ctx context.Context, p *Pool, kind Kind, needs string, f func(context.Context, *Conn) (T, error)) (T, error) {
	run := &run[T]{pool: p, kind: kind, f: f, results: make(chan result[T], len(p.http))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the slower of hedged attempts
	defer context.AfterFunc(p.ctx, cancel)()
	return run.do(ctx, order(p.http, needs, time.Now()))
}

type result[T any] struct {
	value T
	err   error
	ep    *endpoint
}

// run is one use of Do.
type run[T any] struct {
	pool      *Pool
	kind      Kind
	f         func(context.Context, *Conn) (T, error)
	results   chan result[T]
	started   int
	desperate int // started although the breaker is open
	inFlight  int
	errs      []error
}

func (r *run[T]) do(ctx context.Context, queue []*endpoint) (zero T, err error) {
	if len(queue) == 0 {
		return zero, r.pool.unusable()
	}
	skipped := queue[:0:0]
	var hedge <-chan time.Time
	if r.pool.opts.Hedge > 0 && len(queue) > 1 {
		ticker := time.NewTicker(r.pool.opts.Hedge)
		defer ticker.Stop()
		hedge = ticker.C
	}
	next := func(kind Kind) bool {
		for len(queue) > 0 {
			ep := queue[0]
			queue = queue[1:]
			done, err := ep.breaker.Allow()
			if err != nil {
				skipped = append(skipped, ep)
				continue
			}
			r.start(ctx, ep, kind, done)
			return true
		}
		if len(skipped) == 0 || r.started > r.desperate {
			return false
		}
		// Every breaker is open. Refusing would only add its waiting time to
		// the outage, and the caller backs off by itself.
		ep := skipped[0]
		skipped = skipped[1:]
		r.desperate++
		r.start(ctx, ep, kind, func(err error) {
			if err == nil {
				ep.forgive()
			}
		})
		return true
	}
	next(r.kind)
	for r.inFlight > 0 {
		select {
		case res := <-r.results:
			r.inFlight--
			if res.err == nil {
				r.pool.answered(res.ep)
				return res.value, nil
			}
			if err := ctx.Err(); err != nil {
				return zero, err
			}
			r.errs = append(r.errs, res.err)
			if r.inFlight == 0 && next(again(r.kind)) {
				reason := chain.Reason(res.err)
				r.pool.opts.Metrics.rotations.WithLabelValues(r.pool.opts.Network, reason).Inc()
			}
		case <-hedge:
			next(Hedge)
		}
	}
	if len(r.errs) == 1 {
		return zero, r.errs[0]
	}
	return zero, &allFailed{errs: r.errs}
}

// again is the kind of a call repeated at another endpoint.
func again(k Kind) Kind {
	if k == BlockFetch {
		return Refetch
	}
	return k
}

func (r *run[T]) start(ctx context.Context, ep *endpoint, kind Kind, done func(error)) {
	r.started++
	r.inFlight++
	attempt := func() (res result[T]) {
		res.ep = ep
		finished := false
		defer func() {
			if !finished { // a panic: the breaker must not wait for ever
				done(context.Canceled)
			}
		}()
		if res.err = r.pool.ready(ctx, ep); res.err == nil {
			res.value, res.err = r.f(ctx, &Conn{pool: r.pool, ep: ep, kind: kind})
		}
		finished = true
		r.pool.judge(ctx, ep, res.err, done)
		return res
	}
	if r.pool.opts.Hedge <= 0 {
		r.results <- attempt()
		return
	}
	go func() {
		defer func() {
			if v := recover(); v != nil {
				r.results <- result[T]{ep: ep, err: fmt.Errorf("panic: %v", v)}
			}
		}()
		r.results <- attempt()
	}()
}

// judge tells the breaker and the health score how an attempt went. Absence of
// a block or a method is an answer, not a failure.
func (p *Pool) judge(ctx context.Context, ep *endpoint, err error, done func(error)) {
	switch {
	case err == nil, errors.Is(err, chain.ErrNotFound), IsMethodMissing(err):
		done(nil)
		ep.answered()
	case errors.Is(err, ErrBehind):
		done(nil)
		ep.fault(time.Now())
	case ctx.Err() != nil:
		done(context.Canceled) // our own doing
	default:
		done(err)
		ep.fault(time.Now())
	}
}

// allFailed holds what each endpoint said.
type allFailed struct{ errs []error }

func (e *allFailed) Error() string {
	text := "every endpoint failed"
	for _, err := range e.errs {
		text += "; " + err.Error()
	}
	return text
}

func (e *allFailed) Unwrap() []error { return e.errs }
