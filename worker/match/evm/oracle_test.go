package evm_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// The oracle is the matching rules written down once more, monitor by monitor
// and transaction by transaction, with no regard to speed. It shares the ABI
// decoder and the expression language with the product and nothing else.

type oracleMonitor struct {
	key         match.Key
	doc         *spec.Monitor
	from, until uint64
	addresses   []oracleAddress // of doc, once read
}

type oracleAddress struct {
	text string // 0x and 40 lower-case digits, if it is one
	abi  *abi.ABI
}

// read prepares the addresses of the document.
func (m *oracleMonitor) read(specs *abi.Cache) {
	if m.addresses != nil {
		return
	}
	for _, a := range m.doc.Addresses {
		text := strings.TrimPrefix(a.Address, "0x")
		out := oracleAddress{text: "0x" + strings.ToLower(strings.Join(strings.FieldsFunc(text, unicode.IsSpace), ""))}
		if a.ContractSpec != nil {
			out.abi, _, _ = specs.Get(a.ContractSpec)
		}
		m.addresses = append(m.addresses, out)
	}
}

// find returns the first entry equal to an address.
func (m *oracleMonitor) find(a chainevm.Address) (contract *abi.ABI, ok bool) {
	var text string
	for i := range m.addresses {
		if text == "" {
			text = a.String()
		}
		if m.addresses[i].text == text {
			return m.addresses[i].abi, true
		}
	}
	return nil, false
}

type oracleHit struct {
	Key  match.Key
	Tx   int
	On   match.MatchedOn
	Args match.MatchedOnArgs
}

func (m *oracleMonitor) inForce(pos uint64) bool {
	return m.from <= pos && pos < m.until && !m.doc.Paused
}

// oracle judges a block. The monitors are in the order they were added.
func oracle(monitors []*oracleMonitor, specs *abi.Cache, b *chainevm.Block, pos uint64) []oracleHit {
	var hits []oracleHit
	for _, m := range monitors {
		m.read(specs)
	}
	for _, m := range monitors {
		if !m.inForce(pos) {
			continue
		}
		lend := func(a chainevm.Address) *abi.ABI {
			for _, other := range monitors {
				if other.inForce(pos) && other.key.Tenant == m.key.Tenant {
					if found, _ := other.find(a); found != nil {
						return found
					}
				}
			}
			return nil
		}
		for i := range b.Transactions {
			if hit, ok := oracleTransaction(m, &b.Transactions[i], lend); ok {
				hit.Key, hit.Tx = m.key, i
				hits = append(hits, hit)
			}
		}
	}
	return hits
}

func oracleTransaction(m *oracleMonitor, t *chainevm.Transaction, lend func(chainevm.Address) *abi.ABI) (hit oracleHit, ok bool) {
	gate := false
	involve := func(a *chainevm.Address) {
		if a != nil {
			_, monitored := m.find(*a)
			gate = gate || monitored
		}
	}
	involve(t.From)
	involve(t.To)
	for i := range t.Logs {
		involve(&t.Logs[i].Address)
		oracleEvent(m, &t.Logs[i], &hit)
	}
	oracleFunction(m, t, lend, &hit)
	for _, c := range m.doc.Match.Transactions {
		if (c.Status == "Any" || c.Status == t.Status().String()) && oracleHolds(c.Expression, oracleVars, oracleVarsOf(t)) {
			status := "Success"
			if t.Status() == chainevm.StatusFailure {
				status = "Failure"
			}
			hit.On.Transactions = append(hit.On.Transactions, match.TransactionCondition{Expression: c.Expression, Status: status})
			break
		}
	}
	either := len(m.doc.Match.Events)+len(m.doc.Match.Functions) == 0 || len(hit.On.Events)+len(hit.On.Functions) > 0
	transaction := len(m.doc.Match.Transactions) == 0 || len(hit.On.Transactions) > 0
	return hit, gate && either && transaction
}

