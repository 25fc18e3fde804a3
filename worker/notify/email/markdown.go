package email

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// markdown reads what the peer reads, as far as this reader can: CommonMark
// with tables, strike-through, task lists, footnotes, typographic punctuation
// and attributes of headings. HTML in a template is the author's and stays.
// Bare addresses stay text, as in the peer.
var markdown = goldmark.New(
	goldmark.WithExtensions(
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignStyle)),
		extension.Strikethrough, extension.TaskList, extension.Footnote,
		extension.NewTypographer(extension.WithTypographicSubstitutions(map[extension.TypographicPunctuation]string{
			extension.LeftSingleQuote:  "‘",
			extension.RightSingleQuote: "’",
			extension.LeftDoubleQuote:  "“",
			extension.RightDoubleQuote: "”",
			extension.Apostrophe:       "’",
			extension.EnDash:           "–",
			extension.EmDash:           "—",
			extension.Ellipsis:         "…",
			extension.LeftAngleQuote:   "&lt;&lt;",
			extension.RightAngleQuote:  "&gt;&gt;",
		})),
	),
	goldmark.WithParserOptions(parser.WithAttribute()),
	goldmark.WithRendererOptions(html.WithUnsafe(), html.WithXHTML()),
)

// Body is the body of a mail: Markdown rendered to HTML. A word stands in for
// each value while the Markdown is read, and the value takes its place in the
// finished HTML, escaped for where it stands. So no value can have a part in
// Markdown or HTML. Errors wrap notify.ErrMisconfigured.
func Body(t notify.Text) (string, error) {
	source, values := standIns(t)
	var out bytes.Buffer
	if err := markdown.Convert([]byte(source), &out); err != nil {
		return "", fmt.Errorf("%w: the message's Markdown cannot be rendered: %w", notify.ErrMisconfigured, err)
	}
	if len(values.list) == 0 {
		return out.String(), nil
	}
	return values.fill(out.String()), nil
}

// substitutes are values by the words that stand in for them.
type substitutes struct {
	word string // begins every such word, and is nowhere else in the text
	list []string
}

// wordEnd ends a stand-in, so that a digit after it is not taken for its own.
const wordEnd = 'z'

// standIns is the text with a word in place of each value: a letter, then the
// value's number. Markdown sees in it what it would see in any other word.
func standIns(t notify.Text) (string, *substitutes) {
	s := &substitutes{word: "xq"}
	// What the author wrote, in any letter case: headings' attributes and the
	// like may change it.
	for words := strings.ToLower(t.Map(func(string) string { return "" }).String()); strings.Contains(words, s.word); {
		s.word += "q"
	}
	text := t.Map(func(value string) string {
		s.list = append(s.list, value)
		return s.word + strconv.Itoa(len(s.list)-1) + string(wordEnd)
	})
	return text.String(), s
}

// next finds the first stand-in at or after a place: where it begins and ends,
// and its value.
func (s *substitutes) next(text string, from int) (start, end int, value string, ok bool) {
	for {
		i := strings.Index(text[from:], s.word)
		if i < 0 {
			return 0, 0, "", false
		}
		start = from + i
		digits := start + len(s.word)
		end = digits
		for end < len(text) && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(text[digits:end])
		if err == nil && n < len(s.list) && end < len(text) && text[end] == wordEnd {
			return start, end + 1, s.list[n], true
		}
		from = start + 1
	}
}

// replace puts the values into a stretch of HTML, each as escape writes it,
// which is told what of the stretch is written before.
func (s *substitutes) replace(text string, escape func(value, before string) string) string {
	var b strings.Builder
	at := 0
	for {
		start, end, value, ok := s.next(text, at)
		if !ok {
			b.WriteString(text[at:])
			return b.String()
		}
		b.WriteString(text[at:start])
		b.WriteString(escape(value, b.String()))
		at = end
	}
}
