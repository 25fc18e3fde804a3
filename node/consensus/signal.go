package consensus

import "sync"

// signal wakes everybody who waits for the next change of something.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed at the next change. Take it before looking at what changes.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
