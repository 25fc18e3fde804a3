package node_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

func usageOf(t *testing.T, m *testcluster.Member, tenant string) v1.Consumption {
	t.Helper()
	var out v1.TenantUsage
	if err := json.Unmarshal(asked(t, m, "", "GET", "/v1/tenants/"+tenant+"/usage", "", 200).Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Total
}

// All who want a network bear it alike, but the calls of a backtest are of the one that
// wanted it, whichever nodes judge it and watch the network.
func TestBacktestCallsAreOfWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 2})
		from, to := longRange(c, 120)
		for _, m := range c.Running() { // nothing is cached any more
			m.Kill()
			m.Restart()
			m.AwaitReady()
		}
		c.AwaitReady()
		done := over(t, c, backtest(t, c.AwaitLeader(nil), fmt.Sprintf(`{"monitor":"transfers","from":%d,"to":%d}`, from, to)).ID)
		if done.State != "done" || done.Cost.Calls == 0 {
			t.Fatalf("%+v", done.Backtest)
		}
		asks, other := usageOf(t, c.Leader(), "t000"), usageOf(t, c.Leader(), "t001")
		if more := asks.RPCCalls - other.RPCCalls; math.Abs(more-float64(done.Cost.Calls)) > 1e-6 || other.RPCCalls == 0 {
			t.Errorf("the backtest took %d calls; its tenant has %v of all, the other one %v", done.Cost.Calls, asks.RPCCalls, other.RPCCalls)
		}
	})
}
