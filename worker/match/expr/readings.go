package expr

import (
	"encoding/hex"
	"strings"

	"github.com/holiman/uint256"
)

// asUnsigned reads the value as an unsigned number.
func (v *Value) asUnsigned() (w uint256.Int, ok bool) {
	if v.form == formWord {
		switch v.kind.class {
		case Unsigned:
			return v.word, true
		case Signed:
			return v.word, v.word.Sign() >= 0
		}
	}
	return parseUnsigned(v.Text())
}

// asSigned reads the value as a signed number, in two's complement.
func (v *Value) asSigned() (w uint256.Int, ok bool) {
	if v.form == formWord {
		switch v.kind.class {
		case Signed:
			return v.word, true
		case Unsigned:
			return v.word, v.word.Sign() >= 0
		}
	}
	return parseSigned(v.Text())
}

func (v *Value) asBool() (truth, ok bool) {
	if v.form == formWord {
		return !v.word.IsZero(), v.kind.class == Bool
	}
	text := v.Text()
	return text == "true", text == "true" || text == "false"
}

// asExact reads the value as a number of exactly the width of k.
func (v *Value) asExact(k kindInfo) (w uint256.Int, ok bool) {
	if v.form == formWord {
		if k.class == Signed {
			return v.asSigned()
		}
		return v.asUnsigned()
	}
	return parseExact(v.Text(), k)
}

// asJSON reads the value as JSON.
func (v *Value) asJSON() (*node, bool) {
	if v.form == formTree {
		return v.tree, true
	}
	if n, ok := parseJSON(v.Text()); ok {
		return n, true
	}
	if v.form == formParsed && v.raw != nil {
		return parseJSON(string(v.raw))
	}
	return nil, false
}

// parsedWord is Word for values known as text.
func (v *Value) parsedWord() (w uint256.Int, ok bool) {
	switch v.kind.class {
	case Unsigned, Signed:
		switch {
		case v.dialect != EVM:
			return parseExact(v.text, v.kind)
		case v.kind.class == Unsigned:
			return parseUnsigned(v.text)
		}
		return parseSigned(v.text)
	case Bool:
		if v.text == "true" {
			w.SetOne()
		}
		return w, v.text == "true" || v.text == "false"
	case Address:
		if a := normalAddress(v.text); v.dialect == EVM && len(a) == 40 && allHex(a) {
			return parseDigits(a, digitSet{base: 16})
		}
	case ByteString:
		if t := v.text; v.dialect == EVM && len(t) == 66 && t[0] == '0' && (t[1] == 'x' || t[1] == 'X') && allHex(t[2:]) {
			return parseDigits(t[2:], digitSet{base: 16})
		}
	}
	return w, false
}

// compareFolded applies an operator of texts to the folded text of the value. Byte strings are
// compared without building their text where possible.
func (v *Value) compareFolded(op Op, literal string) bool {
	switch v.form {
	case formBytes:
		if op != Contains {
			return compareHex(op, v.raw, literal)
		}
	case formWord:
		if v.kind.class == ByteString && op != Contains {
			b := v.word.Bytes32()
			return compareHex(op, b[:], literal)
		}
	}
	text := v.Text()
	switch op {
	case Eq:
		return foldedEqual(text, literal)
	case Ne:
		return !foldedEqual(text, literal)
	default:
		return op.within(Fold(text), literal)
	}
}

// compareHex compares the text 0x… of b with a literal.
func compareHex(op Op, b []byte, literal string) bool {
	n := 2 + 2*len(b)
	if op == Eq || op == Ne {
		return (n == len(literal) && hexAt(b, 0, literal)) == (op == Eq)
	}
	switch {
	case len(literal) > n:
		return false
	case op == StartsWith:
		return hexAt(b, 0, literal)
	}
	return hexAt(b, n-len(literal), literal)
}

// hexAt reports whether literal stands at position from of the text 0x… of b.
func hexAt(b []byte, from int, literal string) bool {
	const digits = "0123456789abcdef"
	for i := range len(literal) {
		var c byte
		switch at := from + i; {
		case at == 0:
			c = '0'
		case at == 1:
			c = 'x'
		case at%2 == 0:
			c = digits[b[at/2-1]>>4]
		default:
			c = digits[b[at/2-1]&15]
		}
		if c != literal[i] {
			return false
		}
	}
	return true
}

