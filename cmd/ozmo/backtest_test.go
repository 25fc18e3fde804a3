package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// transfers is a monitor of the fake chain's token.
func transfers(expression string) string {
	return fmt.Sprintf(`{"name": "transfers", "paused": false, "networks": ["net"], "triggers": ["hook"], "trigger_conditions": [],
		"addresses": [{"address": "0x%x", "contract_spec": [{"type": "event", "name": "Transfer", "anonymous": false, "inputs": [
			{"name": "from", "type": "address", "indexed": true}, {"name": "to", "type": "address", "indexed": true}, {"name": "value", "type": "uint256", "indexed": false}]}]}],
		"match_conditions": {"functions": [], "transactions": [], "events": [{"signature": "Transfer(address,address,uint256)", "expression": %s}]}}`, fakechain.Token[:], expression)
}

// watchingNode is a node whose tenant acme has a monitor on a chain of some blocks,
// each with a transfer.
func watchingNode(t *testing.T, blocks int) (from uint64) {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"networks/net.json": `{"network_type": "EVM", "slug": "net", "name": "net", "chain_id": 1, "block_time_ms": 1000, "confirmation_blocks": 1,
			"cron_schedule": "*/1 * * * * *", "poll_interval": "100ms", "rpc_urls": [{"type_": "rpc", "url": {"type": "plain", "value": "https://net.example"}, "weight": 100}]}`,
		"tenants/acme/monitors/transfers.json": transfers("null"),
		"tenants/acme/triggers/hook.json":      `{"hook": {"name": "hook", "trigger_type": "webhook", "config": {"url": {"type": "plain", "value": "https://hook.example"}, "payload_mode": "raw"}}}`,
	} {
		path := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c := fakechain.New(fakechain.Options{})
	for range blocks {
		c.Extend(1)
	}
	r := startNode(t, func(o *node.Options) {
		o.Config = dir
		o.Client = func(string, *spec.Network) (chain.Client, error) { return c.Client("a"), nil }
	})
	t.Setenv("OZMO_DATA", r.data)
	head := c.Head().Number
	eventually.Nil(t, func() error {
		n, ok := r.View().Network("net")
		if !ok {
			return errors.New("the network is not there")
		}
		if tip, _ := n.Branch.Tip(); tip.Height < head {
			return fmt.Errorf("announced up to %d", tip.Height)
		}
		return nil
	})
	return head - uint64(blocks)
}

func TestBacktestCommands(t *testing.T) {
	from := watchingNode(t, 120)
	line := func(more string) []string { return strings.Fields("backtest " + more + " --tenant acme") }
	ozmo(t, line("list")...).want(t, exitOK, "there are no backtests of tenant acme\n", "")
	r := ozmo(t, line(fmt.Sprintf("create --monitor transfers --network net --from %d --to %d --watch", from, from+99))...)
	r.want(t, exitOK, "BLOCK  TRANSACTION", "")
	for _, says := range []string{
		"Transfer(address,address,uint256): from = 0x", "100 blocks", "notifications (hook ", "took:       ", ": done after ",
	} {
		if !strings.Contains(r.stdout, says) {
			t.Errorf("%q is not in\n%s", says, r.stdout)
		}
	}
	draft := filepath.Join(t.TempDir(), "draft.json")
	if err := os.WriteFile(draft, []byte(transfers(`"value > 1000000000000"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	r = ozmo(t, line("create -f "+draft+" --last 20 -o json")...)
	var b v1.BacktestDetail
	if err := json.Unmarshal([]byte(r.stdout), &b); err != nil || b.State != "queued" || b.To != b.From+19 {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	ozmo(t, line("watch "+b.ID)...).want(t, exitOK, "match_conditions.events[0].expression, Transfer(address,address,uint256): the expression is false\n        value > 1000000000000: does not hold, the value is ", "")
	ozmo(t, line("show "+b.ID)...).want(t, exitOK, "monitor transfers (draft) on net, blocks ", "")
	ozmo(t, line("list")...).want(t, exitOK, "transfers (draft)  net", "")
	ozmo(t, line("cancel "+b.ID)...).want(t, exitFailure, "", "is over: it is done")
	ozmo(t, line("delete "+b.ID)...).want(t, exitOK, "backtest "+b.ID+" of tenant acme is deleted\n", "")
	ozmo(t, line("show "+b.ID)...).want(t, exitFailure, "", `of tenant "acme": not found`)

	ozmo(t, line("create --monitor transfer --from 1 --to 999999999")...).want(t, exitFailure, "", `there is no monitor "transfer"`)
	ozmo(t, line("create --monitor transfers --from 999999998 --to 999999999")...).want(t, exitFailure, "", "body.to: block 999999999 lies beyond what the monitor judges by now")
}

func TestBacktestMistakes(t *testing.T) {
	for line, says := range map[string]string{
		"backtest":                   "needs a command: create, list, show, watch, cancel, delete",
		"backtest list":              "which tenant? Give --tenant, or a context that has one",
		"backtest create --tenant a": "several things are wrong:\n  give either the monitor",
		"backtest create --tenant a --monitor m -f x --last 3":     "give either the monitor",
		"backtest create --tenant a --monitor m --last 3 --from 1": "--from A, perhaps with --to B, or --last N",
		"backtest create --tenant a --monitor m --to 3":            "--from A",
		"backtest create --tenant a --monitor m --from 4 --to 3":   "--from 4 lies above --to 3",
		"backtest show --tenant a":                                 "needs ID",
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "backtest", "create", "--tenant", "a", "-f", bad, "--last", "3").want(t, exitFailure, "", "bad.json: not valid JSON")
}
