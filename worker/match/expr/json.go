package expr

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth is the number of nested arrays and objects that the peer's JSON reader refuses.
const maxJSONDepth = 128

// parseJSON reads one JSON document by the strict rules of RFC 8259. Repeated keys are allowed; the
// last one counts. encoding/json is not used because it accepts unpaired surrogates
// and hides the difference between 1 and 1.0.
func parseJSON(text string) (*node, bool) {
	p := jsonParser{text: text}
	p.space()
	n, ok := p.value(0)
	if !ok {
		return nil, false
	}
	if p.space(); p.pos < len(p.text) {
		return nil, false
	}
	return n, true
}

type jsonParser struct {
	text string
	pos  int
}

func (p *jsonParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// take consumes c if it comes next.
func (p *jsonParser) take(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *jsonParser) word(w string) bool {
	if strings.HasPrefix(p.text[p.pos:], w) {
		p.pos += len(w)
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (*node, bool) {
	if p.pos == len(p.text) {
		return nil, false
	}
	switch p.text[p.pos] {
	case 'n':
		return &node{}, p.word("null")
	case 't':
		return &node{kind: nodeBool, truth: true}, p.word("true")
	case 'f':
		return &node{kind: nodeBool}, p.word("false")
	case '"':
		s, ok := p.str()
		return &node{kind: nodeString, str: s}, ok
	case '[':
		return p.array(depth + 1)
	case '{':
		return p.object(depth + 1)
	}
	return p.num()
}

func (p *jsonParser) array(depth int) (*node, bool) {
	if depth >= maxJSONDepth {
		return nil, false
	}
	p.pos++
	n := &node{kind: nodeArray}
	p.space()
	if p.take(']') {
		return n, true
	}
	for {
		p.space()
		e, ok := p.value(depth)
		if !ok {
			return nil, false
		}
		n.elems = append(n.elems, e)
		p.space()
		if p.take(']') {
			return n, true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

func (p *jsonParser) object(depth int) (*node, bool) {
	if depth >= maxJSONDepth {
		return nil, false
	}
	p.pos++
	p.space()
	if p.take('}') {
		return &node{kind: nodeObject}, true
	}
	var members []member
	for {
		p.space()
		if p.pos == len(p.text) || p.text[p.pos] != '"' {
			return nil, false
		}
		key, ok := p.str()
		if !ok {
			return nil, false
		}
		p.space()
		if !p.take(':') {
			return nil, false
		}
		p.space()
		e, ok := p.value(depth)
		if !ok {
			return nil, false
		}
		members = append(members, member{key, e})
		p.space()
		if p.take('}') {
			return newObject(members), true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

type member struct {
	key   string
	value *node
}

// newObject sorts members by key and keeps the last of those with the same key.
func newObject(members []member) *node {
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	n := &node{kind: nodeObject}
	for i, m := range members {
		if i+1 < len(members) && members[i+1].key == m.key {
			continue
		}
		n.keys = append(n.keys, m.key)
		n.elems = append(n.elems, m.value)
	}
	return n
}

func (p *jsonParser) str() (string, bool) {
	p.pos++ // opening quote
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[start:p.pos]
			p.pos++
			return s, true
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", false
		}
		p.pos++
	}
	return "", false
}

// escaped reads on from the first backslash of a string.
func (p *jsonParser) escaped(start int) (string, bool) {
	var b strings.Builder
	b.WriteString(p.text[start:p.pos])
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			return b.String(), true
		case c < 0x20:
			return "", false
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		if p.pos == len(p.text) {
			return "", false
		}
		c = p.text[p.pos]
		p.pos++
		if c == 'u' {
			r, ok := p.unicode()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, c)
		if i < 0 {
			return "", false
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
	}
	return "", false
}

// unicode reads the digits of one \u escape, or of two that form a surrogate pair.
func (p *jsonParser) unicode() (rune, bool) {
	r, ok := p.hex4()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if !p.word(`\u`) {
		return 0, false
	}
	low, ok := p.hex4()
	if !ok {
		return 0, false
	}
	r = utf16.DecodeRune(r, low)
	return r, r != utf8.RuneError
}

func (p *jsonParser) hex4() (rune, bool) {
	if len(p.text)-p.pos < 4 {
		return 0, false
	}
	digits := p.text[p.pos : p.pos+4]
	if !allHex(digits) {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	p.pos += 4
	return rune(n), err == nil
}

func (p *jsonParser) digits() int {
	start := p.pos
	for p.pos < len(p.text) && '0' <= p.text[p.pos] && p.text[p.pos] <= '9' {
		p.pos++
	}
	return p.pos - start
}

func (p *jsonParser) num() (*node, bool) {
	start := p.pos
	neg := p.take('-')
	whole := p.pos
	if n := p.digits(); n == 0 || n > 1 && p.text[whole] == '0' {
		return nil, false
	}
	mag := p.text[whole:p.pos]
	integer := true
	if p.take('.') {
		integer = false
		if p.digits() == 0 {
			return nil, false
		}
	}
	if p.take('e') || p.take('E') {
		integer = false
		if !p.take('+') {
			p.take('-')
		}
		if p.digits() == 0 {
			return nil, false
		}
	}
	text := p.text[start:p.pos]
	if integer {
		n, err := strconv.ParseUint(mag, 10, 64)
		if err == nil && (!neg || n != 0 && n <= 1<<63) {
			return &node{kind: nodeInt, neg: neg, mag: n}, true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	return &node{kind: nodeFloat, float: f, str: text}, err == nil
}

func allHex(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
