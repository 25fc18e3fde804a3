package evm_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// found is the matches of a block as "monitor: signatures", in order.
func found(t *testing.T, b *chainevm.Block, monitors ...*spec.Monitor) []string {
	t.Helper()
	x, specs := evm.NewIndex(), &evm.ABIs{}
	for i, m := range monitors {
		compiled, _ := evm.Compile(m, specs)
		x.Add(match.Key{Monitor: fmt.Sprint(i)}, compiled, 0)
	}
	var out []string
	for _, h := range x.Match(b, 0) {
		m := h.Match("n")
		line := m.MonitorName + ":"
		for _, c := range slices.Concat(m.MatchedOn.Events, m.MatchedOn.Functions) {
			line += " " + c.Signature
		}
		out = append(out, line)
	}
	return out
}

// logBlock is a block of one transaction, without call, with these logs.
func logBlock(t *testing.T, logs ...map[string]any) *chainevm.Block {
	t.Helper()
	tx := map[string]any{"hash": "0x" + strings.Repeat("01", 32), "from": addr("eoa", 0), "to": addr("router", 0), "input": "0x"}
	for _, l := range logs {
		l["transactionHash"] = tx["hash"]
	}
	b, err := chainevm.DecodeParts(mustJSON(map[string]any{"transactions": []any{tx}}), nil, mustJSON(logs))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func callBlock(t *testing.T, to any, input string) *chainevm.Block {
	t.Helper()
	tx := map[string]any{"hash": "0x" + strings.Repeat("01", 32), "from": addr("eoa", 0), "to": to, "input": input}
	b, err := chainevm.DecodeParts(mustJSON(map[string]any{"transactions": []any{tx}}), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func aLog(topics []string, data string) map[string]any {
	return map[string]any{"address": token(0), "topics": topics, "data": data}
}

func conditions(address string, contract json.RawMessage, events, functions []string) *spec.Monitor {
	m := &spec.Monitor{Name: "m", Addresses: []spec.Address{{Address: address, ContractSpec: contract}}}
	for _, s := range events {
		m.Match.Events = append(m.Match.Events, spec.Signature{Signature: s})
	}
	for _, s := range functions {
		m.Match.Functions = append(m.Match.Functions, spec.Signature{Signature: s})
	}
	return m
}

func TestBadLogs(t *testing.T) {
	m := conditions(token(0), tokenSpec, []string{"Transfer(address,address,uint256)"}, nil)
	transfer, word := topic("Transfer(address,address,uint256)"), "0x"+strings.Repeat("0", 63)+"1"
	good := func() map[string]any { return aLog([]string{transfer, word, word}, word) }
	for name, bad := range map[string]map[string]any{
		"no topics":        aLog(nil, word),
		"unknown topic":    aLog([]string{topic("Other()"), word, word}, word),
		"too few topics":   aLog([]string{transfer, word}, word),
		"too many topics":  aLog([]string{transfer, word, word, word}, "0x"),
		"truncated data":   aLog([]string{transfer, word, word}, word[:64]),
		"no data":          aLog([]string{transfer, word, word}, "0x"),
		"selector as hash": aLog([]string{topic("transfer(address,uint256)")[:10] + strings.Repeat("0", 56), word, word}, word+word[2:]),
	} {
		t.Run(name, func(t *testing.T) {
			if got := found(t, logBlock(t, bad), m); got != nil {
				t.Errorf("found %q", got)
			}
			if got := found(t, logBlock(t, bad, good()), m); len(got) != 1 {
				t.Errorf("with a good log: found %q", got)
			}
		})
	}
	if got := found(t, logBlock(t, good(), good()), m); len(got) != 1 || strings.Count(got[0], "Transfer") != 2 {
		t.Errorf("two logs: found %q", got)
	}
}

func TestBadCalls(t *testing.T) {
	m := conditions(token(0), tokenSpec, nil, []string{"transfer(address,uint256)"})
	call := topic("transfer(address,uint256)")[:10]
	args := strings.Repeat("0", 128)
	for name, b := range map[string]*chainevm.Block{
		"no input":         callBlock(t, token(0), "0x"),
		"three bytes":      callBlock(t, token(0), call[:8]),
		"selector only":    callBlock(t, token(0), call),
		"truncated":        callBlock(t, token(0), call+args[:126]),
		"unknown selector": callBlock(t, token(0), "0x12345678"+args),
		"other contract":   callBlock(t, token(1), call+args),
		"creation":         callBlock(t, nil, call+args),
	} {
		if got := found(t, b, m); got != nil {
			t.Errorf("%s: found %q", name, got)
		}
	}
	if got := found(t, callBlock(t, token(0), call+args+"ff"), m); len(got) != 1 {
		t.Errorf("bytes behind the arguments: found %q", got)
	}
}

func TestCreationMatchesByTransaction(t *testing.T) {
	m := &spec.Monitor{Name: "m", Addresses: []spec.Address{{Address: addr("eoa", 0)}}}
	m.Match.Transactions = []spec.Transaction{{Status: "Any", Expression: new("to == ''")}}
	if got := found(t, callBlock(t, nil, "0x60"), m); len(got) != 1 {
		t.Errorf("creation: found %q", got)
	}
	if got := found(t, callBlock(t, token(0), "0x60"), m); got != nil {
		t.Errorf("call: found %q", got)
	}
}

// TestCollidingSelectors uses two functions of one selector: the first by name
// hides the other.
func TestCollidingSelectors(t *testing.T) {
	contract := abiOf(abiItem("function", "many_msg_babbage", "a bytes1"), abiItem("function", "transfer", "b address", "c uint256"))
	input := topic("transfer(address,uint256)")[:10] + strings.Repeat("0", 128)
	if a, b := topic("many_msg_babbage(bytes1)")[:10], input[:10]; a != b {
		t.Fatalf("selectors %s and %s differ", a, b)
	}
	hidden := conditions(token(0), contract, nil, []string{"transfer(address,uint256)"})
	if got := found(t, callBlock(t, token(0), input), hidden); got != nil {
		t.Errorf("hidden function: found %q", got)
	}
	if list := problems(hidden); !strings.Contains(list, "is hidden by another entry") {
		t.Errorf("problems %q", list)
	}
	first := conditions(token(0), contract, nil, []string{"many_msg_babbage(bytes1)"})
	other := conditions(token(0), tokenSpec, nil, []string{"transfer(address,uint256)"})
	got := found(t, callBlock(t, token(0), input), first, other)
	if want := []string{"m: many_msg_babbage(bytes1)", "m: transfer(address,uint256)"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestOverloadsInCase: the selector tells them apart, the condition does not.
func TestOverloadsInCase(t *testing.T) {
	contract := abiOf(abiItem("function", "Mint", "a uint256"), abiItem("function", "mint", "a uint256"))
	m := conditions(token(0), contract, nil, []string{"MINT(uint256)"})
	for _, name := range []string{"Mint(uint256)", "mint(uint256)"} {
		got := found(t, callBlock(t, token(0), topic(name)[:10]+strings.Repeat("0", 64)), m)
		if want := []string{"m: " + name}; !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

func TestDuplicateAddresses(t *testing.T) {
	transfer, word := topic("Transfer(address,address,uint256)"), "0x"+strings.Repeat("0", 64)
	b := logBlock(t, aLog([]string{transfer, word, word}, word))
	m := conditions(token(0), tokenSpec, []string{"Transfer(address,address,uint256)"}, nil)
	m.Addresses = append(m.Addresses, m.Addresses[0])
	if got := found(t, b, m); len(got) != 1 {
		t.Errorf("twice the same: found %q", got)
	}
	m.Addresses[0].ContractSpec = nil
	if got := found(t, b, m); got != nil {
		t.Errorf("the first entry has no spec: found %q", got)
	}
}

// TestBorrowedABI: a monitor without an ABI uses the first one of its own
// tenant, for calls only.
func TestBorrowedABI(t *testing.T) {
	x, specs := evm.NewIndex(), &evm.ABIs{}
	add := func(tenant, name string, m *spec.Monitor, from uint64) evm.Handle {
		m.Name = name
		compiled, _ := evm.Compile(m, specs)
		return x.Add(match.Key{Tenant: tenant, Monitor: name}, compiled, from)
	}
	needs := func() *spec.Monitor {
		m := conditions(token(0), nil, []string{"Transfer(address,address,uint256)"}, []string{"transfer(address,uint256)"})
		m.Match.Functions[0].Expression = new("amount == 0")
		return m
	}
	lends := func(param string) *spec.Monitor {
		return conditions(token(0), abiOf(abiItem("function", "transfer", "to address", param+" uint256")), []string{"Never()"}, nil)
	}
	b := callBlock(t, token(0), topic("transfer(address,uint256)")[:10]+strings.Repeat("0", 128))
	names := func(pos uint64) string {
		var list []string
		for _, h := range x.Match(b, pos) {
			list = append(list, h.Tenant+"/"+h.Key.Monitor)
		}
		return strings.Join(list, " ")
	}
	add("a", "needs", needs(), 0)
	add("b", "needs", needs(), 0)
	expect := func(pos uint64, want string) {
		t.Helper()
		if got := names(pos); got != want {
			t.Errorf("position %d: %q, want %q", pos, got, want)
		}
	}
	expect(1, "")
	first := add("a", "first", lends("amount"), 2)
	add("a", "second", lends("quantity"), 2) // its parameter has another name
	expect(1, "")
	expect(2, "a/needs")
	x.Remove(first, 4)
	expect(3, "a/needs")
	expect(4, "")
	x.Prune(4)
	expect(4, "")
	add("b", "lends", lends("amount"), 5)
	expect(5, "b/needs")
	if x.Len() != 4 {
		t.Errorf("%d monitors, want 4", x.Len())
	}
}
