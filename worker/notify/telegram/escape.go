package telegram

import (
	"regexp"
	"strings"

	"github.com/ozmo-dev/ozmo/worker/notify"
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
func EscapeMarkdownV2(t notify.Text) string {
	e := escaper{text: t.String(), values: t.Values()}
	mask := t.Mask()
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
	text   string
	values []notify.Span
	out    strings.Builder
}

// escape writes a stretch of text with all special characters escaped.
func (e *escaper) escape(start, end int, chars string) {
	for i := start; i < end; i++ {
		c := e.text[i]
		if strings.IndexByte(chars, c) >= 0 {
			e.out.WriteByte('\\')
		}
		e.out.WriteByte(c)
	}
}

// copy writes a stretch of text as it is, except for values, which are escaped.
func (e *escaper) copy(start, end int, chars string) {
	for _, v := range e.values {
		if v.End <= start || v.Start >= end {
			continue
		}
		from, to := max(v.Start, start), min(v.End, end)
		e.out.WriteString(e.text[start:from])
		e.escape(from, to, chars)
		start = to
	}
	e.out.WriteString(e.text[start:end])
}
