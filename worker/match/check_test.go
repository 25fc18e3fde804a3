package match_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
	_ "github.com/ozmo-dev/ozmo/worker/match/evm"
)

const (
	usdcAt = "0x00000000000000000000000000000000000000a1"
	wethAt = "0x00000000000000000000000000000000000000a2"
)

// transferABI is an ABI with the event Transfer and the function transfer,
// their amount under the given name.
func transferABI(amount string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`[
		{"type": "event", "name": "Transfer", "anonymous": false, "inputs": [
			{"name": "from", "type": "address", "indexed": true},
			{"name": "to", "type": "address", "indexed": true},
			{"name": %[1]q, "type": "uint256", "indexed": false}]},
		{"type": "function", "name": "transfer", "outputs": [], "inputs": [
			{"name": "to", "type": "address"}, {"name": %[1]q, "type": "uint256"}]}]`, amount))
}

func on(networks ...string) *spec.Monitor {
	return &spec.Monitor{
		Name: "m", Networks: networks,
		Addresses: []spec.Address{{Address: usdcAt, ContractSpec: transferABI("value"), SpecChain: spec.EVM}},
	}
}

func event(m *spec.Monitor, expression string) *spec.Monitor {
	m.Match.Events = []spec.Signature{{Signature: "Transfer(address,address,uint256)", Expression: new(expression)}}
	return m
}

func transaction(m *spec.Monitor, expression string) *spec.Monitor {
	m.Match.Transactions = []spec.Transaction{{Status: spec.StatusAny, Expression: new(expression)}}
	return m
}

// check returns the problems of a monitor as "severity path: message" lines.
func check(m *spec.Monitor) []string {
	f := &spec.Folder{
		Networks: map[string]*spec.Network{"own": {Type: spec.EVM, Slug: "own"}},
		Monitors: map[string]*spec.Monitor{m.Name: m},
		Files:    map[string]string{spec.DocKey(spec.KindMonitor, m.Name): "monitors/m.json"},
	}
	shared := map[string]*spec.Network{
		"eth": {Type: spec.EVM, Slug: "eth"}, "base": {Type: spec.EVM, Slug: "base"},
		"xlm": {Type: spec.Stellar, Slug: "xlm"}, "sol": {Type: spec.Solana, Slug: "sol"}, "mid": {Type: spec.Midnight, Slug: "mid"},
		"own": {Type: spec.Solana, Slug: "own"}, // hidden by the private one
	}
	var out []string
	for _, p := range match.CheckFolder(f, shared) {
		if p.File != "monitors/m.json" {
			out = append(out, "wrong file "+p.File)
		}
		out = append(out, fmt.Sprintf("%s %s: %s", p.Severity, p.Path, p.Message))
	}
	return out
}

