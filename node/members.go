package node

import (
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/gossip"
)

// member is a registered node with what the leader knows of it now.
type member struct {
	*fsm.Node
	Gossip gossip.State // Dead when gossip does not know it
	// Silent is since when nothing was heard of it: at most since this node leads.
	Silent time.Duration
	Heard  bool          // in this leadership
	Steady time.Duration // without a break in contact
	Behind time.Duration // for how long it has not applied what it was told was committed
	Said   heartbeat     // the last one
}

// members puts the registered nodes together with gossip and contact.
func members(v *fsm.View, known []gossip.Member, contacts map[string]heard, since, now time.Time) map[string]*member {
	out := map[string]*member{}
	for n := range v.Nodes() {
		m := &member{Node: n, Gossip: gossip.Dead, Silent: now.Sub(since)}
		for _, g := range known {
			if g.Name == n.Name && g.Meta.Server == n.Server {
				m.Gossip = g.State
			}
		}
		if h, ok := contacts[n.Name]; ok && h.Server == n.Server {
			m.Said, m.Heard = h.heartbeat, true
			m.Silent, m.Steady = now.Sub(h.at), h.at.Sub(h.first)
			m.Behind = h.behind(now)
		}
		out[n.Name] = m
	}
	return out
}

// tooFarBehind is how long a node may not apply what it was told before its
// tenants go to others. It has stopped acting long before.
const tooFarBehind = 10 * time.Second

// lost reports whether a node can be taken to have stopped acting: it has had no
// contact for so long that it must have noticed.
func (m *member) lost(ttl time.Duration) bool {
	return m.Silent > ttl+ttl/4 || m.Behind > tooFarBehind
}

// mayWatch reports whether a network may be with a node. Two watchers at once
// do no harm, so an early sign of its death is enough: gossip's word, unless a
// heartbeat has just come. Gossip repeats old words after a partition. Nor does it
// tell a node that was killed and is just starting from one that watches: a new
// leader waits for the word of the node itself, as long as two heartbeats take.
func (m *member) mayWatch(ttl time.Duration) bool {
	silent := m.Silent > 2*ttl/5
	gone := m.Gossip == gossip.Left || m.Gossip == gossip.Dead && (!m.Heard || silent) || !m.Heard && silent
	return m.Roles.Has(fsm.RoleWatcher) && m.Drain == fsm.DrainNone && !gone && !m.lost(ttl)
}

// mayWork reports whether new tenants may be given to a node: it is there, and
// has the state.
func (m *member) mayWork(ttl time.Duration) bool {
	return m.Roles.Has(fsm.RoleWorker) && m.Drain == fsm.DrainNone && m.Heard && m.Silent < ttl && m.Behind < ttl && m.Said.Applied >= m.Boot
}

// keepsWork reports whether the tenants a node has may stay.
func (m *member) keepsWork(ttl time.Duration) bool {
	return m.Roles.Has(fsm.RoleWorker) && m.Drain == fsm.DrainNone && !m.lost(ttl)
}

// byName is the members in order.
func byName(members map[string]*member) []*member {
	out := make([]*member, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		out = append(out, members[name])
	}
	return out
}
