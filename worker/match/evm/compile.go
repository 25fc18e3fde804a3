package evm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// Compile makes a monitor ready for matching. Nothing in the document prevents
// that: a condition that cannot hold just never matches, and problems says so.
func Compile(m *spec.Monitor, specs *ABIs) (*Monitor, []match.Problem) {
	c := &compiler{
		src: m,
		out: &Monitor{
			name:         m.Name,
			doc:          pack(m),
			paused:       m.Paused,
			hasEvents:    len(m.Match.Events) > 0,
			hasFunctions: len(m.Match.Functions) > 0,
			hasTxs:       len(m.Match.Transactions) > 0,
		},
		specs: specs,
	}
	c.addresses()
	c.transactions()
	c.signatures("events", m.Match.Events, true)
	c.signatures("functions", m.Match.Functions, false)
	c.settle()
	return c.out, c.problems
}

// compiler builds one Monitor.
type compiler struct {
	src       *spec.Monitor
	out       *Monitor
	specs     *ABIs
	contracts []*contract     // distinct ABIs so far
	used      map[string]bool // paths of conditions whose signature some ABI has
	problems  []match.Problem
	soft      []int // problems that are errors only if nothing else can match
}

func (c *compiler) report(sev match.Severity, path, suggestion, format string, args ...any) {
	c.problems = append(c.problems, match.Problem{
		Path: path, Severity: sev, Message: fmt.Sprintf(format, args...), Suggestion: suggestion,
	})
}

func (c *compiler) warn(path, suggestion, format string, args ...any) {
	c.report(match.SeverityWarning, path, suggestion, format, args...)
}

// reportSoft reports what makes a condition dead, which matters less when the
// monitor has others.
func (c *compiler) reportSoft(path, suggestion, format string, args ...any) {
	c.soft = append(c.soft, len(c.problems))
	c.warn(path, suggestion, format, args...)
}

// settle grades the soft problems, now that it is known whether the monitor
// can match at all.
func (c *compiler) settle() {
	if c.out.canMatch() {
		return
	}
	for _, i := range c.soft {
		c.problems[i].Severity = match.SeverityError
	}
}

// canMatch reports whether some block could make the monitor match, as far as
// its own document tells.
func (m *Monitor) canMatch() bool {
	switch {
	case len(m.targets) == 0, m.hasTxs && len(m.txs) == 0:
		return false
	case m.gateOnly():
		return true
	}
	return slices.ContainsFunc(m.targets, func(t target) bool {
		// Without an ABI another monitor of the tenant may lend its own.
		return len(t.rules()) > 0 || t.contract == nil && m.hasFunctions
	})
}

func (c *compiler) addresses() {
	if len(c.src.Addresses) == 0 {
		c.warn("addresses", "list the contracts or accounts to watch",
			"a monitor without addresses never matches on an EVM network")
		return
	}
	first := make(map[chainevm.Address]int, len(c.src.Addresses)) // to positions in targets
	c.out.targets = make([]target, 0, len(c.src.Addresses))
	for i := range c.src.Addresses {
		entry := &c.src.Addresses[i]
		path := fmt.Sprintf("addresses[%d]", i)
		address, err := parseAddress(entry.Address)
		if err != nil {
			c.warn(path+".address", "write 0x and 40 hexadecimal digits",
				"%q is not an EVM address and never matches", entry.Address)
			continue
		}
		t := target{address, c.contract(path+".contract_spec", entry)}
		if at, ok := first[address]; ok {
			if t.contract != nil && t.contract != c.out.targets[at].contract {
				c.warn(path, "merge the two entries",
					"address %s is listed before; this entry and its contract_spec have no effect", address)
			}
			continue
		}
		first[address] = len(c.out.targets)
		c.out.targets = append(c.out.targets, t)
		if t.contract == nil && c.out.hasFunctions && c.out.lent == nil {
			c.out.lent = &lent{functions: c.src.Match.Functions}
		}
	}
}

// contract parses the contract spec of an address, nil when it has none of use.
func (c *compiler) contract(path string, entry *spec.Address) *contract {
	if len(entry.ContractSpec) == 0 || string(entry.ContractSpec) == "null" {
		if c.out.hasEvents || c.out.hasFunctions {
			c.warn(path, "add the contract's ABI",
				"without a contract_spec no event or function of %s can be recognised", entry.Address)
		}
		return nil
	}
	if entry.SpecChain != "" && entry.SpecChain != spec.EVM {
		c.warn(path, "use the Solidity ABI of the contract",
			"the contract_spec is of %s and is ignored on an EVM network", entry.SpecChain)
		return nil
	}
	a, problems, err := c.specs.Get(entry.ContractSpec)
	if err != nil {
		c.warn(path, "use the Solidity ABI of the contract", "the %s", err)
		return nil
	}
	for _, p := range problems {
		c.warn(path, "", "%s; this entry is ignored", p)
	}
	for _, known := range c.contracts {
		if known.abi == a {
			return known
		}
	}
	out := &contract{abi: a, rules: c.rules(a)}
	c.contracts = append(c.contracts, out)
	return out
}

// rules compiles the conditions against one ABI. Problems are reported for
// the first ABI that has the signature.
func (c *compiler) rules(a *abi.ABI) []*rule {
	var rules []*rule
	for _, list := range []struct {
		name   string
		wanted []spec.Signature
		defs   []*abi.Definition
	}{{"events", c.src.Match.Events, a.Events}, {"functions", c.src.Match.Functions, a.Functions}} {
		folded := make([]string, len(list.wanted))
		for i := range folded {
			folded[i] = abi.FoldSignature(list.wanted[i].Signature)
		}
		for _, d := range list.defs {
			if !slices.Contains(folded, d.Folded) || !reachable(a, d) {
				continue
			}
			if r := c.rule(list.name, list.wanted, folded, d); r != nil {
				rules = append(rules, r)
			}
		}
	}
	return slices.Clip(rules)
}

