package expr

import (
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	// Text in, compact text out.
	for in, want := range map[string]string{
		" null ":                     "null",
		"[ true , false ]":           "[true,false]",
		"{}":                         "{}",
		"[]":                         "[]",
		`{"b":1, "a":{"c":[2]}}`:     `{"a":{"c":[2]},"b":1}`,
		`{"a":1,"a":2,"a":3}`:        `{"a":3}`,
		"18446744073709551615":       "18446744073709551615",
		"18446744073709551616":       "1.8446744073709552e19",
		"-9223372036854775808":       "-9223372036854775808",
		"-9223372036854775809":       "-9.223372036854776e18",
		"1000000000000000000000":     "1e21",
		"-0":                         "-0.0",
		"0.0":                        "0.0",
		"1.50":                       "1.5",
		"-12.5e1":                    "-125.0",
		"1E+2":                       "100.0",
		"1e15":                       "1000000000000000.0",
		"1e16":                       "1e16",
		"123456789e-3":               "123456.789",
		"0.00012":                    "0.00012",
		"0.000012":                   "0.000012",
		"0.0000012":                  "1.2e-6",
		"1e-7":                       "1e-7",
		`["\"\\\/\b\f\n\r\t\u0001"]`: `["\"\\/\b\f\n\r\t\u0001"]`,
		`["\u00e9\ud83d\ude00é"]`:    `["é😀é"]`,
		"[\"\x7f\"]":                 "[\"\x7f\"]",
	} {
		n, ok := parseJSON(in)
		if !ok {
			t.Errorf("%s: refused", in)
		} else if got := n.json(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{
		"", " ", "nul", "tru", "fals", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{1:2}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1`, `{"a" 1}`, `{"a`,
		"01", "-", "-x", "1.", ".5", "1e", "1e+", "+1", "0x1", "1e999", "NaN", "1 2", "'a'", `"a`, `"a\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\ud800"`, `"\ud800\u0041"`, `"\ud800\u12"`, `"\udc00"`,
		"\"a\nb\"", "\"\\n\n\"", "[1]\v", "[1]]", strings.Repeat("[", 128) + strings.Repeat("]", 128),
	} {
		if n, ok := parseJSON(in); ok || n != nil {
			t.Errorf("%q: accepted", in)
		}
	}
	if _, ok := parseJSON(strings.Repeat("[", 127) + strings.Repeat("]", 127)); !ok {
		t.Error("127 levels are refused")
	}
}

func TestJSONEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"1", "1", true},
		{"1", "1.0", false},
		{"1.0", "1.00", true},
		{"1", "-1", false},
		{"0", "-0", false},
		{"100.0", "1e2", true},
		{"null", "null", true},
		{"null", "false", false},
		{"true", "false", false},
		{`"a"`, `"\u0061"`, true},
		{`"1"`, "1", false},
		{"[1,2]", "[1,2]", true},
		{"[1,2]", "[2,1]", false},
		{"[1]", "[1,1]", false},
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		{`{"a":1}`, `{"b":1}`, false},
		{`{"a":1}`, `{"a":1,"b":1}`, false},
		{"[]", "{}", false},
	} {
		a, _ := parseJSON(c.a)
		b, _ := parseJSON(c.b)
		if a.equal(b) != c.want || b.equal(a) != c.want {
			t.Errorf("%s and %s: equal is not %v", c.a, c.b, c.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for s, same := range map[string]string{"7": "7.00", "+7": "007", "-0": "0.0", "1_000": "1000", "-1.50": "-1.5", ".5": "0.5", maxDecimal: maxDecimal + ".0"} {
		a, ok := parseDecimal(s)
		b, ok2 := parseDecimal(same)
		if !ok || !ok2 || a != b {
			t.Errorf("%s and %s: %v %v, %v %v", s, same, a, ok, b, ok2)
		}
	}
	for _, s := range []string{"", "-", ".", "1e3", "_1", "0x1", " 1", "1.2.3", "79228162514264337593543950336", strings.Repeat("9", 40)} {
		if d, ok := parseDecimal(s); ok {
			t.Errorf("%q is read as %v", s, d)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "ABC": "abc", "ÀÉ": "àé", "Σ": "σ", "ΑΣ": "ας", "ΑΣ Β": "ας β", "ΑΣΒ": "ασβ", "Α'Σ'": "α'ς'", "Α'Σ'Β": "α'σ'β",
		"'Σ": "'σ", "İ": "i\u0307", "Σİ": "σi\u0307", "straße": "straße",
	} {
		if got := Fold(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if !foldedEqual(in, want) || foldedEqual(in, want+"x") || foldedEqual(in+"ß", want) {
			t.Errorf("%q: comparison without building the text", in)
		}
	}
}
