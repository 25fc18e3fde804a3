package memnet

import "time"

// signal wakes everyone who waits for a change. It is guarded by the net's lock.
type signal struct{ ch chan struct{} }

// wait is to be called under the lock, and its channel waited for without it.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// sleep waits for a change, for the end of done (may be nil), or until a time
// (zero: never). The timer is made by the waiting goroutine, in its bubble.
func sleep(change, done <-chan struct{}, until time.Time) {
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-change:
	case <-done:
	case <-alarm:
	}
}

// earlier is the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// due reports whether a time that is set has come.
func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }
