package email

import (
	"strings"
	"testing"

	xhtml "golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

func body(t interface{ Fatal(args ...any) }, template string, vars map[string]string) string {
	s, err := Body(notify.Expand(template, vars))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBody(t *testing.T) {
	for _, tc := range []struct{ template, value, want string }{
		{"Hello ${v}", "Alice", "<p>Hello Alice</p>\n"},
		{"Hello ${missing}", "", "<p>Hello ${missing}</p>\n"},
		{"a\nb\n\nc  \nd", "", "<p>a\nb</p>\n<p>c<br />\nd</p>\n"},
		// The extensions of the peer's reader.
		{"|a|b|\n|-|-:|\n|${v}|~~x~~|", "1|2", "<table>\n<thead>\n<tr>\n<th>a</th>\n<th style=\"text-align:right\">b</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>1|2</td>\n<td style=\"text-align:right\"><del>x</del></td>\n</tr>\n</tbody>\n</table>\n"},
		{"# Title {#id .c}", "", "<h1 id=\"id\" class=\"c\">Title</h1>\n"},
		{"- [x] done", "", "<ul>\n<li><input checked=\"\" disabled=\"\" type=\"checkbox\" /> done</li>\n</ul>\n"},
		{`"so" it's -- a --- b...`, "", "<p>“so” it’s – a — b…</p>\n"},
		{"https://ok.example", "", "<p>https://ok.example</p>\n"},
		// HTML and links in the template are the author's.
		{"<b>x</b> [tx](https://ok.example/${v})", "0x1f", "<p><b>x</b> <a href=\"https://ok.example/0x1f\">tx</a></p>\n"},
		{`<a href='https://ok.example/${v}' title=${v}>t</a>`, `' onclick=x> "`, `<p><a href='https://ok.example/%27%20onclick&#61;x%3E%20%22' title=&#39;&#32;onclick&#61;x&#62;&#32;&#34;>t</a></p>` + "\n"},
		// Values are text.
		{"${v}", "<script>alert(1)</script> & \"q\" it's -- *b* _i_ [l](https://x) `c` # h", "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;q&#34; it&#39;s -- *b* _i_ [l](https://x) `c` # h</p>\n"},
		{"`${v}`", "a`b <i>", "<p><code>a`b &lt;i&gt;</code></p>\n"},
		{"${v}", "a\n\n# h\n\n- l", "<p>a\n\n# h\n\n- l</p>\n"},
		{"${v}", "a\x00b\u202e\xff", "<p>a\uFFFDb\uFFFD\uFFFD</p>\n"},
		// A value as the beginning of an address may be a web page and nothing else.
		{"[l](${v})", "https://a.example/x?y=1&z=2", "<p><a href=\"https://a.example/x?y&#61;1&#38;z&#61;2\">l</a></p>\n"},
		{"[l](${v})", "javascript:alert(1)", "<p><a href=\"javascript%3Aalert%281%29\">l</a></p>\n"},
		{"<a href=\"${v}${v}\">l</a>", "javascript:", "<p><a href=\"javascript%3Ajavascript%3A\">l</a></p>\n"},
		{"<p style=\"color:${v}\" onclick=\"f('${v}')\">", "a');x", "<p style=\"color:a---x\" onclick=\"f('a---x')\">"},
		{"<${v} ${v}=1>", "script onload=x", "<x x=1>"},
		{"<!-- ${v} -->", "--><b>", "<!-- ----b- -->"},
		{"<script>\n${v}\n</script>", "</script>1", "<script>\n--script-1\n</script>"},
		// Stand-ins never meet the author's own words.
		{"xq0z XQQ0z ${v}1", "V", "<p>xq0z XQQ0z V1</p>\n"},
	} {
		if got := body(t, tc.template, map[string]string{"v": tc.value}); got != tc.want {
			t.Errorf("%q with %q gives\n%s\nwant\n%s", tc.template, tc.value, got, tc.want)
		}
	}
}

// elements are the tags, attributes and comments of a document, without the
// words in it, and without the values of attributes.
func elements(document string) string {
	var b strings.Builder
	z := xhtml.NewTokenizer(strings.NewReader(document))
	for {
		kind := z.Next()
		if kind == xhtml.ErrorToken {
			return b.String()
		}
		token := z.Token()
		switch kind {
		case xhtml.TextToken:
		case xhtml.CommentToken, xhtml.DoctypeToken:
			b.WriteString("<!>")
		default:
			b.WriteString("<" + kind.String() + " " + token.Data)
			for _, a := range token.Attr {
				b.WriteString(" " + a.Key)
				if scheme, _, ok := strings.Cut(strings.TrimSpace(a.Val), ":"); ok && a.Key == "href" && !strings.ContainsAny(scheme, "/?#%") {
					b.WriteString("=" + scheme)
				}
			}
			b.WriteString(">")
		}
	}
}

var hostile = []string{
	"x", "*", "**b**", "_i_", "~~s~~", "`", "```", "[l](https://evil.example)", "![i](https://evil.example/p.png)", "[^1]", "[^1]: n", "https://evil.example", "<https://evil.example>",
	"<script>alert(1)</script>", "<b>", "</p>", "</a>", "<!--", "-->", "<img src=x onerror=y>", "\"", "'", ">", "<", "&lt;", "&#60;", "&", "=", " onclick=x ", "/", "\\", "`",
	"\n", "\n\n", "\r\n", "# h", "\n# h\n", "- l", "> q", "1. l", "|", "|-|", "---", "===", "{#id}", "{.c}", "$x$", "javascript:", ":", "data:", "\t", " ", "xq0z", "xq1z", "z", "0", "${v}", "\x00", "\xff", "\u202e",
}

var pieces = []string{
	"${v}", "${v}", "${v}", "${w}", " ", "\n", "\n\n", "text ", "*b* ", "**", "_", "~~", "`", "```\n", "\n```\n", "# ", "> ", "- ", "1. ", "[l](https://ok.example/", ")", "[", "](", "![", "[^1]", "\n[^1]: ",
	"|a|b|\n|-|-|\n|", "|", "<b>", "</b>", "<a href=\"", "<a href='", "<a href=", "\">", "'>", ">", "<p title=\"", "<td ", "<", "</", "<!-- ", " -->", "<script>", "</script>", "<style>", "</style>", "\n---\n", "{#", "}", "\"q\" ", "\\", "xq0z ", "${events}",
}

// Whatever stands in values, the document has the elements and attributes that
// it has with an ordinary word in their place.
func TestValuesAddNoElements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		template := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 9).Draw(t, "template"), "")
		value := strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 1, 5).Draw(t, "value"), "")
		checkElements(t, template, value)
	})
}

