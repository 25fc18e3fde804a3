package expr

import (
	"strconv"
	"strings"
)

// kindInfo is what the comparison rules need to know of a kind text.
type kindInfo struct {
	class Class
	bits  uint16 // Stellar and Solana integers are read in exactly this width
	extra bool   // the peer has no rules for the kind and fails with KindType
}

// classify maps a kind text to its comparison rules.
func classify(d Dialect, kind string) kindInfo {
	switch d {
	case Stellar:
		return classifyStellar(kind)
	case Solana:
		return classifySolana(kind)
	default:
		kind = strings.ToLower(kind)
		return kindInfo{class: classifyEVM(kind), extra: !peerKnows(kind)}
	}
}

// peerKnows reports whether the peer compares values of an EVM kind (expressions, section 4).
func peerKnows(kind string) bool {
	switch kind {
	case "array", "number", "tuple":
		return true
	}
	kind = strings.TrimSuffix(kind, "[]")
	switch kind {
	case "address", "string", "bytes", "bytes32", "bool", "tuple":
		return true
	}
	n, ok := widthAfter(strings.TrimPrefix(kind, "u"), "int")
	return ok && validWidth(n) && n&(n-1) == 0
}

// classifyEVM knows every Solidity type, which is more than the peer does
// (expressions, section 4).
func classifyEVM(kind string) Class {
	switch kind {
	case "number", "uint":
		return Unsigned
	case "int":
		return Signed
	case "bool":
		return Bool
	case "address":
		return Address
	case "string":
		return Text
	case "bytes", "function":
		return ByteString
	case "array":
		return List
	case "tuple":
		return Record
	}
	if elem, _, ok := arrayElem(kind); ok {
		if classifyEVM(elem) == Invalid {
			return Invalid
		}
		return List
	}
	if n, ok := widthAfter(kind, "uint"); ok && validWidth(n) {
		return Unsigned
	}
	if n, ok := widthAfter(kind, "int"); ok && validWidth(n) {
		return Signed
	}
	if n, ok := widthAfter(kind, "bytes"); ok && n >= 1 && n <= 32 {
		return ByteString
	}
	return Invalid
}

func validWidth(n int) bool { return n >= 8 && n <= 256 && n%8 == 0 }

// widthAfter reads the decimal number that follows prefix.
func widthAfter(kind, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(kind, prefix)
	if !ok || digits == "" || len(digits) > 3 || digits[0] == '0' || !allDigits(digits) {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// arrayElem splits "T[]" and "T[k]" into T and k; k is -1 for a dynamic array. Only
// a bounded number of dimensions is accepted, as kinds come from outside.
func arrayElem(kind string) (elem string, size int, ok bool) {
	const maxDimensions = 32
	body, found := strings.CutSuffix(kind, "]")
	if !found || strings.Count(kind, "[") > maxDimensions {
		return "", 0, false
	}
	open := strings.LastIndexByte(body, '[')
	if open <= 0 {
		return "", 0, false
	}
	elem, count := body[:open], body[open+1:]
	if count == "" {
		return elem, -1, true
	}
	if !allDigits(count) {
		return "", 0, false
	}
	size, err := strconv.Atoi(count)
	return elem, size, err == nil
}

// classifyStellar looks at the kind up to "<" in lower case (stellar-matching, section 8).
func classifyStellar(kind string) kindInfo {
	base, _, _ := strings.Cut(kind, "<")
	base = strings.ToLower(base)
	switch base {
	case "bool":
		return kindInfo{class: Bool}
	case "u32":
		return kindInfo{class: Unsigned, bits: 32}
	case "u64", "timepoint", "duration":
		return kindInfo{class: Unsigned, bits: 64}
	case "u128":
		return kindInfo{class: Unsigned, bits: 128}
	case "i32":
		return kindInfo{class: Signed, bits: 32}
	case "i64":
		return kindInfo{class: Signed, bits: 64}
	case "i128":
		return kindInfo{class: Signed, bits: 128}
	case "u256", "i256":
		return kindInfo{class: Digits}
	case "string", "symbol":
		return kindInfo{class: Text}
	case "bytes":
		return kindInfo{class: ByteString}
	case "address":
		return kindInfo{class: Address}
	case "vec":
		return kindInfo{class: List}
	case "map":
		return kindInfo{class: Mapping}
	}
	// The peer puts the length of a byte string into its kind and then does not know the kind.
	if digits, ok := strings.CutPrefix(base, "bytes"); ok && allDigits(digits) {
		return kindInfo{class: ByteString, extra: true}
	}
	return kindInfo{}
}

// classifySolana treats every kind that is no number and no boolean as text
// (solana-matching, section 5).
func classifySolana(kind string) kindInfo {
	switch strings.ToLower(kind) {
	case "u8", "u16", "u32", "u64", "u128":
		return kindInfo{class: Unsigned, bits: 128}
	case "i8", "i16", "i32", "i64", "i128":
		return kindInfo{class: Signed, bits: 128}
	case "bool":
		return kindInfo{class: Bool}
	}
	return kindInfo{class: Text}
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
