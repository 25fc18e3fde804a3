package abi

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/holiman/uint256"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// The ways in which content can fail to be what its definition says.
var (
	ErrTopics = errors.New("number of topics does not fit the event")
	ErrShort  = errors.New("data is too short or holds an offset outside of it")
	ErrBudget = errors.New("data claims more content than it has bytes")
)

// DecodeCall decodes what follows the selector of a call and appends one value
// for each parameter to dst. Bytes behind the parameters are tolerated. Values
// may refer to data.
func (l *Layout) DecodeCall(data []byte, dst []expr.Value) ([]expr.Value, error) {
	return l.decode(nil, data, dst)
}

// DecodeLog decodes a log and appends one value for each parameter to dst.
// The topics must be exactly topic 0 and one for each indexed parameter.
// Indexed parameters of dynamic type hold their topic. Values may refer to data.
func (l *Layout) DecodeLog(topics []fsm.Hash, data []byte, dst []expr.Value) ([]expr.Value, error) {
	if len(topics) != l.Indexed+1 {
		return dst, ErrTopics
	}
	return l.decode(topics, data, dst)
}

func (l *Layout) decode(topics []fsm.Hash, data []byte, dst []expr.Value) ([]expr.Value, error) {
	if len(data) < l.head {
		return dst, ErrShort
	}
	base := len(dst)
	// What is not aliased needs at least a word for each value; containers
	// without content of their own account for the factor.
	d := decoder{budget: len(data)/4 + 1024}
	for i := range l.params {
		s := &l.params[i]
		var v expr.Value
		switch {
		case s.topic > 0:
			v = topicValue(&s.typ, &topics[s.topic])
		case l.static:
			v = word(&s.typ, data[s.at:s.at+32])
		default:
			var err error
			if v, err = d.value(&s.typ, data, s.at); err != nil {
				return dst[:base], err
			}
		}
		dst = append(dst, v)
	}
	return dst, nil
}

// topicValue is an indexed argument. Of a dynamic type only the hash is known.
func topicValue(t *Type, topic *fsm.Hash) expr.Value {
	switch {
	case !t.byTopic():
		return word(t, topic[:])
	case t.Kind == Bytes:
		return expr.Word(*topic)
	case t.Kind == String:
		return expr.String(topic.String())
	default:
		return expr.FromText(expr.EVM, t.kindText(), topic.String())
	}
}

// word reads a value of exactly one word. Bits outside of a number's width are
// kept, as the peer does; only the low 20 bytes of an address count.
func word(t *Type, b []byte) expr.Value {
	switch t.Kind {
	case Address:
		return expr.Addr([20]byte(b[12:32]))
	case Bool:
		var set byte
		for _, c := range b[:32] {
			set |= c
		}
		return expr.BoolValue(set != 0)
	case FixedBytes:
		return expr.Word([32]byte(b[:32]))
	case Function:
		return expr.Bytes(b[:24])
	}
	w := uint256.Int{
		binary.BigEndian.Uint64(b[24:32]), binary.BigEndian.Uint64(b[16:24]),
		binary.BigEndian.Uint64(b[8:16]), binary.BigEndian.Uint64(b[:8]),
	}
	if t.Kind == Int {
		return expr.Int(&w)
	}
	return expr.Uint(&w)
}

// decoder bounds the work for one document.
type decoder struct{ budget int }

// spend accounts for n words of values.
func (d *decoder) spend(n int) error {
	if n > d.budget {
		return ErrBudget
	}
	d.budget -= n
	return nil
}

// value reads a value whose head is at offset at of frame; offsets within it
// count from the beginning of frame.
func (d *decoder) value(t *Type, frame []byte, at int) (expr.Value, error) {
	if at+t.head > len(frame) {
		return expr.Value{}, ErrShort
	}
	if err := d.spend(1); err != nil {
		return expr.Value{}, err
	}
	if scalar(t) {
		return word(t, frame[at:at+32]), nil
	}
	if !t.Dynamic {
		return d.content(t, frame[at:])
	}
	offset, ok := length(frame[at : at+32])
	if !ok || offset > len(frame) {
		return expr.Value{}, ErrShort
	}
	return d.content(t, frame[offset:])
}

// content reads a value that begins with the frame.
func (d *decoder) content(t *Type, frame []byte) (expr.Value, error) {
	switch t.Kind {
	case Bytes, String, Slice:
		if len(frame) < 32 {
			return expr.Value{}, ErrShort
		}
		n, ok := length(frame[:32])
		frame = frame[32:]
		if !ok {
			return expr.Value{}, ErrShort
		}
		if t.Kind == Slice {
			return d.elements(t.Elem, n, frame)
		}
		if n > len(frame) {
			return expr.Value{}, ErrShort
		}
		if err := d.spend(n / 32); err != nil {
			return expr.Value{}, err
		}
		if t.Kind == Bytes {
			return expr.Bytes(frame[:n]), nil
		}
		return expr.String(text(frame[:n])), nil
	case Array:
		return d.elements(t.Elem, t.Size, frame)
	default:
		if err := d.spend(len(t.Fields)); err != nil {
			return expr.Value{}, err
		}
		fields := make([]expr.Value, len(t.Fields))
		at := 0
		for i := range t.Fields {
			f := &t.Fields[i].Type
			v, err := d.value(f, frame, at)
			if err != nil {
				return expr.Value{}, err
			}
			fields[i] = v
			at += f.head
		}
		return expr.Tuple(fields), nil
	}
}

func (d *decoder) elements(t *Type, n int, frame []byte) (expr.Value, error) {
	if t.head > 0 && n > len(frame)/t.head {
		return expr.Value{}, ErrShort
	}
	// Reserved before memory is taken: elements without a head cost nothing else.
	if err := d.spend(n); err != nil {
		return expr.Value{}, err
	}
	elems := make([]expr.Value, n)
	for i := range elems {
		v, err := d.value(t, frame, i*t.head)
		if err != nil {
			return expr.Value{}, err
		}
		elems[i] = v
	}
	return expr.Array(elems), nil
}

// length reads an offset or a length; ok is false when it exceeds what any
// data can hold.
func length(b []byte) (n int, ok bool) {
	for _, c := range b[:28] {
		if c != 0 {
			return 0, false
		}
	}
	u := binary.BigEndian.Uint32(b[28:32])
	return int(u), u < 1<<31
}

// text makes a string of bytes. Each maximal piece of broken UTF-8 becomes one
// replacement character.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenPrefix(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// brokenPrefix is the length of the longest beginning of b that could have
// begun a valid character, at least 1.
func brokenPrefix(b []byte) int {
	for n := min(len(b), 3); n > 1; n-- {
		if !utf8.FullRune(b[:n]) { // incomplete, but right so far
			return n
		}
	}
	return 1
}
