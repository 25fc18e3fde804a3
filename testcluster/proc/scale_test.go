package proc

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// TestFetchCalls prints, for clusters of several sizes without any fault, how
// many calls the whole cluster makes to fetch a block that it announces. It is
// part of `make bench-failover`.
//
// OZMO_FETCH_TENANTS is the number of tenants of the largest case.
func TestFetchCalls(t *testing.T) {
	most := int(setting(t, "OZMO_FETCH_TENANTS", 0))
	if most == 0 {
		t.Skip("it takes minutes: make bench-failover")
	}
	for _, c := range []struct{ nodes, tenants int }{{1, 10}, {3, 10}, {7, 10}, {3, most}} {
		t.Run(fmt.Sprintf("%d nodes, %d tenants", c.nodes, c.tenants), func(t *testing.T) { fetchCalls(t, c.nodes, c.tenants) })
	}
}

const (
	fetchBlocks    = 60 // announced while calls are counted
	fetchTarget    = 2.0
	importPatience = 100 * time.Millisecond // for each tenant
)

func fetchCalls(t *testing.T, nodes, tenants int) {
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", blockTime.String(), "--rate", "8")
	c := NewCluster(t, dir, ClusterOptions{Nodes: nodes, Redis: true})
	idlers(t, c.Folder, chain, tenants)
	began := time.Now()
	c.Start(t)
	// Reading a folder takes its time with thousands of tenants; how much is printed.
	within(t, Patience+time.Duration(tenants)*importPatience, "all tenants", func(ctx context.Context) error {
		if err := c.Healthy(ctx); err != nil {
			return err
		}
		s, err := c.Status(ctx)
		if err == nil && len(s.Tenants) != tenants {
			err = fmt.Errorf("%d of %d tenants", len(s.Tenants), tenants)
		}
		return err
	})
	formed := time.Since(began)
	read := func() (n api.NetworkStatus) {
		Eventually(t, "the count of calls", func(ctx context.Context) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			n, err = networkOf(s, benchNetwork)
			return err
		})
		return n
	}
	// Heartbeats bring the counts: let those of the start arrive.
	start := read()
	await := func(position uint64) api.NetworkStatus {
		var n api.NetworkStatus
		Eventually(t, "announcements", func(context.Context) error {
			if n = read(); n.Position < position {
				return fmt.Errorf("position %d of %d", n.Position, position)
			}
			return chain.Running()
		})
		return n
	}
	first := await(start.Position + 8)
	last := await(first.Position + fetchBlocks)
	blocks := last.Position - first.Position
	calls := last.Calls.BlockFetch + last.Calls.Refetch - first.Calls.BlockFetch - first.Calls.Refetch
	per := float64(calls) / float64(blocks)
	met := "met"
	// Calls and positions are not read at the same instant: one block's calls may
	// fall on either side.
	if per > fetchTarget+fetchTarget/float64(blocks) {
		met = "MISSED"
	}
	fmt.Printf("block-fetch calls per announced block: %d nodes, %6d tenants: %.2f (%d calls, %d blocks); target <= %.0f: %s; formed in %v\n",
		nodes, tenants, per, calls, blocks, fetchTarget, met, formed.Round(time.Second))
	c.Terminate(t)
}

// idlers are tenants whose monitors never match.
func idlers(t *testing.T, f Folder, chain *Chain, count int) {
	t.Helper()
	f.Write(t, "networks/"+benchNetwork+".json", Network(benchNetwork, chain.ChainID, 1, chain.RPC, chain.WS))
	trigger := Webhooks("receiver", "http://127.0.0.1:9/", "the receiver's secret")
	monitor := Monitor("never", benchNetwork, chain.Token, "receiver", Event("value > 1000000000000000000000000000000"))
	for i := range count {
		own := fmt.Sprintf("tenants/t%05d/", i)
		f.Write(t, own+"triggers/receiver.json", trigger)
		f.Write(t, own+"monitors/never.json", monitor)
	}
}

const joinTenants = 300

// TestJoinMoves prints what share of the tenants a fourth node takes from three,
// and that none moves between the three. It is part of `make bench-failover`.
func TestJoinMoves(t *testing.T) {
	if setting(t, "OZMO_FAILOVER_TRIALS", 0) == 0 {
		t.Skip("it takes a minute: make bench-failover")
	}
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", blockTime.String(), "--rate", "8")
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3})
	idlers(t, c.Folder, chain, joinTenants)
	c.Start(t)
	c.AwaitHealthy(t)
	before := restingOwners(t, c, 3)
	made, err := c.Members[0].client.CreateToken(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	d := c.add(t, "d")
	d.Start(t)
	Eventually(t, "the new node's socket", func(ctx context.Context) error {
		_, err := d.Local(ctx)
		return err
	})
	joined, err := d.client.Join(t.Context(), api.Join{Token: made.Token, Address: c.Members[0].Address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", joined)
	after := restingOwners(t, c, 4)
	moved, between := 0, 0
	counts := map[string]int{}
	for tenant, owner := range after {
		counts[owner]++
		if owner != before[tenant] {
			moved++
			if owner != "d" {
				between++
			}
		}
	}
	share, target := float64(moved)/joinTenants, 1.25/4
	met := "met"
	if share > target {
		met = "MISSED"
	}
	fmt.Printf("join of node 4 to 3: %d of %d tenants moved (%.1f %%), %d of them between old nodes; target <= %.1f %%: %s; now %v\n",
		moved, joinTenants, 100*share, between, 100*target, met, counts)
	c.Terminate(t)
}

// restingOwners waits until every node has tenants and none has moved for a
// while, and tells whose they are.
func restingOwners(t *testing.T, c *Cluster, nodes int) map[string]string {
	t.Helper()
	const rest = 5 * time.Second
	var last map[string]string
	since := time.Now()
	Eventually(t, "rest of the tenants", func(ctx context.Context) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		owners, used := map[string]string{}, map[string]bool{}
		same := len(last) == len(s.Tenants)
		for _, tenant := range s.Tenants {
			owners[tenant.ID] = tenant.Assigned
			used[tenant.Assigned] = true
			same = same && last[tenant.ID] == tenant.Assigned
		}
		if last = owners; !same {
			since = time.Now()
		}
		switch {
		case used[""] || len(owners) != joinTenants:
			return errors.New("tenants are with nobody")
		case len(used) != nodes:
			return fmt.Errorf("tenants are on %d of %d nodes", len(used), nodes)
		case time.Since(since) < rest:
			return errors.New("tenants move")
		}
		return nil
	})
	return last
}
