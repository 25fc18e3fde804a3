package node_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// monitorDoc is a monitor of every transfer.
func monitorDoc(name string, paused bool, triggers ...string) map[string]any {
	return map[string]any{
		"name": name, "paused": paused, "networks": []string{"net"}, "triggers": triggers,
		"addresses": []map[string]any{{"address": fmt.Sprintf("0x%x", fakechain.Token[:]), "contract_spec": []map[string]any{{
			"type": "event", "name": "Transfer", "anonymous": false, "inputs": []map[string]any{
				{"name": "from", "type": "address", "indexed": true},
				{"name": "to", "type": "address", "indexed": true},
				{"name": "value", "type": "uint256", "indexed": false},
			},
		}}}},
		"match_conditions": map[string]any{
			"functions": []any{}, "transactions": []any{}, "events": []map[string]any{{"signature": "Transfer(address,address,uint256)"}},
		},
		"trigger_conditions": []any{},
	}
}

// replayed is a replay with its matches.
type replayed struct {
	*api.Replayed
	matches []api.ReplayMatch
}

func replay(t *testing.T, c *testcluster.Cluster, q api.Replay) replayed {
	t.Helper()
	var out replayed
	var err error
	total := uint64(0)
	out.Replayed, err = c.Holder("net").Node().Replay(t.Context(), q, func(p api.Progress) { total = p.Total },
		func(m api.ReplayMatch) { out.matches = append(out.matches, m) })
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	if total != q.To-q.From+1 || len(out.matches) != out.Matches || out.Blocks != total {
		t.Errorf("progress of %d blocks, %d matches told: %+v", total, len(out.matches), out.Replayed)
	}
	return out
}

// want checks what is known of every delivery, and how.
func (r replayed) want(t *testing.T, n int, before api.Before, how string) {
	t.Helper()
	if r.Deliveries != n {
		t.Errorf("%d deliveries, want %d", r.Deliveries, n)
	}
	for _, m := range r.matches {
		for _, d := range m.Deliveries {
			if d.Before != before || !strings.Contains(d.How, how) {
				t.Errorf("block %d: %s: %s, want %s: %s", m.Height, d.Before, d.How, before, how)
			}
		}
	}
}

// deliveredKeys counts what came by delivery key.
func deliveredKeys(c *testcluster.Cluster) map[string]int {
	out := map[string]int{}
	for _, d := range c.Receiver.Deliveries() {
		out[d.Key]++
	}
	return out
}

func TestReplayDeliversWhatNeverWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 1})
		var from, to uint64
		txs := map[string]fsm.Hash{} // transaction -> block
		for range 4 {
			b := c.Extend("net", 2)
			if from == 0 {
				from = b.Number
			}
			to = b.Number
			for _, tx := range b.Txs {
				txs[tx.Hash.String()] = b.Hash
			}
		}
		c.Rest()
		before := deliveredKeys(c)
		if len(before) != len(txs) {
			t.Fatalf("%d deliveries for %d transactions", len(before), len(txs))
		}
		q := api.Replay{Tenant: "t000", Monitor: "transfers", Network: "net", From: from, To: to}
		replay(t, c, q).want(t, 8, api.BeforeYes, "fired ledger: sent")

		// A monitor that comes late, and one that is paused.
		c.Write("tenants/t000/monitors/late.json", monitorDoc("late", false, "hook"))
		c.Write("tenants/t000/monitors/paused.json", monitorDoc("paused", true, "hook", "hook"))
		takeOver(c)
		q.Monitor = "late"
		dry := replay(t, c, q)
		dry.want(t, 8, api.BeforeNo, "ledger")
		if dry.New != 8 || dry.Sent != 0 || len(deliveredKeys(c)) != 8 {
			t.Errorf("a dry run has sent: %+v", dry.Replayed)
		}
		q.Send = true
		sent := replay(t, c, q)
		if sent.Sent != 8 || !sent.matches[0].Deliveries[0].Sent {
			t.Errorf("%+v, %+v", sent.Replayed, sent.matches[0])
		}
		c.Eventually(settle, func() error { return countKeys(c, 16) })
		for tx, block := range txs {
			key := alert.NewKey(alert.NewID("t000", "late", "net", tx), "hook", 0, block, alert.Fired, 0).String()
			if deliveredKeys(c)[key] != 1 {
				t.Errorf("transaction %s: key %s came %d times", tx, key, deliveredKeys(c)[key])
			}
		}
		// Again, and with a part that is new.
		again := replay(t, c, q)
		again.want(t, 8, api.BeforeYes, "journal: ")
		if again.Sent != 0 {
			t.Errorf("sent again: %+v", again.Replayed)
		}
		// The two deliveries of a trigger that is listed twice are two.
		q.Monitor = "paused"
		if twice := replay(t, c, q); twice.Sent != 16 || twice.New != 16 {
			t.Errorf("%+v", twice.Replayed)
		}
		c.Eventually(settle, func() error { return countKeys(c, 32) })

		// Once the blocks are final, journals and coverage tell.
		for range 2 * fsm.DefaultWindow {
			c.Extend("net", 0)
		}
		c.Extend("net", 1) // a command that prunes
		c.Rest()
		for f := range c.View().FiredBetween("net", from, to) {
			t.Fatalf("the ledger still has %+v", f)
		}
		q.Monitor = "late"
		if final := replay(t, c, q); final.Sent != 0 { // which notes the heights
			t.Errorf("sent again: %+v", final.Replayed)
		}
		q.Send = false
		for monitor, how := range map[string]string{"transfers": "journal: sent", "late": "journal: accepted", "paused": "journal: "} {
			q.Monitor = monitor
			replay(t, c, q).want(t, 8+8*map[string]int{"paused": 1}[monitor], api.BeforeYes, how)
		}
		// With another document, the heights count as not replayed: the journal knows.
		c.Write("tenants/t000/monitors/late.json", monitorDoc("late", true, "hook"))
		c.Write("tenants/t000/monitors/new.json", monitorDoc("new", false, "hook"))
		takeOver(c)
		q.Monitor = "late"
		replay(t, c, q).want(t, 8, api.BeforeYes, "journal: accepted")
		q.Monitor = "new"
		replay(t, c, q).want(t, 8, api.BeforeNo, "did not judge the block")
		// What was replayed is nothing that coverage expects, or misses.
		v, err := c.Holder("net").Node().Verify(t.Context(), "t000", "net", from, to, nil)
		if err != nil || !v.Proved() || v.Confirmed != 8 {
			t.Errorf("verify: %+v, %v", v, err)
		}
		for key, n := range deliveredKeys(c) {
			if n != 1 {
				t.Errorf("key %s came %d times", key, n)
			}
		}
	})
}

