package expr

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// nodeKind is the type of a JSON value. Whole numbers and floating-point numbers differ:
// 1 and 1.0 are not equal in the peer.
type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeInt // magnitude up to 2^64-1, or down to -2^63
	nodeFloat
	nodeString
	nodeArray
	nodeObject
)

// node is a JSON value.
type node struct {
	kind  nodeKind
	truth bool    // nodeBool
	neg   bool    // nodeInt
	mag   uint64  // nodeInt
	float float64 // nodeFloat
	str   string  // nodeString; nodeFloat: the number as it was written
	elems []*node // nodeArray; nodeObject: the values
	keys  []string
}

// field returns the member of an object.
func (n *node) field(key string) (*node, bool) {
	i, ok := slices.BinarySearch(n.keys, key)
	if !ok {
		return nil, false
	}
	return n.elems[i], true
}

// equal is structural equality.
func (n *node) equal(o *node) bool {
	if n.kind != o.kind {
		return false
	}
	switch n.kind {
	case nodeNull:
		return true
	case nodeBool:
		return n.truth == o.truth
	case nodeInt:
		return n.neg == o.neg && n.mag == o.mag
	case nodeFloat:
		return n.float == o.float
	case nodeString:
		return n.str == o.str
	}
	return slices.Equal(n.keys, o.keys) && slices.EqualFunc(n.elems, o.elems, (*node).equal)
}

// text is the value as a path hands it to a comparison: strings bare, all else as compact JSON.
func (n *node) text() string {
	switch n.kind {
	case nodeString:
		return n.str
	case nodeNull:
		return "null"
	case nodeBool:
		return strconv.FormatBool(n.truth)
	case nodeInt, nodeFloat:
		return n.number()
	}
	return n.json()
}

// json is the value as compact JSON with sorted keys.
func (n *node) json() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *node) write(b *strings.Builder) {
	switch n.kind {
	case nodeString:
		writeJSONString(b, n.str)
	case nodeArray:
		b.WriteByte('[')
		for i, e := range n.elems {
			if i > 0 {
				b.WriteByte(',')
			}
			e.write(b)
		}
		b.WriteByte(']')
	case nodeObject:
		b.WriteByte('{')
		for i, e := range n.elems {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSONString(b, n.keys[i])
			b.WriteByte(':')
			e.write(b)
		}
		b.WriteByte('}')
	default:
		b.WriteString(n.text())
	}
}

func writeJSONString(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		default:
			if c < 0x20 {
				b.WriteString(`\u00`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			} else {
				b.WriteByte(c)
			}
		}
	}
	b.WriteByte('"')
}

// number prints a number as the peer does: whole numbers in decimal, others with a point, or with
// an exponent when they are very large or very small.
func (n *node) number() string {
	if n.kind == nodeInt {
		s := strconv.FormatUint(n.mag, 10)
		if n.neg {
			s = "-" + s
		}
		return s
	}
	if n.float == 0 {
		if math.Signbit(n.float) {
			return "-0.0"
		}
		return "0.0"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(math.Abs(n.float), 'e', -1, 64), "e")
	exp, err := strconv.Atoi(exponent)
	if err != nil {
		return n.str
	}
	digits := strings.Replace(mantissa, ".", "", 1)
	point := exp + 1 // position of the point, counted from the first digit
	var s string
	switch {
	case point >= len(digits) && point <= 16:
		s = digits + strings.Repeat("0", point-len(digits)) + ".0"
	case point > 0 && point <= 16:
		s = digits[:point] + "." + digits[point:]
	case point > -5 && point <= 0:
		s = "0." + strings.Repeat("0", -point) + digits
	case len(digits) == 1:
		s = digits + "e" + strconv.Itoa(exp)
	default:
		s = digits[:1] + "." + digits[1:] + "e" + strconv.Itoa(exp)
	}
	if n.float < 0 {
		s = "-" + s
	}
	return s
}
