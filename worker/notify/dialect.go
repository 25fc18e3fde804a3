package notify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Dialect is the markup of a chat service, as far as a value could take part
// in it. Its Write keeps the markup of the template's author and takes the
// meaning off what strangers wrote, by changing as little as possible: what
// means nothing where it stands is left alone, so that ordinary values arrive
// as they are.
type Dialect struct {
	// Delimiters open and close formatting. Role tells whether one between two
	// other bytes could open or close; 0 stands for the ends of the text.
	Delimiters string
	Role       func(c, before, after byte) (opens, closes bool)

	// Mentions and Links are what the service makes out of plain text; links neither
	// in code nor in an address whose host the author has given. A zero-width space
	// goes where group 1 stands.
	Mentions, Links []*regexp.Regexp

	// Anchor finds a link that the author made; its group "target" is the
	// address, in which values are percent-encoded.
	Anchor *regexp.Regexp

	// Brackets tells that [label](address) is a link, and that a backslash takes
	// the meaning off what follows.
	Brackets bool
	// Entities tells that &, < and > are written as character entities.
	Entities bool
}

const zeroWidth = "\u200b"

// alike are characters that look like markup and never are. A zero-width space
// beside a delimiter would not do: services take it for the end of a word, and
// formatting begins at the ends of words.
var alike = map[rune]string{
	'*': "∗", '_': "＿", '~': "∼", '|': "∣", '`': "ˋ", '\\': "⧵", '[': "［", ']': "］", '(': "（", ')': "）",
}

// address is one that begins with a host, which is group 1; it ends where a service
// may take it to end.
var address = regexp.MustCompile("[A-Za-z][A-Za-z0-9+.-]*://([^\\s/?#\\\\<>|()\\[\\]`]+)[/?#][^\\s<>|()\\[\\]`]*")

var (
	fences = regexp.MustCompile("(?s)```.*?```")
	code   = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	// lineMark is what makes a quotation, heading or list at the beginning of a line.
	lineMark = regexp.MustCompile(`(?m)^[ \t]*(?:>{1,3}|#{1,6}[ \t]|-#[ \t]|[-*+•][ \t]|\d+[.)][ \t])`)
)

// Write is the text in the dialect.
func (d *Dialect) Write(t Text) string {
	if len(t.values) == 0 {
		return t.text
	}
	w := newDialectWriter(d, oneLine(t))
	w.findPatterns()
	w.findLineMarks()
	w.findDelimiters()
	w.findBrackets()
	return w.write()
}

// oneLine makes every line break in a value a space: a value must not begin a
// line of its own, where it could pass for words of ours. In a fenced block,
// where every line is marked as foreign, breaks stay. Characters that are not
// to be seen are made visible everywhere.
func oneLine(t Text) Text {
	fenced := regions(fences, t.Mask())
	at := 0
	return t.Map(func(value string) string {
		start := t.values[at].Start
		at++
		value = strings.Map(Visible, value)
		if fenced[start] {
			return value
		}
		value = strings.ReplaceAll(value, "\r\n", "\n")
		return strings.Map(func(r rune) rune {
			switch r {
			case '\n', '\r', '\u2028', '\u2029':
				return ' '
			}
			return r
		}, value)
	})
}

// regions marks the bytes that a pattern covers.
func regions(pattern *regexp.Regexp, s string) []bool {
	marks := make([]bool, len(s))
	for _, m := range pattern.FindAllStringIndex(s, -1) {
		fill(marks, m[0], m[1])
	}
	return marks
}

func fill(marks []bool, start, end int) {
	for i := start; i < end; i++ {
		marks[i] = true
	}
}

// dialectWriter knows of every byte of a text where it stands and what is to be
// done about it.
type dialectWriter struct {
	*Dialect
	text    string
	value   []bool // from a variable
	code    []bool // inside code of the author
	target  []bool // inside the address of a link of the author
	path    []bool // behind the host of an address, which is the author's
	disarm  []bool // to be written as its look-alike
	breakAt []bool // a zero-width space goes before
}

