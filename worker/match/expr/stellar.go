package expr

import (
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
)

// checkStellar is check by the rules of stellar-matching, section 8.
func (l *leaf) checkStellar(k kindInfo) *Error {
	switch k.class {
	case Bool:
		if l.lit.kind != litBool {
			return l.wrongLiteral("write true or false, without quotes")
		}
		if !l.op.equality() {
			return l.wrongOperator(k)
		}
	case Unsigned, Signed:
		if l.lit.kind != litNumber {
			return l.wrongLiteral("write a decimal number, without quotes")
		}
		if _, ok := parseExact(l.lit.text, k); !ok {
			return l.fail(KindParse, "the literal is not a whole number in the range of the kind")
		}
		if !l.op.equality() && !l.op.ordering() {
			return l.wrongOperator(k)
		}
	case Digits:
		if l.lit.kind == litBool {
			return l.wrongLiteral("write a number")
		}
		if !l.op.equality() {
			return l.wrongOperator(k)
		}
	case Text, ByteString, Address:
		if l.lit.kind != litString {
			return l.wrongLiteral("put the literal in quotes")
		}
		if l.op.ordering() {
			return l.wrongOperator(k)
		}
	case List, Mapping:
		if l.lit.kind == litBool || k.class == Mapping && l.lit.kind == litNumber && l.op.equality() {
			return l.wrongLiteral("put the literal in quotes")
		}
		if !l.op.equality() && l.op != Contains {
			return l.wrongOperator(k)
		}
	default:
		return l.noRules()
	}
	return nil
}

// compareStellar is compare by the rules of stellar-matching, section 8.
func (l *leaf) compareStellar(k kindInfo, v *Value) (bool, *Error) {
	switch k.class {
	case Bool:
		b, ok := v.asBool()
		if !ok {
			return false, l.fail(KindParse, msgUnreadable)
		}
		if err := l.checkStellar(k); err != nil {
			return false, err
		}
		return (b == l.lit.truth) == (l.op == Eq), nil
	case Unsigned, Signed:
		return l.compareExact(k, v, KindParse)
	}
	if err := l.checkStellar(k); err != nil {
		return false, err
	}
	switch k.class {
	case Digits:
		return (v.Text() == l.lit.text) == (l.op == Eq), nil
	case Address:
		if l.op.equality() {
			return (stripSpace(Fold(v.Text())) == stripSpace(l.lit.folded)) == (l.op == Eq), nil
		}
	case List:
		if l.op == Contains {
			return l.vecContains(v), nil
		}
		return l.vecEqual(v) == (l.op == Eq), nil
	case Mapping:
		return l.compareMap(v)
	}
	return v.compareFolded(l.op, l.lit.folded), nil
}

// compareExact compares numbers of a fixed width. unreadable is the kind of error for a value that
// is none.
func (l *leaf) compareExact(k kindInfo, v *Value, unreadable Kind) (bool, *Error) {
	w, ok := v.asExact(k)
	if !ok {
		return false, l.fail(unreadable, msgUnreadable)
	}
	if err := l.check(k); err != nil {
		return false, err
	}
	lit, _ := parseExact(l.lit.text, k)
	if k.class == Signed {
		return l.op.holds(compareSigned(&w, &lit)), nil
	}
	return l.op.holds(w.Cmp(&lit)), nil
}

// vecContains looks for an element, in JSON or in a list separated by commas.
func (l *leaf) vecContains(v *Value) bool {
	if n, ok := v.listNode(); ok {
		return slices.ContainsFunc(n.elems, l.elementMatches)
	}
	text := v.Text()
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			text = inner
		}
	}
	for item := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(item) == l.lit.text {
			return true
		}
	}
	return false
}

// listNode returns the value if its own text is a JSON array.
func (v *Value) listNode() (*node, bool) {
	n, ok := v.tree, v.form == formTree
	if !ok {
		n, ok = parseJSON(v.Text())
	}
	return n, ok && n.kind == nodeArray
}

// elementMatches tests an element of a vector; of an element that is an object, its member values.
func (l *leaf) elementMatches(n *node) bool {
	if n.kind == nodeObject {
		return slices.ContainsFunc(n.elems, l.nodeMatches)
	}
	return l.nodeMatches(n)
}

func (l *leaf) nodeMatches(n *node) bool {
	switch n.kind {
	case nodeString:
		return foldedEqual(n.str, l.lit.folded)
	case nodeObject:
		inner, ok := n.field("value")
		return ok && inner.text() == l.lit.text
	}
	return n.text() == l.lit.text
}

// vecEqual compares two JSON arrays by structure and two lists without JSON item by item.
func (l *leaf) vecEqual(v *Value) bool {
	n, isJSON := v.tree, v.form == formTree
	if !isJSON {
		n, isJSON = parseJSON(v.Text())
	}
	lit := l.deep().json
	left, right := isJSON && n.kind == nodeArray, lit != nil && lit.kind == nodeArray
	switch {
	case left && right:
		return n.equal(lit)
	case left || right || isJSON != (lit != nil):
		return false
	}
	return slices.Equal(items(v.Text()), items(l.lit.text))
}

func items(s string) []string {
	parts := strings.Split(s, ",")
	for i, p := range parts {
		parts[i] = Fold(strings.TrimSpace(p))
	}
	return parts
}

func (l *leaf) compareMap(v *Value) (bool, *Error) {
	n, ok := v.asJSON()
	if !ok {
		return false, l.fail(KindParse, msgNotJSON)
	}
	if n.kind != nodeObject {
		return false, l.fail(KindType, "the value is not a JSON object")
	}
	if l.op == Contains {
		return slices.ContainsFunc(n.elems, l.nodeMatches), nil
	}
	lit := l.deep().json
	if lit == nil {
		return false, l.fail(KindParse, "the literal is not JSON")
	}
	if lit.kind != nodeObject {
		return false, l.fail(KindType, "the literal is not a JSON object")
	}
	return n.equal(lit) == (l.op == Eq), nil
}

// isStrkey reports whether s is the text of an account (G…) or of a contract (C…).
func isStrkey(s string) bool {
	const length, payload, account, contract = 56, 33, 6 << 3, 2 << 3
	if len(s) != length || s[0] != 'G' && s[0] != 'C' {
		return false
	}
	b, err := base32.StdEncoding.DecodeString(s)
	if err != nil || b[0] != account && b[0] != contract {
		return false
	}
	return crc16(b[:payload]) == binary.LittleEndian.Uint16(b[payload:])
}

// crc16 is the CRC-16/XMODEM checksum.
func crc16(b []byte) uint16 {
	var crc uint16
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
