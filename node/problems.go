package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/gossip"
)

// problems tells of work that there is and that no node can do as things are.
func problems(v *fsm.View, nodes []api.NodeStatus) (out []string) {
	wanted, tenants := work(v)
	if wanted > 0 {
		out = append(out, nobody(nodes, fsm.RoleWatcher, fmt.Sprintf("nobody watches %s", counted(wanted, "network")))...)
	}
	if tenants > 0 {
		out = append(out, nobody(nodes, fsm.RoleWorker, fmt.Sprintf("nobody judges %s", counted(tenants, "tenant")))...)
	}
	state := map[string]api.NodeState{}
	for _, n := range nodes {
		state[n.Name] = n.State
	}
	for network := range v.Networks() {
		switch s := state[network.Lease.Holder]; s {
		case api.NodeDown, api.NodeLost, api.NodeLeft:
			out = append(out, fmt.Sprintf("network %s: node %s, which watches it, is %s", network.Key, network.Lease.Holder, s))
		}
	}
	return out
}

// work counts the networks that somebody wants and the tenants.
func work(v *fsm.View) (networks, tenants int) {
	for n := range v.Networks() {
		if n.Wanted > 0 {
			networks++
		}
	}
	tenants = v.TenantCount("")
	for c := range v.Cohorts() {
		tenants += v.TenantCount(c.ID)
	}
	return networks, tenants
}

// nobody says that no node is ready that has a role, and what became of those that
// have it; nothing if one is.
func nobody(nodes []api.NodeStatus, role fsm.Roles, so string) []string {
	var have []string
	for _, n := range nodes {
		if !slices.Contains(n.Roles, role.String()) {
			continue
		}
		if n.State == api.NodeReady {
			return nil
		}
		have = append(have, fmt.Sprintf("%s is %s", n.Name, n.State))
	}
	text := fmt.Sprintf("no node with the role %v is ready, so %s", role, so)
	if len(have) > 0 {
		text += " (" + strings.Join(have, ", ") + ")"
	}
	return []string{text}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// without tells what a drained node leaves undone: nothing if another has its roles.
func (n *Node) without(v *fsm.View, node *fsm.Node) error {
	for _, role := range []fsm.Roles{fsm.RoleWorker, fsm.RoleWatcher} {
		if !node.Roles.Has(role) {
			continue
		}
		what := "takes tenants"
		if role == fsm.RoleWatcher {
			what = "watches networks"
		}
		another := false
		for o := range v.Nodes() {
			another = another || o.Name != node.Name && o.Drain == fsm.DrainNone && o.Roles.Has(role) && n.lives(o)
		}
		if !another {
			return fmt.Errorf("%w: node %q is the only one that %s: add, start or undrain another first", api.ErrRefused, node.Name, what)
		}
	}
	return nil
}

// holderAlive tells why the holder of a lease does not watch, as gossip knows.
func (n *Node) holderAlive(v *fsm.View, holder string) error {
	node, ok := v.Node(holder)
	if !ok {
		return nil
	}
	for _, m := range n.gossip.Members() {
		if m.Name == holder && m.Server == node.Server && (m.State == gossip.Dead || m.State == gossip.Left) {
			return fmt.Errorf("node %s, which watches it, is gone", holder)
		}
	}
	return nil
}

// ableChecks are lines of readyz: whether any node does what there is to do. Taking
// this node out would not help, so they do not count.
func (n *Node) ableChecks(v *fsm.View) []api.Check {
	if n.groupNow() == nil {
		return nil
	}
	networks, tenants := work(v)
	check := func(name string, role fsm.Roles, due int) api.Check {
		c := api.Check{Name: name, Minor: true}
		if due == 0 {
			return c
		}
		for o := range v.Nodes() {
			if o.Roles.Has(role) && o.Drain == fsm.DrainNone && n.lives(o) {
				return c
			}
		}
		c.Err = fmt.Errorf("no node with the role %v is alive and not drained", role)
		return c
	}
	return []api.Check{check("watchers", fsm.RoleWatcher, networks), check("workers", fsm.RoleWorker, tenants)}
}
