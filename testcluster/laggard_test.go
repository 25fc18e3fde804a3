package testcluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
)

// A tenant that can never catch up, since nobody takes its many alerts, does not stop
// the network for others: what is too much is left out for it, by name, and it is
// judged again with what comes then.
func TestTenantThatNeverCatchesUp(t *testing.T) {
	const blocks, transfers, monitors, ahead = 80, 10, 120, 8
	run(t, Options{Nodes: 1, Voters: 1, Tenants: 2, Adjust: func(_ string, o *node.Options) { o.MaxAhead = ahead }}, func(t *testing.T, c *Cluster) {
		noisy, quiet := TenantName(1), TenantName(0)
		c.Extend("net", 1)
		for i := range monitors { // more alerts in a block than go among others'
			name := fmt.Sprintf("m%03d", i)
			c.writeMonitor("tenants/"+noisy+"/monitors/"+name+".json", name)
		}
		c.Write("tenants/"+noisy+"/triggers/hook.json", doc{"hook": doc{
			"name": "hook", "trigger_type": "webhook",
			"config": doc{"url": plain("http://nobody.example/"), "method": "POST", "payload_mode": "raw", "retry_policy": doc{"max_retries": 0}},
		}})
		c.Import()
		for range blocks {
			c.Extend("net", transfers)
			c.Sleep(time.Second)
		}
		c.Eventually(time.Minute, func() error {
			v := c.View()
			n, _ := v.Network("net")
			tip, _ := n.Branch.Tip()
			if head := c.Chain("net").Head(); tip.Height != head.Number {
				return fmt.Errorf("announced up to %d, the chain is at %d: %q", tip.Height, head.Number, c.Status().Problems)
			}
			one, _ := v.Tenant(quiet)
			if rows := v.Coverage(one, "net", 0, 0); slices.ContainsFunc(rows, func(r fsm.CoverageRow) bool { return r.Status != fsm.Judged }) {
				return fmt.Errorf("coverage of the quiet one: %+v", rows)
			}
			return nil
		})
		v := c.View()
		one, _ := v.Tenant(noisy)
		status := map[fsm.CoverageStatus]int{}
		var left fsm.CoverageRow // first of what is left out
		for _, r := range v.Coverage(one, "net", 0, 0) {
			if r.Status == fsm.Behind && left.Status == "" {
				left = r
			}
			status[r.Status] += int(r.ToPosition - r.FromPosition + 1)
		}
		t.Logf("of the noisy one: %v", status)
		if _, slow := v.SlowTenant(one.Cohort); !slow || status[fsm.Behind] < passedOver || status[fsm.Judged] == 0 {
			t.Errorf("judged apart: %v, coverage %v", slow, status)
		}
		from, to := left.FromHeight+1, left.FromHeight+4
		verified, err := c.Holder("net").Node().Verify(t.Context(), noisy, "net", from, to, nil)
		if err != nil || verified.Proved() || len(verified.NotJudged) != 1 || verified.NotJudged[0] != (api.Heights{From: from, To: to, Reason: "behind"}) {
			t.Errorf("blocks %d to %d verified: %+v, %v", from, to, verified, err)
		}
		q := api.Replay{Tenant: noisy, Monitor: "m000", Network: "net", From: from, To: to}
		again, err := c.Holder("net").Node().Replay(t.Context(), q, nil, nil)
		if err != nil || again.New != 4*transfers || again.Deliveries != again.New {
			t.Errorf("blocks %d to %d replayed: %+v, %v", from, to, again, err)
		}
		entries := 0
		for a := range v.AuditOf(noisy) {
			if a.Action == "coverage.behind" && a.Actor == fsm.PassedOver {
				entries++
			}
		}
		if entries == 0 || !strings.Contains(strings.Join(c.Status().Problems, "\n"), "ozmo coverage show "+noisy+" net") {
			t.Errorf("%d entries in its audit log; problems %q", entries, c.Status().Problems)
		}
		got := map[string]bool{}
		for _, d := range c.Receiver.Deliveries() {
			got[d.Tx] = true
		}
		if want := (blocks - Depth) * transfers; len(got) < want {
			t.Errorf("the quiet one was told of %d transfers, want %d", len(got), want)
		}
	})
}

// passedOver is what is left out at least, once that happens with MaxAhead 8.
const passedOver = 24
