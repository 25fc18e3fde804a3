package farm

import (
	"fmt"
	"slices"
	"time"
)

// fired is the state that an alert has only once in a block: its key does not
// depend on the position, so that what was fired and is told again keeps its key.
const fired = "fired"

// said is what a key stands for.
type said struct {
	receiver, alert, block, state string
	position                      uint64
}

func (d *Delivery) said() said {
	s := said{d.Receiver, d.Alert, d.Block, d.State, d.Position}
	if d.State == fired {
		s.position = 0
	}
	return s
}

// Identity is what deliveries say of their names.
type Identity struct {
	Deliveries int
	Unique     int // of these, first of their key
	Duplicates int // of these, repetitions
	// Wrong counts what has two keys, keys that stand for two things, and bodies
	// that differ under one key; Errors tells of the first of them.
	Wrong  int
	Errors []error
}

// CheckIdentity checks the names of deliveries: whatever is said once has one
// key, and a key always says the same in the same words.
func CheckIdentity(list []Delivery) (id Identity) {
	type first struct {
		said
		body uint64
	}
	keys, named := make(map[said]string, len(list)), make(map[string]first, len(list))
	wrong := func(format string, args ...any) {
		if id.Wrong++; len(id.Errors) < maxErrors {
			id.Errors = append(id.Errors, fmt.Errorf(format, args...))
		}
	}
	for i := range list {
		d := &list[i]
		id.Deliveries++
		s := d.said()
		if key, ok := keys[s]; ok && key != d.Key {
			wrong("%+v came with two keys, %s and %s", s, key, d.Key)
		}
		keys[s] = d.Key
		before, ok := named[d.Key]
		switch {
		case !ok:
			id.Unique++
			named[d.Key] = first{s, d.Body}
			continue
		case before.said != s:
			wrong("key %s stands for %+v and for %+v", d.Key, before.said, s)
		case before.body != d.Body:
			wrong("key %s: %+v came with two bodies", d.Key, s)
		}
		id.Duplicates++
	}
	return id
}

// Final is what a receiver believes in the end: of each alert, the delivery with
// the greatest position, in whatever order they came.
func Final(list []Delivery) map[string]Delivery {
	out := map[string]Delivery{}
	for _, d := range list {
		if now, ok := out[d.Alert]; !ok || d.Position > now.Position {
			out[d.Alert] = d
		}
	}
	return out
}

// Quantile is the value below which a share q (0 to 1) of the durations lie; 0
// without any. The list is put in order.
func Quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}