// reachable reports whether the definition is the first with its topic or
// selector; the others are never found.
func reachable(a *abi.ABI, d *abi.Definition) bool {
	if d.Event {
		return a.EventByTopic(d.Hash) == d
	}
	return a.FunctionBySelector(d.Selector()) == d
}

// rule compiles the conditions that name one definition, nil when none can hold.
func (c *compiler) rule(list string, wanted []spec.Signature, folded []string, d *abi.Definition) *rule {
	var conds []condition
	for i := range wanted {
		if folded[i] != d.Folded {
			continue
		}
		path := fmt.Sprintf("match_conditions.%s[%d]", list, i)
		known := c.used[path]
		if c.used == nil {
			c.used = make(map[string]bool)
		}
		c.used[path] = true
		p, ok := c.expression(path+".expression", wanted[i].Expression, d.Vars, !known)
		if ok {
			conds = append(conds, condition{program: p, index: uint32(i)})
		}
	}
	return newRule(d, conds)
}

// newRule ties conditions to their definition, nil when there are none.
func newRule(d *abi.Definition, conds []condition) *rule {
	if len(conds) == 0 {
		return nil
	}
	r := &rule{def: d, conds: slices.Clip(conds)}
	for i := range r.conds {
		r.conds[i].rule = r
	}
	return r
}

// expression compiles an optional expression; ok is false when it can never
// hold because it is no expression at all.
func (c *compiler) expression(path string, src *string, vars []expr.Param, report bool) (p *expr.Program, ok bool) {
	if src == nil {
		return nil, true
	}
	p, problems, err := expr.Compile(*src, expr.EVM, vars)
	if err != nil {
		if report {
			hint := ""
			if strings.TrimSpace(*src) == "" {
				hint = "leave the expression out, or write null, to match always"
			}
			c.report(match.SeverityError, path, hint, "%s; the condition never matches", message(err))
		}
		return nil, false
	}
	if report {
		for _, e := range problems {
			hint := ""
			if e.Suggestion != "" {
				hint = fmt.Sprintf("did you mean %q?", e.Suggestion)
			} else if e.Kind == expr.KindUnknownVariable {
				hint = "known: " + names(vars)
			}
			c.report(match.SeverityError, path, hint, "%s", message(e))
		}
	}
	return p, true
}

// message is the text of an expression error without its suggestion, which
// problems hold apart.
func message(err error) string {
	e, ok := errors.AsType[*expr.Error](err)
	if !ok {
		return err.Error()
	}
	if e.Condition != "" {
		return fmt.Sprintf("condition %q can never hold: %s", e.Condition, e.Message)
	}
	return fmt.Sprintf("syntax error at offset %d: %s", e.Offset, e.Message)
}

func names(vars []expr.Param) string {
	var list []string
	for i := range vars {
		if vars[i].Name != "" {
			list = append(list, vars[i].Name)
		}
	}
	if len(list) == 0 {
		return "no named arguments"
	}
	return strings.Join(list, ", ")
}

func (c *compiler) transactions() {
	for i := range c.src.Match.Transactions {
		t := &c.src.Match.Transactions[i]
		path := fmt.Sprintf("match_conditions.transactions[%d]", i)
		cond := condition{index: uint32(i)}
		switch t.Status {
		case spec.StatusAny:
		case spec.StatusSuccess:
			cond.status = chainevm.StatusSuccess
		case spec.StatusFailure:
			cond.status = chainevm.StatusFailure
		default:
			c.report(match.SeverityError, path+".status", "use Any, Success or Failure",
				"unknown status %q; the condition never matches", t.Status)
			continue
		}
		c.out.asksStatus = c.out.asksStatus || cond.status != chainevm.StatusUnknown
		c.out.asksGas = c.out.asksGas || t.Expression != nil && strings.Contains(*t.Expression, "gas_used")
		p, ok := c.expression(path+".expression", t.Expression, txParams, true)
		if !ok {
			continue
		}
		cond.program = p
		cond.texts = p != nil && usesText(p)
		c.out.txs = append(c.out.txs, cond)
	}
	c.out.txs = slices.Clip(c.out.txs)
}

// signatures reports the conditions whose signature no ABI of the monitor has,
// and checks their expressions no further.
func (c *compiler) signatures(list string, wanted []spec.Signature, events bool) {
	var have []*abi.Definition
	if len(c.contracts) == 0 { // reported for the addresses
		return
	}
	for _, t := range c.out.targets {
		switch {
		case t.contract == nil:
		case events:
			have = append(have, t.contract.abi.Events...)
		default:
			have = append(have, t.contract.abi.Functions...)
		}
	}
	for i := range wanted {
		path := fmt.Sprintf("match_conditions.%s[%d]", list, i)
		if c.used[path] {
			continue
		}
		folded := abi.FoldSignature(wanted[i].Signature)
		if slices.ContainsFunc(have, func(d *abi.Definition) bool { return d.Folded == folded }) {
			c.reportSoft(path+".signature", "", "%q is hidden by another entry of the ABI with the same selector", wanted[i].Signature)
			continue
		}
		hint := ""
		if near := closestSignature(folded, have); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		report := c.reportSoft
		if len(c.contracts) == 0 {
			report = c.warn // said already: there is no contract_spec to find it in
		}
		report(path+".signature", hint, "no contract_spec of this monitor has the %s %q",
			strings.TrimSuffix(list, "s"), wanted[i].Signature)
	}
}
