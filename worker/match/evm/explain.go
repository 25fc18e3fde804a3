package evm

import (
	"encoding/json"
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// NearMiss is a transaction that a monitor could have matched and did not.
type NearMiss struct {
	Tx          int // index in the block's transactions
	Transaction fsm.Hash
	Elsewhere   bool     // it involves no monitored address
	Reasons     []Reason // at least one
}

// Reason is one condition that did not hold.
type Reason struct {
	Path      string      // the condition in the monitor, like match_conditions.events[0]; empty for the addresses
	Log       int         // index in the transaction's logs, -1 when it is not about a log
	Signature string      // of the event or function met, or empty
	Message   string      // what is in the way
	Steps     []expr.Step // the expression's conditions with the values compared
}

// maxElsewhere bounds the transactions reported for unmonitored addresses.
const maxElsewhere = 20

// Explain tells for each transaction that involves a monitored address, and did
// not match, which conditions failed. When no transaction involves one, it
// tells where else the wanted events and calls were seen. ABIs of other
// monitors are not considered.
func Explain(m *Monitor, b *chainevm.Block) []NearMiss {
	x := NewIndex()
	x.Add(match.Key{}, m, 0)
	matched := make(map[int]bool)
	for _, h := range x.Match(b, 0) {
		matched[h.Tx] = true
	}
	return NewExplainer(m).Explain(b, matched)
}

// Explainer explains block after block for one monitor. It serves one goroutine.
type Explainer struct{ e *explainer }

// NewExplainer makes a monitor's.
func NewExplainer(m *Monitor) *Explainer {
	e := &explainer{m: m, targets: make(map[chainevm.Address]*target, len(m.targets))}
	for i := range m.targets {
		e.targets[m.targets[i].address] = &m.targets[i]
	}
	if err := json.Unmarshal(m.doc.json(), &e.doc); err != nil {
		return &Explainer{} // pack has written it, so it can be read
	}
	return &Explainer{e}
}

// Candidates counts the transactions of a block that involve an address of the
// monitor: each matches, or is a near miss.
func (x *Explainer) Candidates(b *chainevm.Block) (n int) {
	for i := range b.Transactions {
		if x.e != nil && x.e.gate(&b.Transactions[i]) {
			n++
		}
	}
	return n
}

// Explain is the function of that name, for who knows by index which transactions
// have matched.
func (x *Explainer) Explain(b *chainevm.Block, matched map[int]bool) []NearMiss {
	e := x.e
	if e == nil {
		return nil
	}
	var out []NearMiss
	passed := len(matched) > 0
	for i := range b.Transactions {
		t := &b.Transactions[i]
		if matched[i] || !e.gate(t) {
			continue
		}
		passed = true
		out = append(out, NearMiss{Tx: i, Transaction: t.Hash, Reasons: e.transaction(t)})
	}
	for i := range b.Transactions {
		if passed || len(out) >= maxElsewhere {
			break
		}
		t := &b.Transactions[i]
		if reasons := e.elsewhere(t); len(reasons) > 0 {
			out = append(out, NearMiss{Tx: i, Transaction: t.Hash, Elsewhere: true, Reasons: reasons})
		}
	}
	return out
}

type explainer struct {
	m       *Monitor
	doc     explained
	targets map[chainevm.Address]*target
	reasons []Reason
	held    bool // an event or function condition of the transaction holds
}

// explained is the part of a monitor's document that is explained.
type explained struct {
	Match struct {
		Events       []spec.Signature   `json:"events"`
		Functions    []spec.Signature   `json:"functions"`
		Transactions []spec.Transaction `json:"transactions"`
	} `json:"match_conditions"`
}

func (e *explainer) gate(t *chainevm.Transaction) bool {
	if t.From != nil && e.targets[*t.From] != nil || t.To != nil && e.targets[*t.To] != nil {
		return true
	}
	for i := range t.Logs {
		if e.targets[t.Logs[i].Address] != nil {
			return true
		}
	}
	return false
}

func (e *explainer) add(path string, log int, signature, format string, args ...any) *Reason {
	e.reasons = append(e.reasons, Reason{Path: path, Log: log, Signature: signature, Message: fmt.Sprintf(format, args...)})
	return &e.reasons[len(e.reasons)-1]
}

func (e *explainer) transaction(t *chainevm.Transaction) []Reason {
	e.reasons, e.held = nil, false
	if e.m.hasEvents {
		for i := range t.Logs {
			e.event(i, &t.Logs[i])
		}
	}
	if e.m.hasFunctions {
		e.call(t)
	}
	switch {
	case e.held: // the others do not matter
		e.reasons = nil
	case len(e.reasons) == 0 && !e.m.gateOnly():
		e.add("match_conditions", -1, "", "the addresses are involved, but no event or call with a wanted signature is")
	}
	e.conditions(t)
	if len(e.reasons) == 0 {
		e.add("", -1, "", "the monitor is paused")
	}
	return e.reasons
}

func (e *explainer) event(i int, l *chainevm.Log) {
	t := e.targets[l.Address]
	switch {
	case t == nil:
		return
	case t.contract == nil:
		e.add("addresses", i, "", "%s has no contract_spec, so its events cannot be recognised", l.Address)
		return
	case len(l.Topics) == 0:
		e.add("match_conditions.events", i, "", "the log has no topics, so it is of no known event")
		return
	}
	d := t.contract.abi.EventByTopic(l.Topics[0])
	if d == nil {
		e.add("match_conditions.events", i, "", "the event with topic %s is not in the contract_spec of %s", l.Topics[0], l.Address)
		return
	}
	args, err := d.Layout.DecodeLog(l.Topics, l.Data, nil)
	e.signature("events", e.doc.Match.Events, i, d, args, err)
}

func (e *explainer) call(t *chainevm.Transaction) {
	if t.To == nil || len(t.Input) < 4 {
		return
	}
	o := e.targets[*t.To]
	switch {
	case o == nil:
		return
	case o.contract == nil:
		e.add("addresses", -1, "", "%s has no contract_spec, so calls of it cannot be recognised", t.To)
		return
	}
	d := o.contract.abi.FunctionBySelector([4]byte(t.Input[:4]))
	if d == nil {
		e.add("match_conditions.functions", -1, "", "the function with selector 0x%x is not in the contract_spec of %s", t.Input[:4], t.To)
		return
	}
	args, err := d.Layout.DecodeCall(t.Input[4:], nil)
	e.signature("functions", e.doc.Match.Functions, -1, d, args, err)
}

// signature explains the conditions that name a definition which was met.
func (e *explainer) signature(list string, wanted []spec.Signature, log int, d *abi.Definition, args []expr.Value, err error) {
	for i := range wanted {
		if abi.FoldSignature(wanted[i].Signature) != d.Folded {
			continue
		}
		path := fmt.Sprintf("match_conditions.%s[%d]", list, i)
		if err != nil {
			e.add(path, log, d.Signature, "the arguments are not what the contract_spec says: %s", err)
			continue
		}
		if e.expression(path, log, d.Signature, wanted[i].Expression, d.Vars, args) {
			e.held = true
		}
	}
}

// expression reports whether an optional expression holds, and explains one
// that does not.
func (e *explainer) expression(path string, log int, signature string, src *string, vars []expr.Param, args []expr.Value) bool {
	if src == nil {
		return true
	}
	p, _, err := expr.Compile(*src, expr.EVM, vars)
	if err != nil {
		e.add(path+".expression", log, signature, "%s", err)
		return false
	}
	ok, err := p.Eval(args)
	if ok && err == nil {
		return true
	}
	message := "the expression is false"
	if err != nil {
		message = "the expression cannot be evaluated: " + err.Error()
	}
	e.add(path+".expression", log, signature, "%s", message).Steps = p.Explain(args)
	return false
}

// conditions explains the transaction conditions when none holds.
func (e *explainer) conditions(t *chainevm.Transaction) {
	before := len(e.reasons)
	var vars txVars
	vars.set(t)
	vars.addTexts(t)
	for i, c := range e.doc.Match.Transactions {
		path := fmt.Sprintf("match_conditions.transactions[%d]", i)
		have := len(e.reasons)
		if c.Status != spec.StatusAny && c.Status != t.Status().String() {
			if t.Status() == chainevm.StatusUnknown {
				e.add(path+".status", -1, "", "the status is unknown without the transaction's receipt, wanted %s", c.Status)
			} else {
				e.add(path+".status", -1, "", "the status is %s, wanted %s", t.Status(), c.Status)
			}
		}
		e.expression(path, -1, "", c.Expression, txParams, vars.args[:])
		if len(e.reasons) == have { // holds, and one is enough
			e.reasons = e.reasons[:before]
			return
		}
	}
}

// elsewhere tells of wanted events and calls at unmonitored addresses.
func (e *explainer) elsewhere(t *chainevm.Transaction) []Reason {
	e.reasons = nil
	for _, o := range e.m.targets {
		for _, r := range o.rules() {
			for i := range t.Logs {
				l := &t.Logs[i]
				if r.def.Event && len(l.Topics) > 0 && l.Topics[0] == r.def.Hash {
					e.add("addresses", i, r.def.Signature, "the event is of %s, which is not among the addresses", l.Address)
				}
			}
			if !r.def.Event && t.To != nil && len(t.Input) >= 4 && r.def.Selector() == [4]byte(t.Input[:4]) {
				e.add("addresses", -1, r.def.Signature, "the call is of %s, which is not among the addresses", t.To)
			}
		}
		if len(e.reasons) > 0 {
			break
		}
	}
	return e.reasons
}
