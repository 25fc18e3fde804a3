package notify

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Text is text made from a template that remembers which parts of it came from
// variables. Values may hold anything a stranger wrote on a chain, so channels
// with markup treat them differently from the words of the template's author.
type Text struct {
	text   string
	values []Span
}

// Span is a stretch of bytes of a text.
type Span struct{ Start, End int }

// Words is text without values.
func Words(s string) Text { return Text{text: s} }

// String is the text.
func (t Text) String() string { return t.text }

// Values are the parts that came from variables: none is empty, they ascend
// and do not overlap. The slice is not to be changed.
func (t Text) Values() []Span { return t.values }

// Mask is the text with every byte of a value replaced by the letter x, so that
// offsets stay the same and markup found in it is the author's alone.
func (t Text) Mask() string {
	b := []byte(t.text)
	for _, v := range t.values {
		for i := v.Start; i < v.End; i++ {
			b[i] = 'x'
		}
	}
	return string(b)
}

// Map replaces every value; what becomes empty is no value any more.
func (t Text) Map(change func(value string) string) Text {
	var b builder
	at := 0
	for _, v := range t.values {
		b.literal(t.text[at:v.Start])
		b.value(change(t.text[v.Start:v.End]))
		at = v.End
	}
	b.literal(t.text[at:])
	return b.done()
}

// Join concatenates texts, keeping track of values.
func Join(parts ...Text) Text {
	var out Text
	for _, p := range parts {
		at := len(out.text)
		out.text += p.text
		for _, v := range p.values {
			out.values = append(out.values, Span{at + v.Start, at + v.End})
		}
	}
	return out
}

// Cut shortens a text to a number of UTF-16 code units, the measure of chat
// services, ending what it had to cut in "…". It never splits a character.
func (t Text) Cut(limit int) Text {
	if t.Units() <= limit {
		return t
	}
	units, end := 0, 0
	for end < len(t.text) {
		r, size := utf8.DecodeRuneInString(t.text[end:])
		if units+utf16.RuneLen(r) > limit-1 { // one is kept for the ellipsis
			break
		}
		units += utf16.RuneLen(r)
		end += size
	}
	if limit <= 0 {
		return Text{}
	}
	out := Text{text: t.text[:end] + "…"}
	for _, v := range t.values {
		if v.Start < end {
			out.values = append(out.values, Span{v.Start, min(v.End, end)})
		}
	}
	return out
}

// Units is the length of a text in UTF-16 code units.
func (t Text) Units() int { return units(t.text) }

func units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// Fit writes a text by a channel's rules so that the result is within limit, in
// UTF-16 code units. Escaping makes text longer; what is too long is cut before
// it is written, so that no escape sequence is ever cut in half.
func Fit(t Text, limit int, write func(Text) string) string {
	n := min(t.Units(), limit)
	for {
		s := write(t.Cut(n))
		over := units(s) - limit
		if over <= 0 || n <= 0 {
			return s
		}
		n -= min(n, max(over/8, 1)) // no character becomes longer than eight
	}
}
