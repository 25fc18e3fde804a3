package evm

import (
	"errors"
	"fmt"

	"github.com/holiman/uint256"

	"github.com/ozmo-dev/ozmo/fsm"
)

var errNotHex = errors.New("want 0x and hexadecimal digits")

// nibbles maps a character to its value, 0xff when it is no hexadecimal digit.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

// unhex decodes src, which holds exactly two digits for each byte of dst.
func unhex(dst, src []byte) bool {
	if len(src) != 2*len(dst) {
		return false
	}
	bad := byte(0)
	for i := range dst {
		hi, lo := nibbles[src[2*i]], nibbles[src[2*i+1]]
		bad |= (hi | lo) & 0xf0
		dst[i] = hi<<4 | lo
	}
	return bad == 0
}

// digits strips the 0x that every value of a node carries.
func digits(text []byte) ([]byte, bool) {
	if len(text) < 2 || text[0] != '0' || text[1]|0x20 != 'x' {
		return nil, false
	}
	return text[2:], true
}

// fixed reads a string of exactly len(dst) bytes; null leaves dst as it is.
func (s *scanner) fixed(dst []byte) error {
	if s.null() {
		return nil
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	hex, ok := digits(text)
	if !ok || !unhex(dst, hex) {
		return fmt.Errorf("want 0x and %d hexadecimal digits, not %q", 2*len(dst), clip(text))
	}
	return nil
}

func (s *scanner) hash(dst *fsm.Hash) error { return s.fixed(dst[:]) }

// quantity reads a number: 0x and hexadecimal digits, or a plain JSON number
// as a few layer-2 nodes send. Null and "0x" are zero.
func (s *scanner) quantity(dst *uint256.Int) error {
	dst.Clear()
	if s.null() {
		return nil
	}
	if c := s.peek(); c >= '0' && c <= '9' {
		start := s.pos
		if err := s.number(); err != nil {
			return err
		}
		if err := dst.SetFromDecimal(string(s.data[start:s.pos])); err != nil {
			return fmt.Errorf("want a whole number of at most 256 bits, not %q", clip(s.data[start:s.pos]))
		}
		return nil
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	hex, ok := digits(text)
	if !ok {
		return fmt.Errorf("want 0x and hexadecimal digits, not %q", clip(text))
	}
	for len(hex) > 0 && hex[0] == '0' {
		hex = hex[1:]
	}
	if len(hex) > 64 {
		return errors.New("number is larger than 256 bits")
	}
	bad := byte(0)
	for i, c := range hex {
		n := nibbles[c]
		bad |= n & 0xf0
		at := len(hex) - 1 - i
		dst[at/16] |= uint64(n) << (4 * (at % 16))
	}
	if bad != 0 {
		return fmt.Errorf("want 0x and hexadecimal digits, not %q", clip(text))
	}
	return nil
}

// small reads a quantity of at most 64 bits.
func (s *scanner) small(dst *uint64) error {
	var w uint256.Int
	if err := s.quantity(&w); err != nil {
		return err
	}
	if !w.IsUint64() {
		return errors.New("number is larger than 64 bits")
	}
	*dst = w.Uint64()
	return nil
}

// bytes reads a string of any number of bytes into memory of the arena.
func (s *scanner) bytes(a *arena[byte]) ([]byte, error) {
	if s.null() {
		return nil, nil
	}
	text, err := s.text()
	if err != nil {
		return nil, err
	}
	hex, ok := digits(text)
	if !ok {
		if len(text) == 0 {
			return nil, nil
		}
		return nil, errNotHex
	}
	if len(hex)%2 != 0 {
		return nil, errors.New("odd number of hexadecimal digits")
	}
	b := a.take(len(hex) / 2)
	if !unhex(b, hex) {
		return nil, errNotHex
	}
	return b, nil
}

// arena hands out slices of larger allocations, so that a block costs a few
// allocations and not some for each field.
type arena[T any] struct {
	free  []T
	chunk int // elements of a new allocation
}

func (a *arena[T]) take(n int) []T {
	if n > len(a.free) {
		if n > a.chunk/4 {
			return make([]T, n)
		}
		a.free = make([]T, max(a.chunk, 1))
	}
	s := a.free[:n:n]
	a.free = a.free[n:]
	return s
}

func (a *arena[T]) one() *T {
	if len(a.free) == 0 {
		a.free = make([]T, max(a.chunk, 1))
	}
	p := &a.free[0]
	a.free = a.free[1:]
	return p
}

// clip shortens text for an error message.
func clip(text []byte) string {
	const limit = 80
	if len(text) > limit {
		return string(text[:limit]) + "…"
	}
	return string(text)
}
