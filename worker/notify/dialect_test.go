package notify_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/notify/discord"
	"github.com/ozmo-dev/ozmo/worker/notify/slack"
)

// hostile is what a stranger may try, by itself or in any order.
var hostile = []string{
	"x", "0x1f", "a_b", "_from", "5 * 3", "*", "**", "_", "__", "~", "~~", "||", "`", "```", "\\", "\n", "\r\n", "\n\n", "\u2028", " ", "\t",
	"<", ">", "&", "&gt;", "<!channel>", "<!here|x>", "<@U0123ABC>", "<@123456>", "<@&123>", "<#C01|x>", "<#123>", "<!subteam^S1>", "<:e:1>", "<t:1>", "</x:1>",
	"<https://evil.example|safe>", "https://evil.example/x", "http:", "://", "//", "www.evil.example", "evil.example", "a@evil.example", "mailto:a@b.example",
	"@everyone", "@here", "@channel", "@", "every", "one", "#general", "!", "#", "# ", "## h", "-# s", "> q", ">>> q", "- l", "1. l", "1", ".", ")", "(", "[", "]", "](",
	"[safe](https://evil.example)", "](https://evil.example)[", "discord.gg/evil", "|", "%", "\"", "'", "${v}", "\x00", "\u202e", "é", "🚀",
}

// pieces are what authors write around values.
var pieces = []string{
	"${v}", "${v}", "${v}", "${v}", " ", "\n", "text ", "*bold* ", " *", "* ", " _", "_ ", " ~", "~ ", "`code` ", "`", "```", "\n```\n", "> ", "# ", "- ", "1", "@", "<", ">", "<!", "<@", "#",
	" <https://ok.example/tx/", "|label>", " [label](https://ok.example/tx/", ") ", " [", "](https://ok.example) ", "https://ok.example/", ".", "\\", "every", "one", "http", "||", "~~", "__", "${events}",
}

// service counts what a chat service would make of a text.
type service struct {
	text    func(notify.Message) string
	exactly map[string]*regexp.Regexp // must be as many as with a plain value
	pairs   string
	role    func(c, before, after byte) (opens, closes bool)
	limit   int
}

var (
	codeSpan = regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	scheme   = regexp.MustCompile(`[A-Za-z]+://`)
	// own is an address of the author's, with whatever a value adds to its end: a service
	// sees one link, which leads where the author says.
	own = regexp.MustCompile("https://ok\\.example(/[^\\s<>|()\\[\\]`]*)?")
)

var services = map[string]service{
	"slack": {
		text: slack.Text,
		exactly: map[string]*regexp.Regexp{
			"mention":    regexp.MustCompile(`(?i)@(everyone|here|channel|group)`),
			"entity":     regexp.MustCompile(`<[!@#][A-Za-z0-9]`),
			"angle link": regexp.MustCompile(`<[^<>\n]*>`),
			"address":    scheme,
			"mail":       regexp.MustCompile(`[a-z]@[a-z]+\.[a-z]{2,}`),
			"domain":     regexp.MustCompile(`[a-z0-9]\.[a-z]{2,}`),
			"quote":      regexp.MustCompile(`(?m)^[ \t]*(&gt;|>)`),
			"line":       regexp.MustCompile(`\n`),
		},
		pairs: "*_~",
		role: func(_, before, after byte) (bool, bool) {
			return !alnum(before) && !space(after), !alnum(after) && !space(before)
		},
		limit: 3000,
	},
	"discord": {
		text: discord.Text,
		exactly: map[string]*regexp.Regexp{
			"mention":    regexp.MustCompile(`(?i)@(everyone|here)`),
			"entity":     regexp.MustCompile(`<(@[!&]?[0-9]|#[0-9]|a?:|t:|/)`),
			"link":       regexp.MustCompile(`\[[^\[\]]+\]\([^()\s]+\)`),
			"address":    scheme,
			"invitation": regexp.MustCompile(`discord\.gg/`),
			"block":      regexp.MustCompile(`(?m)^[ \t]*(>|#{1,3} |-# |[-*] |[0-9]+[.)] )`),
			"line":       regexp.MustCompile(`\n`),
		},
		pairs: "*_~|",
		role: func(c, before, after byte) (bool, bool) {
			if c == '~' || c == '|' {
				return before == c || after == c, before == c || after == c
			}
			if before == c || after == c || c == '*' {
				return !space(after) || after == c, !space(before) || before == c
			}
			return !space(after), !alnum(after)
		},
		limit: 2000,
	},
}

func alnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func space(c byte) bool { return c == 0 || c == ' ' || c == '\n' || c == '\t' }

