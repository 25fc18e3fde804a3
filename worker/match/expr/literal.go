package expr

import "github.com/holiman/uint256"

type litKind uint8

const (
	litString litKind = iota // quoted, hexadecimal or bare
	litNumber
	litBool
)

// literal is the right side of a condition, with the readings of it that comparisons ask for. A node
// holds very many of them, so what only some kinds need is apart, in deepReadings.
type literal struct {
	kind   litKind
	truth  bool   // litBool
	text   string // as written, without quotes
	folded string // text for comparisons without regard to case

	// EVM. Where a literal can be read as an unsigned and as a signed number, both have the same word.
	isUnsigned, isSigned bool
	number               uint256.Int
	address              string // normal form
	isAccount            bool   // address is a complete one
	account              uint256.Int

	deep *deepReadings
}

// deepReadings are the readings of a literal that comparisons with arrays, tuples and maps need.
type deepReadings struct {
	integer integer // EVM: the whole number that elements are compared with
	decimal decimal // EVM
	isDec   bool
	compact string // EVM: text without spaces outside quotes
	json    *node  // text read as JSON, on EVM after folding; nil if it is none
}

// prepare fills the readings for a dialect.
func (l *literal) prepare(d Dialect) {
	if l.kind == litBool {
		return
	}
	l.folded = Fold(l.text)
	if d != EVM {
		return
	}
	l.number, l.isUnsigned = parseUnsigned(l.text)
	signed, ok := parseSigned(l.text)
	if l.isSigned = ok; ok {
		l.number = signed
	}
	l.address = normalAddress(l.text)
	if len(l.address) == 40 && allHex(l.address) {
		l.account, l.isAccount = parseDigits(l.address, digitSet{base: 16})
	}
}

func newDeepReadings(d Dialect, l *literal) *deepReadings {
	r := new(deepReadings)
	if d == Stellar {
		r.json, _ = parseJSON(l.text)
		return r
	}
	r.integer = searchInteger(l.text)
	r.decimal, r.isDec = parseDecimal(l.text)
	r.compact = stripOuterSpace(l.text)
	r.json, _ = parseJSON(l.folded)
	return r
}

// deep returns the readings for nested values. They are made in advance where the declared kind
// lets expect such values.
func (l *leaf) deep() *deepReadings {
	if l.lit.deep != nil {
		return l.lit.deep
	}
	return newDeepReadings(l.dialect, &l.lit)
}

// expectsDeep reports whether values of the declared kind, or found by the path, may be nested.
func (l *leaf) expectsDeep() bool {
	switch l.declared.class {
	case List, Record, Mapping, Invalid:
		return true
	}
	return len(l.path) > 0
}
