package abi

import (
	"errors"
	"fmt"
	"strings"
)

// Layout is how the arguments of a function or event lie in topics and data.
// Definitions that differ only in names have one layout, so what was decoded
// for one serves all.
type Layout struct {
	Indexed int // parameters in topics 1…Indexed; -1 for a function
	params  []slot
	head    int      // bytes of all heads
	static  bool     // every value is one word
	hash    [32]byte // keccak256 of the signature
}

type slot struct {
	typ   Type
	topic int // index of the topic, 0 when the value is in the data
	at    int // offset of the head in the data
}

// Type is the type of a parameter.
func (l *Layout) Type(param int) *Type { return &l.params[param].typ }

// Hash is topic 0 of the event; its first four bytes are the selector of the
// function.
func (l *Layout) Hash() [32]byte { return l.hash }

// Len is the number of arguments.
func (l *Layout) Len() int { return len(l.params) }

func (ps *Parser) layout(d *Definition) (*Layout, error) {
	var key strings.Builder
	key.WriteString(d.Signature)
	for i := range d.Params {
		switch {
		case !d.Event:
		case d.Params[i].Indexed:
			key.WriteByte('i')
		default:
			key.WriteByte('d')
		}
	}
	if !d.Event {
		key.WriteByte('f')
	}
	if l := ps.layouts.get(key.String()); l != nil {
		return l, nil
	}
	l := &Layout{Indexed: -1, static: true, params: make([]slot, len(d.Params))}
	if d.Event {
		l.Indexed = 0
	}
	for i := range d.Params {
		p := &d.Params[i]
		s := &l.params[i]
		s.typ = p.Type
		if d.Event && p.Indexed {
			l.Indexed++
			s.topic = l.Indexed
			continue
		}
		s.at = l.head
		l.head += p.Type.head
		l.static = l.static && scalar(&p.Type)
	}
	if l.head > maxHead {
		return nil, fmt.Errorf("parameters are larger than %d bytes", maxHead)
	}
	if l.Indexed > 3 {
		return nil, errors.New("more than three indexed parameters")
	}
	l.hash = keccak(d.Signature)
	ps.layouts.put(key.String(), l)
	return l, nil
}

// scalar reports whether a value of the type is exactly one word.
func scalar(t *Type) bool {
	switch t.Kind {
	case Slice, Array, Tuple, String, Bytes:
		return false
	default:
		return true
	}
}
