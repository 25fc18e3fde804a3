package evm_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

func problems(m *spec.Monitor) string {
	_, list := evm.Compile(m, &evm.ABIs{})
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = string(p.Severity) + " " + p.String()
	}
	return strings.Join(lines, "\n")
}

func TestProblems(t *testing.T) {
	const transfer = "Transfer(address,address,uint256)"
	tests := []struct {
		name   string
		change func(m *spec.Monitor)
		want   []string // parts of the lines, in order
	}{
		{"none", func(*spec.Monitor) {}, nil},
		{
			"misspelt argument", func(m *spec.Monitor) { m.Match.Events[0].Expression = new("valeu > 5 AND to != 0x1") },
			[]string{`error match_conditions.events[0].expression: condition "valeu > 5" can never hold: `, `did you mean "value"?`},
		},
		{
			"unknown argument", func(m *spec.Monitor) { m.Match.Events[0].Expression = new("quantity > 5") },
			[]string{`condition "quantity > 5" can never hold`, "known: from, to, value"},
		},
		{
			"operator", func(m *spec.Monitor) { m.Match.Events[0].Expression = new("to > 5") },
			[]string{`error match_conditions.events[0].expression: condition "to > 5" can never hold: `},
		},
		{
			"syntax", func(m *spec.Monitor) { m.Match.Events[0].Expression = new("value >") },
			[]string{"error match_conditions.events[0].expression: syntax error at offset "},
		},
		{
			"blank", func(m *spec.Monitor) { m.Match.Events[0].Expression = new(" ") },
			[]string{"error match_conditions.events[0].expression: syntax error", "or write null, to match always"},
		},
		{
			"transaction variable", func(m *spec.Monitor) {
				m.Match.Transactions = []spec.Transaction{{Status: "Any", Expression: new("gasused > 5")}}
			},
			[]string{"error match_conditions.transactions[0].expression", `did you mean "gas_used"?`},
		},
		{
			"status", func(m *spec.Monitor) { m.Match.Transactions = []spec.Transaction{{Status: "success"}} },
			[]string{`error match_conditions.transactions[0].status: unknown status "success"`},
		},
		{
			"only signature is unknown", func(m *spec.Monitor) { m.Match.Events[0].Signature = "Transfer(address,uint256)" },
			[]string{`error match_conditions.events[0].signature: no contract_spec of this monitor has the event "Transfer(address,uint256)"; did you mean "` + transfer + `"?`},
		},
		{
			"one signature is unknown", func(m *spec.Monitor) { m.Match.Functions = []spec.Signature{{Signature: "trasfer(address,uint256)"}} },
			[]string{`warning match_conditions.functions[0].signature: no contract_spec`, `did you mean "transfer(address,uint256)"?`},
		},
		{
			"event listed as function", func(m *spec.Monitor) { m.Match.Functions = []spec.Signature{{Signature: "somethingElse()"}} },
			[]string{`has the function "somethingElse()"`},
		},
		{"alias", func(m *spec.Monitor) { m.Match.Events[0].Signature = "transfer(address, address, UINT)" }, nil},
		{
			"no addresses", func(m *spec.Monitor) { m.Addresses = nil },
			[]string{"warning addresses: a monitor without addresses never matches"},
		},
		{
			"bad address", func(m *spec.Monitor) {
				m.Addresses = append(m.Addresses, spec.Address{Address: "vitalik.eth", ContractSpec: tokenSpec})
			},
			[]string{`warning addresses[1].address: "vitalik.eth" is not an EVM address and never matches`},
		},
		{
			"only address is bad", func(m *spec.Monitor) { m.Addresses[0].Address = " " + m.Addresses[0].Address },
			[]string{"warning addresses[0].address: ", "is not an EVM address"},
		},
		{
			"events without spec", func(m *spec.Monitor) { m.Addresses[0].ContractSpec = nil },
			[]string{"warning addresses[0].contract_spec: without a contract_spec no event"},
		},
		{
			"functions without spec", func(m *spec.Monitor) {
				m.Addresses[0].ContractSpec = json.RawMessage("null")
				m.Match.Functions, m.Match.Events = m.Match.Events, nil
			},
			[]string{"warning addresses[0].contract_spec: without a contract_spec"},
		},
		{
			"spec of another chain", func(m *spec.Monitor) { m.Addresses[0].SpecChain = spec.Stellar },
			[]string{"warning addresses[0].contract_spec: the contract_spec is of Stellar and is ignored on an EVM network"},
		},
		{
			"spec is no ABI", func(m *spec.Monitor) {
				m.Addresses[0].SpecChain, m.Addresses[0].ContractSpec = "", json.RawMessage(`{"name":"x"}`)
			},
			[]string{"warning addresses[0].contract_spec: the contract_spec is not a Solidity ABI"},
		},
		{
			"bad ABI entry", func(m *spec.Monitor) {
				m.Addresses[0].ContractSpec = json.RawMessage(strings.Replace(tokenABI, "[", `[{"type":"event","name":"Odd","inputs":[{"type":"uint7"}]},`, 1))
			},
			[]string{`warning addresses[0].contract_spec: item 0, event "Odd": `, `unknown type "uint7"; this entry is ignored`},
		},
		{
			"duplicate address", func(m *spec.Monitor) {
				a := m.Addresses[0]
				a.Address, a.ContractSpec = strings.ToUpper(a.Address[2:]), json.RawMessage(`[]`)
				m.Addresses = append(m.Addresses, a, m.Addresses[0])
			},
			[]string{"warning addresses[1]: address " + token(0) + " is listed before"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := transferMonitor("m", token(0), "value > 5")
			tt.change(m)
			rest := problems(m)
			if tt.want == nil && rest != "" {
				t.Fatalf("problems:\n%s", rest)
			}
			for _, part := range tt.want {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Fatalf("problems:\n%s\nlack, in order, %q", problems(m), part)
				}
				rest = after
			}
			if strings.Contains(rest, "\n") {
				t.Errorf("more problems than expected:\n%s", problems(m))
			}
		})
	}
}

