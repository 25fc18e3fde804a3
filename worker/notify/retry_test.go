package notify

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func TestNextDelay(t *testing.T) {
	policy := spec.RetryPolicy{MaxRetries: 9, Base: 2, Initial: 250 * time.Millisecond, Max: 10 * time.Second, Jitter: spec.JitterNone}
	with := func(change func(*spec.RetryPolicy)) spec.RetryPolicy {
		p := policy
		change(&p)
		return p
	}
	for _, tc := range []struct {
		name   string
		policy spec.RetryPolicy
		n      int
		want   time.Duration
	}{
		{"first", policy, 0, 250 * time.Millisecond},
		{"second", policy, 1, 500 * time.Millisecond},
		{"third", policy, 2, time.Second},
		{"capped", policy, 6, 10 * time.Second},
		{"no overflow", policy, math.MaxInt32, 10 * time.Second},
		{"full jitter", with(func(p *spec.RetryPolicy) { p.Jitter = spec.JitterFull }), 2, 750 * time.Millisecond},
		{"base 1", with(func(p *spec.RetryPolicy) { p.Base = 1 }), math.MaxInt32, 250 * time.Millisecond},
		{"base 0, first", with(func(p *spec.RetryPolicy) { p.Base = 0 }), 0, 250 * time.Millisecond},
		{"base 0, later", with(func(p *spec.RetryPolicy) { p.Base = 0 }), 1, 0},
		{"initial above max", with(func(p *spec.RetryPolicy) { p.Initial = time.Minute }), 0, 10 * time.Second},
		{"zero", spec.RetryPolicy{}, 3, 0},
	} {
		if got := NextDelay(tc.policy, tc.n, func() float64 { return 0.75 }); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestNextDelayStaysWithinThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := spec.RetryPolicy{
			Base:    rapid.Uint32().Draw(t, "base"),
			Initial: time.Duration(rapid.Int64Min(0).Draw(t, "initial")),
			Max:     time.Duration(rapid.Int64Min(0).Draw(t, "max")),
			Jitter:  rapid.SampledFrom([]string{spec.JitterNone, spec.JitterFull}).Draw(t, "jitter"),
		}
		u := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		if d := NextDelay(p, rapid.IntRange(0, 1000).Draw(t, "n"), func() float64 { return u }); d < 0 || d > p.Max {
			t.Fatalf("%s, want 0 to %s", d, p.Max)
		}
	})
}
