package spec

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// networkSet is networks by both keys a monitor may use.
type networkSet struct {
	bySlug map[string]*Network
	byStem map[string]*Network
	broken map[string]bool // stems of files with errors: references to them are no further problem
}

func (s *networkSet) find(ref string) *Network {
	if n := s.bySlug[ref]; n != nil {
		return n
	}
	return s.byStem[ref]
}

// References is what monitors may refer to.
type References struct {
	own, shared    *networkSet
	triggers       map[string]bool
	triggerList    []string
	brokenTriggers bool // some trigger file could not be read at all

	scripts map[string]bool // ids of stored scripts; nil: scripts are files
}

// NewReferences makes References from networks and trigger ids, the private
// networks first.
func NewReferences(private, shared map[string]*Network, triggers []string) References {
	r := References{own: &networkSet{bySlug: private}, shared: &networkSet{bySlug: shared}}
	r.setTriggers(triggers)
	return r
}

func (r *References) setTriggers(ids []string) {
	r.triggerList = slices.Sorted(slices.Values(ids))
	r.triggers = make(map[string]bool, len(ids))
	for _, id := range ids {
		r.triggers[id] = true
	}
}

// Network is the network that a monitor's reference means: the private one,
// else the shared one; by slug before file stem. It is nil when there is none.
func (r References) Network(ref string) *Network {
	if n := r.own.find(ref); n != nil {
		return n
	}
	return r.shared.find(ref)
}

// CheckReferences checks what a monitor refers to: its networks, its triggers,
// and the rules that depend on the networks' chains. A reference by file stem
// is replaced by the slug of the network.
func CheckReferences(m *Monitor, r References, opts ...Option) Problems {
	w := &walk{options: newOptions(opts)}
	root := node{w: w}
	networks := root.at("networks")
	chains := make(map[Chain]bool)
	complete := true
	for i, ref := range m.Networks {
		n := r.Network(ref)
		if n == nil {
			complete = false
			if !r.own.broken[ref] && !r.shared.broken[ref] {
				networks.item(i).fail("refers to the network %s, which is not defined%s", quote(ref), didYouMean(ref, r.slugs()))
			}
			continue
		}
		chains[n.Type] = true
		if ref != n.Slug {
			networks.item(i).warn("refers to the network %s by its file name; write its slug %s instead", quote(n.Name), quote(n.Slug))
			m.Networks[i] = n.Slug
		}
	}
	for i, id := range m.Triggers {
		if !r.triggers[id] && !r.brokenTriggers {
			root.at("triggers").item(i).fail("refers to the trigger %s, which is not defined%s", quote(id), didYouMean(id, r.triggerList))
		}
	}
	for i, s := range m.TriggerConditions {
		r.checkStored(root.at("trigger_conditions").item(i), s)
	}
	checkSignatures(root.at("match_conditions"), m, chains)
	if complete {
		checkAddresses(root.at("addresses"), m, chains)
	}
	return w.finish()
}

func (r References) slugs() []string {
	return slices.Sorted(maps.Keys(unite(r.own.bySlug, r.shared.bySlug)))
}

func (r References) scriptIDs() []string { return slices.Sorted(maps.Keys(r.scripts)) }

func unite[V any](a, b map[string]V) map[string]V {
	out := maps.Clone(a)
	if out == nil {
		out = make(map[string]V, len(b))
	}
	maps.Copy(out, b)
	return out
}

// checkSignatures asks for a parameter list wherever a network's chain does;
// Solana takes any text.
func checkSignatures(n node, m *Monitor, chains map[Chain]bool) {
	var strict []string
	for _, c := range []Chain{EVM, Stellar, Midnight} {
		if chains[c] {
			strict = append(strict, string(c))
		}
	}
	if len(strict) == 0 {
		return
	}
	for key, list := range map[string][]Signature{"functions": m.Match.Functions, "events": m.Match.Events} {
		for i, s := range list {
			trimmed := strings.TrimSpace(s.Signature)
			if !strings.HasSuffix(trimmed, ")") || !strings.Contains(trimmed, "(") {
				n.at(key).item(i).at("signature").fail(
					"found %s, expected a name and a parameter list, like Transfer(address,address,uint256), since a network of the monitor is of type %s",
					quote(s.Signature), strict[0])
			}
		}
	}
}

// checkAddresses warns of monitors that cannot match and of contract specs
// that fit none of the monitor's networks.
func checkAddresses(n node, m *Monitor, chains map[Chain]bool) {
	hasABI := false
	for i, a := range m.Addresses {
		if a.SpecChain == "" || isEmptyList(a.ContractSpec) {
			continue
		}
		hasABI = hasABI || a.SpecChain == EVM
		if !chains[a.SpecChain] {
			n.item(i).at("contract_spec").warn("is a contract of %s, which none of the monitor's networks is: it has no effect", a.SpecChain)
		}
	}
	if len(chains) != 1 || !chains[EVM] {
		return
	}
	switch {
	case len(m.Addresses) == 0:
		n.warn("is empty: on EVM networks the monitor never matches")
	case !hasABI && len(m.Match.Events)+len(m.Match.Functions) > 0:
		n.warn("holds no contract_spec: the monitor's functions and events cannot be decoded and never match")
	}
}

func isEmptyList(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte("[")) && isEmptyArray(raw)
}
