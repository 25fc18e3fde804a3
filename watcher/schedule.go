package watcher

import (
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// schedule says when to poll for the head.
type schedule struct {
	interval time.Duration // 0: cron rules
	cron     spec.Schedule
}

func newSchedule(n *spec.Network) (schedule, error) {
	if n.PollInterval > 0 {
		return schedule{interval: n.PollInterval}, nil
	}
	cron, err := spec.ParseSchedule(n.Cron)
	if err != nil {
		return schedule{}, fmt.Errorf("cron_schedule %q: %w", n.Cron, err)
	}
	return schedule{cron: cron}, nil
}

// after tells how long to wait from now for the tick that follows one which
// began at last. Ticks that passed meanwhile are not made up for: one poll
// tells all that they would have told. False: there is no further tick.
func (s schedule) after(last, now time.Time) (time.Duration, bool) {
	if s.interval > 0 {
		return max(last.Add(s.interval).Sub(now), 0), true
	}
	next := s.cron.Next(now.UTC())
	return next.Sub(now), !next.IsZero()
}