// takeOver has the folder read, and waits until every node has it.
func takeOver(c *testcluster.Cluster) {
	c.Import()
	c.Eventually(settle, func() error {
		newest := c.View().Index()
		for _, m := range c.Running() {
			if at := m.Node().View().Index(); at < newest {
				return fmt.Errorf("node %s is at log index %d of %d", m.Name, at, newest)
			}
		}
		return nil
	})
}

// countKeys tells if not so many keys were delivered, or what was is not recorded
// everywhere.
func countKeys(c *testcluster.Cluster, want int) error {
	if n := len(deliveredKeys(c)); n != want {
		return fmt.Errorf("%d keys were delivered, want %d", n, want)
	}
	for _, m := range c.Running() {
		if n := m.Node().View().OutboxLen(); n != 0 {
			return fmt.Errorf("node %s: %d deliveries are in the outbox", m.Name, n)
		}
	}
	return nil
}

const settle = 2 * time.Minute // virtual

func TestReplayRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1})
		c.Extend("net", 1)
		c.Rest()
		c.Write("networks/quiet.json", map[string]any{
			"network_type": "EVM", "slug": "quiet", "name": "quiet", "chain_id": 9, "block_time_ms": 1000, "confirmation_blocks": 1, "cron_schedule": "*/1 * * * * *",
			"rpc_urls": []map[string]any{{"type_": "rpc", "url": map[string]any{"type": "plain", "value": "https://quiet.example"}, "weight": 100}},
		})
		paused := monitorDoc("asleep", true, "hook")
		paused["networks"] = []string{"quiet"}
		c.Write("tenants/t000/monitors/asleep.json", paused)
		hasty := monitorDoc("hasty", true, "hook")
		hasty["mode"] = "instant"
		c.Write("tenants/t000/monitors/hasty.json", hasty)
		takeOver(c)
		tip, _ := must(c.View().Network("net")).Branch.Tip()
		good := api.Replay{Tenant: "t000", Monitor: "transfers", Network: "net", From: tip.Height - 2, To: tip.Height - testcluster.Depth}
		for _, tc := range []struct {
			change func(q *api.Replay)
			kind   error
			says   string
		}{
			{func(q *api.Replay) { q.Tenant = "t00" }, fsm.ErrNotFound, `did you mean "t000"?`},
			{func(q *api.Replay) { q.Tenant = "nobody" }, fsm.ErrNotFound, "there is t000"},
			{func(q *api.Replay) { q.Monitor = "transfer" }, fsm.ErrNotFound, `did you mean "transfers"?`},
			{func(q *api.Replay) { q.Network = "nett" }, fsm.ErrNotFound, `did you mean "net"?`},
			{func(q *api.Replay) { q.Monitor, q.Network = "asleep", "quiet" }, api.ErrUnavailable, "is not watched"},
			{func(q *api.Replay) { q.To = tip.Height }, api.ErrBadRequest, fmt.Sprintf("%d is the last", tip.Height-testcluster.Depth)},
			{func(q *api.Replay) { q.From = q.To + 1 }, api.ErrBadRequest, "lies above"},
			{func(q *api.Replay) { q.Monitor, q.Send = "hasty", true }, api.ErrBadRequest, "may still leave the chain"},
			{func(q *api.Replay) { q.From, q.To = 0, 200_000 }, api.ErrBadRequest, "at most 100000 at a time"},
		} {
			q := good
			tc.change(&q)
			_, err := c.Holder("net").Node().Replay(t.Context(), q, nil, nil)
			if !errors.Is(err, tc.kind) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("%+v: %v, want %v: %s", q, err, tc.kind, tc.says)
			}
		}
		if _, err := c.Holder("net").Node().Replay(t.Context(), good, nil, nil); err != nil {
			t.Error(err)
		}
	})
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("it is not there")
	}
	return v
}