func TestCheckFolder(t *testing.T) {
	const (
		eventPath = "match_conditions.events[0]"
		txPath    = "match_conditions.transactions[0]"
	)
	two := func(first, second string) *spec.Monitor {
		m := on("eth")
		m.Addresses = []spec.Address{
			{Address: usdcAt, ContractSpec: transferABI(first), SpecChain: spec.EVM},
			{Address: wethAt, ContractSpec: transferABI(second), SpecChain: spec.EVM},
		}
		return m
	}
	tests := []struct {
		name string
		m    *spec.Monitor
		want []string // each the beginning of a line and, after "…", what it contains
	}{
		{"fine", event(on("eth"), "value > 5 AND to != "+usdcAt), nil},
		{"fine on two networks of a chain", event(on("eth", "base"), "value > 5"), nil},
		{"unknown network, the ABI tells", event(on("nowhere"), "valu > 5"), []string{"error " + eventPath + ".expression: "}},
		{
			"unknown network, nothing tells", func() *spec.Monitor {
				m := event(on("nowhere"), "valu > 5")
				m.Addresses[0] = spec.Address{Address: usdcAt}
				return m
			}(), nil,
		},
		{"one of two networks known", event(on("nowhere", "xlm"), "valu > 5"), nil},
		{
			"misspelt argument", event(on("eth"), "valu > 5"),
			[]string{"error " + eventPath + `.expression: condition "valu > 5"…did you mean "value"?`},
		},
		{
			"misspelt argument that the peer may never reach", event(on("eth"), "value > 5 OR valu > 5"),
			[]string{"error " + eventPath + `.expression: …did you mean "value"?`},
		},
		{
			"once for two networks of a chain", event(on("eth", "base"), "valu > 5"),
			[]string{"error " + eventPath + ".expression: "},
		},
		{"private network first", event(on("own"), "valu > 5"), []string{"error " + eventPath + ".expression: "}},
		{"syntax", event(on("eth"), "value >"), []string{"error " + eventPath + ".expression: syntax error…never matches"}},
		{"blank", event(on("eth"), " "), []string{"error " + eventPath + ".expression: syntax error…write null"}},
		{"wrong type", event(on("eth"), "to > 5"), []string{"error " + eventPath + `.expression: condition "to > 5" can never hold`}},
		{"transaction variable", transaction(on("eth"), "gas_prise > 5"), []string{"error " + txPath + `.expression: …"gas_price"?`}},
		{
			"paused", func() *spec.Monitor { m := event(on("eth"), "valu > 5"); m.Paused = true; return m }(),
			[]string{"error " + eventPath + ".expression: "},
		},
		{
			"signature that no contract has", func() *spec.Monitor {
				m := event(on("eth"), "value > 5")
				m.Match.Events[0].Signature = "Transferr(address,address,uint256)"
				return m
			}(),
			[]string{"error " + eventPath + `.signature: …did you mean "Transfer(address,address,uint256)"?`},
		},
		{
			"the same beside a condition that can hold", func() *spec.Monitor {
				m := event(on("eth"), "value > 5")
				m.Match.Functions = []spec.Signature{{Signature: "transfr(address,uint256)"}}
				return m
			}(),
			[]string{"warning match_conditions.functions[0].signature: "},
		},
		{
			"no addresses", func() *spec.Monitor { m := event(on("eth"), "value > 5"); m.Addresses = nil; return m }(),
			[]string{"warning addresses: "},
		},

		{"parameter names differ, first fits", event(two("value", "wad"), "value > 5"), []string{"warning " + eventPath + ".expression: …(by the contract_spec of " + wethAt + ")"}},
		{"parameter names differ, second fits", event(two("wad", "value"), "value > 5"), []string{"warning " + eventPath + ".expression: …(by the contract_spec of " + usdcAt + ")"}},
		{
			"parameter names differ, none fits", event(two("wad", "amount"), "valu > 5"),
			[]string{"error " + eventPath + ".expression: …" + usdcAt, "error " + eventPath + ".expression: …" + wethAt},
		},
		{
			"a second address without the signature excuses nothing", func() *spec.Monitor {
				m := event(two("value", "x"), "valu > 5")
				m.Addresses[1].ContractSpec = json.RawMessage(`[]`)
				return m
			}(),
			[]string{"error " + eventPath + ".expression: "},
		},
		{
			"nor does one that is no address", func() *spec.Monitor {
				m := event(two("value", "wad"), "valu > 5")
				m.Addresses[1].Address = "nonsense"
				return m
			}(),
			[]string{"warning addresses[1].address: ", "error " + eventPath + ".expression: "},
		},

		{"another chain", event(on("xlm"), "anything > 5"), nil},
		{"another chain, syntax", event(on("xlm"), "anything >"), []string{"error " + eventPath + ".expression: syntax error"}},
		{"another chain, blank", transaction(on("sol"), ""), []string{"error " + txPath + ".expression: …write null"}},
		{"ignored by Solana", event(on("sol"), "anything >"), []string{"warning " + eventPath + ".expression: …Solana ignores it"}},
		{"ignored by Midnight", transaction(on("mid"), "anything >"), []string{"warning " + txPath + ".expression: …Midnight ignores it"}},

		{"two chains, fine", event(on("eth", "xlm"), "value > 5"), nil},
		{"two chains, meant for EVM", event(on("xlm", "eth"), "valu > 5"), []string{"error " + eventPath + `.expression: on EVM networks: …"value"?`}},
		{"two chains, perhaps of the other", transaction(on("eth", "xlm"), "ledger > 5"), []string{"warning " + txPath + ".expression: on EVM networks: "}},
		{"two chains, of none", transaction(on("eth", "xlm"), "value >"), []string{"error " + txPath + ".expression: syntax error"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(tt.m)
			ok := len(got) == len(tt.want)
			for i := 0; ok && i < len(got); i++ {
				head, tail, _ := strings.Cut(tt.want[i], "…")
				ok = strings.HasPrefix(got[i], head) && strings.Contains(got[i][len(head):], tail)
			}
			if !ok {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestCheckTree checks that documents as they are on disk come out with their
// files, those of all tenants.
func TestCheckTree(t *testing.T) {
	network := `{"network_type": "EVM", "slug": "eth", "name": "Eth", "rpc_urls": [], "block_time_ms": 12000,
		"confirmation_blocks": 1, "cron_schedule": "0 * * * * *"}`
	monitor := func(name, expression string) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, `{"name": %q, "networks": ["eth"], "paused": false,
			"addresses": [{"address": %q, "contract_spec": %s}],
			"match_conditions": {"functions": [], "transactions": [],
				"events": [{"signature": "Transfer(address,address,uint256)", "expression": %q}]},
			"trigger_conditions": [], "triggers": []}`, name, usdcAt, transferABI("value"), expression)}
	}
	tree, problems := spec.ReadTree(fstest.MapFS{
		"networks/eth.json":             {Data: []byte(network)},
		"tenants/b/monitors/z.json":     monitor("z", "valeu > 5"),
		"tenants/b/monitors/a.json":     monitor("a", "value > 5"),
		"tenants/acme/monitors/m.json":  monitor("m", "value >"),
		"tenants/acme/monitors/ok.json": monitor("ok", "value >= 5"),
	})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range match.CheckTree(tree) {
		got = append(got, string(p.Severity)+" "+p.File+" "+p.Path)
	}
	want := []string{
		"error tenants/acme/monitors/m.json match_conditions.events[0].expression",
		"error tenants/b/monitors/z.json match_conditions.events[0].expression",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
