package expr

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse: no text makes the parser fail in any other way than with an error, and what it accepts
// it can read again from the conditions it reports.
func FuzzParse(f *testing.F) {
	for _, src := range []string{
		"", " ", "a == 1", "(a == 1 OR b < 2)AND c > 3", "a == 1 ORb == 2", "a containsfoo", `a == 'it\'s'`, `a == "x\\"`,
		"arr[0][1].k.2 != 0xFF", "0.1 >= -1.5", "a == true_val", "a == 1e18", "a == 0x", "((((", strings.Repeat("(", 2000),
		"a == 'open", "a\n== 1", "é == ü", "a == 1 AND AND", "a[99999999999999999999] == 1", "a == +", "\xff == \xfe",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, _, err := Compile(src, EVM, nil)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != KindParse || e.Offset < 0 || e.Offset > len(src) || p != nil {
				t.Fatalf("%q: bad error %#v", src, err)
			}
			return
		}
		for _, l := range p.leaves {
			again, err := parse(l.src)
			if err != nil {
				t.Fatalf("%q: condition %q does not parse alone: %v", src, l.src, err)
			}
			if dump(again) != dump(l) {
				t.Fatalf("%q: condition %q reads as %s alone, as %s within", src, l.src, dump(again), dump(l))
			}
		}
	})
}

// FuzzEval: no expression and no value makes an evaluation panic, the same input gives the same answer, and
// Explain agrees with Eval.
func FuzzEval(f *testing.F) {
	seeds := []struct{ src, kind, value string }{
		{"p == 1", "uint256", "0x01"},
		{"p < -5 OR p > 0xff", "int24", "-7"},
		{"p contains x", "tuple", `(1,"x",[2],{"a":null},(3))`},
		{"p == '[1,2]'", "uint8[]", "[1, 2]"},
		{"p[0].a.b[1] == x", "array", `[{"a":{"b":[0,"\u0041\ud83d\ude00"]}}]`},
		{"p contains 1.50", "array", "[1.5, -0, 1e300, 12345678901234567890123]"},
		{"p == 'ΟΔΟΣ'", "string", "οδος"},
		{"p == 0x00", "address", " 0x 00 "},
		{"p == '{\"k\":1}'", "Map<Symbol,U32>", `{"k":1,"k":2}`},
		{"p contains b", "Vec<Symbol>", "[a,b]"},
		{"p >= 7", "I128", "-170141183460469231731687303715884105728"},
		{"p == true", "bool", "true"},
		{"p != '|A|'", "string", "|A|B|"},
		{"p == 1", strings.Repeat("uint8[", 40) + strings.Repeat("]", 40), "[]"},
	}
	for _, s := range seeds {
		for d := range 3 {
			f.Add(s.src, uint8(d), s.kind, s.value)
		}
	}
	f.Fuzz(func(t *testing.T, src string, dialect uint8, kind, value string) {
		d := Dialect(dialect % 3)
		params := []Param{{Name: "p", Kind: kind}, {Name: "q", Kind: "tuple", Components: []Param{{Name: "p", Kind: kind}}}}
		text := FromText(d, kind, value)
		args := []Value{text, Tuple([]Value{text, String(value), Array([]Value{String(value), Bytes([]byte(value))})})}
		p, _, err := Compile(src, d, params)
		if err != nil {
			return
		}
		first, ferr := p.Eval(args)
		second, serr := p.Eval(args)
		if first != second || (ferr == nil) != (serr == nil) || ferr != nil && (first || ferr.Error() != serr.Error()) {
			t.Fatalf("%q: %v %v, then %v %v", src, first, ferr, second, serr)
		}
		p.Explain(args)
		if first {
			for _, c := range p.Conjuncts() {
				if c.Param == 0 && !holdsAlone(c, d, &args[0]) {
					t.Fatalf("%q holds for %q, its conjunct %s %s does not", src, value, c.Op, c.Value.Text())
				}
			}
		}
		text.Word()
	})
}
