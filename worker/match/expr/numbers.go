package expr

import (
	"strings"

	"github.com/holiman/uint256"
)

// digitSet says how the digits of a whole number are read.
type digitSet struct {
	base        uint64
	underscores bool // "_" between digits is ignored
}

// parseDigits reads the digits of a number of at most 256 bits. No digits at all read as zero.
func parseDigits(s string, set digitSet) (w uint256.Int, ok bool) {
	var chunk uint64
	scale := uint64(1)
	flush := func() bool {
		var m, c uint256.Int
		m.SetUint64(scale)
		c.SetUint64(chunk)
		if _, overflow := w.MulOverflow(&w, &m); overflow {
			return false
		}
		_, overflow := w.AddOverflow(&w, &c)
		chunk, scale = 0, 1
		return !overflow
	}
	const room = 1 << 58 // scale may still be multiplied by 16
	for i := range len(s) {
		var d uint64
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'z':
			d = uint64(c-'a') + 10
		case 'A' <= c && c <= 'Z':
			d = uint64(c-'A') + 10
		case c == '_' && set.underscores:
			continue
		default:
			return w, false
		}
		if d >= set.base {
			return w, false
		}
		chunk = chunk*set.base + d
		scale *= set.base
		if scale > room && !flush() {
			return w, false
		}
	}
	return w, flush()
}

// parseUnsigned reads an unsigned number as the peer does on EVM: decimal, or with one of the
// prefixes 0x, 0o and 0b.
func parseUnsigned(s string) (w uint256.Int, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return w, false
	}
	set := digitSet{base: 10, underscores: true}
	if len(s) >= 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			set.base = 16
		case 'o', 'O':
			set.base = 8
		case 'b', 'B':
			set.base = 2
		}
		if set.base != 10 {
			s = s[2:]
		}
		if set.base == 16 && s == "" {
			return w, false
		}
	}
	return parseDigits(s, set)
}

// parseSigned reads a signed number as the peer does on EVM: decimal with an optional sign, or the
// 256-bit two's complement word in hexadecimal. The result is a two's complement word.
func parseSigned(s string) (w uint256.Int, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		return parseDigits(s[2:], digitSet{base: 16, underscores: true})
	}
	neg, digits := cutSign(s)
	if digits == "" {
		return w, false
	}
	w, ok = parseDigits(digits, digitSet{base: 10, underscores: true})
	if !ok {
		return w, false
	}
	return signedWord(neg, &w, 256)
}

func cutSign(s string) (neg bool, digits string) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[0] == '-', s[1:]
	}
	return false, s
}

// signedWord makes the two's complement word of a magnitude, if it fits the width in bits.
func signedWord(neg bool, magnitude *uint256.Int, bits uint16) (w uint256.Int, ok bool) {
	var limit uint256.Int
	limit.Lsh(limit.SetOne(), uint(bits-1))
	if neg {
		return *w.Neg(magnitude), !magnitude.Gt(&limit)
	}
	return *magnitude, magnitude.Lt(&limit)
}

// parseExact reads a whole number of exactly the given width, as Stellar and Solana numbers are:
// decimal digits with an optional sign, a minus only for signed kinds.
func parseExact(s string, k kindInfo) (w uint256.Int, ok bool) {
	neg, digits := cutSign(s)
	if digits == "" || neg && k.class == Unsigned {
		return w, false
	}
	w, ok = parseDigits(digits, digitSet{base: 10})
	if !ok {
		return w, false
	}
	if k.class == Signed {
		return signedWord(neg, &w, k.bits)
	}
	return w, w.BitLen() <= int(k.bits)
}

// decimal is a decimal number in canonical form.
type decimal struct {
	neg   bool
	whole string // without leading zeros; "0" for zero
	frac  string // without trailing zeros
}

// maxDecimal is the largest whole number the peer's decimals hold, 2^96-1.
const maxDecimal = "79228162514264337593543950335"

// parseDecimal reads [+-]digits[.digits]. Numbers beyond the peer's decimals are refused: they are
// compared as text.
func parseDecimal(s string) (d decimal, ok bool) {
	neg, rest := cutSign(s)
	if strings.IndexByte(rest, '_') > 0 {
		rest = strings.ReplaceAll(rest, "_", "")
	}
	whole, frac, _ := strings.Cut(rest, ".")
	if whole+frac == "" || whole != "" && !allDigits(whole) || frac != "" && !allDigits(frac) {
		return d, false
	}
	whole = strings.TrimLeft(whole, "0")
	if len(whole) > len(maxDecimal) || len(whole) == len(maxDecimal) && whole > maxDecimal {
		return d, false
	}
	if whole == "" {
		whole = "0"
	}
	frac = strings.TrimRight(frac, "0")
	return decimal{neg: neg && (whole != "0" || frac != ""), whole: whole, frac: frac}, true
}

// integer is a whole number of up to 256 bits.
type integer struct {
	neg  bool
	word uint256.Int // magnitude
	ok   bool
}

// searchInteger is the one whole number that equals s in a search through arrays: as decimals
// where s is one, otherwise in plain decimal text.
func searchInteger(s string) (n integer) {
	d, ok := parseDecimal(s)
	if !ok {
		digits, neg := strings.CutPrefix(s, "-")
		if !allDigits(digits) || digits[0] == '0' {
			return n
		}
		d = decimal{neg: neg, whole: digits}
	}
	if d.frac != "" {
		return n
	}
	n.neg = d.neg
	n.word, n.ok = parseDigits(d.whole, digitSet{base: 10})
	return n
}
