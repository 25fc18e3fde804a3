package notify

import (
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// NextDelay is the pause before retry n (0 = the first) under a trigger's
// policy: min(max, initial × base^n), under jitter "full" times a uniform
// factor in [0,1) taken from random (spec triggers-and-notifications §7).
func NextDelay(p spec.RetryPolicy, n int, random func() float64) time.Duration {
	d := min(p.Initial, p.Max)
	for range n {
		if d <= 0 || d >= p.Max || p.Base == 1 {
			break
		}
		if p.Base == 0 { // 0^n
			d = 0
			break
		}
		if d > p.Max/time.Duration(p.Base) {
			d = p.Max // and no overflow on the way
			break
		}
		d *= time.Duration(p.Base)
	}
	d = max(d, 0)
	if p.Jitter == spec.JitterFull {
		d = time.Duration(float64(d) * random())
	}
	return d
}
