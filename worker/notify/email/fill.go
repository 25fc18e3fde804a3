package email

import (
	"fmt"
	"html"
	"strings"

	xhtml "golang.org/x/net/html"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// fill puts the values into finished HTML. Most stand in text or in the address
// of a link; a template's own HTML may put them anywhere.
func (s *substitutes) fill(text string) string {
	var out strings.Builder
	z := xhtml.NewTokenizer(strings.NewReader(text))
	foreign := false // inside a script or style, whose content is no text
	at := 0
	for {
		kind := z.Next()
		raw := string(z.Raw())
		at += len(raw)
		switch kind {
		case xhtml.ErrorToken:
			// What is left is a tag that the text ends in.
			out.WriteString(s.replace(text[at-len(raw):], word))
			return out.String()
		case xhtml.TextToken:
			if foreign {
				out.WriteString(s.replace(raw, always(harmless)))
			} else {
				out.WriteString(s.replace(raw, always(inText)))
			}
		case xhtml.StartTagToken, xhtml.EndTagToken, xhtml.SelfClosingTagToken:
			out.WriteString(s.fillTag(raw))
			name, _ := z.TagName()
			foreign = kind == xhtml.StartTagToken && isForeign(string(name))
		default: // comments and declarations
			out.WriteString(s.replace(raw, always(harmless)))
		}
	}
}

func isForeign(tag string) bool {
	switch tag {
	case "script", "style", "iframe", "noembed", "noframes", "xmp", "plaintext", "noscript":
		return true
	default:
		return false
	}
}

// fillTag puts values into a tag: into values of attributes as what the
// attribute is for, and nowhere else as more than a word.
func (s *substitutes) fillTag(tag string) string {
	if _, _, _, ok := s.next(tag, 0); !ok {
		return tag
	}
	var out strings.Builder
	for _, p := range partsOfTag(tag) {
		text := tag[p.start:p.end]
		switch {
		case p.attribute == "":
			out.WriteString(s.replace(text, word))
		case isCode(p.attribute):
			out.WriteString(s.replace(text, always(harmless)))
		case isAddress(p.attribute):
			out.WriteString(s.replace(text, func(value, before string) string {
				return references(address(value, before))
			}))
		default:
			out.WriteString(s.replace(text, always(references)))
		}
	}
	return out.String()
}

// part is a stretch of a tag: the value of an attribute without its quotes, or
// what is between those, with no attribute.
type part struct {
	start, end int
	attribute  string // in lower case
}

// partsOfTag splits a tag as the HTML standard does: attributes in double
// quotes, single quotes or none.
func partsOfTag(tag string) []part {
	const space = " \t\n\f\r"
	var parts []part
	last := 0
	for i := 1; i < len(tag); {
		equals := strings.IndexByte(tag[i:], '=')
		if equals < 0 {
			break
		}
		equals += i
		name := strings.TrimRight(tag[last:equals], space)
		name = name[strings.LastIndexAny(name, space+`/"'`)+1:]
		start := equals + 1
		for start < len(tag) && strings.IndexByte(space, tag[start]) >= 0 {
			start++
		}
		end := len(tag)
		if start < len(tag) && (tag[start] == '"' || tag[start] == '\'') {
			quote := tag[start]
			start++
			if n := strings.IndexByte(tag[start:], quote); n >= 0 {
				end = start + n
			}
		} else if n := strings.IndexAny(tag[start:], space+">"); n >= 0 {
			end = start + n
		}
		parts = append(parts, part{last, start, ""}, part{start, end, strings.ToLower(name)})
		last, i = end, end+1
	}
	return append(parts, part{last, len(tag), ""})
}

// isAddress reports whether an attribute holds an address.
func isAddress(attribute string) bool {
	switch attribute {
	case "href", "src", "action", "formaction", "background", "cite", "poster", "longdesc", "data", "srcset", "ping", "xlink:href", "manifest", "codebase", "profile", "usemap", "classid", "archive", "lowsrc", "dynsrc":
		return true
	default:
		return false
	}
}

// isCode reports whether an attribute is run or applied: scripts, styles, and
// documents inside the document.
func isCode(attribute string) bool {
	return strings.HasPrefix(attribute, "on") || attribute == "style" || attribute == "srcdoc"
}

// inText is a value as text.
func inText(value string) string { return html.EscapeString(visible(value)) }

// references is a value inside a tag, in quotes or without: all but letters and
// digits as references to characters.
func references(value string) string {
	var b strings.Builder
	for _, r := range visible(value) {
		if r < 0x80 && !notify.IsWord(byte(r)) && !strings.ContainsRune("-._/:?=&%", r) || r == '&' || r == '=' {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// address is a value as part of an address, of which before is written. What
// would end the address is percent-encoded, and so is the colon that would make
// it another kind of address than that of a web page.
func address(value, before string) string {
	kind := strings.TrimSpace(before)
	lower := strings.ToLower(value)
	settled := strings.ContainsAny(kind, ":/?#") ||
		kind == "" && (strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://"))
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		if notify.IsWord(c) || strings.IndexByte("-._~/?=&%@+,;#!$", c) >= 0 || c == ':' && settled {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// harmless is a value where anything might mean something: letters, digits, and
// a hyphen for all else.
func harmless(value string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (notify.IsWord(byte(r)) || r == '.' || r == '_') {
			return r
		}
		return '-'
	}, value)
}

// word stands for a value where only a name could stand.
func word(_, _ string) string { return "x" }

// always is an escape that does not depend on what stands before.
func always(escape func(value string) string) func(value, before string) string {
	return func(value, _ string) string { return escape(value) }
}

func visible(value string) string {
	return strings.Map(notify.Visible, strings.ToValidUTF8(value, "\uFFFD"))
}
