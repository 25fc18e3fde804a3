package proc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/farm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// reorgDepth is the depth of the network of this test.
const reorgDepth = 2

// TestReorgDevchain reorganises a real chain under three real nodes, to depths of
// 1 to 12, with transfers that come again, move to another block or are dropped,
// while the node that watches is killed and started again: what each receiver
// believes in the end is what the chain says.
func TestReorgDevchain(t *testing.T) {
	dir := Dir(t)
	f, err := farm.New(farm.Options{Secret: deliverySecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "12")
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3})
	modes := []string{"", "instant", "confirmed", "both"}
	c.Folder.Write(t, "networks/devnet.json", Network("devnet", chain.ChainID, reorgDepth, chain.RPC, chain.WS))
	for i, mode := range modes {
		reorgTenant(t, c.Folder, chain, f, i, mode)
	}
	begun, err := chain.Commit(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	c.Start(t)
	c.AwaitHealthy(t)

	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	commit := func(blocks int) {
		for range blocks {
			<-tick.C
			if _, err := chain.Commit(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	dead := 0
	for i, depth := range []int{1, 2, 5, 3, 12, 8, 1} {
		commit(depth + 2)
		mode := []string{"reinclude", "move", "drop"}[i%3]
		var killed *Member
		if i == 3 {
			killed = c.Holder(t, "devnet")
		}
		r, err := chain.Reorg(t.Context(), depth, mode)
		if err != nil {
			t.Fatal(err)
		}
		dead += len(r.Dead)
		if killed != nil {
			killed.Kill()
			commit(10)
			killed.Start(t)
		}
		<-tick.C
	}
	if err := chain.SetRate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	commit(reorgDepth + 3)
	c.AwaitCaughtUp(t, chain)
	checkReorgs(t, chain, f, modes, begun[0].Number)
	t.Logf("%d blocks died", dead)
	c.Terminate(t)
}

// reorgTenant writes a tenant with a monitor of all transfers.
func reorgTenant(t *testing.T, folder Folder, chain *Chain, f *farm.Farm, i int, mode string) {
	t.Helper()
	name := fmt.Sprintf("t%d", i)
	r, err := f.Webhook(name)
	if err != nil {
		t.Fatal(err)
	}
	folder.Write(t, "tenants/"+name+"/triggers/receiver.json", Webhooks("receiver", r.URL(), deliverySecret))
	m := Monitor("transfers", "devnet", chain.Token, "receiver", Event(""))
	if mode != "" {
		m["mode"] = mode
	}
	folder.Write(t, "tenants/"+name+"/monitors/transfers.json", m)
}

// checkReorgs compares what receivers believe in the end with the chain, from the
// first block after a height on.
func checkReorgs(t *testing.T, chain *Chain, f *farm.Farm, modes []string, after uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	info, err := chain.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := chain.Transfers(ctx, after+1, info.Head.Number)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string][]farm.Delivery{}
	for _, d := range f.Deliveries() {
		by[d.Receiver] = append(by[d.Receiver], d)
	}
	for i, mode := range modes {
		name := fmt.Sprintf("t%d", i)
		truth := farm.Truth{Mode: mode, Depth: reorgDepth, Confirmed: reorgDepth}
		if mode == "instant" || mode == "both" {
			truth.Depth = 0
		}
		seen := map[string]bool{}
		for _, one := range list.Transfers {
			if id := alert.NewID(name, "transfers", "devnet", one.TxHash).String(); !seen[id] {
				seen[id] = true
				truth.Alerts = append(truth.Alerts, farm.Canonical{Alert: id, Block: one.BlockHash, Above: info.Head.Number - one.BlockNumber})
			}
		}
		if len(truth.Alerts) == 0 {
			t.Fatal("there were no transfers, so nothing was tested")
		}
		errs := truth.Check(by[name])
		for _, err := range errs[:min(len(errs), 10)] {
			t.Errorf("%s: %v", name, err)
		}
		states := map[string]int{}
		for _, d := range by[name] {
			states[d.State]++
		}
		t.Logf("mode %-11q %d deliveries of %d transfers: %v", mode, len(by[name]), len(truth.Alerts), states)
		if mode == "instant" && states["retracted"] == 0 {
			t.Error("nothing was retracted, so nothing was tested")
		}
	}
	id := farm.CheckIdentity(f.Deliveries())
	for _, err := range append(id.Errors, f.Errors()...) {
		t.Error(err)
	}
	t.Logf("%d duplicates", id.Duplicates)
}
