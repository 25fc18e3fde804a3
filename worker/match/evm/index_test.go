package evm_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// param is one parameter for abiOf: "name type" or "name type indexed".
func abiItem(kind, name string, params ...string) string {
	inputs := make([]string, len(params))
	for i, p := range params {
		f := strings.Fields(p)
		inputs[i] = fmt.Sprintf(`{"name":%q,"type":%q,"indexed":%v}`, f[0], f[1], len(f) > 2)
		if kind == "function" {
			inputs[i] = fmt.Sprintf(`{"name":%q,"type":%q}`, f[0], f[1])
		}
	}
	return fmt.Sprintf(`{"type":%q,"name":%q,"inputs":[%s]}`, kind, name, strings.Join(inputs, ","))
}

func abiOf(items ...string) json.RawMessage {
	return json.RawMessage("[" + strings.Join(items, ",") + "]")
}

// The contracts of random monitors. The second has a Transfer of the same topic
// but another layout; the fourth other names for the same layout.
var randomABIs = []json.RawMessage{
	abiOf(
		abiItem("event", "Transfer", "from address indexed", "to address indexed", "value uint256"),
		abiItem("event", "Moved", "delta int64", "flag bool indexed", "id bytes32"),
		abiItem("function", "transfer", "to address", "value uint256"),
		abiItem("function", "Transfer", "to address", "value uint256"),
	),
	abiOf(
		abiItem("event", "Transfer", "from address indexed", "to address indexed", "value uint256 indexed"),
		abiItem("event", "Named", "value string", "list uint8[]"),
		abiItem("function", "name", "value string"),
	),
	abiOf(abiItem("event", "Named", "value string", "list uint8[]"), abiItem("function", "move", "delta int64", "flag bool")),
	abiOf(
		abiItem("event", "Transfer", "src address indexed", "dst address indexed", "value uint256"),
		abiItem("function", "transfer", "dst address", "value uint256"),
	),
	nil,
}

var (
	randomSignatures = []string{
		"Transfer(address,address,uint256)", " transfer( ADDRESS, address ,uint256 )", "Moved(int64,bool,bytes32)", "Named(string,uint8[])",
		"transfer(address,uint256)", "name(string)", "move(int64,bool)", "unknown()",
	}
	randomEvents    = []string{"Transfer(address,address,uint256)", "Moved(int64,bool,bytes32)", "Named(string,uint8[])", "Other()"}
	randomFunctions = []string{"transfer(address,uint256)", "Transfer(address,uint256)", "name(string)", "move(int64,bool)", "other()"}
)

func randomAddress(n int) string { return fmt.Sprintf("0x%039d%c", 0, "0aBcD1"[n]) }

func drawAddress(t *rapid.T, label string) string {
	return randomAddress(rapid.IntRange(0, 5).Draw(t, label))
}

func drawExpression(t *rapid.T) *string {
	small := func() int { return rapid.IntRange(-3, 3).Draw(t, "constant") }
	op := func() string { return rapid.SampledFrom([]string{"==", "!=", "<", "<=", ">", ">="}).Draw(t, "op") }
	leaf := func() string {
		switch rapid.IntRange(0, 12).Draw(t, "leaf") {
		case 0, 1, 2, 3:
			return fmt.Sprintf("value %s %d", op(), small())
		case 4:
			return fmt.Sprintf("delta %s %d", op(), small())
		case 5:
			return "to == " + drawAddress(t, "to")
		case 6:
			return "from == " + drawAddress(t, "from")
		case 7:
			return fmt.Sprintf("flag == %v", rapid.Bool().Draw(t, "flag"))
		case 8:
			return fmt.Sprintf("id == 0x%064x", small()+3)
		case 9:
			return "value == 'one'"
		case 10:
			return fmt.Sprintf("list contains %d", small())
		case 11:
			return fmt.Sprintf("gas_used %s %d", op(), small())
		default:
			return rapid.SampledFrom([]string{"bad == 1", "to == ''", "hash starts_with 0x", "dst != from", "value > 0x2"}).Draw(t, "odd")
		}
	}
	n := rapid.IntRange(-1, 3).Draw(t, "leaves")
	if n < 0 {
		return nil
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(rapid.SampledFrom([]string{" AND ", " AND ", " OR "}).Draw(t, "logic"))
		}
		b.WriteString(leaf())
	}
	text := b.String()
	return &text
}

