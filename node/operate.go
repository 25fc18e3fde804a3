package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// member refuses what only a node of a cluster can do.
func (n *Node) mustBeMember() error {
	if n.groupNow() == nil {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, errNotMember)
	}
	return nil
}

// CreateToken makes a token with which one node may join.
func (n *Node) CreateToken(ctx context.Context, ttl time.Duration) (api.Token, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Token{}, err
	}
	var fingerprint [32]byte
	if n.credentials != nil {
		fingerprint = pki.Fingerprint(n.credentials.CA())
	}
	token := pki.NewToken(fingerprint)
	now := time.Now()
	expires := now.Add(ttl)
	_, err := n.group.Propose(ctx, &fsm.PutToken{ID: token.ID, Hash: token.Hash(), Expires: expires.UnixMilli(), At: now.UnixMilli()})
	if err != nil {
		return api.Token{}, err
	}
	return api.Token{Token: token.Reveal(), Expires: expires, Address: n.address}, nil
}

// DrainNode has a node give its work away, or take some again.
func (n *Node) DrainNode(ctx context.Context, name string, drain bool) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	v := n.state.View()
	node, ok := v.Node(name)
	if !ok {
		return fmt.Errorf("node %q: %w", name, fsm.ErrNotFound)
	}
	mode := fsm.DrainNone
	if drain {
		mode = fsm.DrainOperator
		if err := n.without(v, node); err != nil {
			return err
		}
	}
	action := "node.undrain"
	if drain {
		action = "node.drain"
	}
	_, err := n.byOperator(ctx, &fsm.DrainNode{Name: name, Drain: mode}, action, "", name)
	return err
}

// MoveLease gives a network to a node, where it stays; with no node named, it is
// free to move again.
func (n *Node) MoveLease(ctx context.Context, m api.LeaseMove) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	v := n.state.View()
	network, ok := v.Network(m.Network)
	if !ok || !store.IsThere(v, network) {
		return fmt.Errorf("network %q: %w", m.Network, fsm.ErrNotFound)
	}
	if m.To == "" {
		// Where it is, but free to move from now on.
		_, err := n.byOperatorTo(ctx, &fsm.GrantLease{
			Network: m.Network, Holder: network.Lease.Holder, IfEpoch: network.Lease.Epoch, Window: network.Lease.Window,
		}, "lease.move", "", m.Network, "", "to any node")
		return err
	}
	node, ok := v.Node(m.To)
	switch {
	case !ok:
		return fmt.Errorf("node %q: %w", m.To, fsm.ErrNotFound)
	case !node.Roles.Has(fsm.RoleWatcher):
		return fmt.Errorf("%w: node %q does not watch: its roles are %v", api.ErrRefused, m.To, node.Roles)
	case !n.lives(node):
		return fmt.Errorf("%w: node %q is not there: it was stopped, or does not answer", api.ErrRefused, m.To)
	case node.Drain == fsm.DrainLeaving:
		return fmt.Errorf("%w: node %q is stopping", api.ErrRefused, m.To)
	case node.Drain != fsm.DrainNone:
		return fmt.Errorf("%w: node %q is drained: `ozmo node undrain %s` first", api.ErrRefused, m.To, m.To)
	}
	_, err := n.byOperatorTo(ctx, &fsm.GrantLease{
		Network: m.Network, Holder: m.To, IfEpoch: network.Lease.Epoch, Window: max(windowFor(v, network), network.Lease.Window), Pin: true,
	}, "lease.move", "", m.Network, "", "to "+m.To)
	return err
}

// lives reports whether gossip hears a node.
func (n *Node) lives(node *fsm.Node) bool {
	return slices.ContainsFunc(n.gossip.Members(), func(m gossip.Member) bool {
		return m.Name == node.Name && m.Server == node.Server && m.State == gossipAlive
	})
}

// PlaceTenant says where a tenant should be, or what it counts.
func (n *Node) PlaceTenant(ctx context.Context, p api.Placement) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	var err error
	for range placeTries {
		var c *fsm.SetPlacement
		if c, err = placement(n.state.View(), p); err != nil {
			return err
		}
		if _, err = n.byOperator(ctx, c, "placement.put", p.Tenant, p.Tenant); !errors.Is(err, fsm.ErrConflict) {
			return err
		}
		// Another operator was faster, and this node may not know of it yet.
		if err := n.caughtUp(ctx); err != nil {
			return err
		}
	}
	return err
}

// placeTries bounds how often a placement is tried that others change meanwhile.
const placeTries = 5

// placement is the command that changes of a tenant's placement what was asked for,
// and leaves the rest as it is.
func placement(v *fsm.View, p api.Placement) (*fsm.SetPlacement, error) {
	t, ok := v.Tenant(p.Tenant)
	if !ok || p.Tenant == fsm.Shared {
		return nil, fmt.Errorf("tenant %q: %w", p.Tenant, fsm.ErrNotFound)
	}
	c := &fsm.SetPlacement{Tenant: p.Tenant, Pin: t.Pin, Weight: t.Weight, Priority: t.Priority, Expect: t.Placed}
	if p.Pin != nil {
		c.Pin = *p.Pin
	}
	if p.Weight != nil {
		c.Weight = *p.Weight
	}
	if p.Priority != nil {
		c.Priority = *p.Priority
	}
	if c.Pin != "" && c.Pin != t.Pin {
		node, ok := v.Node(c.Pin)
		switch {
		case !ok:
			return nil, fmt.Errorf("node %q: %w", c.Pin, fsm.ErrNotFound)
		case !node.Roles.Has(fsm.RoleWorker):
			return nil, fmt.Errorf("%w: node %q takes no tenants: its roles are %v", api.ErrRefused, c.Pin, node.Roles)
		}
	}
	return c, nil
}

// Rebalance evens the nodes out now, or only tells what it would do.
func (n *Node) Rebalance(ctx context.Context, dryRun bool) (api.Rebalance, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Rebalance{}, err
	}
	r := newReconciler(n)
	v := n.state.View()
	known, since := n.contacts.all()
	now := time.Now()
	nodes := members(v, n.gossip.Members(), known, since, now)
	places, _ := seats(v, nodes, r.ttl)
	plan := r.place(ctx, v, places, nodes, true)
	out := api.Rebalance{DryRun: dryRun, Before: plan.Before.Imbalance, After: plan.After.Imbalance, Unplaced: plan.Unplaced, Oversized: plan.Heavy}
	for _, m := range plan.Moves {
		out.Moves = append(out.Moves, api.Move{Tenant: m.Tenant, From: m.From, To: m.To, Reason: string(m.Reason)})
	}
	if dryRun {
		return out, nil
	}
	for i, c := range r.moves(v, places, nodes, plan.Moves, now) {
		var err error
		if i == 0 { // they are one change
			_, err = n.byOperator(ctx, c, "cluster.rebalance", "", fmt.Sprintf("tenants moved: %d", len(out.Moves)))
		} else {
			_, err = n.group.Propose(ctx, c)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
