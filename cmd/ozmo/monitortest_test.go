package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

var (
	alice = fakechain.Address{19: 0xaa}
	bob   = fakechain.Address{19: 0xbb}
)

// rig is a chain whose blocks 1 to 4 hold transfers of 5; 50 and 7; nothing of
// interest; and 60; with documents for it.
type rig struct {
	dir      string
	chain    *fakechain.Chain
	endpoint *fakechain.Endpoint
	token    string
}

func newRig(t *testing.T, more map[string]any) *rig {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	r := &rig{chain: fakechain.New(fakechain.Options{}), token: fmt.Sprintf("0x%x", fakechain.Token[:])}
	r.chain.ExtendWith(fakechain.Transfer(alice, bob, 5))
	r.chain.ExtendWith(fakechain.Transfer(alice, bob, 50), fakechain.Transfer(bob, alice, 7))
	r.chain.Extend(1)
	r.chain.ExtendWith(fakechain.Transfer(bob, alice, 60))
	var err error
	if r.endpoint, err = r.chain.NewEndpoint(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.endpoint.Close)
	t.Setenv("OZMO_TEST_RPC", r.endpoint.URL())
	files := map[string]any{
		"networks/net.json": networkDoc("EVM", "test_net", object{"chain_id": 1, "rpc_urls": []object{
			{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_RPC"}, "weight": 100},
			{"type_": "rpc", "url": plain("http://127.0.0.1:1/never-used"), "weight": 0},
		}}),
		"monitors/large.json": monitorDoc("Large", "test_net", r.token, "value > 40", "hook"),
	}
	maps.Copy(files, more)
	r.dir = write(t, files)
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// test runs monitor test with the monitor and network of the rig.
func (r *rig) test(t *testing.T, args ...string) result {
	t.Helper()
	return ozmo(t, slices.Concat([]string{"monitor", "test", "--monitor", r.path("monitors/large.json"), "--network", r.path("networks/net.json")}, args)...)
}

func TestMonitorTestTable(t *testing.T) {
	r := newRig(t, nil)
	got := r.test(t, "--from", "0", "--to", "4")
	tx2, tx4 := r.chain.At(2).Txs[0].Hash, r.chain.At(4).Txs[0].Hash
	want := fmt.Sprintf(`BLOCK  TRANSACTION                                                         MONITOR  MATCHED ON
    2  %s  Large    Transfer(address,address,uint256)
                                                                                      from = 0x00000000000000000000000000000000000000aa
                                                                                      to = 0x00000000000000000000000000000000000000bb
                                                                                      value = 50
    4  %s  Large    Transfer(address,address,uint256)
                                                                                      from = 0x00000000000000000000000000000000000000bb
                                                                                      to = 0x00000000000000000000000000000000000000aa
                                                                                      value = 60

2 matches in 5 blocks, judged by 1 monitor
`, tx2, tx4)
	if diff := cmp.Diff(want, got.stdout); diff != "" || got.code != exitOK {
		t.Errorf("exit code %d\n%s\n%s", got.code, diff, got.stderr)
	}
	r.test(t, "--block", "3").want(t, exitOK, "0 matches in 1 block, judged by 1 monitor\n", "")
	if calls := r.endpoint.Calls(); calls["eth_getBlockByNumber"] != 6 {
		t.Errorf("six blocks took %v", calls)
	}
}

// peerMatch is what the tests look at of a match.
type peerMatch struct {
	EVM struct {
		Monitor     struct{ Name string }
		NetworkSlug string `json:"network_slug"`
		Transaction struct{ Hash string }
		MatchedOn   struct {
			Events []struct{ Signature, Expression string }
		} `json:"matched_on"`
	}
}

func TestMonitorTestJSON(t *testing.T) {
	r := newRig(t, nil)
	all := []string{r.chain.At(2).Txs[0].Hash.String(), r.chain.At(4).Txs[0].Hash.String()}
	check := func(list []peerMatch) {
		t.Helper()
		var hashes []string
		for _, m := range list {
			hashes = append(hashes, m.EVM.Transaction.Hash)
			if m.EVM.Monitor.Name != "Large" || m.EVM.NetworkSlug != "test_net" || m.EVM.MatchedOn.Events[0].Expression != "value > 40" {
				t.Errorf("got %+v", m)
			}
		}
		if diff := cmp.Diff(all, hashes); diff != "" {
			t.Error(diff)
		}
	}
	var list []peerMatch
	got := r.test(t, "--from", "1", "--to", "4", "--output", "json")
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil {
		t.Fatal(err, got)
	}
	check(list)
	if !strings.Contains(got.stdout, `"expression": "value > 40"`) {
		t.Errorf("characters are escaped:\n%s", got.stdout)
	}

	list = nil
	for line := range strings.Lines(r.test(t, "--from", "1", "--to", "4", "--output", "ndjson", "--parallel", "1").stdout) {
		var m peerMatch
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	check(list)

	r.test(t, "--block", "3", "--output", "json").want(t, exitOK, "[]\n", "")
	if got := r.test(t, "--block", "3", "--output", "ndjson"); got.stdout != "" || got.code != exitOK {
		t.Errorf("got %+v", got)
	}
}

func TestMonitorTestExplain(t *testing.T) {
	r := newRig(t, nil)
	got := r.test(t, "--block", "2", "--explain")
	got.want(t, exitOK, "1 match in 1 block", "")
	want := fmt.Sprintf(`near miss of "Large": block 2, transaction %s
  match_conditions.events[0].expression, Transfer(address,address,uint256), log 0:
    the expression is false
      value > 40: does not hold, the value is 7
`, r.chain.At(2).Txs[1].Hash)
	if !strings.Contains(got.stdout, want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", got.stdout, want)
	}

	var out struct {
		Matches    []peerMatch `json:"matches"`
		NearMisses []nearMiss  `json:"near_misses"`
		Deliveries []delivered `json:"deliveries"`
	}
	got = r.test(t, "--from", "1", "--to", "4", "--explain", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &out); err != nil {
		t.Fatal(err, got)
	}
	if len(out.Matches) != 2 || len(out.NearMisses) != 4 || out.Deliveries == nil {
		t.Fatalf("got %s", got.stdout)
	}
	log := 0
	diff := cmp.Diff(nearMiss{
		Monitor: "Large", Block: 1, Transaction: r.chain.At(1).Txs[0].Hash.String(),
		Reasons: []missReason{{
			Path: "match_conditions.events[0].expression", Signature: "Transfer(address,address,uint256)", Log: &log,
			Message: "the expression is false",
			Values:  []missValue{{Condition: "value > 40", Value: "5", Reached: true}},
		}},
	}, out.NearMisses[0])
	if diff != "" {
		t.Error(diff)
	}
	lines := r.test(t, "--block", "1", "--explain", "-o", "ndjson").stdout
	if !strings.HasPrefix(lines, `{"near_miss":{"monitor":"Large","block":1,`) || strings.Count(lines, "\n") != 1 {
		t.Errorf("got %s", lines)
	}
}

// respond asks the endpoint as curl would, and returns the whole response.
func (r *rig) respond(t *testing.T, method, params string) string {
	t.Helper()
	resp, err := http.Post(r.endpoint.URL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return string(body)
}

func resultOf(t *testing.T, response string) string {
	t.Helper()
	var r struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(response), &r); err != nil {
		t.Fatal(err)
	}
	return string(r.Result)
}

func TestMonitorTestFiles(t *testing.T) {
	r := newRig(t, nil)
	block, receipts := r.respond(t, "eth_getBlockByNumber", `["0x2",true]`), r.respond(t, "eth_getBlockReceipts", `["0x2"]`)
	logs := r.respond(t, "eth_getLogs", `[{"fromBlock":"0x2","toBlock":"0x2"}]`)
	dir := write(t, map[string]any{
		"block.json": block, "receipts.json": receipts, "logs.json": logs,
		"block-result.json": resultOf(t, block), "receipts-result.json": resultOf(t, receipts),
		"hashes.json": r.respond(t, "eth_getBlockByNumber", `["0x2",false]`), "null.json": r.respond(t, "eth_getBlockByNumber", `["0x99",true]`),
		"other.json": r.respond(t, "eth_getBlockReceipts", `["0x4"]`), "list.json": "[]", "no.json": "<html>",
	})
	r.endpoint.ResetCalls()
	t.Setenv("OZMO_TEST_RPC", "") // nobody needs the endpoint
	files := func(block, receipts, logs string) []string {
		var args []string
		for _, f := range [][2]string{{"--block-file", block}, {"--receipts-file", receipts}, {"--logs-file", logs}} {
			if f[1] != "" {
				args = append(args, f[0], filepath.Join(dir, f[1]))
			}
		}
		return args
	}
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"responses", files("block.json", "receipts.json", ""), exitOK, "1 match in 1 block", ""},
		{"results", files("block-result.json", "receipts-result.json", ""), exitOK, "1 match in 1 block", ""},
		{"with logs", files("block.json", "receipts.json", "logs.json"), exitOK, "1 match in 1 block", ""},
		{"logs alone", files("block.json", "", "logs.json"), exitOK, "1 match in 1 block", "warning: without --receipts-file the status"},
		{"receipts of another block", files("block.json", "other.json", ""), exitOK, "0 matches", "warning: the files do not make a complete block"},
		{"hashes", files("hashes.json", "receipts.json", ""), exitFailure, "", "hashes.json: lists the transactions by their hashes alone: call eth_getBlockByNumber with true"},
		{"null", files("null.json", "receipts.json", ""), exitFailure, "", "null.json: the result is null: the node does not have the block"},
		{"no block", files("list.json", "receipts.json", ""), exitFailure, "", "does not hold a block"},
		{"both wrong", files("no.json", "none.json", ""), exitFailure, "", "several things are wrong:\n  --block-file"},
		{"both wrong, the second", files("no.json", "none.json", ""), exitFailure, "", "\n  --receipts-file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { r.test(t, tt.args...).want(t, tt.code, tt.stdout, tt.stderr) })
	}
	if calls := r.endpoint.Calls(); len(calls) != 0 {
		t.Errorf("the endpoint was asked: %v", calls)
	}
}

func TestMonitorTestBadInput(t *testing.T) {
	r := newRig(t, map[string]any{
		"networks/stellar.json": networkDoc("Stellar", "xlm", nil),
		"networks/secret.json": networkDoc("EVM", "test_net", object{
			"rpc_urls": []object{{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_NOT_SET"}, "weight": 1}},
		}),
		"networks/unused.json": networkDoc("EVM", "test_net", object{
			"rpc_urls": []object{{"type_": "rpc", "url": plain("https://rpc.example"), "weight": 0}},
		}),
		"networks/wrong.json": networkDoc("EVM", "test_net", object{"chain_id": 5, "rpc_urls": []object{
			{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_RPC"}, "weight": 1},
		}}),
		"bad/monitors/broken.json":  `{"name": 5}`,
		"bad/monitors/broken2.json": `{`,
		"other/o.json":              monitorDoc("Other", "elsewhere", "0x01", "value > 1"),
		"twice.json":                monitorDoc("Large", "test_net", "0x01", "value > 1"),
		"empty/x.txt":               "",
	})
	net, large := []string{"--network", r.path("networks/net.json")}, []string{"--monitor", r.path("monitors/large.json")}
	block := []string{"--block", "2"}
	tests := []struct {
		name   string
		args   []string
		code   int
		stderr []string
	}{
		{"nothing", nil, exitUsage, []string{"--monitor FILE", "--network FILE", "say which blocks to judge", "Run 'ozmo monitor test --help'"}},
		{"two sources", slices.Concat(net, large, block, []string{"--from", "1", "--to", "2"}), exitUsage, []string{"exclude each other"}},
		{"half a range", slices.Concat(net, large, []string{"--from", "1"}), exitUsage, []string{"--from and --to belong together"}},
		{"backwards", slices.Concat(net, large, []string{"--from", "3", "--to", "2"}), exitUsage, []string{"--from 3 lies behind --to 2"}},
		{"receipts alone", slices.Concat(net, large, []string{"--receipts-file", "x"}), exitUsage, []string{"need the block they belong to"}},
		{"block alone", slices.Concat(net, large, []string{"--block-file", "x"}), exitUsage, []string{"--block-file needs --receipts-file F"}},
		{"no number", slices.Concat(net, large, []string{"--block", "latest"}), exitUsage, []string{`"latest"`}},
		{"parallel", slices.Concat(net, large, block, []string{"--parallel", "0"}), exitUsage, []string{"--parallel 0: want 1 to 64"}},
		{"send without triggers", slices.Concat(net, large, block, []string{"--send"}), exitUsage, []string{"--send needs the triggers"}},
		{
			"all documents", slices.Concat(block, []string{"--monitor", r.path("bad"), "--monitor", r.path("none.json"), "--network", r.path("networks/secret.json")}), exitFailure,
			[]string{"several things are wrong:", "broken.json: name: ", "broken2.json: is not valid JSON", "none.json: cannot be read: no such file", "OZMO_TEST_NOT_SET"},
		},
		{"other chain", slices.Concat(large, block, []string{"--network", r.path("networks/stellar.json")}), exitFailure, []string{"Stellar networks are not supported yet, only EVM"}},
		{"no endpoint", slices.Concat(large, block, []string{"--network", r.path("networks/unused.json")}), exitFailure, []string{"has no endpoint to ask: rpc_urls needs one with a weight above 0"}},
		{"wrong chain", slices.Concat(large, block, []string{"--network", r.path("networks/wrong.json")}), exitFailure, []string{"endpoint serves another chain"}},
		{"empty folder", slices.Concat(net, block, []string{"--monitor", r.path("empty")}), exitFailure, []string{"holds no monitors, expected *.json files"}},
		{"folder of another network", slices.Concat(net, block, []string{"--monitor", r.path("other")}), exitFailure, []string{`no monitor lists the network "test_net"`}},
		{"same name", slices.Concat(net, large, block, []string{"--monitor", r.path("twice.json")}), exitFailure, []string{"twice.json: name: is the name of the monitor in " + r.path("monitors/large.json")}},
		{"no such block", slices.Concat(net, large, []string{"--block", "99"}), exitFailure, []string{"block 99: ", "not found (the newest one of test_net is 4)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ozmo(t, slices.Concat([]string{"monitor", "test"}, tt.args)...)
			for _, part := range tt.stderr {
				got.want(t, tt.code, "", part)
			}
			if strings.Contains(got.stderr, r.endpoint.URL()) {
				t.Errorf("the endpoint's whole address is shown:\n%s", got.stderr)
			}
		})
	}
}

func TestMonitorTestOddMonitors(t *testing.T) {
	paused := monitorDoc("Paused", "test_net", newToken(), "value > 55")
	paused["paused"] = true
	paused["trigger_conditions"] = []object{{"script_path": "filters/x.sh", "language": "Bash", "timeout_ms": 1000}}
	r := newRig(t, map[string]any{
		"monitors/paused.json":    paused,
		"monitors/elsewhere.json": monitorDoc("Elsewhere", "other_net", newToken(), "value > 1"),
		"monitors/stem.json":      monitorDoc("Stem", "net", newToken(), "value > 55"), // the network's file name
		"monitors/typo.json":      monitorDoc("Typo", "test_net", newToken(), "valeu > 1"),
	})
	got := ozmo(t, "monitor", "test", "--monitor", r.dir, "--network", r.path("networks/net.json"), "--block", "4")
	got.want(t, exitOK, "3 matches in 1 block, judged by 4 monitors\n", "")
	for _, note := range []string{
		"paused.json: paused: the monitor is paused: it is judged all the same\n",
		"paused.json: trigger_conditions: are not supported yet: they drop no match\n",
		"error: " + r.path("monitors/typo.json") + `: match_conditions.events[0].expression: condition "valeu > 1" can never hold`,
	} {
		got.want(t, exitOK, "", note)
	}
	got = ozmo(t, "monitor", "test", "--monitor", r.path("monitors/elsewhere.json"), "--network", r.path("networks/net.json"), "--block", "4")
	got.want(t, exitOK, "1 match in 1 block", `notice: `+r.path("monitors/elsewhere.json")+`: networks: does not list the network "test_net": it is judged all the same`)
}

func newToken() string { return fmt.Sprintf("0x%x", fakechain.Token[:]) }

// TestMonitorTestStopsHalfway checks that what was found is shown when a block
// cannot be had.
func TestMonitorTestStopsHalfway(t *testing.T) {
	r := newRig(t, nil)
	got := r.test(t, "--from", "1", "--to", "9", "-o", "json")
	got.want(t, exitFailure, `"value > 40"`, "blocks 1 to 4 were judged: go on with --from 5")
	var list []peerMatch
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || len(list) != 2 {
		t.Errorf("%v: %s", err, got.stdout)
	}
	r.test(t, "--from", "8", "--to", "9").want(t, exitFailure, "0 matches in 0 blocks", "no block was judged")
}

// TestMonitorTestInterrupted checks that Ctrl-C ends a range and keeps what it
// has found.
func TestMonitorTestInterrupted(t *testing.T) {
	received := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(received) })
		cancel() // as if the key was pressed while the first match is sent
	}))
	defer hook.Close()
	r := newRig(t, map[string]any{"triggers/t.json": object{"hook": webhookDoc("Hook", plain(hook.URL))}})
	defer hook.CloseClientConnections()
	got := ozmoContext(ctx, "monitor", "test", "--monitor", r.path("monitors/large.json"), "--network", r.path("networks/net.json"),
		"--from", "1", "--to", "4", "--send", "--trigger", r.path("triggers/t.json"))
	<-received
	got.want(t, exitFailure, "1 match in 1 block", "ozmo: interrupted; blocks 1 to 1 were judged: go on with --from 2")
}

