package spec

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// readContractSpec tells the chain of a contract_spec by its shape, first fit
// wins: Solidity ABI, Soroban spec, Anchor IDL. The shape decides which rules a
// spec that fits none is held against, so that the problem names the item.
func readContractSpec(n node) (json.RawMessage, Chain) {
	if !n.ok() {
		return nil, ""
	}
	switch n.raw[0] {
	case '[':
		if looksLikeSoroban(n.raw) {
			n.list(checkSorobanEntry)
			return bytes.Clone(n.raw), Stellar
		}
		n.list(checkABIItem)
		return bytes.Clone(n.raw), EVM
	case '{':
		// Compilers write the ABI inside an object.
		o := n.object()
		if abi := o.optional("abi"); abi.ok() && abi.raw[0] == '[' {
			abi.list(checkABIItem)
			return bytes.Clone(abi.raw), EVM
		}
		return bytes.Clone(n.raw), Solana
	default:
		n.fail("found %s, expected a Solidity ABI (array), a Soroban spec (array), an Anchor IDL (object) or null", n.found())
		return nil, ""
	}
}

// looksLikeSoroban reports whether the first item of an array is keyed like a
// Soroban spec entry.
func looksLikeSoroban(raw []byte) bool {
	first, _ := nextValue(raw[1:])
	if !bytes.HasPrefix(first, []byte("{")) {
		return false
	}
	key, _ := nextValue(first[1:])
	return key != nil && strings.HasSuffix(unquote(key), "_v0")
}

var abiTypes = []string{"function", "event", "error", "constructor", "fallback", "receive"}

// checkABIItem holds one ABI item against the peer's rules, tolerating missing
// outputs and anonymous. Further keys are ignored.
func checkABIItem(item node) {
	o := item.object()
	if o == nil {
		return
	}
	kind, _ := o.required("type", "a string").oneOf(abiTypes...)
	switch kind {
	case "function", "event", "error":
		checkIdentifier(o.required("name", "a string"), false)
		o.list("inputs", func(p node) { checkABIParam(p, kind != "function") })
	case "constructor":
		o.optional("inputs").list(func(p node) { checkABIParam(p, true) })
	}
	if kind == "function" {
		o.optional("outputs").list(func(p node) { checkABIParam(p, true) })
	}
	if kind == "event" {
		o.optional("anonymous").boolean()
	}
}

func checkABIParam(n node, mayBeIndexed bool) {
	o := n.object()
	if o == nil {
		return
	}
	kind := o.required("type", "a string")
	t, ok := kind.text()
	if ok && !isSolidityType(t) {
		kind.fail("found %s, expected a Solidity type", quote(t))
	}
	checkIdentifier(o.optional("name"), true)
	if indexed := o.optional("indexed"); indexed.ok() {
		if _, ok := indexed.boolean(); ok && !mayBeIndexed {
			indexed.fail("is given for the input of a function, expected it on events only")
		}
	}
	if base, _, _ := strings.Cut(t, "["); base == "tuple" {
		o.list("components", func(p node) { checkABIParam(p, true) })
	}
}

func checkIdentifier(n node, mayBeEmpty bool) {
	s, ok := n.text()
	if ok && !isIdentifier(s) && (s != "" || !mayBeEmpty) {
		n.fail("found %s, expected an identifier", quote(s))
	}
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c == '$' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isSolidityType accepts an elementary type or the name of a declared one,
// followed by any number of [] and [n].
func isSolidityType(s string) bool {
	base, arrays, isArray := strings.Cut(s, "[")
	if isArray && !isArraySuffix("["+arrays) {
		return false
	}
	base = strings.TrimSuffix(base, " payable")
	if !isIdentifier(base) {
		return false
	}
	for _, sized := range []struct {
		prefix       string
		step, lo, hi uint64
	}{{"uint", 8, 8, 256}, {"int", 8, 8, 256}, {"bytes", 1, 1, 32}} {
		size, ok := strings.CutPrefix(base, sized.prefix)
		if !ok || size == "" || digits(size) != len(size) {
			continue
		}
		v, err := strconv.ParseUint(size, 10, 16)
		return err == nil && size[0] != '0' && v%sized.step == 0 && v >= sized.lo && v <= sized.hi
	}
	return true
}

func isArraySuffix(s string) bool {
	for s != "" {
		inner, ok := strings.CutPrefix(s, "[")
		if !ok {
			return false
		}
		n := digits(inner)
		if s, ok = strings.CutPrefix(inner[n:], "]"); !ok {
			return false
		}
	}
	return true
}

var sorobanEntries = []string{
	"function_v0", "event_v0", "udt_struct_v0", "udt_union_v0", "udt_enum_v0", "udt_error_enum_v0",
}

// checkSorobanEntry looks at what matching needs and tolerates the rest:
// missing doc and lib, the key type for type_, and more members than the
// first protocol versions allowed.
func checkSorobanEntry(item node) {
	o := item.object()
	if o == nil {
		return
	}
	if len(o.members) != 1 {
		item.fail("found an object of %d members, expected one of %s", len(o.members), join(sorobanEntries))
		return
	}
	kind := o.members[0].key
	entry := o.optional(kind)
	switch kind {
	case "function_v0":
		e := entry.object()
		e.nonEmpty("name")
		e.list("inputs", checkSorobanParam)
		e.list("outputs", func(node) {})
	case "event_v0":
		e := entry.object()
		e.nonEmpty("name")
		e.optional("prefix_topics").texts()
		e.list("params", func(p node) {
			checkSorobanParam(p)
			p.object().optional("location").oneOf("topic_list", "data")
		})
		e.optional("data_format").oneOf("single_value", "vec", "map")
	case "udt_struct_v0", "udt_union_v0", "udt_enum_v0", "udt_error_enum_v0":
		entry.object()
	default:
		item.fail("found %s, expected one of %s%s", quote(kind), join(sorobanEntries), didYouMean(kind, sorobanEntries))
	}
}

func checkSorobanParam(n node) {
	o := n.object()
	if o == nil {
		return
	}
	o.nonEmpty("name")
	if !o.optional("type").ok() {
		o.required("type_", "a Soroban type")
	}
}
