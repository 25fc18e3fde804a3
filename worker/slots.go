package worker

import (
	"slices"
	"sync"
)

const (
	// maxFirstAttempts bounds the deliveries of a worker whose first attempts are
	// under way, over all its networks and also after the outbox has adopted them.
	maxFirstAttempts = 4096
	// tenantFirstAttempts is what one tenant may have of them while few are taken.
	tenantFirstAttempts = 128
	// freeShare is what part of the free slots a tenant may have taken, and take one
	// more. The fewer are free, the less each may have: however many tenants' dead
	// receivers hold theirs, some slots stay free, and who has none gets one.
	freeShare = 16
)

// slots are places for first attempts, which tenants share.
type slots struct {
	size int

	mu      sync.Mutex
	used    int
	tenants map[string]*share // while they have or await a slot
	line    []*share          // those that await one, in turn
}

type share struct {
	tenant string
	taken  int
	queue  []chan struct{} // closed when the slot is given
}

// room reports whether a tenant may take one more.
func (s *slots) room(one *share) bool {
	free := s.size - s.used
	return free > 0 && one.taken < min(tenantFirstAttempts, max(1, free/freeShare))
}

// try takes a slot if there is one that nobody waits for.
func (s *slots) try(tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of(tenant)
	ok := len(one.queue) == 0 && s.room(one)
	if ok {
		one.taken++
		s.used++
	}
	s.leave(one)
	return ok
}

// await takes a slot as soon as there is one, unless over comes first.
func (s *slots) await(tenant string, over <-chan struct{}) bool {
	if s.try(tenant) {
		return true
	}
	s.mu.Lock()
	one, given := s.of(tenant), make(chan struct{})
	if one.queue = append(one.queue, given); len(one.queue) == 1 {
		s.line = append(s.line, one)
	}
	s.give() // one may have come free meanwhile
	s.mu.Unlock()
	select {
	case <-given:
		return true
	case <-over:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(one.queue, given)
	if i < 0 { // it was given just now
		s.giveBack(one)
		return false
	}
	if one.queue = slices.Delete(one.queue, i, i+1); len(one.queue) == 0 {
		s.line = slices.DeleteFunc(s.line, func(o *share) bool { return o == one })
	}
	s.leave(one)
	return false
}

func (s *slots) release(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack(s.tenants[tenant])
}

// give hands free slots to those who wait and may have them, one each in turn. The
// caller holds mu.
func (s *slots) give() {
	for {
		i := slices.IndexFunc(s.line, s.room)
		if i < 0 {
			return
		}
		one := s.line[i]
		s.line = slices.Delete(s.line, i, i+1)
		close(one.queue[0])
		if one.queue = one.queue[1:]; len(one.queue) > 0 {
			s.line = append(s.line, one)
		}
		one.taken++
		s.used++
	}
}

func (s *slots) giveBack(one *share) {
	one.taken--
	s.used--
	s.leave(one)
	s.give()
}

func (s *slots) of(tenant string) *share {
	one := s.tenants[tenant]
	if one == nil {
		if s.tenants == nil {
			s.tenants = map[string]*share{}
		}
		one = &share{tenant: tenant}
		s.tenants[tenant] = one
	}
	return one
}

func (s *slots) leave(one *share) {
	if one.taken == 0 && len(one.queue) == 0 {
		delete(s.tenants, one.tenant)
	}
}

// trySlot takes a slot for a first attempt if there is one for the tenant. It is
// given back with release.
func (w *Worker) trySlot(tenant string) (release func(), ok bool) {
	return func() { w.slots.release(tenant) }, w.slots.try(tenant)
}

// awaitSlot takes a slot as soon as there is one, unless over comes first.
func (w *Worker) awaitSlot(tenant string, over <-chan struct{}) (release func(), ok bool) {
	return func() { w.slots.release(tenant) }, w.slots.await(tenant, over)
}