func TestMonitorTestSend(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
			return
		}
		if err := webhook.Verify(r.Header, body, "s3cret", 0); err != nil {
			t.Errorf("%v", err)
		}
		bodies = append(bodies, string(body))
	}))
	defer hook.Close()
	t.Setenv("OZMO_TEST_HOOK", hook.URL+"/path-key")
	good := webhookDoc("Hook", object{"type": "environment", "value": "OZMO_TEST_HOOK"})
	good["config"].(object)["secret"] = plain("s3cret")
	r := newRig(t, map[string]any{
		"triggers/hook.json": object{"hook": good},
		"triggers/gone.json": object{"hook": webhookDoc("Gone", plain(hook.URL+"/gone"))},
		"triggers/chat.json": object{"chat": object{"name": "Chat", "trigger_type": "script", "config": object{
			"language": "Bash", "script_path": "chat.sh", "timeout_ms": 1000,
		}}},
		"triggers/unset.json": object{"hook": webhookDoc("Unset", object{"type": "environment", "value": "OZMO_TEST_NOT_SET"})},
		"monitors/chat.json":  monitorDoc("Chat", "test_net", newToken(), "value > 40", "chat"),
	})
	send := func(trigger string, args ...string) result {
		t.Helper()
		return r.test(t, slices.Concat([]string{"--block", "4", "--send", "--triggers", r.path("triggers/" + trigger)}, args)...)
	}
	got := send("hook.json")
	got.want(t, exitOK, "1 match in 1 block", "")
	got.want(t, exitOK, "Large    hook     "+hook.URL+"  sent, HTTP 200\n", "")
	if strings.Contains(got.stdout+got.stderr, "path-key") {
		t.Errorf("the address is shown in full:\n%s%s", got.stdout, got.stderr)
	}
	var out struct {
		Matches    []peerMatch `json:"matches"`
		Deliveries []delivered `json:"deliveries"`
	}
	if err := json.Unmarshal([]byte(send("hook.json", "-o", "json").stdout), &out); err != nil {
		t.Fatal(err)
	}
	if d := out.Deliveries; len(out.Matches) != 1 || len(d) != 1 || !d[0].OK || d[0].Status != 200 || d[0].Trigger != "hook" || len(d[0].Key) != 32 {
		t.Errorf("got %+v", out)
	}
	send("hook.json", "-o", "ndjson").want(t, exitOK, `{"delivery":{"monitor":"Large","trigger":"hook",`, "")
	mu.Lock()
	if len(bodies) != 3 || !strings.Contains(bodies[0], "moved 60") {
		t.Errorf("received %q", bodies)
	}
	mu.Unlock()

	send("gone.json").want(t, exitFailure, "failed: ", "")
	send("unset.json").want(t, exitFailure, "", "OZMO_TEST_NOT_SET")
	send("chat.json").want(t, exitFailure, "", `large.json: triggers[0]: there is no trigger "hook" in the files given with --trigger (known: chat)`)
	got = ozmo(t, "monitor", "test", "--monitor", r.path("monitors/chat.json"), "--network", r.path("networks/net.json"),
		"--block", "4", "--send", "--trigger", r.path("triggers/chat.json"))
	got.want(t, exitFailure, "failed: ", "chat.trigger_type: script is not supported yet: nothing is sent through this trigger")
	r.test(t, "--block", "4").want(t, exitOK, "1 match", "") // without --send
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) != 3 {
		t.Errorf("sent without being told to: %q", bodies)
	}
}
