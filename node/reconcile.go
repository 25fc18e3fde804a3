package node

import (
	"context"
	"errors"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// reconcileEvery is how often the reconciler looks without being told of a change.
const reconcileEvery = time.Second

// reconcile brings what is into line with what should be: it plans commands
// from the state alone, so a missed event or a restart needs no special case.
func (n *Node) reconcile(ctx context.Context, granted map[string]bool) {
	ticker := time.NewTicker(reconcileEvery)
	defer ticker.Stop()
	for {
		changed := n.state.Changed(fsm.TopicLeases)
		if leads, _ := n.group.Leads(); leads {
			n.grant(ctx, granted)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

// grant proposes the leases that are missing; granted names those that this run
// of the process has.
func (n *Node) grant(ctx context.Context, granted map[string]bool) {
	for _, c := range planLeases(n.state.View(), n.opts.Name, granted) {
		_, err := n.group.Propose(ctx, c)
		switch {
		case err == nil:
			granted[c.Network] = true
		case !errors.Is(err, fsm.ErrConflict) && ctx.Err() == nil:
			n.log.Warn("lease", "network", c.Network, "error", err)
		}
	}
}

// planLeases grants every wanted network to the node. A lease from an earlier
// run of the process is granted anew, so that nothing still under way from
// there counts; granted names those of this run.
func planLeases(v *fsm.View, node string, granted map[string]bool) []*fsm.GrantLease {
	var out []*fsm.GrantLease
	for network := range v.Networks() {
		if network.Wanted == 0 && !draining(v, network.Key) {
			delete(granted, network.Key)
			continue
		}
		window := windowFor(v, network)
		if network.Lease.Holder == node && granted[network.Key] && network.Lease.Window >= window {
			continue
		}
		out = append(out, &fsm.GrantLease{
			Network: network.Key, Holder: node, IfEpoch: network.Lease.Epoch, Window: max(window, network.Lease.Window),
		})
	}
	return out
}

// draining reports whether announcements from when the network was wanted are
// still to be judged.
func draining(v *fsm.View, network string) bool {
	for range v.Cursors(network) {
		return true
	}
	return false
}

// windowFor is the finality depth that the depths in use on a network need.
func windowFor(v *fsm.View, n *fsm.Network) uint32 {
	depth := n.Deepest
	if doc, _, err := store.FindNetwork(v, n.Key); err == nil {
		depth = max(depth, doc.ConfirmationBlocks)
	}
	return fsm.WindowFor(depth)
}
