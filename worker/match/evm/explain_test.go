package evm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// oneTransfer is a block of one transaction with a Transfer of 7 and a call of
// transfer with 5.
func oneTransfer(t *testing.T, status string) *chainevm.Block {
	t.Helper()
	hash := "0x" + strings.Repeat("01", 32)
	to := strings.Repeat("0", 24) + addr("receiver", 0)[2:]
	tx := map[string]any{
		"hash": hash, "from": addr("eoa", 0), "to": token(0), "nonce": "0x0", "value": "0x9",
		"input": topic("transfer(address,uint256)")[:10] + to + fmt.Sprintf("%064x", 5),
	}
	receipt := map[string]any{
		"transactionHash": hash, "gasUsed": "0x64", "status": status,
		"logs": []any{map[string]any{
			"address": token(0), "data": fmt.Sprintf("0x%064x", 7),
			"topics": []string{topic("Transfer(address,address,uint256)"), "0x" + to, "0x" + to},
		}},
	}
	b, err := chainevm.DecodeParts(mustJSON(map[string]any{"transactions": []any{tx}}), mustJSON([]any{receipt}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// explained is the reasons for the only transaction, one per line.
func explained(m *spec.Monitor, b *chainevm.Block) string {
	compiled, _ := evm.Compile(m, &evm.ABIs{})
	var out strings.Builder
	for _, miss := range evm.Explain(compiled, b) {
		for _, r := range miss.Reasons {
			fmt.Fprintf(&out, "%s|%d|%s|%s", r.Path, r.Log, r.Signature, r.Message)
			for _, s := range r.Steps {
				fmt.Fprintf(&out, "|%s: %s vs %s, %v", s.Condition, s.Left, s.Right, s.Holds)
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func TestExplain(t *testing.T) {
	transfer := "Transfer(address,address,uint256)"
	tests := []struct {
		name   string
		status string
		change func(m *spec.Monitor)
		want   string
	}{
		{"matches", "0x1", func(*spec.Monitor) {}, ""},
		{
			"expression", "0x1", func(m *spec.Monitor) { m.Match.Events[0].Expression = new("value > 7 OR value == 8") },
			"match_conditions.events[0].expression|0|" + transfer + "|the expression is false|value > 7: 7 vs 7, false|value == 8: 7 vs 8, false\n",
		},
		{
			"function", "0x1", func(m *spec.Monitor) {
				m.Match.Functions = []spec.Signature{{Signature: "transfer(address,uint256)", Expression: new("value > 5")}}
				m.Match.Events = nil
			},
			"match_conditions.functions[0].expression|-1|transfer(address,uint256)|the expression is false|value > 5: 5 vs 5, false\n",
		},
		{
			"status", "0x0", func(m *spec.Monitor) {
				m.Match.Transactions = []spec.Transaction{{Status: "Success"}, {Status: "Any", Expression: new("gas_used > 100")}}
			},
			"match_conditions.transactions[0].status|-1||the status is Failure, wanted Success\n" +
				"match_conditions.transactions[1].expression|-1||the expression is false|gas_used > 100: 100 vs 100, false\n",
		},
		{
			"one transaction condition is enough", "0x0", func(m *spec.Monitor) {
				m.Match.Events[0].Expression = new("value > 7")
				m.Match.Transactions = []spec.Transaction{{Status: "Success"}, {Status: "Any"}}
			},
			"match_conditions.events[0].expression|0|" + transfer + "|the expression is false|value > 7: 7 vs 7, false\n",
		},
		{
			"no signature", "0x1", func(m *spec.Monitor) { m.Match.Events[0].Signature = "Approval(address,address,uint256)" },
			"match_conditions|-1||the addresses are involved, but no event or call with a wanted signature is\n",
		},
		{
			"no spec", "0x1", func(m *spec.Monitor) { m.Addresses[0].ContractSpec = nil },
			"addresses|0||" + token(0) + " has no contract_spec, so its events cannot be recognised\n",
		},
		{
			"elsewhere", "0x1", func(m *spec.Monitor) { m.Addresses[0].Address = addr("other", 1) },
			"addresses|0|" + transfer + "|the event is of " + token(0) + ", which is not among the addresses\n",
		},
		{"paused", "0x1", func(m *spec.Monitor) { m.Paused = true }, "|-1||the monitor is paused\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := transferMonitor("m", token(0), "value > 6")
			tt.change(m)
			if got := explained(m, oneTransfer(t, tt.status)); got != tt.want {
				t.Errorf("got:\n%swant:\n%s", got, tt.want)
			}
		})
	}
}
