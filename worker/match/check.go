package match

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// CheckTree checks every tenant of a configuration directory as CheckFolder
// does, tenants in alphabetical order.
func CheckTree(t *spec.Tree) spec.Problems {
	var out spec.Problems
	for _, name := range slices.Sorted(maps.Keys(t.Tenants)) {
		out = append(out, CheckFolder(t.Tenants[name], t.Networks)...)
	}
	return out
}

// CheckFolder compiles every monitor of a folder for the chains of its networks
// and returns what is wrong, in the order of monitor names. Shared holds the
// networks outside the folder, by slug. A reference to no known network is
// passed over, since reading the folder has reported it; of a monitor without
// any other, the contract specs tell the chain.
//
// An expression that cannot be read or never be evaluated, and a monitor that
// can never match, are errors. What may still match is a warning. The packages
// of chains must be linked for their monitors to be compiled; for a chain that
// has none, expressions are only read.
func CheckFolder(f *spec.Folder, shared map[string]*spec.Network) spec.Problems {
	refs := spec.NewReferences(f.Networks, shared, nil)
	var out spec.Problems
	for _, name := range slices.Sorted(maps.Keys(f.Monitors)) {
		m := f.Monitors[name]
		file := f.Files[spec.DocKey(spec.KindMonitor, name)]
		for _, p := range checkMonitor(m, chainsOf(m, refs)) {
			out = append(out, p.document(file))
		}
	}
	return out
}

// chainsOf are the kinds of chain that a monitor is for, in the order of its
// networks.
func chainsOf(m *spec.Monitor, refs spec.References) []spec.Chain {
	var chains []spec.Chain
	add := func(c spec.Chain) {
		if c != "" && !slices.Contains(chains, c) {
			chains = append(chains, c)
		}
	}
	for _, ref := range m.Networks {
		if n := refs.Network(ref); n != nil {
			add(n.Type)
		}
	}
	if len(chains) > 0 {
		return chains
	}
	for i := range m.Addresses {
		add(m.Addresses[i].SpecChain)
	}
	return chains
}

// document is the problem as one of a document.
func (p Problem) document(file string) spec.Problem {
	out := spec.Problem{File: file, Path: p.Path, Message: p.Message, Severity: spec.SeverityWarning}
	if p.Severity == SeverityError {
		out.Severity = spec.SeverityError
	}
	if p.Suggestion != "" {
		out.Message += "; " + p.Suggestion
	}
	return out
}

// checkMonitor checks a monitor for each kind of chain it is for. Where there
// are several, what one of them does not understand may be meant for another.
func checkMonitor(m *spec.Monitor, chains []spec.Chain) []Problem {
	byChain := make([][]Problem, len(chains))
	for i, chain := range chains {
		byChain[i] = checkChain(chain, m)
	}
	if len(chains) == 1 {
		return byChain[0]
	}
	var out []Problem
	for i, chain := range chains {
		for _, p := range byChain[i] {
			everywhere := true
			for _, others := range byChain {
				everywhere = everywhere && slices.Contains(others, p)
			}
			if everywhere {
				if i == 0 {
					out = append(out, p)
				}
				continue
			}
			// A signature that a contract of this chain has is meant for it; all
			// else, transaction variables included, may be another chain's.
			if _, ours := signaturePath(p.Path); !ours {
				p.Severity = SeverityWarning
			}
			p.Message = fmt.Sprintf("on %s networks: %s", chain, p.Message)
			out = append(out, p)
		}
	}
	return out
}

func checkChain(chain spec.Chain, m *spec.Monitor) []Problem {
	_, problems, err := Compile(chain, m)
	switch {
	case err == nil:
		return perSpec(chain, m, problems)
	case errors.Is(err, ErrUnknownChain) && !chain.Supported():
		return syntax(chain, m)
	default: // a mistake in the program, which must not pass for a good monitor
		return []Problem{{Severity: SeverityError, Message: "cannot be checked: " + err.Error()}}
	}
}