func newDialectWriter(d *Dialect, t Text) *dialectWriter {
	mask := t.Mask()
	w := &dialectWriter{
		Dialect: d, text: t.text,
		value: make([]bool, len(mask)), code: regions(code, mask),
		target: make([]bool, len(mask)), path: make([]bool, len(mask)), disarm: make([]bool, len(mask)),
		breakAt: make([]bool, len(mask)+1),
	}
	for _, v := range t.values {
		fill(w.value, v.Start, v.End)
	}
	w.findPaths()
	group := 2 * d.Anchor.SubexpIndex("target")
	end := 0
	for _, m := range d.Anchor.FindAllStringSubmatchIndex(mask, -1) {
		fill(w.target, m[group], m[group+1])
		w.disarmBrackets(m[0], m[1])
		w.disarmClosing(end, m[0])
		end = m[1]
	}
	w.disarmClosing(end, len(mask))
	return w
}

// findPaths finds addresses of which values are only the end: where they lead to, the
// author has said, and broken they lead nowhere.
func (w *dialectWriter) findPaths() {
	for _, m := range address.FindAllStringSubmatchIndex(w.text, -1) {
		if !slices.Contains(w.value[m[0]:m[3]+1], true) {
			fill(w.path, m[3], m[1])
		}
	}
}

// disarmBrackets keeps values inside a link of the author from ending its label.
func (w *dialectWriter) disarmBrackets(start, end int) {
	for i := start; w.Brackets && i < end; i++ {
		w.disarm[i] = w.value[i] && !w.target[i] && (w.text[i] == '[' || w.text[i] == ']')
	}
}

// disarmClosing keeps values from ending a link that the author did not end.
func (w *dialectWriter) disarmClosing(start, end int) {
	open := false
	for i := start; w.Brackets && i < end; i++ {
		if w.value[i] {
			w.disarm[i] = w.disarm[i] || open && w.text[i] == ')' && !w.code[i]
		} else if w.text[i] == '(' && i > start && w.text[i-1] == ']' && !w.value[i-1] {
			open = true
		}
	}
}

// findPatterns breaks mentions and links that a value makes, alone or together
// with the words around it.
func (w *dialectWriter) findPatterns() {
	for _, p := range w.Mentions {
		w.findPattern(p, false)
	}
	for _, p := range w.Links {
		w.findPattern(p, true)
	}
}

func (w *dialectWriter) findPattern(p *regexp.Regexp, link bool) {
	for _, m := range p.FindAllStringSubmatchIndex(w.text, -1) {
		start, end, at := m[0], m[1], m[2]
		if link && (w.code[start] || w.path[start]) || w.Entities && w.value[start] && w.text[start] == '<' {
			continue
		}
		if w.foreign(at-1) || w.foreign(at) {
			w.breakAt[at] = true
			continue
		}
		for i := start + 1; i < end; i++ {
			// Any place inside will do where a value begins or ends.
			if w.value[i] != w.value[i-1] {
				w.breakAt[i] = true
				break
			}
		}
	}
}

func (w *dialectWriter) foreign(i int) bool { return i >= 0 && i < len(w.text) && w.value[i] }

func (w *dialectWriter) findLineMarks() {
	for _, m := range lineMark.FindAllStringIndex(w.text, -1) {
		if w.code[m[0]] {
			continue
		}
		for i := m[0]; i < m[1]; i++ {
			if w.value[i] {
				w.breakAt[i] = true
				break
			}
		}
	}
}

// findDelimiters disarms the delimiters in values that could find a partner, or
// stand between two of the author's.
func (w *dialectWriter) findDelimiters() {
	for _, c := range []byte(w.Delimiters) {
		if !w.findPairs(c) {
			continue
		}
		for i := range len(w.text) {
			if w.counts(i, c) && w.value[i] {
				opens, closes := w.role(i)
				w.disarm[i] = w.disarm[i] || opens || closes
			}
		}
	}
}