// structure is what a service makes of a text, and how much formatting it
// could at most see in it.
func (s service) structure(text string) (exact map[string]int, formatting map[string]int) {
	exact, formatting = map[string]int{}, map[string]int{}
	code := len(codeSpan.FindAllString(text, -1))
	outside := codeSpan.ReplaceAllStringFunc(text, func(code string) string { return strings.Repeat("\x01", len(code)) })
	for name, p := range s.exactly {
		in := outside
		switch name {
		case "mention", "entity":
			in = text
		case "address", "mail", "domain", "invitation":
			in = own.ReplaceAllString(outside, "\x01")
		}
		exact[name] = len(p.FindAllString(in, -1))
	}
	formatting["code"] = code
	for _, c := range []byte(s.pairs) {
		open := false
		for i := range len(outside) {
			if outside[i] != c {
				continue
			}
			var before, after byte
			if i > 0 {
				before = outside[i-1]
			}
			if i+1 < len(outside) {
				after = outside[i+1]
			}
			opens, closes := s.role(c, before, after)
			switch {
			case closes && open:
				formatting[string(c)]++
				open = false
			case opens:
				open = true
			}
		}
	}
	return exact, formatting
}

func (s service) render(template, value string) string {
	return s.text(notify.Render(spec.Message{Title: "T ${v}", Body: template}, map[string]string{
		"v": value, "events.0.signature": "E(uint256)", "events.0.args._p": value,
	}))
}

// Whatever stands in a value, the service sees as many mentions, links, lines
// and blocks as with an ordinary word, and no more formatting.
func TestValuesAddNoStructure(t *testing.T) {
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				template := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 8).Draw(t, "template"), "")
				value := strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 1, 5).Draw(t, "value"), "")
				s.check(t, template, value)
			})
		})
	}
}

// check compares a hostile value with ordinary ones. Whether the author's own
// delimiters open or close may depend on the character beside them, so that
// formatting is compared with the most that some ordinary value gives.
func (s service) check(t interface{ Fatalf(string, ...any) }, template, value string) {
	got := s.render(template, value)
	if !utf8.ValidString(got) && utf8.ValidString(template+value) {
		t.Fatalf("%q is not UTF-8", got)
	}
	exact, formatting := s.structure(got)
	most := map[string]int{}
	plain := s.render(template, "x")
	want, _ := s.structure(plain)
	for _, ordinary := range []string{"x", "!", "x!", "!x", "x ", " x", "! ", " !", " x "} {
		_, f := s.structure(s.render(template, ordinary))
		for k, n := range f {
			most[k] = max(most[k], n)
		}
	}
	for k, n := range exact {
		if n != want[k] {
			t.Fatalf("template %q, value %q: %d times %s, want %d\n%q\n%q", template, value, n, k, want[k], got, plain)
		}
	}
	for k, n := range formatting {
		if n > most[k] {
			t.Fatalf("template %q, value %q: %d times %s, want at most %d\n%q\n%q", template, value, n, k, most[k], got, plain)
		}
	}
}

