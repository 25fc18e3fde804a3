package node_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// backtest asks for one of tenant t000.
func backtest(t *testing.T, m *testcluster.Member, body string) v1.BacktestDetail {
	t.Helper()
	return decoded(t, asked(t, m, "", "POST", "/v1/tenants/t000/backtests", body, 201).Body.Bytes())
}

func decoded(t *testing.T, data []byte) (out v1.BacktestDetail) {
	t.Helper()
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func backtestNow(t *testing.T, c *testcluster.Cluster, id string) v1.BacktestDetail {
	t.Helper()
	path := fmt.Sprintf("/v1/tenants/t000/backtests/%s?index=%d", id, c.View().Index())
	return decoded(t, asked(t, c.Running()[0], "", "GET", path, "", 200).Body.Bytes())
}

// over waits until a backtest is over.
func over(t *testing.T, c *testcluster.Cluster, id string) (out v1.BacktestDetail) {
	t.Helper()
	c.Eventually(30*time.Minute, func() error {
		out = backtestNow(t, c, id)
		if out.Ended.IsZero() {
			return fmt.Errorf("backtest %s is %s at %+v", id, out.State, out.Progress)
		}
		return nil
	})
	return out
}

// fired are the transactions that live judging has alerted of between heights, on
// the chain as it is.
func fired(c *testcluster.Cluster, from, to uint64) []string {
	seen := map[string]bool{}
	for _, d := range c.Receiver.Deliveries() {
		seen[d.Tx] = true
	}
	var out []string
	for h := from; h <= to; h++ {
		for _, tx := range c.Chain("net").At(h).Txs {
			if seen[tx.Hash.String()] {
				out = append(out, tx.Hash.String())
			}
		}
	}
	return out
}

func transactions(list []v1.BacktestMatch) (out []string) {
	for _, m := range list {
		out = append(out, m.Transaction)
	}
	return out
}

// A backtest finds what live judging has found, and sends nothing.
func TestBacktestFindsWhatWasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 2})
		from := c.Extend("net", 1).Number
		for range 30 {
			c.Extend("net", 2)
		}
		c.Reorg("net", 3, 4)
		c.Extend("net", 1)
		c.Rest()
		to := c.Chain("net").Head().Number - testcluster.Depth
		sent := len(c.Receiver.Deliveries())
		want := fired(c, from, to)
		stored := backtest(t, c.Follower("net"), fmt.Sprintf(`{"monitor":"transfers","network":"net","from":%d,"to":%d}`, from, to))
		if stored.State != "queued" || stored.Name != "transfers" || stored.Version == 0 {
			t.Errorf("%+v", stored.Backtest)
		}
		draft, err := os.ReadFile(filepath.Join(c.Folder(), "tenants/t000/monitors/transfers.json"))
		if err != nil {
			t.Fatal(err)
		}
		high := strings.Replace(string(draft), `"expression": null`, `"expression": "value > 1000000000000"`, 1)
		second := backtest(t, c.Leader(), fmt.Sprintf(`{"document":%s,"last":%d}`, high, to-from+1))

		done := over(t, c, stored.ID)
		if got := transactions(done.Matches); done.State != "done" || !slices.Equal(got, want) || len(want) == 0 || done.Counts.Matches != uint64(len(want)) {
			t.Errorf("%+v\nfound %v\nwant %v", done.Backtest, got, want)
		}
		if n := to - from + 1; done.Cost.Blocks != n || done.Progress.Done != n || done.Progress.Total != n || done.Cost.Fetched > n || done.Cost.Calls != 2*done.Cost.Fetched {
			t.Errorf("cost %+v, progress %+v", done.Cost, done.Progress)
		}
		if n := done.Notifications; n.Total != uint64(len(want)) || !reflect.DeepEqual(n.ByTrigger, []v1.BacktestTriggerCount{{Trigger: "hook", Count: n.Total}}) {
			t.Errorf("notifications %+v", n)
		}
		if on := done.Matches[0].On; len(on) != 1 || !strings.HasPrefix(on[0], "Transfer(address,address,uint256): from = 0x") {
			t.Errorf("matched on %q", on)
		}

		none := over(t, c, second.ID)
		if none.State != "done" || none.Counts.Matches != 0 || none.Counts.NearMisses != uint64(len(want)) || len(none.NearMisses) != min(len(want), 20) || none.Monitor != "" {
			t.Fatalf("%d matches live; %+v, %d near misses", len(want), none.Backtest, len(none.NearMisses))
		}
		r := none.NearMisses[0].Reasons[0]
		if r.Path != "match_conditions.events[0].expression" || len(r.Values) != 1 || !strings.Contains(r.Values[0], "value > 1000000000000: does not hold, the value is ") {
			t.Errorf("%+v", r)
		}
		if n := len(c.Receiver.Deliveries()); n != sent {
			t.Errorf("%d deliveries were made", n-sent)
		}
		asked(t, c.Leader(), "", "DELETE", "/v1/tenants/t000/backtests/"+second.ID+"?cancel=true", "", 409)
		asked(t, c.Leader(), "", "DELETE", "/v1/tenants/t000/backtests/"+second.ID, "", 204)
		asked(t, c.Leader(), "", "GET", "/v1/tenants/t000/backtests/"+second.ID, "", 404)
	})
}