// drawDense is a monitor of which many share an event, a function or the
// transactions of an address, with constants at and around what blocks hold.
func drawDense(t *rapid.T, name string) *spec.Monitor {
	m := &spec.Monitor{Name: name, Networks: []string{"n"}}
	m.Addresses = []spec.Address{{Address: randomAddress(1 + rapid.IntRange(0, 1).Draw(t, "address")), ContractSpec: randomABIs[0]}}
	constant := func() int { return rapid.IntRange(-4, 4).Draw(t, "constant") }
	bound := func(name string) string {
		return fmt.Sprintf("%s %s %d", name, rapid.SampledFrom([]string{"<", "<=", ">", ">=", ">", "<", "==", "!="}).Draw(t, "op"), constant())
	}
	expression := func(leaf func(i int) string) *string {
		text := leaf(rapid.IntRange(0, 2).Draw(t, "leaf"))
		for range rapid.IntRange(0, 1).Draw(t, "more") {
			text += rapid.SampledFrom([]string{" AND ", " AND ", " AND ", " OR "}).Draw(t, "logic") + leaf(rapid.IntRange(0, 2).Draw(t, "leaf"))
		}
		return &text
	}
	of := func(leaves ...func() string) func(int) string { return func(i int) string { return leaves[i]() } }
	value := func() string { return bound("value") }
	to := func() string { return "to == " + drawAddress(t, "to") }
	from := func() string { return "from == " + drawAddress(t, "from") }
	delta := func() string { return bound("delta") }
	flag := func() string { return fmt.Sprintf("flag == %v", rapid.Bool().Draw(t, "flag")) }
	id := func() string { return fmt.Sprintf("id == 0x%064x", max(0, constant())) }
	gas := func() string { return bound("gas_used") }

	kind := rapid.IntRange(0, 3).Draw(t, "kind")
	for range rapid.IntRange(1, 3).Draw(t, "alternatives") {
		switch kind {
		case 0:
			m.Match.Events = append(m.Match.Events, spec.Signature{Signature: randomEvents[0], Expression: expression(of(value, to, from))})
		case 1:
			m.Match.Events = append(m.Match.Events, spec.Signature{Signature: randomEvents[1], Expression: expression(of(delta, flag, id))})
		case 2:
			m.Match.Functions = append(m.Match.Functions, spec.Signature{Signature: randomFunctions[0], Expression: expression(of(value, to, value))})
		default:
			status := rapid.SampledFrom([]string{"Any", "Success", "Failure"}).Draw(t, "status")
			m.Match.Transactions = append(m.Match.Transactions, spec.Transaction{Status: status, Expression: expression(of(value, to, gas))})
		}
	}
	return m
}

func drawMonitor(t *rapid.T, name string) *spec.Monitor {
	m := &spec.Monitor{Name: name, Networks: []string{"n"}, Paused: rapid.IntRange(0, 19).Draw(t, "paused") == 0}
	for range rapid.IntRange(0, 3).Draw(t, "addresses") {
		a := spec.Address{Address: drawAddress(t, "address")}
		if a.ContractSpec = rapid.SampledFrom(randomABIs).Draw(t, "abi"); a.ContractSpec != nil {
			a.SpecChain = spec.EVM
		}
		m.Addresses = append(m.Addresses, a)
	}
	signatures := func(label string) (list []spec.Signature) {
		for range rapid.IntRange(0, 3).Draw(t, label) {
			list = append(list, spec.Signature{Signature: rapid.SampledFrom(randomSignatures).Draw(t, "signature"), Expression: drawExpression(t)})
		}
		return list
	}
	m.Match.Events, m.Match.Functions = signatures("events"), signatures("functions")
	for range rapid.IntRange(-2, 2).Draw(t, "transactions") {
		m.Match.Transactions = append(m.Match.Transactions, spec.Transaction{
			Status: rapid.SampledFrom([]string{"Any", "Success", "Failure"}).Draw(t, "status"), Expression: drawExpression(t),
		})
	}
	return m
}

func drawWord(t *rapid.T) string {
	n := rapid.IntRange(-3, 3).Draw(t, "word")
	w := uint256.NewInt(uint64(max(n, 0)))
	if n < 0 {
		w.Neg(uint256.NewInt(uint64(-n)))
	}
	return fmt.Sprintf("%064s", strings.TrimPrefix(w.Hex(), "0x"))
}

func drawAddressWord(t *rapid.T) string {
	return strings.Repeat("0", 24) + strings.ToLower(drawAddress(t, "word")[2:])
}

// drawData is the arguments of a signature, sometimes damaged.
func drawData(t *rapid.T, signature string) string {
	var data string
	switch signature {
	case "Transfer(address,address,uint256)":
		data = drawWord(t)
	case "Moved(int64,bool,bytes32)":
		data = drawWord(t) + drawWord(t)
	case "transfer(address,uint256)", "Transfer(address,uint256)":
		data = drawAddressWord(t) + drawWord(t)
	case "move(int64,bool)":
		data = drawWord(t) + drawWord(t)
	case "name(string)":
		data = fmt.Sprintf("%064x%064x%-64s", 32, 3, "6f6e65")
	case "Named(string,uint8[])":
		data = fmt.Sprintf("%064x%064x%064x%-64s%064x", 64, 128, 3, "6f6e65", 2) + drawWord(t) + drawWord(t)
	}
	data = strings.ReplaceAll(data, " ", "0")
	switch rapid.IntRange(0, 15).Draw(t, "damage") {
	case 0:
		data = data[:len(data)/2&^1]
	case 1:
		data += "00ff"
	}
	return data
}

func topic(signature string) string { return fmt.Sprintf("0x%x", keccak(signature)) }

