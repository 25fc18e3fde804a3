package notify

import (
	"regexp"
	"strings"
)

// entities finds what MarkdownV2 would read as markup, leftmost first, in the
// order of spec triggers-and-notifications §5. Links capture label and address.
var entities = regexp.MustCompile("(?s)" + strings.Join([]string{
	"```.*?```",
	"`[^`]*`",
	`\*[^*]*\*`,
	`_[^_]*_`,
	`~[^~]*~`,
	`\[([^\]]+)\]\(([^)]+)\)`,
}, "|"))

const (
	special     = "_*[]()~>#+-=|{}.!\\`" // everywhere
	specialCode = "\\`"                  // inside code
)

// EscapeMarkdownV2 makes a text safe for Telegram's MarkdownV2: markup in the
// template's own words is kept, everything else that has a meaning is escaped.
// What variables brought in never opens, closes or breaks markup.
func EscapeMarkdownV2(t Text) string {
	e := escaper{text: t}
	mask := e.mask()
	at := 0
	for _, m := range entities.FindAllStringSubmatchIndex(mask, -1) {
		e.escape(at, m[0], special)
		switch {
		case m[2] >= 0: // a link
			e.copy(m[0], m[2], special)
			e.escape(m[2], m[3], special)
			e.copy(m[3], m[4], special)
			e.escape(m[4], m[5], special)
			e.copy(m[5], m[1], special)
		case mask[m[0]] == '`':
			e.copy(m[0], m[1], specialCode)
		default:
			e.copy(m[0], m[1], special)
		}
		at = m[1]
	}
	e.escape(at, len(mask), special)
	return e.out.String()
}

type escaper struct {
	text Text
	out  strings.Builder
}

// mask is the text with every byte of a value replaced by a letter, so that
// offsets stay the same and values cannot take part in markup.
func (e *escaper) mask() string {
	b := []byte(e.text.text)
	for _, v := range e.text.values {
		for i := v.start; i < v.end; i++ {
			b[i] = 'x'
		}
	}
	return string(b)
}

// escape writes a stretch of text with all special characters escaped.
func (e *escaper) escape(start, end int, chars string) {
	for i := start; i < end; i++ {
		c := e.text.text[i]
		if strings.IndexByte(chars, c) >= 0 {
			e.out.WriteByte('\\')
		}
		e.out.WriteByte(c)
	}
}

// copy writes a stretch of text as it is, except for values, which are escaped.
func (e *escaper) copy(start, end int, chars string) {
	for _, v := range e.text.values {
		if v.end <= start || v.start >= end {
			continue
		}
		from, to := max(v.start, start), min(v.end, end)
		e.out.WriteString(e.text.text[start:from])
		e.escape(from, to, chars)
		start = to
	}
	e.out.WriteString(e.text.text[start:end])
}
