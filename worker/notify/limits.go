package notify

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// keyedLimit allows a number of holders per key. Keys exist while somebody
// holds or awaits a slot, so that their number is bounded by the work at hand.
type keyedLimit struct {
	size int64

	mu   sync.Mutex
	keys map[string]*slots
}

type slots struct {
	sem   *semaphore.Weighted
	users int // holding or waiting; guarded by keyedLimit.mu
}

func newKeyedLimit(size int) *keyedLimit {
	return &keyedLimit{size: int64(size), keys: make(map[string]*slots)}
}

// acquire waits its turn, first come first served within a key, and returns
// what gives the slot back.
func (l *keyedLimit) acquire(ctx context.Context, key string) (release func(), err error) {
	l.mu.Lock()
	s := l.keys[key]
	if s == nil {
		s = &slots{sem: semaphore.NewWeighted(l.size)}
		l.keys[key] = s
	}
	s.users++
	l.mu.Unlock()

	if err := s.sem.Acquire(ctx, 1); err != nil {
		l.leave(key, s)
		return nil, err
	}
	return func() {
		s.sem.Release(1)
		l.leave(key, s)
	}, nil
}

func (l *keyedLimit) leave(key string, s *slots) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.keys, key)
	}
}
