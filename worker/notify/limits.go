package notify

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// errStuck means that all slots are taken and that none has moved for longer
// than patience.
var errStuck = errors.New("nothing moves")

// slots are a number of places, given out in the order of asking. The last of
// them, the reserve, are for those who ask for them as first.
type slots struct {
	size, reserve int

	mu    sync.Mutex
	used  int
	first list.List // of chan struct{}, closed when the place is given
	rest  list.List
	moved time.Time // when a place was last taken or given back
	pace  pace
}

// room reports whether there is a place, whoever else waits.
func (s *slots) room(first bool) bool {
	if first {
		return s.used < s.size
	}
	return s.used < s.size-s.reserve
}

// acquire waits its turn. It gives up with errStuck as soon as nothing has moved
// for longer than patience: those who hold the places hang, and who waits for
// them in line hangs with them. The count is that of the places taken, with the
// one that was given.
func (s *slots) acquire(ctx context.Context, first bool) (count int, err error) {
	s.mu.Lock()
	if s.room(first) && s.first.Len() == 0 && (first || s.rest.Len() == 0) {
		s.used++
		s.moved = time.Now()
		count = s.used
		s.mu.Unlock()
		return count, nil
	}
	left := time.Until(s.moved.Add(patience))
	if left <= 0 {
		s.mu.Unlock()
		return 0, errStuck
	}
	line := &s.rest
	if first {
		line = &s.first
	}
	given := make(chan struct{})
	place := line.PushBack(given)
	s.mu.Unlock()

	timer := time.NewTimer(left)
	defer timer.Stop()
	for err == nil {
		select {
		case <-given:
			return s.taken(), nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-timer.C:
			s.mu.Lock()
			left := time.Until(s.moved.Add(patience))
			s.mu.Unlock()
			if left > 0 {
				timer.Reset(left)
				continue
			}
			err = errStuck
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-given: // just now: it goes to the next
		s.used--
		s.give()
	default:
		line.Remove(place)
	}
	return 0, err
}

func (s *slots) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.moved = time.Now()
	s.give()
}

// give hands free places to those who wait.
func (s *slots) give() {
	for {
		line := &s.first
		if line.Len() == 0 {
			line = &s.rest
		}
		if line.Len() == 0 || !s.room(line == &s.first) {
			return
		}
		given, _ := line.Remove(line.Front()).(chan struct{})
		s.used++
		close(given)
	}
}

// later is when to come back after errStuck, one after the other at the pace
// that the places would allow if each was held for as long as patience.
func (s *slots) later() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace.next(time.Now(), 2*time.Second, patience/time.Duration(s.size), furthest)
}

// keyedLimit are slots per key. Keys exist while somebody holds or awaits a
// slot, so that their number is bounded by the work at hand.
type keyedLimit struct {
	size int

	mu   sync.Mutex
	keys map[string]*keyedSlots
}

type keyedSlots struct {
	slots
	users int // holding or waiting; guarded by keyedLimit.mu
}

func newKeyedLimit(size int) *keyedLimit {
	return &keyedLimit{size: size, keys: make(map[string]*keyedSlots)}
}

// acquire waits its turn, first come first served within a key, and returns
// what gives the slot back. The count is that of the key's slots in use. After
// errStuck, later is when to come back.
func (l *keyedLimit) acquire(ctx context.Context, key string) (release func(), count int, later time.Duration, err error) {
	l.mu.Lock()
	s := l.keys[key]
	if s == nil {
		s = &keyedSlots{slots: slots{size: l.size}}
		l.keys[key] = s
	}
	s.users++
	l.mu.Unlock()

	count, err = s.slots.acquire(ctx, false)
	if err != nil {
		if errors.Is(err, errStuck) {
			later = s.later()
		}
		l.leave(key, s)
		return nil, 0, later, err
	}
	return func() {
		s.release()
		l.leave(key, s)
	}, count, 0, nil
}

func (l *keyedLimit) leave(key string, s *keyedSlots) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.keys, key)
	}
}
