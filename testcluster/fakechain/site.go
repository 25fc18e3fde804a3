package fakechain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// Site is how one host sees the chain: the faults of all its clients, and what
// they have asked so far.
type Site struct {
	chain *Chain
	host  string

	mu      sync.Mutex
	cut     bool
	stalled bool
	delay   time.Duration
	polled  bool          // no subscriptions
	changed chan struct{} // closed when a fault comes or goes
	calls   map[rpc.Kind]int
}

// Site is the place of a host; it is made when there is none yet.
func (c *Chain) Site(host string) *Site {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sites[host]
	if s == nil {
		s = &Site{chain: c, host: host, changed: make(chan struct{}), calls: map[rpc.Kind]int{}}
		c.sites[host] = s
	}
	return s
}

// CutOff has every call of the host fail at once.
func (s *Site) CutOff() { s.set(func() { s.cut = true }) }

// Stall has every call of the host wait until Heal, or until its context ends.
func (s *Site) Stall() { s.set(func() { s.stalled = true }) }

// Slow has every call of the host take so long.
func (s *Site) Slow(d time.Duration) { s.set(func() { s.delay = d }) }

// Polled takes subscriptions away: heads are found by asking alone. It applies
// to those that are opened from now on, and Heal does not end it.
func (s *Site) Polled() { s.set(func() { s.polled = true }) }

// Heal ends the host's faults.
func (s *Site) Heal() { s.set(func() { s.cut, s.stalled, s.delay = false, false, 0 }) }

// Calls counts what the host has asked, by kind. It goes on over restarts.
func (s *Site) Calls() rpc.Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := func(k rpc.Kind) uint64 { return uint64(s.calls[k]) } //nolint:gosec // not negative
	return rpc.Counters{
		BlockFetch: n(rpc.BlockFetch), HeadPoll: n(rpc.HeadPoll), Connect: n(rpc.Connect), Hedge: n(rpc.Hedge), Refetch: n(rpc.Refetch),
	}
}

// Calls counts what all hosts have asked.
func (c *Chain) Calls() rpc.Counters {
	c.mu.Lock()
	sites := make([]*Site, 0, len(c.sites))
	for _, s := range c.sites {
		sites = append(sites, s)
	}
	c.mu.Unlock()
	var all rpc.Counters
	for _, s := range sites {
		n := s.Calls()
		all.BlockFetch += n.BlockFetch
		all.HeadPoll += n.HeadPoll
		all.Connect += n.Connect
		all.Hedge += n.Hedge
		all.Refetch += n.Refetch
	}
	return all
}

func (s *Site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Site) count(kind rpc.Kind, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[kind] += calls
}

func (s *Site) pushes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.polled
}

// healthy reports whether a subscription brings anything; changed is closed
// when that may be different.
func (s *Site) healthy() (ok bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.cut && !s.stalled, s.changed
}

// pass lets a call through the host's faults.
func (s *Site) pass(ctx context.Context, closed <-chan struct{}) error {
	var slow <-chan time.Time
	for waited := false; ; {
		s.mu.Lock()
		cut, stalled, delay, changed := s.cut, s.stalled, s.delay, s.changed
		s.mu.Unlock()
		switch {
		case cut:
			return fmt.Errorf("host %s: %w", s.host, chain.ErrUnavailable)
		case !stalled && (delay == 0 || waited):
			return ctx.Err()
		case !stalled && slow == nil:
			slow = time.After(delay)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return errClosed
		case <-slow:
			waited = true
		case <-changed:
		}
	}
}

// now is the chain as every client sees it at the moment.
func (c *Chain) now() view {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := view{chain: c, head: c.canonical[len(c.canonical)-1].Number}
	if c.ceiling != nil {
		v.head = max(min(v.head, *c.ceiling), c.opts.First)
	}
	return v
}

// listen begins or ends telling a listener of new blocks.
func (c *Chain) listen(l listener, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on {
		c.listeners[l] = struct{}{}
	} else {
		delete(c.listeners, l)
	}
}
