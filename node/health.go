package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// healthState is what only the node itself knows of its health.
type healthState struct {
	started  atomic.Bool
	draining atomic.Bool
}

// Live tells whether the process is worth keeping. It never depends on others.
func (n *Node) Live() []api.Check {
	var err error
	select {
	case reason := <-n.fatal:
		n.die(reason) // put back for Wait
		err = reason
	default:
	}
	return []api.Check{{Name: "process", Err: err}}
}

// Ready tells whether the node does its work.
func (n *Node) Ready() []api.Check {
	var member, started, contact, draining error
	switch {
	case n.removed.Load():
		member = fsm.ErrRemoved
	case !n.isMember.Load():
		member = errNotMember
	case !n.health.started.Load():
		started = errors.New("joining the cluster, replaying the log and reading the configuration")
	}
	if n.groupNow() == nil {
		contact = errors.New("not in a cluster yet")
	} else if _, ok := n.group.Leader(); !ok {
		contact = errors.New("no leader")
	} else if n.health.started.Load() && !n.contact.Held() {
		contact = errors.New("the leader does not answer, or this node is behind: nothing is sent meanwhile")
	}
	if n.health.draining.Load() {
		draining = errors.New("the node is stopping")
	}
	checks := []api.Check{
		{Name: "member", Err: member}, {Name: "started", Err: started}, {Name: "leader", Err: contact}, {Name: "draining", Err: draining},
	}
	v := n.state.View()
	if n.groupNow() != nil && n.contents != nil { // it is made before the group is entered
		// What runs goes on without it, and another node would do no better.
		checks = append(checks, api.Check{Name: "tenant store", Err: n.storeCheck(), Minor: true})
	}
	checks = append(checks, n.ableChecks(v)...)
	several := len(slices.Collect(v.Nodes())) > 1
	for network := range v.Networks() {
		if network.Wanted == 0 {
			continue
		}
		var err error
		switch _, begun := network.Branch.Tip(); {
		case network.Lease.Holder == "":
			err = errors.New("nobody watches it")
		case !begun:
			err = errors.New("no block announced yet")
		case n.groupNow() != nil:
			err = n.holderAlive(v, network.Lease.Holder)
		}
		checks = append(checks, api.Check{
			Name: "network " + network.Key, Err: err,
			// One tenant's own endpoints are not the node's health. With several
			// nodes, no endpoint is: taking the node out would not help, and would
			// stop a rolling update.
			Minor: several || strings.Contains(network.Key, "/"),
		})
	}
	return checks
}

// Status is the cluster in short. What it says of the nodes is what the leader
// knows: elsewhere that part is missing.
func (n *Node) Status() api.Status {
	v := n.state.View()
	s := api.Status{
		Node: n.opts.Name, Cluster: n.clusterName(), Index: v.Index(), Outbox: v.OutboxLen(), DeadLetter: v.DeadLen(),
		Removed: n.removed.Load(), Waiting: n.founders.awaited(),
	}
	var known map[string]heard
	if group := n.groupNow(); group != nil {
		if leader, ok := group.Leader(); ok {
			s.Leader = consensus.NameOf(leader.ID)
		}
		s.Term = group.Term()
		known, _ = n.contacts.all()
		s.Nodes, s.Voters = n.nodeStatus(v, known)
		if plan := n.pending.Load(); plan != nil {
			for _, c := range *plan {
				s.Pending = append(s.Pending, c.String()+": "+c.Reason)
			}
		}
	}
	s.Dead = deadLetters(v)
	s.Networks = networkStatus(v, known)
	capacity := map[string]float64{}
	for _, node := range s.Nodes {
		if slices.Contains(node.Roles, "worker") && node.State == api.NodeReady {
			capacity[node.Name] = float64(node.Weight)
		}
	}
	s.Imbalance = imbalance(v, capacity, n.activity.Load())
	s.Unassigned = unassigned(v)
	s.Problems = append(problems(v, s.Nodes), behindProblems(v, n.opts.MaxAhead)...)
	if n.groupNow() != nil { // as in Ready
		s.Problems = append(s.Problems, n.tables.problems()...)
		if err := n.storeErr(); err != nil {
			s.Problems = append(s.Problems, err.Error())
		}
	}
	for t := range v.Tenants() {
		if t.ID != fsm.Shared {
			s.Tenants = append(s.Tenants, tenantStatus(v, t))
		}
	}
	return s
}

