package spec

import (
	"math"
	"strings"
	"time"
)

const durationForms = `expected milliseconds like 250, text like "250ms", or {"secs": 0, "nanos": 250000000}`

// maxMilliseconds is the longest time.Duration, 292 years.
const maxMilliseconds = math.MaxInt64 / uint64(time.Millisecond)

func isNumber(raw []byte) bool { return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' }

// milliseconds reads a whole number of milliseconds.
func milliseconds(n node, lo uint64) time.Duration {
	ms, _ := n.whole(lo, maxMilliseconds)
	return time.Duration(ms) * time.Millisecond
}

// duration reads every accepted form: the peer's {"secs", "nanos"} and
// [secs, nanos], and the forms its documentation suggests.
func (n node) duration() (time.Duration, bool) {
	if !n.ok() {
		return 0, false
	}
	before := len(n.w.problems)
	var d time.Duration
	switch {
	case isNumber(n.raw):
		d = milliseconds(n, 0)
	case n.raw[0] == '"':
		s := unquote(n.raw)
		v, err := time.ParseDuration(strings.TrimSpace(s))
		if err != nil || v < 0 {
			n.fail("found %s, %s", quote(s), durationForms)
		}
		d = v
	case n.raw[0] == '{':
		o := n.object()
		secs := o.whole("secs", 0, math.MaxUint64)
		nanos := o.whole32("nanos", 0)
		o.done()
		d = n.secsNanos(secs, nanos)
	case n.raw[0] == '[':
		var parts []uint64
		n.list(func(item node) {
			hi := uint64(math.MaxUint64)
			if item.index == 1 {
				hi = math.MaxUint32
			}
			v, _ := item.whole(0, hi)
			parts = append(parts, v)
		})
		if len(parts) != 2 {
			n.fail("found an array of %d elements, expected [secs, nanos]", len(parts))
			break
		}
		d = n.secsNanos(parts[0], uint32(parts[1]))
	default:
		n.fail("found %s, %s", n.found(), durationForms)
	}
	return d, len(n.w.problems) == before
}

func (n node) secsNanos(secs uint64, nanos uint32) time.Duration {
	const limit = math.MaxInt64/uint64(time.Second) - 5 // room for nanos above a second
	if secs > limit {
		n.fail("found %d seconds, expected at most %d", secs, limit)
		return 0
	}
	return time.Duration(secs)*time.Second + time.Duration(nanos)
}