func checkElements(t interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}, template, value string,
) {
	vars := func(value string) map[string]string {
		return map[string]string{"v": value, "w": "ordinary", "events.0.signature": value, "events.0.args.p": value}
	}
	got, plain := body(t, template, vars(value)), body(t, template, vars("x"))
	if a, b := elements(got), elements(plain); a != b {
		t.Fatalf("template %q, value %q:\n%s\nhas the elements %s\nwith x:\n%s\nit has %s", template, value, got, a, plain, b)
	}
}

func FuzzBody(f *testing.F) {
	f.Add("[${v}](${v}) <b title=${v}>", "\" onclick=x>")
	f.Add("|${v}|\n|-|\n", "|")
	f.Add("<a href=\"${v}\">${w}", "javascript:x")
	f.Fuzz(func(t *testing.T, template, value string) {
		if value == "" {
			value = "x"
		}
		checkElements(t, template, value)
	})
}

func TestSubject(t *testing.T) {
	for _, tc := range []struct{ value, want string }{
		{"plain", "A plain"},
		{"x\r\nBcc: evil@example.com", "A x  Bcc: evil@example.com"},
		{"x\nB\vC\u2028D\x00E\u0085F", "A x B C D\uFFFDE F"},
		{" \t", "A"},
		{"*b* <i> é", "A *b* <i> é"},
	} {
		if got := Subject(notify.Expand("A ${v}", map[string]string{"v": tc.value})); got != tc.want {
			t.Errorf("%q gives %q, want %q", tc.value, got, tc.want)
		}
	}
	if n := notify.Words(Subject(notify.Words(strings.Repeat("🚀", 2000)))).Units(); n > subjectLimit {
		t.Errorf("%d units", n)
	}
}
