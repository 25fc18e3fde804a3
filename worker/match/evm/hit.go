package evm

import (
	"encoding/hex"
	"encoding/json"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// Hit is a match as the index found it. Texts and JSON are made when Match is
// called.
type Hit struct {
	match.Key
	Monitor *Monitor
	Tx      int // index in the block's transactions

	block  *chainevm.Block
	order  uint64
	events []found
	call   *condition
	tx     *condition
}

// Transaction is the transaction that matched.
func (h *Hit) Transaction() *chainevm.Transaction { return &h.block.Transactions[h.Tx] }

// Match builds what is handed on: conditions, arguments, variables and the
// parts of the match object. The object's receipt is null where the peer would
// not have fetched one, though the block has it: that is, unless an expression
// of the monitor mentions gas_used, or a condition has a status other than Any
// and the whole block has no logs.
func (h *Hit) Match(network string) *match.Match {
	t := h.Transaction()
	out := &match.Match{
		Key:         h.Key,
		Chain:       spec.EVM,
		Network:     network,
		MonitorName: h.Monitor.MonitorName(),
		Block:       h.block.Ref(),
		Transaction: t.Hash.String(),
		Vars:        transactionVars(t),
		Monitor:     h.Monitor.doc.json(),
		Parts:       map[string]json.RawMessage{"logs": logsJSON(t), "receipt": nullJSON, "transaction": transactionJSON(t)},
	}
	if t.Receipt != nil && h.Monitor.peerReads(h.block.LogCount) {
		out.Parts["receipt"] = receiptJSON(t)
	}
	for _, f := range h.events {
		d := f.cond.rule.def
		l := &t.Logs[f.log]
		args, _ := d.Layout.DecodeLog(l.Topics, l.Data, nil) // decoded before
		out.MatchedOn.Events = append(out.MatchedOn.Events, match.Condition{Expression: f.cond.expression(), Signature: d.Signature})
		out.Args.Events = append(out.Args.Events, call(d, "0x"+hex.EncodeToString(d.Hash[:]), args))
	}
	if c := h.call; c != nil {
		d := c.rule.def
		args, _ := d.Layout.DecodeCall(t.Input[4:], nil)
		selector := hex.EncodeToString(d.Hash[:4])
		if c.program != nil { // a peculiarity of the peer: the prefix is there only then
			selector = "0x" + selector
		}
		out.MatchedOn.Functions = []match.Condition{{Expression: c.expression(), Signature: d.Signature}}
		out.Args.Functions = []match.Call{call(d, selector, args)}
	}
	if c := h.tx; c != nil {
		out.MatchedOn.Transactions = []match.TransactionCondition{{Expression: c.expression(), Status: statusText(t)}}
	}
	return out
}

// statusText is the actual status; an unknown one is told as the peer does.
func statusText(t *chainevm.Transaction) string {
	if t.Status() == chainevm.StatusFailure {
		return spec.StatusFailure
	}
	return spec.StatusSuccess
}

func call(d *abi.Definition, hash string, values []expr.Value) match.Call {
	c := match.Call{Signature: d.Signature, HexSignature: hash, Args: make([]match.Arg, len(values))}
	for i := range values {
		p := &d.Params[i]
		c.Args[i] = match.Arg{Name: p.Name, Kind: p.Kind, Indexed: d.Event && p.Indexed, Value: values[i].Text()}
	}
	return c
}

// transactionVars are the template variables of a transaction.
func transactionVars(t *chainevm.Transaction) map[string]string {
	from := chainevm.Address{} // shown as the zero address when unknown
	if t.From != nil {
		from = *t.From
	}
	vars := map[string]string{"hash": t.Hash.String(), "from": from.String(), "value": t.Value.Dec()}
	if t.To != nil {
		vars["to"] = t.To.String()
	}
	return vars
}
