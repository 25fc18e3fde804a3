package proc

import (
	"context"
	"fmt"
	"testing"
)

func TestClusterForms(t *testing.T) {
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15")
	receiver := NewReceiver(t)
	subjects := clusterSubjects()
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3, Redis: true, Wires: canTellOwner})
	setUp(t, c.Folder, chain, receiver, subjects)
	if _, err := chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	d := drive(t, chain, blockTime, 1)
	c.Start(t)
	c.AwaitHealthy(t)
	Eventually(t, "deliveries", func(context.Context) error {
		if n := len(receiver.Deliveries(t)); n < 200 {
			return fmt.Errorf("%d so far", n)
		}
		return d.failed()
	})
	info := d.rest(t)
	c.AwaitCaughtUp(t, chain)
	got := checkIdentity(t, receiver.Deliveries(t))
	for i := range subjects {
		subjects[i].check(t, c.Members[i%3].Node, chain, info.Head.Number, got, d.dead)
	}
	if got.duplicates > 0 {
		t.Errorf("%d duplicates without any fault", got.duplicates)
	}
	c.Terminate(t)
}

// clusterSubjects are tenants with networks of their own and shared ones.
func clusterSubjects() []subject {
	return []subject{
		{tenant: "alice", network: "devnet", slug: "devnet", depth: 1, late: true, monitors: []string{"transfers", "large", "failing", "calls"}},
		{tenant: "bob", network: "devnet", slug: "devnet", depth: 1, late: true, monitors: []string{"transfers", "large"}},
		{tenant: "carol", network: "carol/deep", slug: "deep", depth: 6, late: true, monitors: []string{"transfers", "failing", "calls"}},
		{tenant: "dave", network: "slow", slug: "slow", depth: 3, late: true, monitors: []string{"large", "calls"}},
		{tenant: "erin", network: "devnet", slug: "devnet", depth: 1, late: true, monitors: []string{"transfers"}},
		{tenant: "frank", network: "slow", slug: "slow", depth: 3, late: true, monitors: []string{"transfers"}},
	}
}
