package node

import (
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/ring"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// planLeases gives every wanted network to a node that may watch it: the one
// that has it while it may, or else the one with the fewest. A new epoch fences
// off whoever had it before.
func planLeases(v *fsm.View, nodes map[string]*member, ttl time.Duration, rebalance bool) []*fsm.GrantLease {
	var holders []ring.Node
	leaving := map[string]bool{}
	for _, m := range byName(nodes) {
		if m.mayWatch(ttl) {
			holders = append(holders, ring.Node{Name: m.Name, Weight: float64(m.Weight) / 100})
		}
		leaving[m.Name] = m.Drain != fsm.DrainNone
	}
	var leases []ring.Lease
	for n := range v.Networks() {
		if n.Wanted > 0 || v.Draining(n.Key) {
			leases = append(leases, ring.Lease{Network: n.Key, Holder: n.Lease.Holder, Pinned: n.Lease.Pinned})
		}
	}
	granted := map[string]string{}
	for _, g := range ring.Spread(holders, leases, ring.SpreadOptions{Rebalance: rebalance, Leaving: leaving}) {
		granted[g.Network] = g.To
	}
	var out []*fsm.GrantLease
	for _, l := range leases {
		n, ok := v.Network(l.Network)
		if !ok {
			continue
		}
		to, moved := granted[l.Network]
		if !moved {
			to = l.Holder
		}
		// A deeper window needs a new epoch too: the watcher is told with it.
		window := max(windowFor(v, n), n.Lease.Window)
		if to == "" || !moved && n.Lease.Window == window {
			continue
		}
		out = append(out, &fsm.GrantLease{
			Network: l.Network, Holder: to, IfEpoch: n.Lease.Epoch, Window: window, Pin: n.Lease.Pinned && !moved,
		})
	}
	return out
}

// windowFor is the finality depth that the depths in use on a network need.
func windowFor(v *fsm.View, n *fsm.Network) uint32 {
	depth := n.Deepest
	if doc, _, err := store.FindNetwork(v, n.Key); err == nil {
		depth = max(depth, doc.ConfirmationBlocks)
	}
	return fsm.WindowFor(depth)
}