// findPairs disarms what stands between two of the author's delimiters, and
// reports whether a pair with a value's is possible.
func (w *dialectWriter) findPairs(c byte) (possible bool) {
	author, value := -1, false // where the author has opened; whether a value has
	for i := range len(w.text) {
		if !w.counts(i, c) {
			continue
		}
		opens, closes := w.role(i)
		if w.value[i] {
			possible = possible || closes && (author >= 0 || value)
			value = value || opens
			continue
		}
		possible = possible || closes && value
		if closes && author >= 0 {
			for k := author; k < i; k++ {
				w.disarm[k] = w.disarm[k] || w.value[k] && w.counts(k, c)
			}
			author = -1
		}
		if opens && author < 0 {
			author = i
		}
	}
	return possible
}

// counts reports whether a byte is a delimiter where delimiters mean something.
func (w *dialectWriter) counts(i int, c byte) bool {
	return w.text[i] == c && !w.code[i] && !(w.target[i] && w.value[i])
}

func (w *dialectWriter) role(i int) (opens, closes bool) {
	var before, after byte
	if i > 0 {
		before = w.text[i-1]
	}
	if i+1 < len(w.text) {
		after = w.text[i+1]
	}
	return w.Role(w.text[i], before, after)
}

// findBrackets disarms what would make a link, and backslashes before marks.
func (w *dialectWriter) findBrackets() {
	if !w.Brackets {
		return
	}
	link := false // a label ends further on
	for i := len(w.text) - 1; i >= 0; i-- {
		var next byte
		if i+1 < len(w.text) {
			next = w.text[i+1]
		}
		switch {
		case w.code[i] || w.target[i]:
		case w.text[i] == '[' && w.value[i] && link:
			w.disarm[i] = true
		case w.text[i] == ']' && next == '(' && (w.value[i] || w.value[i+1]):
			w.disarm[i], w.disarm[i+1] = w.value[i], w.value[i+1]
		case w.text[i] == ']' && next == '(':
			link = true
		case w.text[i] == '\\' && w.value[i] && next < utf8.RuneSelf && !IsWord(next):
			w.disarm[i] = true
		}
	}
}

func (w *dialectWriter) write() string {
	var b strings.Builder
	b.Grow(len(w.text) + len(w.text)/8)
	for i, r := range w.text {
		if w.breakAt[i] {
			b.WriteString(zeroWidth)
		}
		if !w.value[i] {
			b.WriteRune(r)
			continue
		}
		switch {
		case w.target[i] && !isAddress(r):
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		case r == '`', w.disarm[i]:
			b.WriteString(alike[r])
		case w.Entities && r == '&':
			b.WriteString("&amp;")
		case w.Entities && r == '<':
			b.WriteString("&lt;")
		case w.Entities && r == '>':
			b.WriteString("&gt;")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Visible is the character itself, or U+FFFD for one that would act on the text
// around it instead of being seen: control characters other than line ends and
// tabs, and those that turn the direction of writing.
func Visible(r rune) rune {
	switch {
	case r == '\n' || r == '\r' || r == '\t':
		return r
	case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return utf8.RuneError
	default:
		return r
	}
}

// IsWord reports whether a byte is a letter or digit of ASCII: next to one of
// those most delimiters mean nothing.
func IsWord(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// IsBlank reports whether a byte is white space, or 0 for an end of the text.
func IsBlank(c byte) bool { return c == 0 || c == ' ' || c == '\n' || c == '\t' }

// isAddress reports whether a character may stand in the address of a link as
// it is.
func isAddress(r rune) bool {
	return r < utf8.RuneSelf && (IsWord(byte(r)) || strings.ContainsRune("-./?=%+,;&!$", r))
}