func TestDialects(t *testing.T) {
	for _, tc := range []struct{ template, value, slack, discord string }{
		// What means nothing where it stands arrives as it is.
		{"${v}", "0xAbC, 5 * 3, snake_case_name, it's \"so\" (really)", "", ""},
		{"${v}: `1`\n${v}: `2`", "_from", "", ""},
		{"`${v}`", "a_b*c*~d~ [x](y)", "", ""},
		{"${v}", "Foo(uint256[],bytes)", "", ""},
		{"${v}", "a & b < c > d", "a &amp; b &lt; c &gt; d", ""},
		// The author's markup is the author's.
		{"<!channel> *b* <https://ok.example/${v}|tx>", "0x1f", "<!channel> *b* <https://ok.example/0x1f|tx>", ""},
		{"@everyone **b** [tx](https://ok.example/${v}) <t:${v}:R>", "17", "@everyone **b** [tx](https://ok.example/17) <t:17:R>", "@everyone **b** [tx](https://ok.example/17) <t:17:R>"},
		// Mentions.
		{"${v}", "<!channel>", "&lt;!channel&gt;", "<!channel>"},
		{"${v}", "<@123>", "&lt;@123&gt;", "<\u200b@\u200b123>"},
		{"<${v}>", "!here", "<\u200b!\u200bhere>", "<!here>"},
		{"<@${v}>", "123", "<@\u200b123>", "<@\u200b123>"},
		{"${v}", "@everyone", "@\u200beveryone", "@\u200beveryone"},
		{"@${v}", "here", "@\u200bhere", "@\u200bhere"},
		// Links.
		{"${v}", "https://evil.example", "https:\u200b//evil\u200b.example", "https:\u200b//evil.example"},
		{"http${v}", "s://x", "https:\u200b//x", "https:\u200b//x"},
		{"${v}", "[a](https://x)", "[a](https:\u200b//x)", "[a］（https:\u200b//x)"},
		{"[a ${v}](https://ok.example)", "b](c", "", "[a b］（c](https://ok.example)"},
		{"<https://ok.example/${v}|a>", "x|y> z", "<https://ok.example/x%7Cy%3E%20z|a>", ""},
		// The end of an address whose host is the author's stays whole, and what follows it is text again.
		{"https://ok.example/name/${v}", "alice.example", "", ""},
		{"https://ok.example?url=${v}", "https://discord.com/x", "", ""},
		{"<https://ok.example/${v}|a> [a](https://ok.example/${v})", "alice.example", "", ""},
		{"https://ok.example/${v}", "a evil.example https://x", "https://ok.example/a evil\u200b.example https:\u200b//x", "https://ok.example/a evil.example https:\u200b//x"},
		{"https://${v}", "evil.example/a.example", "https://evil\u200b.example/a\u200b.example", ""},
		{"https://ok${v}", ".evil.example/a", "https://ok\u200b.evil\u200b.example/a", ""},
		// Formatting.
		{"${v}", "*b* _i_ ~s~ `c`", "∗b∗ ＿i＿ ∼s∼ ˋcˋ", "∗b∗ ＿i＿ ~s~ ˋcˋ"},
		{"${v}", "a**b** __u__ ~~s~~ ||h||", "", "a∗∗b∗∗ ＿＿u＿＿ ∼∼s∼∼ ∣∣h∣∣"},
		{"${v}*b*", "\\", "\\*b*", "⧵*b*"},
		// Lines.
		{"a: ${v}", "b\r\nc: d\n> e", "a: b c: d &gt; e", "a: b c: d > e"},
		{"${v}", "> q", "\u200b&gt; q", "\u200b> q"},
		{"${v}", "# h", "\u200b# h", "\u200b# h"},
		{"```\n${v}\n```", "b\nc `*d*`", "```\nb\nc ˋ*d*ˋ\n```", "```\nb\nc ˋ*d*ˋ\n```"},
		{"${v}", "a\x00b\u202ec", "a\uFFFDb\uFFFDc", "a\uFFFDb\uFFFDc"},
	} {
		for name, want := range map[string]string{"slack": tc.slack, "discord": tc.discord} {
			if want == "" {
				want = strings.ReplaceAll(tc.template, "${v}", tc.value)
				if name == "slack" && (strings.ContainsAny(tc.value, "<>") || strings.Contains(tc.value, "**")) {
					continue
				}
			}
			m := notify.Render(spec.Message{Body: tc.template}, map[string]string{"v": tc.value})
			got := strings.TrimPrefix(services[name].text(m), "**\n\n")
			if got != want {
				t.Errorf("%s: %q with %q gives\n%q, want\n%q", name, tc.template, tc.value, got, want)
			}
		}
	}
}

// What a service would refuse as too long is cut, never inside an escape.
func TestLongMessagesFit(t *testing.T) {
	for name, s := range services {
		for _, value := range []string{"t", "&", "<@1>", "🚀", "https://x.example ", "*_~"} {
			long := strings.Repeat(value, 5000)
			text := s.render("${v}", long)
			units := notify.Words(text).Units()
			if units > s.limit || units < s.limit-60 || !strings.HasSuffix(text, "…") {
				t.Errorf("%s: %q gives %d units, want about %d: …%q", name, value, units, s.limit, text[max(0, len(text)-20):])
			}
			if i := strings.LastIndexByte(text, '&'); name == "slack" && i >= 0 && !regexp.MustCompile(`^&(amp|lt|gt);`).MatchString(text[i:]) {
				t.Errorf("cut inside an entity: %q", text[i:])
			}
		}
	}
}

func FuzzDialects(f *testing.F) {
	f.Add("*${v}* ${v}", "x*y_")
	f.Add("[${v}](https://ok.example/${v})", "](https://evil.example)[")
	f.Add("<${v}|a> @${v}", "!here")
	f.Fuzz(func(t *testing.T, template, value string) {
		if strings.TrimSpace(value) == "" {
			value = "x"
		}
		for name, s := range services {
			text := s.render(template, value)
			if n := notify.Words(text).Units(); n > s.limit {
				t.Fatalf("%s: %d units", name, n)
			}
			if text == "" {
				t.Fatal(fmt.Errorf("%s: nothing is left of %q with %q", name, template, value))
			}
		}
	})
}
