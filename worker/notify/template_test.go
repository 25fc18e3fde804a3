package notify

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSubstitute(t *testing.T) {
	vars := map[string]string{
		"a": "1", "b": "${a}", "monitor.name": "M", "empty": "",
		"events.0.signature": "Ping(uint256)", "events.0.args.n": "5",
		"events.x.signature": "no integer", "events.7.args.lost": "no signature",
	}
	const summary = "\n\n*Matched Events:*\n\n*Reason 1*\n\n*Signature:* `Ping(uint256)`\n\n*Params:*\n\nn: `5`"
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"${a}${a}", "11"},
		{"<${empty}>", "<>"},
		{"${b}", "${a}"},    // never expanded again
		{"${${a}}", "${1}"}, // the inner one is a placeholder, what results is not
		{"${a${a}", "${a1"}, // the innermost opening counts
		{"${A} ${ a } {a} $a", "${A} ${ a } {a} $a"},
		{"${a", "${a"},
		{"}${a}{", "}1{"},
		{"$${a}", "$1"},
		{"${}", "${}"},
		{"${monitor.name}: ${unknown}", "M: ${unknown}"},
		{"x${events}y${functions}z", "x" + summary + "yz"},
	} {
		if got := Substitute(tc.in, vars); got != tc.want {
			t.Errorf("%q gives %q, want %q", tc.in, got, tc.want)
		}
	}
	if got := Substitute("${events}", map[string]string{"events": "mine", "events.0.signature": "E()"}); got != "mine" {
		t.Errorf("a variable called events gives %q, want its value", got)
	}
}

// What stands in a variable comes from strangers: it must arrive as it is,
// whatever it looks like, wherever the placeholder stands.
func TestSubstitutedTextIsNeverExpanded(t *testing.T) {
	names := []string{"a", "monitor.name", "events.0.args.x", "transaction.hash"}
	hostile := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"${a}", "${monitor.name}", "${events}", "${functions}", "$", "${", "}", "{a}", "a}", "monitor.name}",
	}))
	rapid.Check(t, func(t *rapid.T) {
		vars := make(map[string]string)
		for _, n := range names {
			vars[n] = hostile.Draw(t, n)
		}
		var template, want strings.Builder
		for range rapid.IntRange(0, 6).Draw(t, "parts") {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				s := rapid.StringMatching(`[^$]{0,5}`).Draw(t, "literal")
				template.WriteString(s)
				want.WriteString(s)
			case 1:
				n := rapid.SampledFrom(names).Draw(t, "known")
				template.WriteString("${" + n + "}")
				want.WriteString(vars[n])
			case 2:
				template.WriteString("${unknown}")
				want.WriteString("${unknown}")
			}
		}
		if got := Substitute(template.String(), vars); got != want.String() {
			t.Fatalf("%q with %q gives %q, want %q", template.String(), vars, got, want.String())
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("${a} ${events}${functions}", "value", "Ping()")
	f.Add("${${a}}}${b", "${a}", "`*_")
	f.Add("```${a}``` [l](${a}) *${events}*", "`)]*", "x")
	f.Fuzz(func(t *testing.T, template, value, signature string) {
		vars := map[string]string{"a": value, "events.0.signature": signature, "events.0.args.p": value}
		text := Expand(template, vars)
		at := 0
		for _, v := range text.values {
			if v.Start < at || v.End <= v.Start || v.End > len(text.text) {
				t.Fatalf("value spans out of order: %v", text.values)
			}
			if got := text.text[v.Start:v.End]; got != value && got != signature && got != "p" {
				t.Fatalf("%q is marked as a value", got)
			}
			at = v.End
		}
		if !strings.Contains(template, "${") && text.text != template {
			t.Fatalf("%q changed to %q", template, text.text)
		}
		for _, limit := range []int{1, 7, 40} {
			if got := text.Cut(limit); got.Units() > limit || !slices.IsSortedFunc(got.values, func(a, b Span) int { return a.Start - b.Start }) {
				t.Fatalf("cut to %d gives %d units", limit, got.Units())
			}
		}
	})
}