// A replay that cannot be finished goes on where it stopped, and what it has sent
// comes once.
func TestReplayGoesOnAfterAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 1, Idle: true})
		first := c.Extend("net", 1).Number
		last := first
		for range 600 { // more than one command
			last = c.Extend("net", 1).Number
		}
		c.Rest()
		c.Write("tenants/t000/monitors/late.json", monitorDoc("late", false, "hook"))
		takeOver(c)
		q := api.Replay{Tenant: "t000", Monitor: "late", Network: "net", From: first, To: last, Send: true}
		holder := c.Holder("net")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := 0
		_, err := holder.Node().Replay(ctx, q, nil, func(api.ReplayMatch) {
			if told++; told == 1 {
				cancel() // the first command is committed
			}
		})
		if err == nil || !strings.Contains(err.Error(), "run the same command again") {
			t.Fatalf("%v", err)
		}
		done := must(c.View().Tenant("t000"))
		doc := must(done.Current.Manifest.Find(fsm.DocMonitor, "late"))
		spans := holder.Node().View().Replayed("t000", "net", "late", doc.Hash)
		if len(spans) != 1 || spans[0].From != first || spans[0].To >= last {
			t.Fatalf("replayed %v of %d-%d", spans, first, last)
		}
		holder.Kill()
		c.Eventually(settle, func() error {
			if h := c.Holder("net"); h == nil || h == holder {
				return errors.New("nobody else watches yet")
			}
			_, err := c.Holder("net").Node().Replay(t.Context(), q, nil, nil)
			return err
		})
		c.Eventually(settle, func() error { return countKeys(c, int(last-first)+1) })
		if n := slices.Max(slices.Collect(maps.Values(deliveredKeys(c)))); n != 1 {
			t.Errorf("a key came %d times", n)
		}
	})
}

// An alert whose first message is a dead letter is not sent any more once it was
// retracted: nothing would take it back.
func TestWhatWasRetractedIsNotRedelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Tenants: 1})
		hasty := monitorDoc("hasty", false, "hook")
		hasty["mode"] = "instant"
		c.Write("tenants/t000/monitors/hasty.json", hasty)
		takeOver(c)
		c.Receiver.Refuse(http.StatusGone)
		b := c.Extend("net", 1)
		c.Eventually(settle, func() error {
			if n := c.View().DeadLen(); n != 1 {
				return fmt.Errorf("%d dead letters, want the one of the instant monitor", n)
			}
			return nil
		})
		id := alert.NewID("t000", "hasty", "net", b.Txs[0].Hash.String()).String()
		order := api.DeliveryOrder{Choice: &api.DeliveryChoice{Tenant: "t000", Statuses: []api.DeliveryStatus{api.DeliveryDead}}, DryRun: true}
		n := c.Leader().Node()
		if done, err := n.ChangeDeliveries(t.Context(), "redeliver", order); err != nil || done.Dead != 1 {
			t.Errorf("before the reorganisation: %+v, %v", done, err)
		}
		c.Receiver.Refuse(0)
		c.Reorg("net", 1, 2)
		c.Eventually(settle, func() error {
			tenant, _ := c.View().Tenant("t000")
			if _, ok := c.View().Retracted("net", id, tenant.Born); !ok {
				return errors.New("not retracted")
			}
			return nil
		})
		order.DryRun = false
		done, err := n.ChangeDeliveries(t.Context(), "redeliver", order)
		if err != nil || done.Found != 1 || done.Done != 0 || done.Left != 1 || done.Retracted != 1 {
			t.Errorf("%+v, %v", done, err)
		}
		for d := range c.View().DeadLetters() {
			if shown, err := n.ShowDelivery(t.Context(), d.Key); err != nil || !shown.Retracted {
				t.Errorf("%+v, %v", shown, err)
			}
		}
	})
}