func oracleEvent(m *oracleMonitor, l *chainevm.Log, hit *oracleHit) {
	contract, ok := m.find(l.Address)
	if !ok || contract == nil || len(l.Topics) == 0 {
		return
	}
	at := slices.IndexFunc(contract.Events, func(d *abi.Definition) bool { return d.Hash == l.Topics[0] })
	if at < 0 {
		return
	}
	d := contract.Events[at]
	args, err := d.Layout.DecodeLog(l.Topics, l.Data, nil)
	if err != nil {
		return
	}
	for _, c := range m.doc.Match.Events {
		if sameSignature(c.Signature, d.Signature) && oracleHolds(c.Expression, d.Vars, args) {
			hit.On.Events = append(hit.On.Events, match.Condition{Expression: c.Expression, Signature: d.Signature})
			hit.Args.Events = append(hit.Args.Events, oracleArgs(d, args, "0x"+hex.EncodeToString(d.Hash[:])))
			return
		}
	}
}

func oracleFunction(m *oracleMonitor, t *chainevm.Transaction, lend func(chainevm.Address) *abi.ABI, hit *oracleHit) {
	if t.To == nil || len(t.Input) < 4 || len(m.doc.Match.Functions) == 0 {
		return
	}
	contract, ok := m.find(*t.To)
	if ok && contract == nil {
		contract = lend(*t.To)
	}
	if !ok || contract == nil {
		return
	}
	at := slices.IndexFunc(contract.Functions, func(d *abi.Definition) bool { return string(d.Hash[:4]) == string(t.Input[:4]) })
	if at < 0 {
		return
	}
	d := contract.Functions[at]
	args, err := d.Layout.DecodeCall(t.Input[4:], nil)
	if err != nil {
		return
	}
	for _, c := range m.doc.Match.Functions {
		if !sameSignature(c.Signature, d.Signature) || !oracleHolds(c.Expression, d.Vars, args) {
			continue
		}
		selector := hex.EncodeToString(d.Hash[:4])
		if c.Expression != nil {
			selector = "0x" + selector
		}
		hit.On.Functions = append(hit.On.Functions, match.Condition{Expression: c.Expression, Signature: d.Signature})
		hit.Args.Functions = append(hit.Args.Functions, oracleArgs(d, args, selector))
		return
	}
}

func sameSignature(a, b string) bool {
	strip := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), "")) }
	return strip(a) == strip(b)
}

func oracleHolds(expression *string, vars []expr.Param, args []expr.Value) bool {
	if expression == nil {
		return true
	}
	p, _, err := expr.Compile(*expression, expr.EVM, vars)
	if err != nil {
		return false
	}
	ok, err := p.Eval(args)
	return ok && err == nil
}

func oracleArgs(d *abi.Definition, args []expr.Value, hash string) match.Call {
	c := match.Call{Signature: d.Signature, HexSignature: hash}
	for i := range args {
		p := d.Params[i]
		c.Args = append(c.Args, match.Arg{Name: p.Name, Kind: p.Kind, Indexed: p.Indexed && d.Event, Value: args[i].Text()})
	}
	return c
}

var oracleVars = []expr.Param{
	{Name: "hash", Kind: "string"},
	{Name: "from", Kind: "address"},
	{Name: "to", Kind: "address"},
	{Name: "input", Kind: "string"},
	{Name: "value", Kind: "uint256"},
	{Name: "gas_price", Kind: "uint256"},
	{Name: "max_fee_per_gas", Kind: "uint256"},
	{Name: "max_priority_fee_per_gas", Kind: "uint256"},
	{Name: "gas_limit", Kind: "uint256"},
	{Name: "nonce", Kind: "uint256"},
	{Name: "gas_used", Kind: "uint256"},
	{Name: "transaction_index", Kind: "uint64"},
}

func oracleVarsOf(t *chainevm.Transaction) []expr.Value {
	party := func(a *chainevm.Address) expr.Value {
		if a == nil {
			return expr.FromText(expr.EVM, "address", "")
		}
		return expr.FromText(expr.EVM, "address", a.String())
	}
	gas := expr.Missing()
	if t.Receipt != nil && t.Receipt.HasGasUsed {
		gas = expr.Uint(&t.Receipt.GasUsed)
	}
	return []expr.Value{
		expr.String(t.Hash.String()), party(t.From), party(t.To), expr.String("0x" + hex.EncodeToString(t.Input)),
		expr.Uint(&t.Value), expr.Uint(&t.GasPrice), expr.Uint(&t.MaxFeePerGas), expr.Uint(&t.MaxPriorityFeePerGas),
		expr.Uint(&t.Gas), expr.Uint(&t.Nonce), gas, expr.UintFrom64(t.Index),
	}
}