func TestRegistered(t *testing.T) {
	m, list, err := match.Compile(spec.EVM, transferMonitor("name", token(0), "value > x"))
	if err != nil || m.MonitorName() != "name" || len(list) != 1 || !match.HasErrors(list) {
		t.Errorf("%v, problems %v, %v", m, list, err)
	}
}

// TestCompileKeepsTheDocument checks that compiling neither changes the
// document nor keeps ABIs or viewing keys in what matches show.
func TestCompileKeepsTheDocument(t *testing.T) {
	m := transferMonitor("m", token(0), "value > 6")
	m.ChainConfigurations = []spec.ChainConfiguration{{Midnight: &spec.MidnightConfiguration{ViewingKeys: make([]spec.Secret, 1)}}}
	compiled, _ := evm.Compile(m, &evm.ABIs{})
	if string(m.Addresses[0].ContractSpec) != tokenABI || len(m.ChainConfigurations[0].Midnight.ViewingKeys) != 1 {
		t.Error("the document has changed")
	}
	x := evm.NewIndex()
	x.Add(match.Key{}, compiled, 0)
	hits := x.Match(oneTransfer(t, "0x1"), 0)
	if len(hits) != 1 {
		t.Fatalf("%d hits", len(hits))
	}
	got := string(hits[0].Match("n").Monitor)
	want := `{"addresses":[{"address":"` + token(0) + `","contract_spec":null}],"chain_configurations":[{"midnight":{"viewing_keys":[]}}],` +
		`"match_conditions":{"events":[{"expression":"value > 6","signature":"Transfer(address,address,uint256)"}],"functions":[],"transactions":[]},` +
		`"name":"m","networks":["ethereum"],"paused":false,"trigger_conditions":[],"triggers":["slack"]}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