// addressLike reports whether the text of the value looks like an address.
func (v *Value) addressLike() bool {
	switch v.form {
	case formBytes:
		return len(v.raw) == 20
	case formText:
		return looksLikeAddress(v.text)
	}
	return false
}

// write appends the text of the value; nested texts are quoted as in arrays and tuples.
func (v *Value) write(b *strings.Builder, nested bool) {
	quote := ""
	if nested {
		quote = `"`
	}
	switch v.form {
	case formElems:
		v.writeElems(b)
	case formWord:
		v.writeWord(b, quote)
	case formBytes:
		b.WriteString(quote + "0x" + hex.EncodeToString(v.raw) + quote)
	case formParsed:
		switch v.kind.class {
		case Text, ByteString, Address:
			b.WriteString(quote + v.text + quote)
		default:
			b.WriteString(v.text)
		}
	case formText:
		b.WriteString(quote + v.text + quote)
	case formTree:
		v.tree.write(b)
	case formMissing:
		b.WriteString("null")
	}
}

func (v *Value) writeWord(b *strings.Builder, quote string) {
	switch v.kind.class {
	case Bool:
		if v.word.IsZero() {
			b.WriteString("false")
		} else {
			b.WriteString("true")
		}
	case Signed:
		w := v.word
		if w.Sign() < 0 {
			b.WriteByte('-')
			w.Neg(&w)
		}
		b.WriteString(w.Dec())
	case Address:
		a := v.word.Bytes20()
		b.WriteString(quote + "0x" + hex.EncodeToString(a[:]) + quote)
	case ByteString:
		h := v.word.Bytes32()
		b.WriteString(quote + "0x" + hex.EncodeToString(h[:]) + quote)
	default:
		b.WriteString(v.word.Dec())
	}
}

func (v *Value) writeElems(b *strings.Builder) {
	open, end := byte('['), byte(']')
	if v.kind.class == Record {
		open, end = '(', ')'
	}
	b.WriteByte(open)
	for i := range v.elems {
		if i > 0 {
			b.WriteByte(',')
		}
		v.elems[i].write(b, true)
	}
	b.WriteByte(end)
}

// breaksJSON reports whether some string inside the value is changed by being put into quotes
// without escaping, as the text form does.
func breaksJSON(v *Value) bool {
	for i := range v.elems {
		e := &v.elems[i]
		switch e.form {
		case formElems:
			if breaksJSON(e) {
				return true
			}
		case formText:
			for j := range len(e.text) {
				if c := e.text[j]; c < 0x20 || c == '"' || c == '\\' {
					return true
				}
			}
		}
	}
	return false
}

// hasTuple reports whether a tuple is anywhere inside the value.
func (v *Value) hasTuple() bool {
	if v.form != formElems {
		return false
	}
	if v.kind.class == Record {
		return true
	}
	for i := range v.elems {
		if v.elems[i].hasTuple() {
			return true
		}
	}
	return false
}

// equalNode compares a decoded value, folded, with folded JSON. Integers are compared exactly.
func (v *Value) equalNode(n *node) bool {
	switch v.form {
	case formElems:
		if n.kind != nodeArray || len(n.elems) != len(v.elems) {
			return false
		}
		for i := range v.elems {
			if !v.elems[i].equalNode(n.elems[i]) {
				return false
			}
		}
		return true
	case formWord:
		switch v.kind.class {
		case Bool:
			return n.kind == nodeBool && n.truth == !v.word.IsZero()
		case Unsigned, Signed:
			return v.equalNumber(n)
		}
	}
	return n.kind == nodeString && v.compareFolded(Eq, n.str)
}

// equalNumber compares an integer with a JSON number. In the peer integers beyond 64 bits are
// floating-point numbers; here they keep their digits unless the literal itself is written as one.
func (v *Value) equalNumber(n *node) bool {
	w := v.word
	neg := v.kind.class == Signed && w.Sign() < 0
	if neg {
		w.Neg(&w)
	}
	switch n.kind {
	case nodeInt:
		return n.neg == neg && w.IsUint64() && w.Uint64() == n.mag
	case nodeFloat:
		if w.IsUint64() && (!neg || w.Uint64() <= 1<<63) {
			return false
		}
		digits, negative := strings.CutPrefix(n.str, "-")
		if allDigits(digits) {
			m, ok := parseDigits(digits, digitSet{base: 10})
			return ok && negative == neg && m.Eq(&w)
		}
		f := w.Float64()
		if neg {
			f = -f
		}
		return f == n.float
	}
	return false
}