// longRange makes a range of blocks of which some have a transfer.
func longRange(c *testcluster.Cluster, blocks int) (from, to uint64) {
	from = c.Extend("net", 1).Number
	for i := range blocks {
		to = c.Extend("net", min(i%4, 1)).Number
	}
	c.Rest()
	return from, to
}

// worker is a node that judges a part of a backtest and neither leads nor watches.
func workerOf(c *testcluster.Cluster, id string) (*testcluster.Member, error) {
	b, ok := c.View().Backtest("t000", id)
	if !ok {
		return nil, fmt.Errorf("backtest %s is not there", id)
	}
	for i := range b.Parts {
		p := &b.Parts[i]
		if p.Node == "" || p.Done() || p.Next == p.From {
			continue
		}
		if m := c.Member(p.Node); m != c.Leader() && m != c.Holder("net") {
			return m, nil
		}
	}
	return nil, fmt.Errorf("nobody to kill: %+v", b.Parts)
}

// Whoever takes over from a dead node goes on where it was: nothing counts twice,
// and nothing is left out.
func TestBacktestSurvivesItsNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 4, Tenants: 1})
		from, to := longRange(c, 1200)
		body := fmt.Sprintf(`{"monitor":"transfers","from":%d,"to":%d}`, from, to)
		whole := over(t, c, backtest(t, c.Leader(), body).ID)
		for _, m := range c.Running() { // nothing is cached any more
			m.Kill()
			m.Restart()
			m.AwaitReady()
		}
		c.AwaitReady()
		for _, m := range c.Members() {
			c.Chain("net").Site(m.Name).Slow(50 * time.Millisecond)
		}
		id := backtest(t, c.AwaitLeader(nil), body).ID
		var victim *testcluster.Member
		c.Eventually(10*time.Minute, func() (err error) {
			victim, err = workerOf(c, id)
			return err
		})
		victim.Kill()
		c.Sleep(5 * time.Second)
		victim.Restart()
		victim.AwaitReady()
		leader := c.Leader()
		leader.Kill()
		c.AwaitLeader(leader)
		c.Sleep(5 * time.Second)
		again := over(t, c, id)
		if again.State != "done" || again.Counts != whole.Counts || again.Progress != whole.Progress || !reflect.DeepEqual(again.Matches, whole.Matches) ||
			!reflect.DeepEqual(again.Notifications, whole.Notifications) || again.Cost.Blocks != whole.Cost.Blocks {
			t.Errorf("undisturbed %+v\nwith failures %+v", whole.Backtest, again.Backtest)
		}
		if whole.Counts.Matches < 300 || len(whole.Matches) != fsm.MaxBacktestMatches {
			t.Errorf("%+v", whole.Counts)
		}
		b, _ := c.View().Backtest("t000", id)
		nodes := map[string]bool{}
		for _, p := range b.Parts {
			nodes[p.Node] = true
		}
		if len(b.Parts) != fsm.MaxBacktestParts || len(nodes) < 2 {
			t.Errorf("%d parts on %v", len(b.Parts), nodes)
		}
	})
}

