package v1

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Rates bound how many requests are answered, a second; twice as many at once. 0: any
// number. Operators are not bound.
type Rates struct {
	Key     float64 // of one key of a tenant
	Address float64 // of one source address, as far as they are not of operators
}

var errTooFast = errors.New("too many requests: wait before the next one")

// keptLimits bounds how many keys and addresses are remembered.
const keptLimits = 20_000

// limits are token buckets by what is limited: keys, or addresses.
type limits[K comparable] struct {
	rate float64 // 0: none
	now  func() time.Time

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

func newLimits[K comparable](perSecond float64, now func() time.Time) *limits[K] {
	return &limits[K]{rate: perSecond, now: now, buckets: map[K]*rate.Limiter{}}
}

// allowance is what is left after a request.
type allowance struct {
	limit     int           // requests at once
	window    time.Duration // in which as many come again
	remaining int           // of these
	full      time.Duration // until all of them are there again
	wait      time.Duration // until there is one, where it is refused
}

func (l *limits[K]) burst() int { return max(1, int(2*l.rate)) }

// take takes a token. ok is false where there is none.
func (l *limits[K]) take(who K) (a allowance, ok bool) {
	if l.rate <= 0 {
		return a, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[who]
	if b == nil {
		if len(l.buckets) >= keptLimits {
			l.forget(now)
		}
		b = rate.NewLimiter(rate.Limit(l.rate), l.burst())
		l.buckets[who] = b
	}
	ok = b.AllowN(now, 1)
	tokens := b.TokensAt(now)
	a = allowance{limit: l.burst(), window: l.lasts(float64(l.burst())), remaining: max(0, int(tokens)), full: l.lasts(float64(l.burst()) - tokens)}
	if !ok {
		a.wait = l.lasts(1 - tokens)
	}
	return a, ok
}

// lasts is how long it takes for so many tokens to come.
func (l *limits[K]) lasts(tokens float64) time.Duration {
	return time.Duration(max(0, tokens) / l.rate * float64(time.Second))
}

// forget drops full buckets, which limit nobody; all, where that is not enough.
func (l *limits[K]) forget(now time.Time) {
	for who, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst()) {
			delete(l.buckets, who)
		}
	}
	if len(l.buckets) >= keptLimits {
		clear(l.buckets)
	}
}

// seconds rounds up.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// limit refuses what comes too fast. Whoever has no valid key, or none of a tenant,
// has failed with refused: where there are too many of these, that is the answer.
func (a *API) limit(ctx huma.Context, who Actor, refused error) error {
	if refused == nil && (who.Key == "" || who.Role == fsm.RoleOperator) {
		return nil
	}
	// As it came: behind a proxy all have one address.
	byAddress, ok := a.byAddress.take(source(ctx.RemoteAddr()))
	tightest := byAddress
	if ok && refused == nil {
		var byKey allowance
		if byKey, ok = a.byKey.take(who.Key); !ok || a.byAddress.rate <= 0 || byKey.limit > 0 && byKey.remaining < tightest.remaining {
			tightest = byKey
		}
	}
	if tightest.limit > 0 {
		ctx.SetHeader("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", "requests", tightest.limit, seconds(tightest.window)))
		ctx.SetHeader("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", "requests", tightest.remaining, seconds(tightest.full)))
	}
	if !ok {
		a.metrics.limited.Inc()
		return later(errTooFast, tightest.wait)
	}
	return refused
}
