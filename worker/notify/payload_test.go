package notify

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

func TestStringsAreEscapedAsLittleAsPossible(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", `""`},
		{`a"b\c/`, `"a\"b\\c/"`},
		{"\b\f\n\r\t", `"\b\f\n\r\t"`},
		{"\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""},
		{"<a href='x'>&</a>", `"<a href='x'>&</a>"`},
		{"\u2028\u2029 é 🚀", "\"\u2028\u2029 é 🚀\""},
		{"\xff\xfe", "\"\uFFFD\uFFFD\""},
	} {
		if got := string(appendString(nil, tc.in)); got != tc.want {
			t.Errorf("%q gives %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	in := ` { "b" : [ 1.50, -0, 1e400, 123456789012345678901234567890, true, null ], "a": {"z":"\u003c\/é","A":{}} , "B": [] } `
	want := `{"B":[],"a":{"A":{},"z":"</é"},"b":[1.50,-0,1e400,123456789012345678901234567890,true,null]}`
	got, err := Canonical([]byte(in))
	if err != nil || string(got) != want {
		t.Errorf("Canonical = %s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", "{", "{} {}", "nil"} {
		if _, err := Canonical([]byte(bad)); err == nil {
			t.Errorf("Canonical(%q) was accepted", bad)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,"\u2028"],"a":null}`))
	f.Add([]byte("\"\xff\\ud800\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Canonical(data)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q gives %q, which is no JSON", data, out)
		}
		if again, err := Canonical(out); err != nil || string(again) != string(out) {
			t.Fatalf("%q gives %q, then %q, %v", data, out, again, err)
		}
	})
}

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
		if got := EscapeMarkdownV2(Expand(tc.template, map[string]string{"v": tc.value})); got != tc.want {
			t.Errorf("%q with %q gives %q, want %q", tc.template, tc.value, got, tc.want)
		}
	}
}

func TestLongMessagesAreShortened(t *testing.T) {
	long := Message{Title: Text{text: strings.Repeat("t", 5000)}, Body: Text{text: strings.Repeat("🚀", 5000)}}
	for name, tc := range map[string]struct {
		text  Text
		limit int
	}{
		"slack":   {headed(long).cut(slackLimit), slackLimit},
		"discord": {headed(Message{Body: long.Body}).cut(discordLimit), discordLimit},
	} {
		if n := tc.text.units(); n > tc.limit || n < tc.limit-1 || !strings.HasSuffix(tc.text.text, "…") {
			t.Errorf("%s: %d units, want %d ending in …", name, n, tc.limit)
		}
	}
	// Markup does not count, and nothing here needs escaping.
	if n := (Text{text: telegramText(long)}).units(); n > telegramLimit || n < telegramLimit-2 {
		t.Errorf("telegram: %d units, want about %d", n, telegramLimit)
	}
	// A long title alone is no reason to touch it.
	fits := Message{Title: Text{text: strings.Repeat("t", 1000)}, Body: Text{text: "b"}}
	if got := telegramText(fits); !strings.Contains(got, fits.Title.text) {
		t.Error("telegram: a title that fits was shortened")
	}
	// Cutting through a value keeps the rest of it a value.
	cut := Expand("${v}", map[string]string{"v": "*****"}).cut(3)
	if got := EscapeMarkdownV2(cut); got != `\*\*…` {
		t.Errorf("cut value gives %q", got)
	}
}

func TestComposeTellsTheState(t *testing.T) {
	a := &alert.Alert{State: alert.Fired, NetworkSlug: "mainnet", Variables: map[string]string{"monitor.name": "M", "block.hash": "theirs"}}
	a.Block.Height = 7
	m := spec.Message{Title: "${monitor.name}", Body: "${alert.state} ${block.number} ${network.slug} ${block.hash}"}
	for state, want := range map[alert.State]string{
		alert.Fired:      "M|fired 7 mainnet theirs",
		alert.Retracted:  "Retracted: M|retracted 7 mainnet theirs",
		alert.Reinstated: "Reinstated: M|reinstated 7 mainnet theirs",
	} {
		a.State = state
		got := Compose(a, m)
		if text := got.Title.String() + "|" + got.Body.String(); text != want {
			t.Errorf("%s: %q, want %q", state, text, want)
		}
	}
	if len(a.Variables) != 2 {
		t.Error("composing changed the alert")
	}
}