func drawBlock(t *rapid.T) *chainevm.Block {
	var txs, receipts, logs []map[string]any
	for i := range rapid.IntRange(0, 4).Draw(t, "txs") {
		hash := fmt.Sprintf("0x%064x", i+1)
		tx := map[string]any{
			"hash": hash, "from": drawAddress(t, "from"), "to": drawAddress(t, "to"), "transactionIndex": fmt.Sprintf("%#x", i),
			"value": fmt.Sprintf("%#x", rapid.IntRange(0, 4).Draw(t, "value")), "nonce": "0x1", "gas": "0x1", "gasPrice": "0x2", "input": "0x",
		}
		if rapid.IntRange(0, 5).Draw(t, "creation") == 0 {
			tx["to"] = nil
		}
		if rapid.Bool().Draw(t, "call") {
			f := rapid.SampledFrom(randomFunctions).Draw(t, "function")
			tx["input"] = topic(f)[:10] + drawData(t, f)
		}
		for range rapid.IntRange(0, 4).Draw(t, "logs") {
			e := rapid.SampledFrom(randomEvents).Draw(t, "event")
			topics := []string{topic(e)}
			switch e {
			case "Transfer(address,address,uint256)":
				topics = append(topics, "0x"+drawAddressWord(t), "0x"+drawAddressWord(t))
			case "Moved(int64,bool,bytes32)":
				topics = append(topics, "0x"+drawWord(t))
			}
			switch rapid.IntRange(0, 9).Draw(t, "topics") {
			case 0:
				topics = topics[:rapid.IntRange(0, len(topics)).Draw(t, "fewer")]
			case 1:
				topics = append(topics, "0x"+drawWord(t))
			}
			logs = append(logs, map[string]any{
				"address": drawAddress(t, "emitter"), "topics": topics, "data": "0x" + drawData(t, e), "transactionHash": hash,
			})
		}
		txs = append(txs, tx)
		receipts = append(receipts, map[string]any{
			"transactionHash": hash, "gasUsed": fmt.Sprintf("%#x", rapid.IntRange(0, 4).Draw(t, "gas")), "logs": []any{},
			"status": rapid.SampledFrom([]string{"0x0", "0x1"}).Draw(t, "status"),
		})
	}
	var withReceipts json.RawMessage
	if rapid.IntRange(0, 4).Draw(t, "receipts") > 0 {
		withReceipts = mustJSON(receipts)
	}
	b, err := chainevm.DecodeParts(mustJSON(map[string]any{"number": "0x1", "transactions": orEmpty(txs)}), withReceipts, mustJSON(orEmpty(logs)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func oracleForm(hits []evm.Hit) []oracleHit {
	var out []oracleHit
	for i := range hits {
		m := hits[i].Match("n")
		out = append(out, oracleHit{Key: hits[i].Key, Tx: hits[i].Tx, On: m.MatchedOn, Args: m.Args})
	}
	return out
}

// TestIndexEqualsOracle adds, removes and prunes monitors at random positions
// and compares what the index finds in random blocks with the oracle.
func TestIndexEqualsOracle(t *testing.T) {
	for _, limits := range []struct {
		small int32
		fresh int
	}{{0, 2}, {3, 4}, {12, 32}} {
		t.Run(fmt.Sprintf("small=%d", limits.small), func(t *testing.T) {
			defer evm.SetLimits(limits.small, limits.fresh)()
			rapid.Check(t, func(t *rapid.T) {
				x, specs := evm.NewIndex(), &evm.ABIs{}
				var all []*oracleMonitor
				handles := make(map[*oracleMonitor]evm.Handle)
				pos := uint64(1)
				draw, most := drawMonitor, 12
				if rapid.Bool().Draw(t, "dense") {
					draw, most = drawDense, 40
				}
				for range rapid.IntRange(1, 6).Draw(t, "rounds") {
					for range rapid.IntRange(0, most).Draw(t, "adds") {
						name := fmt.Sprint(len(all))
						o := &oracleMonitor{
							key: match.Key{Tenant: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tenant"), Monitor: name},
							doc: draw(t, name), from: pos + rapid.Uint64Range(0, 2).Draw(t, "from"), until: math.MaxUint64,
						}
						m, _ := evm.Compile(o.doc, specs)
						handles[o] = x.Add(o.key, m, o.from)
						all = append(all, o)
					}
					for range rapid.IntRange(0, min(len(all), 8)).Draw(t, "removes") {
						o := rapid.SampledFrom(all).Draw(t, "removed")
						until := pos + rapid.Uint64Range(0, 2).Draw(t, "until")
						x.Remove(handles[o], until)
						o.until = min(o.until, until)
					}
					b := drawBlock(t)
					want, got := oracle(all, specs, b, pos), oracleForm(x.Match(b, pos))
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("position %d (-oracle +index):\n%s", pos, diff)
					}
					pos += rapid.Uint64Range(0, 2).Draw(t, "step")
					if rapid.Bool().Draw(t, "prune") {
						x.Prune(pos)
					}
				}
			})
		})
	}
}
