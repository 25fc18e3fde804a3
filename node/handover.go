package node

import (
	"context"
	"errors"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

const (
	handOverPatience = 8 * time.Second // for the others to take everything over
	leavePatience    = time.Second
)

// handOver gives this node's work to the others before it stops: the leadership
// first, while the networks are still watched as ever, so that no block waits for
// both a new watcher and a new leader; then networks and tenants. Alone, there is
// nobody to give it to.
func (n *Node) handOver() {
	group := n.groupNow()
	if group == nil || !n.health.started.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverPatience)
	defer cancel()
	n.passLeadership(ctx)
	if n.others() {
		_, err := group.Propose(ctx, &fsm.DrainNode{Name: n.opts.Name, Drain: fsm.DrainLeaving})
		if err == nil {
			err = n.await(ctx, func() error {
				if !n.others() {
					return nil // they stop as well: nobody is left to take anything
				}
				return n.empty(n.opts.Name)
			})
		}
		if err != nil {
			n.log.Warn("not everything could be handed over; the others take it when this node is gone", "error", err)
		}
	}
	n.passLeadership(ctx) // that it was left with, or was given meanwhile
	leaving, done := context.WithTimeout(context.Background(), leavePatience)
	defer done()
	if err := n.gossip.Leave(leaving); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		n.log.Warn("gossip", "error", err)
	}
}

// passLeadership gives the leadership to another node, if this one has it. Nodes
// that take no work may lead all the same.
func (n *Node) passLeadership(ctx context.Context) {
	to := n.livingVoter()
	if leads, _ := n.group.Leads(); !leads || to == "" {
		return
	}
	if err := n.group.Transfer(ctx, to); err != nil {
		n.log.Warn("the leadership could not be passed on; the others elect a leader", "error", err)
	}
}

// livingVoter is a server that can lead: the one heard of last. Empty when
// none is known; Raft chooses then.
func (n *Node) livingVoter() string {
	peers, _ := n.group.Peers()
	known, _ := n.contacts.all()
	best, at := "", time.Time{}
	for _, p := range peers {
		h, ok := known[consensus.NameOf(p.ID)]
		if p.Voter && ok && h.Server == p.ID && p.ID != serverID(n.opts.Name, n.instance) && h.at.After(at) {
			best, at = p.ID, h.at
		}
	}
	return best
}

// others reports whether there is a node to hand work over to: one that lives
// and is not about to stop itself.
func (n *Node) others() bool {
	v := n.state.View()
	for _, m := range n.gossip.Members() {
		if m.Name == n.opts.Name || m.State != gossipAlive {
			continue
		}
		if node, ok := v.Node(m.Name); ok && node.Drain == fsm.DrainNone {
			return true
		}
	}
	return false
}