// What is reorganised under a backtest is judged again.
func TestBacktestOfAChainThatIsReorganised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1})
		from, to := longRange(c, 40)
		n := c.Holder("net")
		n.Kill() // its cache is empty then
		n.Restart()
		c.AwaitReady()
		c.Chain("net").Site("a").Slow(300 * time.Millisecond)
		id := backtest(t, n, fmt.Sprintf(`{"monitor":"transfers","from":%d,"to":%d}`, from, to)).ID
		c.Eventually(10*time.Minute, func() error {
			if b := backtestNow(t, c, id); b.Progress.Done < 30 {
				return fmt.Errorf("%+v", b.Progress)
			}
			return nil
		})
		c.Reorg("net", 30, 33)
		done := over(t, c, id)
		c.Rest()
		if want := fired(c, from, to); done.State != "done" || !slices.Equal(transactions(done.Matches), want) || done.Progress.Restarts == 0 || done.Cost.Blocks != to-from+1 {
			t.Errorf("%+v\nfound %v\nwant %v", done.Backtest, transactions(done.Matches), want)
		}
	})
}

// The head comes first: blocks are judged as soon as without a backtest.
func TestBacktestIsCancelledAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1})
		from, to := longRange(c, 600)
		n := c.Holder("net")
		n.Kill()
		n.Restart()
		c.AwaitReady()
		c.Chain("net").Site("a").Slow(100 * time.Millisecond)
		id := backtest(t, n, fmt.Sprintf(`{"monitor":"transfers","from":%d,"to":%d}`, from, to)).ID
		c.Sleep(10 * time.Second)
		running := backtestNow(t, c, id)
		// Two at a time, each followed by a rest as long: at most ten blocks a second.
		if running.State != "running" || running.Cost.Fetched == 0 || running.Cost.Fetched > 110 {
			t.Errorf("after 10 s of 100 ms a block: %+v", running.Backtest)
		}
		for range 5 {
			seen := len(c.Receiver.Deliveries())
			c.Extend("net", 1)
			c.Extend("net", 0)
			took := c.Eventually(time.Minute, func() error {
				if len(c.Receiver.Deliveries()) == seen {
					return fmt.Errorf("not delivered")
				}
				return nil
			})
			if took > time.Second {
				t.Errorf("beside a backtest, an alert took %v", took)
			}
		}
		asked(t, n, "", "DELETE", "/v1/tenants/t000/backtests/"+id+"?cancel=true", "", 204)
		stopped := backtestNow(t, c, id)
		calls := c.Chain("net").Calls().Refetch
		c.Sleep(20 * time.Second)
		if now := backtestNow(t, c, id); now.State != "cancelled" || !reflect.DeepEqual(now, stopped) || now.Progress.Done == now.Progress.Total {
			t.Errorf("%+v, then %+v", stopped.Backtest, now.Backtest)
		}
		if more := c.Chain("net").Calls().Refetch - calls; more > 4 {
			t.Errorf("%d calls after it was cancelled", more)
		}
	})
}

// What cannot be had in the end is told, and whose business it is not is not there.
func TestBacktestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 2})
		c.Extend("net", 1)
		c.Rest()
		n := c.Holder("net")
		id := backtest(t, n, `{"monitor":"transfers","last":2}`).ID
		var k v1.NewKey
		if err := json.Unmarshal(asked(t, n, "", "POST", "/v1/tenants/t001/keys", `{"role":"owner"}`, 201).Body.Bytes(), &k); err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"GET", "DELETE"} {
			asked(t, n, k.Text, method, "/v1/tenants/t000/backtests/"+id, "", 404)
			asked(t, n, k.Text, method, "/v1/tenants/t001/backtests/"+id, "", 404)
			asked(t, n, k.Text, method, "/v1/tenants/t001/backtests/"+url.PathEscape("../t000/"+id), "", 404)
		}
		over(t, c, id)
		// Nobody has the blocks of long ago.
		c.Chain("net").Site("a").CutOff()
		tip, _ := must(c.View().Network("net")).Branch.Tip()
		n.Kill()
		n.Restart()
		c.AwaitReady()
		id = backtest(t, n, fmt.Sprintf(`{"monitor":"transfers","from":0,"to":%d}`, tip.Height-1)).ID
		failed := over(t, c, id)
		if failed.State != "failed" || !strings.Contains(failed.Error, "network net, block ") {
			t.Errorf("%+v", failed.Backtest)
		}
	})
}
