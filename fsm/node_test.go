package fsm

import (
	"fmt"
	"testing"
)

func TestRoles(t *testing.T) {
	for text, want := range map[string]Roles{
		"watcher": RoleWatcher, "worker,api": RoleWorker | RoleAPI, "watcher, worker, api": AllRoles, "api,api": RoleAPI,
	} {
		got, err := ParseRoles(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseRoles(got.String()); err != nil || again != got {
			t.Errorf("%q, written %q, reads %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "voter", "worker,", "Worker"} {
		if got, err := ParseRoles(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	if r := RoleWorker | RoleAPI; !r.Has(RoleAPI) || r.Has(AllRoles) || r.Has(RoleWatcher) || Roles(0).String() != "" {
		t.Errorf("roles %v", r)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		ReasonInitial: "initial", ReasonLoadRebalance: "load-rebalance", ReasonNodeFailure: "node-failure", ReasonManual: "manual",
		ReasonScaling: "scaling", ReasonPriorityChange: "priority-change", ReasonLaggard: "laggard", Reason(0): "unknown",
		DrainNone: "none", DrainLeaving: "leaving", DrainOperator: "operator", Drain(9): "unknown",
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A node that starts again finds nothing of its earlier run in force.
func TestRegisterFencesTheEarlierRun(t *testing.T) {
	p := moving(t)
	p.fresh("acme", "bolt")
	p.move("a", ReasonInitial, "acme", "bolt")
	main := p.tenant("acme").Cohort
	p.move("b", ReasonScaling, "bolt")
	handed := p.tenant("bolt").Cohort
	p.do(&GrantLease{Network: "base", Holder: "a", Window: 8, Pin: true})
	lease := p.network("base").Lease
	old := p.epochOf(main)
	before := p.View()
	boot := p.do(&RegisterNode{Name: "a", Server: "a@2", Address: "a:7000", Version: "2", Roles: RoleWorker, Weight: 50}).(uint64)
	if n, _ := p.View().Node("a"); *n != (Node{Name: "a", Server: "a@2", Address: "a:7000", Boot: p.index, Roles: RoleWorker, Weight: 50, Version: "2"}) || boot != p.index {
		t.Errorf("node %+v, boot %v", n, boot)
	}
	if got, want := p.network("base").Lease, (Lease{Epoch: lease.Epoch, Window: 8}); got != want {
		t.Errorf("lease %+v, want %+v", got, want)
	}
	p.refused(&Announce{Network: "base", Epoch: lease.Epoch}, ErrStaleEpoch)
	p.refused(&Progress{Cohort: main, Epoch: old, Network: "base"}, ErrStaleEpoch)
	p.in(main, "a", "acme")
	p.in(handed, "b", "bolt")
	if p.epochOf(main) != boot || p.epochOf(handed) != boot || p.epochOf("a") != boot || p.epochOf("b") >= before.Index() {
		t.Error("an epoch is wrong")
	}
	changed := map[string]bool{}
	for id := range p.View().TenantsSince(before.Index()) {
		changed[id] = true
	}
	if !changed["bolt"] {
		t.Error("who is judged by another node from now on is not told of")
	}
}

func TestDrain(t *testing.T) {
	p := moving(t)
	drain := func() Drain {
		n, _ := p.View().Node("a")
		return n.Drain
	}
	for i, step := range []struct {
		c    Command
		want Drain
	}{
		{&DrainNode{Name: "a", Drain: DrainLeaving}, DrainLeaving},
		{&RegisterNode{Name: "a"}, DrainNone},
		{&DrainNode{Name: "a", Drain: DrainOperator}, DrainOperator},
		{&DrainNode{Name: "a", Drain: DrainLeaving}, DrainOperator},
		{&RegisterNode{Name: "a"}, DrainOperator},
		{&DrainNode{Name: "a", Drain: DrainNone}, DrainNone},
	} {
		p.do(step.c)
		if drain() != step.want {
			t.Errorf("step %d: %v, want %v", i, drain(), step.want)
		}
	}
	p.refused(&DrainNode{Name: "z"}, ErrNotFound)
}

func TestRemoveNode(t *testing.T) {
	p := moving(t)
	p.fresh("acme")
	p.refused(&RemoveNode{Name: "z"}, ErrNotFound)
	p.refused(&RemoveNode{Name: "a", Server: "a@0"}, ErrConflict)
	p.move("a", ReasonInitial, "acme")
	p.refused(&RemoveNode{Name: "a", Server: "a@1"}, ErrConflict) // it has a tenant
	p.move("b", ReasonManual, "acme")
	p.refused(&RemoveNode{Name: "a", Server: "a@1"}, ErrConflict) // it is handing one over
	p.refused(&RemoveNode{Name: "b", Server: "b@1"}, ErrConflict) // one is handed over to it
	p.do(&Release{Cohort: p.tenant("acme").Cohort, Epoch: p.epochOf(p.tenant("acme").Cohort)})
	p.do(&GrantLease{Network: "base", Holder: "a"})
	p.refused(&RemoveNode{Name: "a", Server: "a@1"}, ErrConflict) // it has a lease
	p.do(&GrantLease{Network: "base", Holder: "b", IfEpoch: p.network("base").Lease.Epoch})
	p.do(&RemoveNode{Name: "a", Server: "a@1"})
	if _, ok := p.View().Node("a"); ok {
		t.Error("the node is there")
	}
	for c := range p.View().Cohorts() {
		if c.Node == "a" {
			t.Errorf("cohort %+v is left", c)
		}
	}

	// A move that was under way to a node that was removed meanwhile strands nobody.
	p.do(&Move{Moves: p.items("a", ReasonManual, "acme")})
	p.do(&Release{Cohort: p.tenant("acme").Cohort, Epoch: p.index})
	p.do(&Move{Moves: p.items("b", ReasonNodeFailure, "acme")})
	p.in(p.tenant("acme").Cohort, "b", "acme")
}
