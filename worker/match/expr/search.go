package expr

import (
	"slices"
	"strings"
	"unicode"
)

// search is the operator contains on arrays and tuples: true if the literal equals any scalar in
// the value, however deep.
func (l *leaf) search(c Class, v *Value) (bool, *Error) {
	if v.form == formElems && !breaksJSON(v) {
		return l.matchValue(v), nil
	}
	if v.form == formTree && v.tree.kind == nodeArray && c == List {
		return l.matchNode(v.tree), nil
	}
	n, err := l.searchTree(c, v.Text())
	if err != nil {
		if v.form == formElems {
			return l.matchValue(v), nil
		}
		return false, err
	}
	if l.matchNode(n) {
		return true, nil
	}
	// The text has lost the digits of integers beyond 64 bits; the elements have them.
	want := l.deep().integer
	big := want.ok && !want.word.IsUint64()
	return v.form == formElems && big && l.matchValue(v), nil
}

// searchTree reads the text of an array or a tuple.
func (l *leaf) searchTree(c Class, text string) (*node, *Error) {
	if c == Record {
		n, ok := parseTuple(text, 0)
		if !ok {
			return nil, l.fail(KindParse, msgNotTuple)
		}
		return n, nil
	}
	n, ok := parseJSON(text)
	if !ok || n.kind != nodeArray {
		return nil, l.fail(KindParse, "the value is not a JSON array")
	}
	return n, nil
}

// matchNode looks for the literal in a JSON value.
func (l *leaf) matchNode(n *node) bool {
	switch n.kind {
	case nodeString:
		return l.matchString(n.str)
	case nodeBool:
		return l.lit.folded == n.text()
	case nodeNull:
		return l.lit.text == "null"
	case nodeInt, nodeFloat:
		text := n.number()
		if lit := l.deep(); lit.isDec {
			if d, ok := parseDecimal(text); ok {
				return d == lit.decimal
			}
		}
		return text == l.lit.text
	}
	return slices.ContainsFunc(n.elems, l.matchNode)
}

func (l *leaf) matchString(s string) bool {
	if looksLikeAddress(s) {
		return l.addressTextEqual(s)
	}
	return foldedEqual(s, l.lit.folded)
}

// matchValue looks for the literal in a decoded value.
func (l *leaf) matchValue(v *Value) bool {
	switch v.form {
	case formElems:
		for i := range v.elems {
			if l.matchValue(&v.elems[i]) {
				return true
			}
		}
		return false
	case formText:
		return l.matchString(v.text)
	case formBytes:
		if v.addressLike() {
			return l.addressTextEqual(v.Text())
		}
		return v.compareFolded(Eq, l.lit.folded)
	case formWord:
		return l.matchWord(v)
	case formMissing:
		return false
	}
	return l.matchString(v.Text())
}

func (l *leaf) matchWord(v *Value) bool {
	n := &l.deep().integer
	switch v.kind.class {
	case Unsigned:
		return n.ok && (!n.neg || n.word.IsZero()) && v.word.Eq(&n.word)
	case Signed:
		w := v.word
		neg := w.Sign() < 0
		if neg {
			w.Neg(&w)
		}
		return n.ok && n.neg == neg && w.Eq(&n.word)
	case Bool:
		return v.compareFolded(Eq, l.lit.folded)
	case Address:
		return l.addressEqual(v)
	}
	return v.compareFolded(Eq, l.lit.folded)
}

// maxTupleDepth bounds the nesting of tuples in text form. Every level is read once more by the level
// above, and the text may come from a hostile contract.
const maxTupleDepth = 32

// parseTuple reads the text form of a tuple into an array node. Parts are nested tuples, JSON
// arrays and objects, JSON scalars, or else plain strings.
func parseTuple(text string, depth int) (*node, bool) {
	text = strings.TrimSpace(text)
	if depth >= maxTupleDepth || len(text) < 2 || text[0] != '(' || text[len(text)-1] != ')' {
		return nil, false
	}
	n := &node{kind: nodeArray}
	for _, part := range splitTuple(text[1 : len(text)-1]) {
		part = strings.TrimSpace(part)
		var e *node
		var ok bool
		switch {
		case strings.HasPrefix(part, "(") && strings.HasSuffix(part, ")"):
			if e, ok = parseTuple(part, depth+1); !ok {
				return nil, false
			}
		case strings.HasPrefix(part, "[") || strings.HasPrefix(part, "{"):
			if e, ok = parseJSON(part); !ok {
				return nil, false
			}
		default:
			if e, ok = parseJSON(part); !ok {
				e = &node{kind: nodeString, str: part}
			}
		}
		n.elems = append(n.elems, e)
	}
	return n, true
}

// splitTuple cuts at the commas that stand outside quotes and brackets.
func splitTuple(s string) []string {
	var parts []string
	start, nesting := 0, 0
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(' || c == '[' || c == '{':
			nesting++
		case c == ')' || c == ']' || c == '}':
			nesting--
		case c == ',' && nesting == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	if last := s[start:]; strings.TrimSpace(last) != "" {
		parts = append(parts, last)
	}
	return parts
}

// stripOuterSpace removes white space outside double quotes.
func stripOuterSpace(s string) string {
	if strings.IndexFunc(s, unicode.IsSpace) < 0 {
		return s
	}
	quoted := false
	return strings.Map(func(r rune) rune {
		if r == '"' {
			quoted = !quoted
		}
		if !quoted && unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}
