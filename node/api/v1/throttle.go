package v1

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Who fails to authenticate may do so maxFailures times at once, then once a second.
const (
	maxFailures   = 10
	keptThrottles = 10_000
)

// throttle slows down who tries keys. A bucket is for one source address and one
// key: behind a proxy many clients have one address, and nobody must lock out the
// others. The secret of a key has too many bits to be found; trying it is slowed
// down all the same.
type throttle struct {
	mu      sync.Mutex
	buckets map[throttled]*rate.Limiter
	now     func() time.Time
}

type throttled struct {
	source netip.Prefix
	key    string // id; empty where what came has not the form of a key
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{buckets: map[throttled]*rate.Limiter{}, now: now}
}

// source is what counts as one address: of IPv6, its network of 64 bits.
func source(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the length is right
	return p
}

// closed reports whether nothing is looked at for the moment, and for how long.
func (t *throttle) closed(who throttled) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.buckets[who]
	if l == nil {
		return 0, false
	}
	missing := 1 - l.TokensAt(t.now())
	return time.Duration(missing * float64(time.Second)), missing > 0
}

// failed counts a failure. Full buckets are forgotten when there are too many; if
// none is full, all are.
func (t *throttle) failed(who throttled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	l := t.buckets[who]
	if l == nil {
		if len(t.buckets) >= keptThrottles {
			t.forget(now)
		}
		l = rate.NewLimiter(1, maxFailures)
		t.buckets[who] = l
	}
	l.AllowN(now, 1)
}

func (t *throttle) forget(now time.Time) {
	for who, l := range t.buckets {
		if l.TokensAt(now) >= maxFailures {
			delete(t.buckets, who)
		}
	}
	if len(t.buckets) >= keptThrottles {
		clear(t.buckets)
	}
}
