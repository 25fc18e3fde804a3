package spec

import (
	"math"
	"time"
)

func readRetryPolicy(n node) RetryPolicy {
	p := DefaultRetryPolicy()
	o := n.object()
	if o == nil {
		return p
	}
	if v, ok := o.optional("max_retries").whole(0, math.MaxUint32); ok {
		p.MaxRetries = uint32(v)
	}
	if v, ok := o.optional("base_for_backoff").whole(0, math.MaxUint32); ok {
		p.Base = uint32(v)
	}
	initial, longest := o.optional("initial_backoff"), o.optional("max_backoff")
	if d, ok := initial.duration(); ok {
		p.Initial = d
	}
	if d, ok := longest.duration(); ok {
		p.Max = d
	}
	if s, ok := o.optional("jitter").oneOf(JitterNone, JitterFull); ok {
		p.Jitter = s
	}
	o.doneLoosely()
	if p.Initial > p.Max {
		n.fail("has an initial_backoff of %v, expected at most max_backoff, which is %v", p.Initial, p.Max)
	}
	return p
}

// The bounds of a retry schedule.
const (
	maxSchedule  = 20
	shortestWait = time.Second
	longestWait  = 48 * time.Hour
)

// readSchedule reads the waits of the outbox; nil when there are none.
func readSchedule(n node) []time.Duration {
	var waits []time.Duration
	count := 0
	ok := n.list(func(item node) {
		count++
		d, ok := item.duration()
		if ok && (d < shortestWait || d > longestWait) {
			item.fail("found %v, expected %v to %v", d, shortestWait, longestWait)
		}
		waits = append(waits, d)
	})
	if ok && (count == 0 || count > maxSchedule) {
		n.fail("holds %d durations, expected 1 to %d", count, maxSchedule)
	}
	return waits
}
