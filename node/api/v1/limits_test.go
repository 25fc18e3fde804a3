package v1

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestRates(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	r.api = New(Options{
		Backend: r.fake, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Now: func() time.Time { return r.now }, Rates: Rates{Key: 2, Address: 5},
	})
	one, two, operator := r.key("acme", fsm.RoleViewer), r.key("acme", fsm.RoleViewer), r.key("", fsm.RoleOperator)
	get := func(key string) answer { return r.do(key, "GET", "/v1/tenants/acme", "") }
	for i := range 4 {
		a := get(one).want(200)
		if got, want := a.header.Get("RateLimit"), fmt.Sprintf(`"requests";r=%d;t=`, 3-i); !strings.HasPrefix(got, want) || a.header.Get("RateLimit-Policy") != `"requests";q=4;w=2` {
			t.Errorf("%s of %s are left after %d", got, a.header.Get("RateLimit-Policy"), i+1)
		}
	}
	a := get(one).want(429, "too many requests")
	if a.header.Get("Retry-After") != "1" || a.header.Get("RateLimit") != `"requests";r=0;t=2` {
		t.Errorf("%v", a.header)
	}
	get(two).want(200) // another key
	for range 4 {      // what is left of the address, which has 10
		get("").want(401)
	}
	get("").want(429)
	get(two).want(429)
	for range 20 { // operators are not bound
		get(operator).want(200)
	}
	r.now = r.now.Add(500 * time.Millisecond)
	get(one).want(200)
	get(one).want(429)
}

// Over any time, nobody gets more than the rate allows, and everybody that much.
func TestLimitsProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perSecond := rapid.Float64Range(0.5, 50).Draw(rt, "rate")
		now := time.Unix(1_800_000_000, 0)
		l := newLimits[int](perSecond, func() time.Time { return now })
		allowed, began := 0, now
		for range rapid.IntRange(1, 300).Draw(rt, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 500).Draw(rt, "ms")) * time.Millisecond)
			l.take(2) // somebody else
			a, ok := l.take(1)
			if ok {
				allowed++
			} else if next := now.Add(a.wait + time.Millisecond); true {
				saved := now
				if now = next; l.buckets[1].TokensAt(now) < 1 {
					rt.Fatalf("after waiting for %v there are %v", a.wait, l.buckets[1].TokensAt(now))
				}
				now = saved
			}
		}
		if most := float64(l.burst()) + perSecond*now.Sub(began).Seconds() + 1e-6; float64(allowed) > most {
			rt.Fatalf("%d were allowed, %v at most", allowed, most)
		}
	})
}

func TestLimitsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := newLimits[int](1, func() time.Time { return now })
	for i := range 3 * keptLimits {
		l.take(i)
		if len(l.buckets) > keptLimits {
			t.Fatalf("%d are remembered", len(l.buckets))
		}
	}
}
