package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

const (
	removePatience = 30 * time.Second // for a drained node to get empty
	removePause    = 100 * time.Millisecond
)

// RemoveNode takes a node out of the cluster: its work goes to the others, then
// the Raft group lets it go, then it is forgotten. Only the leader can.
func (n *Node) RemoveNode(ctx context.Context, name string) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	node, ok := n.state.View().Node(name)
	if !ok {
		return fmt.Errorf("node %q: %w", name, fsm.ErrNotFound)
	}
	if err := n.DrainNode(ctx, name, true); err != nil {
		return err
	}
	if name == n.opts.Name {
		return n.removeSelf(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, removePatience)
	defer cancel()
	if err := n.await(ctx, func() error { return n.empty(name) }); err != nil {
		return fmt.Errorf("%w: node %q is drained, but not empty yet: %w; repeat the command", api.ErrUnavailable, name, err)
	}
	peers, err := n.group.Peers()
	if err != nil {
		return err
	}
	for _, p := range peers {
		if consensus.NameOf(p.ID) != name {
			continue
		}
		if err := n.letGo(p, peers); err != nil {
			return err
		}
	}
	if _, err := n.byOperator(ctx, &fsm.RemoveNode{Name: name, Server: node.Server}, "node.remove", "", name); err != nil {
		return err
	}
	n.contacts.forget(name)
	n.log.Info("node removed", "name", name)
	return nil
}

// removeSelf passes the leadership on, so that another node can do it.
func (n *Node) removeSelf(ctx context.Context) error {
	peers, err := n.group.Peers()
	if err != nil {
		return err
	}
	if len(peers) < 2 {
		return fmt.Errorf("%w: node %q is the only one of the cluster", api.ErrRefused, n.opts.Name)
	}
	if err := n.group.Transfer(ctx, n.livingVoter()); err != nil {
		return fmt.Errorf("%w: node %q leads and could not pass the leadership on: %w", api.ErrUnavailable, n.opts.Name, err)
	}
	return fmt.Errorf("%w: node %q led; the leadership has passed on: repeat the command", api.ErrUnavailable, n.opts.Name)
}

// letGo takes a server out of the Raft group, unless the rest could not decide
// anything without it.
func (n *Node) letGo(p consensus.Peer, peers []consensus.Peer) error {
	if p.Voter {
		known, _ := n.contacts.all()
		voters, living := 0, 0
		for _, o := range peers {
			if !o.Voter || o.ID == p.ID {
				continue
			}
			voters++
			if h, ok := known[consensus.NameOf(o.ID)]; ok && h.Server == o.ID && time.Since(h.at) < 2*n.ttl() {
				living++
			}
		}
		if living <= voters/2 {
			return fmt.Errorf("%w: without %s, only %d of %d voters would be in contact: mend or replace the others first", api.ErrRefused, p.ID, living, voters)
		}
	}
	return n.group.Remove(p.ID)
}

// empty tells what a node still has.
func (n *Node) empty(name string) error {
	v := n.state.View()
	tenants, leases := 0, 0
	for c := range v.Cohorts() {
		if c.Node == name {
			tenants += v.TenantCount(c.ID)
		}
	}
	for network := range v.Networks() {
		if network.Lease.Holder == name {
			leases++
		}
	}
	if tenants+leases > 0 {
		return fmt.Errorf("%d tenants and %d leases are still with it", tenants, leases)
	}
	return nil
}

// await asks until there is no error any more.
func (n *Node) await(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(removePause):
		}
	}
}
