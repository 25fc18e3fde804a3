package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// leaseTTL is how long a node may act after the leader has last answered it, at
// a Raft multiplier of 1; heartbeats come five times as often.
const leaseTTL = time.Second

// heartbeat is what every node tells the leader, several times per TTL.
type heartbeat struct {
	Node     string               `json:"node"`
	Server   string               `json:"server"`
	Boot     uint64               `json:"boot"`
	Applied  uint64               `json:"applied"`
	Load     float64              `json:"load"`
	Calls    map[string]api.Calls `json:"calls,omitempty"` // by network, since the node started
	Keys     []string             `json:"keys,omitempty"`  // ids of its gossip keys
	Commands uint8                `json:"commands"`        // highest command it understands
	Version  string               `json:"version"`
	// Unreached: contents outside of the state cannot be read there at the moment.
	Unreached bool `json:"unreached,omitempty"`
}

// heartbeatAnswer is what the leader answers, while it leads.
type heartbeatAnswer struct {
	Commit uint64 `json:"commit"`
}

// errSuperseded: a younger run of the same node, or another one of its name, has
// taken its place.
var errSuperseded = errors.New("another process has registered under this node's name: two nodes must not share a name or a data directory")

// contact is whether this node may act. It counts from the sending of the last
// heartbeat that was answered by a leader and whose commit index is applied
// here: a node that is cut off, or far behind, does not know whether what it
// judges is still its own.
type contact struct {
	ttl     time.Duration
	applied func() uint64

	mu       sync.Mutex
	answered []answered // not yet applied here, oldest first
	last     time.Time  // sending of the newest one that is
	changed  chan struct{}
}

type answered struct {
	sent   time.Time
	commit uint64
}

func newContact(ttl time.Duration, applied func() uint64) *contact {
	return &contact{ttl: ttl, applied: applied, changed: make(chan struct{})}
}

// note records that a heartbeat was answered.
func (c *contact) note(sent time.Time, commit uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = append(c.answered, answered{sent, commit})
	if len(c.answered) > 64 {
		c.answered = c.answered[1:]
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// since is when contact was last proved.
func (c *contact) since() time.Time {
	applied := c.applied()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.answered) > 0 && c.answered[0].commit <= applied {
		if c.answered[0].sent.After(c.last) {
			c.last = c.answered[0].sent
		}
		c.answered = c.answered[1:]
	}
	return c.last
}

// Held reports whether this node may act now.
func (c *contact) Held() bool {
	last := c.since()
	return !last.IsZero() && time.Since(last) < c.ttl
}

// recheck is how often Wait looks whether what was answered is applied by now.
const recheck = 10 * time.Millisecond

// Wait returns once the node may act, or with ctx's error.
func (c *contact) Wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		changed := c.changed
		pending := len(c.answered) > 0
		c.mu.Unlock()
		if c.Held() {
			return nil
		}
		var again <-chan time.Time
		if pending {
			again = time.After(recheck)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-again:
		}
	}
}

// certainty is how sure a leader is that it leads. A process that was frozen goes
// on as leader until it finds out, and must promise nobody anything before that,
// not even itself. As long as it beats, the lease of its leadership is enough; after
// a break a majority has to confirm it.
type certainty struct {
	within time.Duration // between two beats that leave no doubt
	verify func(context.Context) error

	mu     sync.Mutex
	last   time.Time // beat, or beginning of the last confirmation
	asking bool
}

// newCertainty has a leader confirmed that has missed a heartbeat of its own.
func newCertainty(ttl time.Duration, verify func(context.Context) error) *certainty {
	return &certainty{within: 2 * ttl / 5, verify: verify}
}

// beat notes that the leader runs, and has it confirmed that it leads if it has
// not for a while. The error is that of verify, or ErrNotLeader while somebody
// else waits for the confirmation.
func (c *certainty) beat(ctx context.Context) error {
	c.mu.Lock()
	began := time.Now()
	switch {
	case began.Sub(c.last) <= c.within:
		c.last = began
		c.mu.Unlock()
		return nil
	case c.asking:
		c.mu.Unlock()
		return fmt.Errorf("after a pause it is not confirmed yet that this node leads: %w", consensus.ErrNotLeader)
	}
	c.asking = true
	c.mu.Unlock()
	err := c.verify(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = false
	if err == nil {
		c.last = began
	}
	return err
}

// contacts are the nodes that the leader has heard of. A new leader treats every
// node as just heard: it cannot know what the one before had promised.
type contacts struct {
	mu    sync.Mutex
	since time.Time // beginning of this leadership
	heard map[string]heard
}

type heard struct {
	heartbeat
	at    time.Time
	first time.Time // since when without a break
	// told is a commit index that it was told at toldAt and has not said to have
	// applied since.
	told   uint64
	toldAt time.Time
}

// behind is for how long it has not applied what it was told was committed.
func (h heard) behind(now time.Time) time.Duration {
	if h.Applied >= h.told {
		return 0
	}
	return now.Sub(h.toldAt)
}

func (c *contacts) reset(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.heard = now, map[string]heard{}
}

// clear forgets everything: this node does not lead any more.
func (c *contacts) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = nil
}

// note records a heartbeat; commit is the leader's index at that moment.
func (c *contacts) note(h heartbeat, commit uint64, now time.Time, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		return // not leading any more
	}
	old, known := c.heard[h.Node]
	next := heard{heartbeat: h, at: now, first: now}
	if known && old.Server == h.Server && old.Boot == h.Boot {
		if now.Sub(old.at) < ttl {
			next.first = old.first
		}
		next.told, next.toldAt = old.told, old.toldAt
	}
	if h.Applied >= next.told {
		next.told, next.toldAt = commit, now
	}
	c.heard[h.Node] = next
}

// established reports whether this node knows that it leads, and has applied all
// that was committed before.
func (c *contacts) established() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard != nil
}

// all is what was heard of each node, and since when this node leads.
func (c *contacts) all() (map[string]heard, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.heard), c.since
}

// forget takes out a node that was removed.
func (c *contacts) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.heard, name)
}
