package evm_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// jsonBlock has a transaction and receipt with odd spelling, unknown fields and
// absent ones.
func jsonBlock(t *testing.T, withLogs bool) *chainevm.Block {
	t.Helper()
	hash := "0x" + strings.Repeat("0A", 32)
	tx := map[string]any{
		"hash": hash, "from": "0x" + strings.Repeat("EE", 20), "to": token(0), "value": "0x00ff", "input": "0xABCD", "gas": 21000,
		"chainId": "0x01", "custom": map[string]any{"x": "<a>"}, "maxFeePerGas": nil, "type": "0x02", "transactionIndex": "0x00",
	}
	receipt := map[string]any{
		"transactionHash": hash, "gasUsed": "0x0005208", "status": "0x1", "l1Fee": "0x1", "contractAddress": nil, "type": nil,
		"blockHash": "0x" + strings.Repeat("BB", 32), "logs": []any{},
	}
	if withLogs {
		receipt["logs"] = []any{map[string]any{
			"address": addr("unmonitored", 0), "data": "0xAB", "topics": []string{}, "logIndex": "0x00", "blockTimestamp": "0x5", "removed": false,
		}}
	}
	b, err := chainevm.DecodeParts(mustJSON(map[string]any{"number": "0x5", "transactions": []any{tx}}), mustJSON([]any{receipt}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// matchJSON is the match object of the only match.
func matchJSON(t *testing.T, m *spec.Monitor, b *chainevm.Block) (raw string, inner map[string]json.RawMessage) {
	t.Helper()
	compiled, _ := evm.Compile(m, &evm.ABIs{})
	x := evm.NewIndex()
	x.Add(match.Key{Tenant: "t", Monitor: "id"}, compiled, 0)
	hits := x.Match(b, 0)
	if len(hits) != 1 {
		t.Fatalf("%d hits", len(hits))
	}
	out, err := hits[0].Match("my_net").JSON()
	if err != nil {
		t.Fatal(err)
	}
	var outer map[string]map[string]json.RawMessage
	if err := json.Unmarshal(out, &outer); err != nil || len(outer) != 1 {
		t.Fatal(err, string(out))
	}
	return string(out), outer["EVM"]
}

func wallet(status, expression string) *spec.Monitor {
	m := &spec.Monitor{Name: "wallet <&>", Networks: []string{"my_net"}, Addresses: []spec.Address{{Address: strings.Repeat("eE", 20)}}}
	m.Match.Transactions = []spec.Transaction{{Status: status, Expression: &expression}}
	return m
}

func TestMatchJSON(t *testing.T) {
	raw, got := matchJSON(t, wallet("Success", "value > 5"), jsonBlock(t, true))
	for key, want := range map[string]string{
		"logs": `[{"address":"` + addr("unmonitored", 0) + `","blockHash":null,"blockNumber":null,"data":"0xab","logIndex":"0x0","logType":null,` +
			`"removed":false,"topics":[],"transactionHash":null,"transactionIndex":null,"transactionLogIndex":null}]`,
		"matched_on":      `{"events":[],"functions":[],"transactions":[{"expression":"value > 5","status":"Success"}]}`,
		"matched_on_args": `{"events":null,"functions":null}`,
		"network_slug":    `"my_net"`,
		"receipt":         `null`,
		"transaction": `{"blockHash":null,"blockNumber":null,"chainId":"0x01","custom":{"x":"<a>"},"from":"0x` + strings.Repeat("ee", 20) +
			`","gas":"0x5208","gasPrice":null,"hash":"0x` + strings.Repeat("0a", 32) + `","input":"0xabcd","nonce":"0x0","to":"` + token(0) +
			`","transactionIndex":"0x0","type":"0x2","value":"0xff"}`,
	} {
		if diff := cmp.Diff(want, string(got[key])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if keys := slices.Sorted(maps.Keys(got)); len(keys) != 7 || !strings.Contains(raw, `"name":"wallet <&>"`) || !strings.HasPrefix(raw, `{"EVM":{"logs":`) {
		t.Errorf("keys %q in %s", keys, raw)
	}
}

// TestReceiptInJSON: it is there where the peer would have fetched it.
func TestReceiptInJSON(t *testing.T) {
	for _, tt := range []struct {
		status, expression string
		logs, want         bool
	}{
		{"Success", "value > 5", true, false},
		{"Success", "value > 5", false, true},
		{"Any", "value > 5", false, false},
		{"Any", "gas_used > 5", true, true},
	} {
		_, got := matchJSON(t, wallet(tt.status, tt.expression), jsonBlock(t, tt.logs))
		if has := string(got["receipt"]) != "null"; has != tt.want {
			t.Errorf("%+v: receipt %s", tt, got["receipt"])
		}
	}
	_, got := matchJSON(t, wallet("Any", "gas_used > 5"), jsonBlock(t, false))
	want := `{"blockHash":"0x` + strings.Repeat("bb", 32) + `","blockNumber":null,"contractAddress":null,"cumulativeGasUsed":null,"effectiveGasPrice":null,` +
		`"from":null,"gasUsed":"0x5208","logs":[],"logsBloom":null,"root":null,"status":"0x1","to":null,"transactionHash":"0x` +
		strings.Repeat("0a", 32) + `","transactionIndex":null}`
	if diff := cmp.Diff(want, string(got["receipt"])); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
}

func TestMatchJSONOfEventAndCall(t *testing.T) {
	m := transferMonitor("m", token(0), "value > 6")
	m.Match.Functions = []spec.Signature{{Signature: "transfer(address,uint256)"}}
	_, got := matchJSON(t, m, oneTransfer(t, "0x1"))
	receiver := addr("receiver", 0)
	want := `{"events":[{"args":[{"indexed":true,"kind":"address","name":"from","value":"` + receiver + `"},` +
		`{"indexed":true,"kind":"address","name":"to","value":"` + receiver + `"},{"indexed":false,"kind":"uint256","name":"value","value":"7"}],` +
		`"hex_signature":"` + topic("Transfer(address,address,uint256)") + `","signature":"Transfer(address,address,uint256)"}],` +
		`"functions":[{"args":[{"indexed":false,"kind":"address","name":"to","value":"` + receiver + `"},` +
		`{"indexed":false,"kind":"uint256","name":"value","value":"5"}],"hex_signature":"a9059cbb","signature":"transfer(address,uint256)"}]}`
	if diff := cmp.Diff(want, string(got["matched_on_args"])); diff != "" {
		t.Errorf("matched_on_args (-want +got):\n%s", diff)
	}
}
