package node

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
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
	var started, leader, draining error
	if !n.health.started.Load() {
		started = errors.New("replaying the log and reading the configuration")
	}
	if leads, _ := n.group.Leads(); !leads {
		leader = errors.New("no leader yet")
	}
	if n.health.draining.Load() {
		draining = errors.New("the node is stopping")
	}
	checks := []api.Check{{Name: "started", Err: started}, {Name: "leader", Err: leader}, {Name: "draining", Err: draining}}
	for network := range n.state.View().Networks() {
		if network.Wanted == 0 {
			continue
		}
		var err error
		switch _, begun := network.Branch.Tip(); {
		case network.Lease.Holder == "":
			err = errors.New("nobody watches it")
		case !begun:
			err = errors.New("no block announced yet")
		}
		checks = append(checks, api.Check{
			Name: "network " + network.Key, Err: err,
			// One tenant's own endpoints are not the node's health.
			Minor: strings.Contains(network.Key, "/"),
		})
	}
	return checks
}

// Status is the node in short.
func (n *Node) Status() api.Status {
	v := n.state.View()
	leads, _ := n.group.Leads()
	s := api.Status{Node: n.opts.Name, Leader: leads, Index: v.Index(), Outbox: v.OutboxLen(), DeadLetter: v.DeadLen()}
	for network := range v.Networks() {
		tip, _ := network.Branch.Tip()
		ns := api.NetworkStatus{
			Key: network.Key, Holder: network.Lease.Holder, Epoch: network.Lease.Epoch,
			Head: tip, Position: network.Next - 1, Judged: network.Next - 1, Wanted: network.Wanted,
			Calls: n.watch.calls(network.Key),
		}
		for c := range v.Cursors(network.Key) {
			ns.Judged = min(ns.Judged, c.Position)
		}
		s.Networks = append(s.Networks, ns)
	}
	for t := range v.Tenants() {
		if t.ID == fsm.Shared {
			continue
		}
		monitors := 0
		for _, d := range t.Current.Manifest.Docs {
			if d.Kind == fsm.DocMonitor {
				monitors++
			}
		}
		s.Tenants = append(s.Tenants, api.TenantStatus{ID: t.ID, Version: t.Current.Number, Monitors: monitors, Cohort: t.Cohort})
	}
	return s
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