// perSpec refines the problems of a monitor whose addresses have different
// contract specs. The compiler looks at the first contract that has a
// signature; parameters may have other names in the next, where the expression
// may hold, or not. It is an error only if it holds nowhere.
func perSpec(chain spec.Chain, m *spec.Monitor, problems []Problem) []Problem {
	var specs []string
	bySpec := make(map[string][]spec.Address)
	for _, a := range m.Addresses {
		text := string(a.ContractSpec)
		if bySpec[text] == nil {
			specs = append(specs, text)
		}
		bySpec[text] = append(bySpec[text], a)
	}
	if len(specs) < 2 {
		return problems
	}
	out := slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool {
		_, ok := signaturePath(p.Path)
		return ok
	})
	var found []Problem
	holds := make(map[string]bool) // conditions that some contract has no problem with
	for _, text := range specs {
		alone := *m
		alone.Addresses = bySpec[text]
		_, list, err := Compile(chain, &alone)
		if err != nil {
			continue // it compiled before, with all addresses
		}
		troubled := make(map[string]bool)
		badAddresses := 0
		for _, p := range list {
			if strings.HasPrefix(p.Path, "addresses[") && strings.HasSuffix(p.Path, "].address") {
				badAddresses++
			}
			if dot := strings.LastIndexByte(p.Path, '.'); dot >= 0 {
				troubled[p.Path[:dot]] = true
			}
			if _, ok := signaturePath(p.Path); ok {
				p.Message += " (by the contract_spec of " + alone.Addresses[0].Address + ")"
				found = append(found, p)
			}
		}
		if badAddresses == len(alone.Addresses) {
			continue // nothing was looked at
		}
		for list, conditions := range map[string][]spec.Signature{"events": m.Match.Events, "functions": m.Match.Functions} {
			for i := range conditions {
				at := fmt.Sprintf("match_conditions.%s[%d]", list, i)
				holds[at] = holds[at] || !troubled[at]
			}
		}
	}
	for _, p := range found {
		if at, _ := signaturePath(p.Path); holds[at] {
			p.Severity = SeverityWarning
		}
		out = append(out, p)
	}
	return out
}

// signaturePath tells the condition of an expression on an event or function.
func signaturePath(path string) (condition string, ok bool) {
	condition, ok = strings.CutSuffix(path, ".expression")
	ok = ok && (strings.HasPrefix(path, "match_conditions.events[") || strings.HasPrefix(path, "match_conditions.functions["))
	return condition, ok
}

// syntax reads the expressions of a monitor for a chain that is not matched
// here, so that what no chain could read is found all the same. Some chains
// ignore expressions (solana-matching, midnight-matching: summaries).
func syntax(chain spec.Chain, m *spec.Monitor) []Problem {
	var out []Problem
	read := func(path string, src *string, ignored bool) {
		if src == nil {
			return
		}
		_, _, err := expr.Compile(*src, expr.EVM, nil) // one grammar for all chains
		if err == nil {
			return
		}
		p := Problem{Path: path + ".expression", Severity: SeverityError, Message: err.Error() + "; the condition never matches"}
		if e, ok := errors.AsType[*expr.Error](err); ok {
			p.Message = fmt.Sprintf("syntax error at offset %d: %s; the condition never matches", e.Offset, e.Message)
		}
		if strings.TrimSpace(*src) == "" {
			p.Suggestion = "leave the expression out, or write null, to match always"
		}
		if ignored {
			p.Severity = SeverityWarning
			p.Message = "is not an expression, though " + string(chain) + " ignores it here: " + err.Error()
		}
		out = append(out, p)
	}
	for i, t := range m.Match.Transactions {
		read(fmt.Sprintf("match_conditions.transactions[%d]", i), t.Expression, chain == spec.Midnight)
	}
	for i, s := range m.Match.Events {
		read(fmt.Sprintf("match_conditions.events[%d]", i), s.Expression, chain != spec.Stellar)
	}
	for i, s := range m.Match.Functions {
		read(fmt.Sprintf("match_conditions.functions[%d]", i), s.Expression, chain != spec.Stellar)
	}
	return out
}
