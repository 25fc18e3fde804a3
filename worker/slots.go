package worker

import "sync"

const (
	// maxFirstAttempts bounds the deliveries of a worker whose first attempts are
	// under way, over all its networks and also after the outbox has adopted them.
	maxFirstAttempts = 4096
	// tenantFirstAttempts is the share of one tenant: its dead receivers do not take
	// the others' slots.
	tenantFirstAttempts = 128
)

// shares are the slots that each tenant has taken. A tenant is known while it has
// or awaits one.
type shares struct {
	mu      sync.Mutex
	tenants map[string]*share
}

type share struct {
	taken chan struct{}
	users int // holding or waiting; guarded by shares.mu
}

func (s *shares) join(tenant string) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.tenants[tenant]
	if one == nil {
		if s.tenants == nil {
			s.tenants = map[string]*share{}
		}
		one = &share{taken: make(chan struct{}, tenantFirstAttempts)}
		s.tenants[tenant] = one
	}
	one.users++
	return one
}

func (s *shares) leave(tenant string, one *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.tenants, tenant)
	}
}

// trySlot takes a slot for a first attempt if one is free: of the tenant's share
// first, then of all. The slot is given back with release.
func (w *Worker) trySlot(tenant string) (release func(), ok bool) {
	one := w.shares.join(tenant)
	select {
	case one.taken <- struct{}{}:
		select {
		case w.slots <- struct{}{}:
			return w.giveBack(tenant, one), true
		default:
			<-one.taken
		}
	default:
	}
	w.shares.leave(tenant, one)
	return nil, false
}

// awaitSlot takes a slot as soon as there is one, unless over comes first.
func (w *Worker) awaitSlot(tenant string, over <-chan struct{}) (release func(), ok bool) {
	one := w.shares.join(tenant)
	select {
	case one.taken <- struct{}{}:
		select {
		case w.slots <- struct{}{}:
			return w.giveBack(tenant, one), true
		case <-over:
			<-one.taken
		}
	case <-over:
	}
	w.shares.leave(tenant, one)
	return nil, false
}

func (w *Worker) giveBack(tenant string, one *share) func() {
	return func() {
		<-w.slots
		<-one.taken
		w.shares.leave(tenant, one)
	}
}
