package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/node/pki"
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

// MoveLease gives a network to a node, where it stays; with no node named, it is
// free to move again.
func (n *Node) MoveLease(ctx context.Context, m api.LeaseMove) error {
	if err := n.mustBeMember(); err != nil {
		return err
	}
	v := n.state.View()
	network, ok := v.Network(m.Network)
	if !ok {
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

// Keyring tells which gossip keys there are, and which nodes lack one.
func (n *Node) Keyring(context.Context) (api.Keyring, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Keyring{}, err
	}
	v := n.state.View()
	keys, err := openKeys(v.Cluster(), n.keeper)
	if err != nil {
		return api.Keyring{}, err
	}
	known, _ := n.contacts.all()
	out := api.Keyring{}
	for range v.Nodes() {
		out.Nodes++
	}
	for i, key := range keys {
		id := gossip.KeyID(key)
		k := api.KeyStatus{ID: id, Primary: i == 0}
		for node := range v.Nodes() {
			if h, ok := known[node.Name]; !ok || !slices.Contains(h.Keys, id) {
				k.Missing = append(k.Missing, node.Name)
			}
		}
		out.Keys = append(out.Keys, k)
	}
	return out, nil
}

// ChangeKeyring changes the gossip keys. A key is used only once every node has
// it, so that no node is shut out.
func (n *Node) ChangeKeyring(ctx context.Context, change, id string) (api.Keyring, error) {
	ring, err := n.Keyring(ctx)
	if err != nil {
		return ring, err
	}
	v := n.state.View()
	c := v.Cluster()
	if len(c.Keys) == 0 && change != "install" || n.opts.Insecure {
		return ring, fmt.Errorf("%w: this cluster's gossip is not encrypted", api.ErrRefused)
	}
	i := slices.IndexFunc(ring.Keys, func(k api.KeyStatus) bool { return k.ID == id })
	if change != "install" && i < 0 {
		return ring, fmt.Errorf("gossip key %q: %w", id, fsm.ErrNotFound)
	}
	next := c
	next.Keys = slices.Clone(c.Keys)
	switch change {
	case "install":
		key := make([]byte, gossipKeySize)
		_, _ = rand.Read(key) // never fails
		next.Keys = append(next.Keys, sealKey(n.keeper, key))
	case "use":
		if missing := ring.Keys[i].Missing; len(missing) > 0 {
			return ring, fmt.Errorf("%w: nodes %v do not have key %s yet: wait, or remove those that are gone", api.ErrRefused, missing, id)
		}
		sealed := next.Keys[i]
		next.Keys = slices.Insert(slices.Delete(next.Keys, i, i+1), 0, sealed)
	case "remove":
		if i == 0 {
			return ring, fmt.Errorf("%w: key %s is in use: use another one first", api.ErrRefused, id)
		}
		next.Keys = slices.Delete(next.Keys, i, i+1)
	default:
		return ring, fmt.Errorf("%w: keyring %q: want install, use or remove", api.ErrBadRequest, change)
	}
	if _, err := n.group.Propose(ctx, &fsm.SetCluster{Expect: c.Index, Cluster: next}); err != nil {
		return ring, err
	}
	return n.Keyring(ctx)
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
