package outbox

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Schedule is how long to wait before each further attempt: that of Standard
// Webhooks, about 76 hours in all. After the last one a delivery is dead. A trigger
// may have one of its own.
var Schedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// jitter is the share of a pause that is added at most, so that a receiver is not
// met by all at once.
const jitter = 0.2

func jittered(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*jitter*float64(d))
}

// schedules reads triggers' schedules. It keeps what it has read: a document's
// content never changes under its hash.
type schedules struct {
	otherwise []time.Duration

	mu   sync.Mutex
	kept map[fsm.Hash][]time.Duration
}

// keepSchedules bounds what is kept in memory.
const keepSchedules = 10_000

// of is the schedule of a delivery. Without a trigger that can be read, it is the
// usual one: the attempt tells what is wrong.
func (s *schedules) of(v *fsm.View, e *fsm.Outgoing) []time.Duration {
	t, ok := v.Tenant(e.Tenant)
	if !ok {
		return s.otherwise
	}
	doc, ok := t.Current.Manifest.Find(fsm.DocTrigger, e.Trigger)
	if !ok {
		return s.otherwise
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[doc.Hash]; ok {
		return kept
	}
	schedule := s.otherwise
	if trigger, err := store.Trigger(v, doc); err == nil && trigger.Schedule != nil {
		schedule = trigger.Schedule
	}
	if s.kept == nil || len(s.kept) >= keepSchedules {
		s.kept = map[fsm.Hash][]time.Duration{}
	}
	s.kept[doc.Hash] = schedule
	return schedule
}

// dueAt is when an entry is due: as was recorded with the last outcome, and
// otherwise as the schedule says from the hand-over on, so that a node that is
// started again and again does not use the attempts up early. The schedule is for
// what has failed: the first attempt is due at once.
func (o *Outbox) dueAt(v *fsm.View, e *fsm.Outgoing) time.Time {
	if e.NotBefore != 0 {
		return time.UnixMilli(e.NotBefore)
	}
	at := time.UnixMilli(e.At)
	if e.Attempts == 0 {
		return at
	}
	schedule := o.schedules.of(v, e)
	for _, pause := range schedule[:min(int(e.Attempts), len(schedule))] {
		at = at.Add(pause)
	}
	return at
}

// graceful is by how much a delivery may outlive its schedule: jitter, Retry-After
// and a node that was down make it last longer.
const graceful = time.Hour

// outlived reports whether a delivery that nobody asks its receiver about, because
// that is not to be asked, is to be given up all the same.
func (o *Outbox) outlived(v *fsm.View, e *fsm.Outgoing, now time.Time) bool {
	var total time.Duration
	for _, pause := range o.schedules.of(v, e) {
		total += pause
	}
	return now.After(time.UnixMilli(e.At).Add(total + total/2 + graceful))
}

// Due is when the next attempt at an entry is due, as far as the state tells: also
// of a tenant of another node. What a tenant of this node has waits for its quota, too.
func (o *Outbox) Due(v *fsm.View, e *fsm.Outgoing) time.Time {
	due := o.dueAt(v, e)
	if t, ok := v.Tenant(e.Tenant); ok && v.Owner(t) == o.opts.Node {
		if left, perHour, again := o.Allowance(e.Tenant); perHour > 0 && left == 0 && again.After(due) {
			return again
		}
	}
	return due
}