func tenantStatus(v *fsm.View, t *fsm.Tenant) api.TenantStatus {
	s := api.TenantStatus{
		ID: t.ID, Version: t.Current.Number, Cohort: t.Cohort, Assigned: v.Owner(t), Moves: t.Assigned.Version, Pin: t.Pin,
		Weight: t.Weight, Priority: t.Priority,
	}
	if t.Assigned.Version > 0 {
		s.Reason = t.Assigned.Reason.String()
	}
	if c, ok := v.Cohort(t.Cohort); ok {
		s.To = c.To
	}
	for _, d := range t.Current.Manifest.Docs {
		if d.Kind == fsm.DocMonitor {
			s.Monitors++
		}
	}
	return s
}

func networkStatus(v *fsm.View, known map[string]heard) []api.NetworkStatus {
	var out []api.NetworkStatus
	for network := range v.Networks() {
		if !store.IsThere(v, network) {
			continue
		}
		tip, _ := network.Branch.Tip()
		s := api.NetworkStatus{
			Key: network.Key, Holder: network.Lease.Holder, Epoch: network.Lease.Epoch, Pinned: network.Lease.Pinned,
			Head: tip, Position: network.Next - 1, Judged: network.Next - 1, Wanted: network.Wanted,
		}
		s.Seen = network.Seen
		for _, h := range known {
			s.Calls = s.Calls.Plus(h.Calls[network.Key])
		}
		for c := range v.Cursors(network.Key) {
			s.Judged = min(s.Judged, c.Position)
		}
		out = append(out, s)
	}
	return out
}

// nodeStatus is what this node knows of all, and how many of them vote.
func (n *Node) nodeStatus(v *fsm.View, known map[string]heard) (out []api.NodeStatus, voters int) {
	roles := map[string]api.RaftRole{}
	peers, _ := n.group.Peers() // without them, nobody has a part
	for _, p := range peers {
		roles[p.ID] = api.RaftNonvoter
		if p.Voter {
			roles[p.ID] = api.RaftVoter
			voters++
		}
	}
	if leader, ok := n.group.Leader(); ok {
		roles[leader.ID] = api.RaftLeader
	}
	leads := known != nil
	_, since := n.contacts.all()
	now := time.Now()
	all := members(v, n.gossip.Members(), known, since, now)
	tenants, leases := map[string]int{}, map[string]int{}
	for c := range v.Cohorts() {
		tenants[c.Node] += v.TenantCount(c.ID)
	}
	for network := range v.Networks() {
		leases[network.Lease.Holder]++
	}
	commit := n.group.Committed()
	for _, m := range byName(all) {
		s := api.NodeStatus{
			Name: m.Name, Server: m.Server, Address: m.Address, Raft: cmp.Or(roles[m.Server], api.RaftNone), Roles: strings.Split(m.Roles.String(), ","),
			Version: m.Version, Weight: m.Weight, Tenants: tenants[m.Name], Leases: leases[m.Name], Contact: -1,
		}
		if m.Heard {
			s.Contact, s.Applied, s.Load, s.Keys = m.Silent, m.Said.Applied, m.Said.Load, m.Said.Keys
			s.Behind = commit - min(commit, m.Said.Applied)
		}
		s.State = stateOf(m, s.Raft, leads, n.ttl())
		out = append(out, s)
	}
	return out, voters
}

func stateOf(m *member, raft api.RaftRole, leads bool, ttl time.Duration) api.NodeState {
	switch {
	case m.Gossip == gossip.Left:
		return api.NodeLeft
	case m.Gossip == gossip.Dead:
		return api.NodeDown
	case leads && m.lost(ttl):
		return api.NodeLost
	case m.Drain != fsm.DrainNone:
		return api.NodeDraining
	case raft == api.RaftNone || leads && (!m.Heard || m.Said.Applied < m.Boot):
		return api.NodeJoining
	default:
		return api.NodeReady
	}
}

// tenantOn finds a tenant and the key of a network as it calls it.
func tenantOn(v *fsm.View, tenant, network string) (*fsm.Tenant, *fsm.Network, error) {
	t, ok := v.Tenant(tenant)
	if !ok || tenant == fsm.Shared {
		return nil, nil, fmt.Errorf("tenant %q: %w", tenant, fsm.ErrNotFound)
	}
	for _, key := range []string{network, tenant + "/" + network} {
		if n, ok := v.Network(key); ok && t.Coverage[key] != nil {
			return t, n, nil
		}
	}
	return nil, nil, fmt.Errorf("tenant %q has never watched network %q: %w", tenant, network, fsm.ErrNotFound)
}

// Coverage tells what was judged of a network for a tenant.
func (n *Node) Coverage(tenant, network string, from, to uint64) (api.Coverage, error) {
	v := n.state.View()
	t, net, err := tenantOn(v, tenant, network)
	if err != nil {
		return api.Coverage{}, err
	}
	tip, _ := net.Branch.Tip()
	return api.Coverage{Tenant: tenant, Network: net.Key, Head: tip, Rows: v.Coverage(t, net.Key, from, to)}, nil
}
