package expr

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// dump prints a tree with full parentheses; literals show their type.
func dump(n ast) string {
	switch n := n.(type) {
	case *leaf:
		var b strings.Builder
		b.WriteString(n.name)
		for _, s := range n.path {
			if s.bracket {
				b.WriteString("[" + strconv.Itoa(s.index) + "]")
			} else {
				b.WriteString("." + s.key)
			}
		}
		quote := [...]string{litString: "'", litNumber: "#", litBool: "?"}[n.lit.kind]
		return b.String() + n.op.String() + quote + n.lit.text + quote
	case *chain:
		parts := make([]string, len(n.terms))
		for i, t := range n.terms {
			parts[i] = dump(t)
		}
		if n.or {
			return "(" + strings.Join(parts, " | ") + ")"
		}
		return "(" + strings.Join(parts, " & ") + ")"
	}
	return "?"
}

func TestParse(t *testing.T) {
	accepted := []struct{ src, want string }{
		{"p == 1 AND q == 2 or r == 3", "((p==#1# & q==#2#) | r==#3#)"},
		{"p == 1 OR q == 2 and r == 3 OR s == 4", "(p==#1# | (q==#2# & r==#3#) | s==#4#)"},
		{"p == 1 AND (q == 2 OR r == 3)", "(p==#1# & (q==#2# | r==#3#))"},
		{"(((p == 1)))", "p==#1#"},
		{"\t( p==1\t) ", "p==#1#"},
		{"p == 'v'AND q == 2", "(p=='v' & q==#2#)"},
		{"(p == 1)or(q == 2)", "(p==#1# | q==#2#)"},
		{"p == 1 ORq == 2", "(p==#1# | q==#2#)"},
		{"p == 1 organic == 2", "(p==#1# | ganic==#2#)"},
		{"p == 1 android == 2", "(p==#1# & roid==#2#)"},
		{"p containsbar", "pcontains'bar'"},
		{"p STARTS_WITH bar", "pstarts_with'bar'"},
		{"p Ends_With'bar'", "pends_with'bar'"},
		{"p>=1", "p>=#1#"},
		{"p<1", "p<#1#"},
		{"p != -7", "p!=#-7#"},
		{"p == +7.25", "p==#+7.25#"},
		{"p == 2e9", "p=='2e9'"},
		{"p == 1_0", "p=='1_0'"},
		{"p == -x9", "p=='-x9'"},
		{"p == -9x", "p=='-9x'"},
		{"p == 0xAf", "p=='0xAf'"},
		{"p == 0xAfz", "p=='0xAfz'"},
		{"p == 0x1-2", "p=='0x1-2'"},
		{"p == true", "p==?true?"},
		{"p == true-ish", "p=='true-ish'"},
		{"p == falsey", "p=='falsey'"},
		{"p == and1", "p=='and1'"},
		{"p == dash-ed_word", "p=='dash-ed_word'"},
		{`p == 'don\'t'`, `p=='don\'t'`},
		{`p == "a\\b"`, `p=='a\\b'`},
		{`p == "it's"`, `p=='it's'`},
		{"p == ''", "p==''"},
		{"p == 'line\nbreak'", "p=='line\nbreak'"},
		{"p[2] == 1", "p[2]==#1#"},
		{"p[0][1].k == 'x'", "p[0][1].k=='x'"},
		{"p.0 > 1", "p.0>#1#"},
		{"p.and.contains == 1", "p.and.contains==#1#"},
		{"7 > 5", "7>#5#"},
		{"7.id == 3", "7.id==#3#"},
		{"7[1] == 3", "7[1]==#3#"},
		{"_ == 3", "_==#3#"},
	}
	for _, c := range accepted {
		n, err := parse(c.src)
		if err != nil {
			t.Errorf("%q: %v", c.src, err)
		} else if got := dump(n); got != c.want {
			t.Errorf("%q: got %s, want %s", c.src, got, c.want)
		}
	}
	refused := []string{
		"", " ", "\t", "p", "p ==", "== 1", "p == 1 AND", "AND p == 1", "p == 1 q == 2",
		"p == 1AND q == 2", "p == True", "p == FALSE", "true == p", "Or == 1", "CONTAINS == 1",
		"p == .5", "p == 5.", "p == 1.2.3", "p == 5-3", "p == -", "p == --1", "p == +", "p == +x", "p == 0x", "p == 0X",
		"p == a.b", `p == 'a\nb'`, `p == 'a\"b'`, "p == 'open", `p == 'open\'`, `p == 'open\`, "p == and", "p == starts_with",
		"p [0] == 1", "p[] == 1", "p[-1] == 1", "p[0 == 1", "p[x] == 1", "p[99999999999999999999] == 1", "p. == 1", "p.a-b == 1", "p.1a == 1", "1p == 2",
		"p == (1)", "p == 1 && q == 2", "p == 1 || q == 2", "NOT p == 1", "!p == 1", "p = 1", "p === 1", "p <> 1", "p =< 1", "p >>> 1", "p <=> 1",
		"(p == 1", "p == 1)", "()", "p == 1\n", "p\n== 1", "p == 1 \r\nAND q == 2", "p == é", "é == 1", "p == 1 # note", "p in 1",
	}
	for _, src := range refused {
		if n, err := parse(src); err == nil {
			t.Errorf("%q: accepted as %s", src, dump(n))
		} else if err.Kind != KindParse || err.Offset > len(src) || err.Message == "" {
			t.Errorf("%q: poor error %+v", src, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("(", n) + "p == 1" + strings.Repeat(")", n) }
	if _, err := parse(deep(maxDepth)); err != nil {
		t.Errorf("depth at the limit: %v", err)
	}
	hostile := map[string]string{
		"depth beyond the limit":  deep(maxDepth + 1),
		"open parentheses":        strings.Repeat("(", maxSource-1),
		"100 000 parentheses":     deep(100_000),
		"longer than the limit":   "p == '" + strings.Repeat("x", maxSource) + "'",
		"spaced open parentheses": strings.Repeat("( ", 20_000),
	}
	for name, src := range hostile {
		_, _, err := Compile(src, EVM, nil)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != KindParse {
			t.Errorf("%s: got %v", name, err)
		}
	}
	long := "p == 1" + strings.Repeat(" AND p == 1", 5000)
	p, problems, err := Compile(long, EVM, []Param{{Name: "p", Kind: "uint8"}})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	if ok, err := p.Eval([]Value{UintFrom64(1)}); err != nil || !ok {
		t.Errorf("long chain: %v %v", ok, err)
	}
	// JSON from the chain is as hostile as an expression.
	for _, text := range []string{strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<18), strings.Repeat("(", 1<<20) + strings.Repeat(")", 1<<20)} {
		for _, kind := range []string{"array", "tuple"} {
			if ok, kindOf := run("p contains x", EVM, []Param{{Name: "p", Kind: kind}}, []Value{FromText(EVM, kind, text)}); ok || kindOf != KindParse {
				t.Errorf("nested text as %s: %v %v", kind, ok, kindOf)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	_, problems, err := Compile("valeu > 5 AND other == 1", EVM, []Param{{Name: "value", Kind: "uint256"}})
	if err != nil || len(problems) != 2 {
		t.Fatal(err, problems)
	}
	want := `condition "valeu > 5" at offset 0: there is no variable named "valeu"; did you mean "value"?`
	if got := problems[0].Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if problems[1].Offset != 14 || problems[1].Suggestion != "" {
		t.Errorf("second problem: %+v", problems[1])
	}
	_, _, err = Compile("value > 5 value < 6", EVM, nil)
	want = `expression at offset 10: expected AND, OR or the end, found "value"`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
