package telegram

import (
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// Telegram: what a variable brings in neither opens nor closes markup, also
// inside markup of the template.
func TestTelegramValuesTakeNoPartInMarkup(t *testing.T) {
	for _, tc := range []struct{ template, value, want string }{
		{"Hi ${v}!", "*all*", `Hi \*all\*\!`},
		{"*${v}*", "a*b_c", `*a\*b\_c*`},
		{"`${v}`", "a`b.c\\", "`a\\`b.c\\\\`"},
		{"[${v}](https://x.io/${v})", "a)]b", `[a\)\]b](https://x\.io/a\)\]b)`},
		{"_x ${v}", "y_", `\_x y\_`},
		{"```\n${v}\n```", "x``` *y*", "```\nx\\`\\`\\` *y*\n```"},
	} {
		if got := EscapeMarkdownV2(notify.Expand(tc.template, map[string]string{"v": tc.value})); got != tc.want {
			t.Errorf("%q with %q gives %q, want %q", tc.template, tc.value, got, tc.want)
		}
	}
}

// What would act on the text around it arrives as U+FFFD.
func TestTelegramTextIsVisible(t *testing.T) {
	const acting = "a\x00\x07\x1b[31m\u202e\u2066b\nc"
	text := notify.Expand("${v}", map[string]string{"v": acting})
	const want = "a\uFFFD\uFFFD\uFFFD\\[31m\uFFFD\uFFFDb\nc"
	if got := Text(notify.Message{Title: text, Body: text}); got != "*"+want+"* \n\n"+want {
		t.Errorf("%q", got)
	}
}

// The number of entities does not depend on a value: what MarkdownV2 reads as
// markup is the template's alone.
func FuzzEscape(f *testing.F) {
	f.Add("${a} *b* ${a}", "`*_")
	f.Add("```${a}``` [l](${a}) *${a}* _${a}_ ~${a}~ `${a}`", "`)]*\\~_")
	f.Add("a ${a", "\\")
	f.Fuzz(func(t *testing.T, template, value string) {
		if value == "" {
			value = "x" // nothing is nothing to look at
		}
		text := notify.Expand(template, map[string]string{"a": value})
		escaped := EscapeMarkdownV2(text)
		// Escaping only ever adds backslashes.
		i := 0
		for j := range len(escaped) {
			if i < len(text.String()) && escaped[j] == text.String()[i] {
				i++
			} else if escaped[j] != '\\' {
				t.Fatalf("escaping %q gives %q", text, escaped)
			}
		}
		if i != len(text.String()) {
			t.Fatalf("escaping %q lost text: %q", text, escaped)
		}
		plain := EscapeMarkdownV2(notify.Expand(template, map[string]string{"a": "x"}))
		if got, want := live(escaped), live(plain); !strings.Contains(template, "\\") && got != want {
			t.Fatalf("%q with %q has the markup %q, with x %q", template, value, got, want)
		}
	})
}

// live are the characters of a text that Telegram would act upon: those that no
// backslash takes the meaning off, and in code none but back-ticks.
func live(s string) string {
	var b strings.Builder
	fence := "" // what ends the code
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '`':
			tick := "`"
			if fence != "`" && strings.HasPrefix(s[i:], "```") {
				tick = "```"
			}
			b.WriteString(tick)
			i += len(tick) - 1
			switch fence {
			case "":
				fence = tick
			case tick:
				fence = ""
			}
		case fence == "" && strings.IndexByte("*_~[]()", s[i]) >= 0:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func TestLongMessagesAreShortened(t *testing.T) {
	long := notify.Message{Title: notify.Words(strings.Repeat("t", 5000)), Body: notify.Words(strings.Repeat("🚀", 5000))}
	// Markup does not count, and nothing here needs escaping.
	if n := notify.Words(Text(long)).Units(); n > limit || n < limit-2 {
		t.Errorf("%d units, want about %d", n, limit)
	}
	// A long title alone is no reason to touch it.
	fits := notify.Message{Title: notify.Words(strings.Repeat("t", 1000)), Body: notify.Words("b")}
	if got := Text(fits); !strings.Contains(got, fits.Title.String()) {
		t.Error("a title that fits was shortened")
	}
	// Cutting through a value keeps the rest of it a value.
	cut := notify.Expand("${v}", map[string]string{"v": "*****"}).Cut(3)
	if got := EscapeMarkdownV2(cut); got != `\*\*…` {
		t.Errorf("cut value gives %q", got)
	}
}
