package expr

import (
	"strings"

	"github.com/holiman/uint256"
)

// Dialect picks the comparison rules of a chain family.
type Dialect uint8

// The dialects.
const (
	EVM Dialect = iota
	Stellar
	Solana
)

// Class groups kinds that share their comparison rules.
type Class uint8

// The classes. Mapping and Digits exist on Stellar only.
const (
	Invalid  Class = iota // kind without comparison rules
	Unsigned              // unsigned integer
	Signed                // signed integer
	Bool
	Address
	Text       // string, symbol
	ByteString // bytes, bytesN: compared by their hexadecimal text
	List       // EVM array, Stellar Vec
	Record     // EVM tuple
	Mapping    // Stellar Map
	Digits     // Stellar U256 and I256, compared as text
)

// String names the class for messages.
func (c Class) String() string {
	names := [...]string{"unknown", "unsigned integer", "signed integer", "bool", "address", "text", "bytes", "array", "tuple", "map", "256-bit integer"}
	if int(c) < len(names) {
		return names[c]
	}
	return names[Invalid]
}

// form says which fields of a Value carry its content.
type form uint8

const (
	formMissing form = iota // nothing: the zero Value
	formWord                // word
	formText                // text is the content itself
	formBytes               // raw
	formElems               // elems
	formParsed              // text, read by the rules of kind when compared
	formTree                // tree, a part of a JSON document
)

// Value is one argument of an expression. The zero Value is [Missing]. Values
// are immutable once built and may be shared between goroutines; what they were
// built from must not change while they are in use.
type Value struct {
	word    uint256.Int
	text    string
	raw     []byte // content of Bytes; for FromText an alternative JSON text
	elems   []Value
	tree    *node
	kind    kindInfo
	form    form
	dialect Dialect
}

// Uint is an unsigned integer of any width.
func Uint(w *uint256.Int) Value {
	return Value{form: formWord, kind: kindInfo{class: Unsigned}, word: *w}
}

// UintFrom64 is an unsigned integer.
func UintFrom64(n uint64) Value {
	v := Value{form: formWord, kind: kindInfo{class: Unsigned}}
	v.word.SetUint64(n)
	return v
}

// Int is a signed integer of any width, given as a 256-bit two's complement word.
func Int(w *uint256.Int) Value {
	return Value{form: formWord, kind: kindInfo{class: Signed}, word: *w}
}

// BoolValue is a boolean.
func BoolValue(b bool) Value {
	v := Value{form: formWord, kind: kindInfo{class: Bool}}
	if b {
		v.word.SetOne()
	}
	return v
}

// Addr is a 20-byte account address; its text is 0x and 40 lower-case digits.
func Addr(a [20]byte) Value {
	v := Value{form: formWord, kind: kindInfo{class: Address}}
	v.word.SetBytes20(a[:])
	return v
}

// NoAddr is an address that is absent, as the recipient of a contract creation.
// Its text is empty.
func NoAddr() Value {
	return Value{form: formText, kind: kindInfo{class: Address}}
}

// String is an EVM string.
func String(s string) Value {
	return Value{form: formText, kind: kindInfo{class: Text}, text: s}
}

// Bytes is a dynamic byte string. b is not copied.
func Bytes(b []byte) Value {
	return Value{form: formBytes, kind: kindInfo{class: ByteString}, raw: b}
}

// FixedBytes is a bytesN value of at most 32 bytes. Its text has 64 digits, padded
// with zeros on the right, whatever N is (evm-matching, value texts).
func FixedBytes(b []byte) Value {
	var word [32]byte
	copy(word[:], b)
	return Word(word)
}

// Word is a 32-byte value: bytes32 or the topic an indexed dynamic argument is
// reduced to.
func Word(h [32]byte) Value {
	v := Value{form: formWord, kind: kindInfo{class: ByteString}}
	v.word.SetBytes32(h[:])
	return v
}

// Array is an EVM array of any element type, fixed or dynamic. elems is not copied.
func Array(elems []Value) Value {
	return Value{form: formElems, kind: kindInfo{class: List}, elems: elems}
}

// Tuple is an EVM tuple; the names of its fields are in [Param.Components].
// elems is not copied.
func Tuple(elems []Value) Value {
	return Value{form: formElems, kind: kindInfo{class: Record}, elems: elems}
}

// Missing is a value that is not available: every comparison fails with [KindParse].
func Missing() Value { return Value{} }

// FromText is a value of which only the text is known. It is read by the rules
// of kind, in the way of dialect d, when it is compared: text that cannot be
// read makes the comparison fail.
func FromText(d Dialect, kind, text string) Value {
	return Value{form: formParsed, dialect: d, kind: classify(d, kind), text: text}
}

// WithJSON returns v, a value made by [FromText], with a JSON text that stands in
// where JSON is needed and the text of v is not JSON.
func (v Value) WithJSON(json string) Value {
	v.raw = []byte(json)
	return v
}

// Class tells which comparison rules the value itself asks for.
func (v *Value) Class() Class { return v.kind.class }

// Word returns the value as one 256-bit word: integers (two's complement), booleans,
// addresses (right-aligned) and values of exactly 32 bytes. ok is false for everything
// else, also for text that cannot be read as its kind.
func (v *Value) Word() (w uint256.Int, ok bool) {
	switch v.form {
	case formWord:
		return v.word, true
	case formParsed:
		return v.parsedWord()
	}
	return w, false
}

// Text returns the value in the form that templates show and text comparisons use.
func (v *Value) Text() string {
	switch v.form {
	case formText, formParsed:
		return v.text
	case formMissing:
		return ""
	case formTree:
		return v.tree.text()
	}
	var b strings.Builder
	v.write(&b, false)
	return b.String()
}
