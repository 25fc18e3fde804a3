package expr

import (
	"strings"
	"testing"

	"github.com/holiman/uint256"
)

func big(s string) *uint256.Int { return uint256.MustFromDecimal(s) }

func signed(n int64) Value {
	w := uint256.NewInt(uint64(max(n, -n)))
	if n < 0 {
		w.Neg(w)
	}
	return Int(w)
}

func addr(b byte) Value {
	var a [20]byte
	for i := range a {
		a[i] = b
	}
	return Addr(a)
}

func TestText(t *testing.T) {
	aa := "0x" + strings.Repeat("aa", 20)
	for want, v := range map[string]Value{
		"18446744073709551616":                 Uint(big("18446744073709551616")),
		"7":                                    UintFrom64(7),
		"-7":                                   signed(-7),
		"true":                                 BoolValue(true),
		aa:                                     addr(0xaa),
		"":                                     NoAddr(),
		`a "b"`:                                String(`a "b"`),
		"0x":                                   Bytes(nil),
		"0x0aff":                               Bytes([]byte{10, 255}),
		"0xa9059cbb" + strings.Repeat("0", 56): FixedBytes([]byte{0xa9, 5, 0x9c, 0xbb}),
		"0x" + strings.Repeat("00", 31) + "01": Word([32]byte{31: 1}),
		"[]":                                   Array(nil),
		`[1,[-2],("x",` + `"` + aa + `",false,"0x01")]`: Array([]Value{UintFrom64(1), Array([]Value{signed(-2)}), Tuple([]Value{String("x"), addr(0xaa), BoolValue(false), Bytes([]byte{1})})}),
	} {
		if got := v.Text(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	missing := Missing()
	if missing.Text() != "" || missing.Class() != Invalid {
		t.Error("missing value")
	}
}

// typedParams declares one parameter of each shape that only decoded values can answer for.
var typedParams = []Param{
	{Name: "cfg", Kind: "tuple", Components: []Param{
		{Name: "owner", Kind: "address"},
		{Name: "limit", Kind: "uint256"},
		{Name: "inner", Kind: "tuple[]", Components: []Param{{Name: "tick", Kind: "int24"}, {Name: "tag", Kind: "string"}}},
		{Name: "", Kind: "bool"},
	}},
	{Name: "amounts", Kind: "uint256[]"},
	{Name: "grid", Kind: "int256[2][2]"},
	{Name: "names", Kind: "string[]"},
	{Name: "blobs", Kind: "bytes[]"},
	{Name: "orders", Kind: "tuple[2]", Components: []Param{{Name: "id", Kind: "uint64"}, {Name: "who", Kind: "address"}}},
	{Name: "sel", Kind: "bytes4"},
	{Name: "topic", Kind: "string"},
	{Name: "gap", Kind: "uint96"},
}

func typedArgs() []Value {
	return []Value{
		Tuple([]Value{
			addr(0x11), Uint(big("123456789012345678901234567890")),
			Array([]Value{Tuple([]Value{signed(-100), String("x")}), Tuple([]Value{signed(5), String(`say "hi"`)})}),
			BoolValue(true),
		}),
		Array([]Value{UintFrom64(1), Uint(big("36893488147419103233"))}),
		Array([]Value{Array([]Value{signed(-1), signed(2)}), Array([]Value{signed(3), signed(-4)})}),
		Array([]Value{String("Alpha"), String(`be"ta`), String("0x" + strings.Repeat("Ab", 20))}),
		Array([]Value{Bytes([]byte{0xab, 0xcd}), Bytes(make([]byte, 20))}),
		Array([]Value{Tuple([]Value{UintFrom64(1), addr(0x22)}), Tuple([]Value{UintFrom64(2), addr(0x33)})}),
		FixedBytes([]byte{0xa9, 0x05, 0x9c, 0xbb}),
		Word([32]byte{0: 0xfe, 31: 1}),
		UintFrom64(12),
	}
}

// TestTyped covers what decoded values answer beyond their text.
func TestTyped(t *testing.T) {
	for src, want := range map[string]outcome{
		"cfg.owner == 0x" + strings.Repeat("11", 20):  "true",
		"cfg.0 != 0x" + strings.Repeat("11", 20):      "false",
		"cfg[1] == 123456789012345678901234567890":    "true",
		"cfg.limit > 123456789012345678901234567889":  "true",
		"cfg.limit == 0x18ee90ff6c373e0ee4e3f0ad2":    "true",
		"cfg.inner[0].tick < -99":                     "true",
		"cfg.inner[1].tick > -1":                      "true", // a positive element against a negative literal
		"cfg.inner[1].tag contains '\"hi\"'":          "true",
		`cfg.inner[1].tag contains 'say "h'`:          "true",
		"cfg.inner[2].tag == x":                       "index_out_of_bounds",
		"cfg.inner.tag == x":                          "type",
		"cfg.3 == true":                               "true",
		"cfg.4 == true":                               "field_not_found",
		"cfg[4] == true":                              "index_out_of_bounds",
		"cfg.nope == 1":                               "field_not_found",
		"cfg.owner.x == 1":                            "type",
		"cfg.owner[0] == 1":                           "type",
		"cfg contains 123456789012345678901234567890": "true",
		"cfg contains -100":                           "true",
		"cfg contains nothing":                        "false",
		"cfg starts_with '('":                         "unsupported_operator",

		"amounts[1] == 36893488147419103233":                 "true",
		"amounts[1] == 36893488147419103232":                 "false",
		"amounts contains 36893488147419103233":              "true",
		"amounts contains 36893488147419103232":              "false",
		"amounts contains 1.0":                               "true",
		"amounts contains '01'":                              "true",
		"amounts contains 0x1":                               "false",
		"amounts == '[1, 36893488147419103233]'":             "true",
		"amounts == '[1, 36893488147419103232]'":             "false",
		"amounts == '[1, 36893488147419103232.0]'":           "true", // as a floating-point number
		"amounts == '[1.0, 36893488147419103233]'":           "false",
		"amounts == '1, 2'":                                  "parse",
		"amounts == '{}'":                                    "type",
		"amounts[5] == 1":                                    "index_out_of_bounds",
		"amounts.x == 1":                                     "type",
		"amounts.0 == 1":                                     "type",
		"grid[0][0] == -1":                                   "true",
		"grid[1] contains -4":                                "true",
		"grid[1] == '[3,-4]'":                                "true",
		"grid == '[[-1,2],[3,-4]]'":                          "true",
		"grid contains 4":                                    "false",
		"grid[0][1] > 0x" + strings.Repeat("f", 64):          "false", // unsigned, as the JSON number would be
		"grid[0][0] == 0x" + strings.Repeat("f", 64):         "true",  // signed, as the element is negative
		"grid[1][1][0] == 1":                                 "type",
		"names[1] == 'BE\"TA'":                               "true",
		"names contains 'be\"ta'":                            "true",
		"names contains alph":                                "false",
		"names[2] == " + strings.Repeat("ab", 20):            "true", // looks like an address
		"names[2] starts_with 0xab":                          "true",
		"blobs[0] == 0xABCD":                                 "true",
		"blobs[0] contains bcd":                              "true",
		"blobs contains 0xabcd":                              "true",
		"blobs[1] == " + "'" + strings.Repeat("0", 40) + "'": "true",
		"orders[1].who == 0x" + strings.Repeat("33", 20):     "true",
		"orders[1].id == 2":                                  "true",
		"orders contains 0x" + strings.Repeat("22", 20):      "true",
		"orders == '[]'":                                     "false",
		"sel starts_with 0xa9059cbb":                         "true",
		"sel == 0xa9059cbb":                                  "false",
		"sel ends_with 00":                                   "type",
		"sel ends_with '00'":                                 "true",
		"sel contains '9cbb0'":                               "true",
		"topic starts_with 0xFE":                             "true",
		"topic == plain":                                     "false",
		"gap > 11":                                           "true",
		"gap contains 1":                                     "type",
	} {
		if got := outcomeOf(run(src, EVM, typedParams, typedArgs())); got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
	whole := `orders == '[(1,"0x` + strings.Repeat("22", 20) + `"), (2,"0x` + strings.Repeat("33", 20) + `")]'`
	if got := outcomeOf(run(whole, EVM, typedParams, typedArgs())); got != "true" {
		t.Errorf("text of an array of tuples: %s", got)
	}
}

// TestTextDecides keeps the answers that the peer gives on text which strings have changed.
func TestTextDecides(t *testing.T) {
	params := []Param{{Name: "a", Kind: "string[]"}, {Name: "t", Kind: "tuple"}}
	args := []Value{
		Array([]Value{String(`x","y`), String(`tab\there`)}),
		Tuple([]Value{String(`back\\slash`), Uint(big("36893488147419103233"))}),
	}
	for src, want := range map[string]outcome{
		"a contains y":                                "true",
		`a contains 'tab\\there'`:                     "false",
		"a[1] == y":                                   "true",
		"a[2] starts_with 'tab\t'":                    "true",
		"t contains 36893488147419103233":             "true",
		"t contains 36893488147419103232":             "false",
		`t == '("back\\slash",36893488147419103233)'`: "true",
	} {
		if got := outcomeOf(run(src, EVM, params, args)); got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
}

// TestValuesElsewhere: decoded values work under the rules of every chain, and text works inside
// decoded values.
func TestValuesElsewhere(t *testing.T) {
	cases := []struct {
		dialect Dialect
		kind    string
		value   Value
		src     string
		want    outcome
	}{
		{Stellar, "I128", signed(-7), "p < -6", "true"},
		{Stellar, "U64", UintFrom64(7), "p >= 7", "true"},
		{Stellar, "U64", signed(-7), "p >= 7", "parse"},
		{Stellar, "Bool", BoolValue(true), "p == true", "true"},
		{Stellar, "U256", UintFrom64(7), "p == 7", "true"},
		{Stellar, "String", String("Ab"), "p contains B", "true"},
		{Solana, "u64", UintFrom64(7), "p != 7", "false"},
		{Solana, "bool", BoolValue(false), "p == 'false'", "true"},
		{EVM, "uint8", signed(7), "p == 7", "true"},
		{EVM, "int8", UintFrom64(7), "p > -1", "true"},
		{EVM, "uint8", BoolValue(true), "p == 1", "parse"},
		{EVM, "bool", UintFrom64(1), "p == true", "parse"},
		{EVM, "int8", String("-3"), "p == -3", "true"},
		{EVM, "string", UintFrom64(77), "p starts_with '7'", "true"},
		{EVM, "", UintFrom64(77), "p > 7", "type"},
		{EVM, "uint256[]", Word([32]byte{1}), "p contains 1", "parse"},
		{EVM, "uint256[]", Word([32]byte{1}), "p[0] == 1", "parse"},
		{EVM, "tuple", Word([32]byte{31: 1}), "p == '0x" + strings.Repeat("00", 31) + "01'", "true"},
		{EVM, "address", NoAddr(), "p == ''", "true"},
		{EVM, "address", NoAddr(), "p != 0x00", "true"},
		{EVM, "array", Array([]Value{FromText(EVM, "string", "Ab"), FromText(EVM, "uint8", "5"), Missing()}), "p contains ab", "true"},
		{EVM, "array", Array([]Value{FromText(EVM, "uint8", "5"), Missing()}), "p[0] > 4", "true"},
		{EVM, "string[]", Array([]Value{String(`q","r`)}), `p == '["q","R"]'`, "true"},
		{EVM, "string[]", Array([]Value{String(`q"r`)}), `p == '["q\\r"]'`, "false"},
		{EVM, "string[]", Array([]Value{String(`q"r`)}), `p != '{'`, "parse"},
		{EVM, "int8[]", Array([]Value{signed(3)}), "p[0] == 0b11", "true"},
		{EVM, "int8[]", Array([]Value{signed(-3)}), "p[0] == 0b11", "parse"},
		{EVM, "uint8[]", Array([]Value{UintFrom64(7)}), "p contains '007'", "true"},
		{EVM, "int8[]", Array([]Value{signed(0)}), "p contains '-0'", "true"},
		{EVM, "uint8[]", Array(nil), "p == '[]'", "true"},
	}
	for _, c := range cases {
		if got := outcomeOf(run(c.src, c.dialect, []Param{{Name: "p", Kind: c.kind}}, []Value{c.value})); got != c.want {
			t.Errorf("%s on %s %s: got %s, want %s", c.src, c.kind, c.value.Text(), got, c.want)
		}
	}
}

func TestProblems(t *testing.T) {
	cases := []struct {
		src        string
		kind       Kind // empty: no problem
		suggestion string
	}{
		{"amounts[1] > 5", "", ""},
		{"amount[1] > 5", KindUnknownVariable, "amounts"},
		{"Gap > 5", KindUnknownVariable, "gap"},
		{"zzz > 5", KindUnknownVariable, ""},
		{"gap > five", KindParse, ""},
		{"gap contains 5", KindUnsupportedOperator, ""},
		{"gap == true", KindType, ""},
		{"gap[0] == 1", KindType, ""},
		{"sel[0] == 1", KindParse, ""},
		{"topic == 5", KindType, ""},
		{"topic.a.b == 5", "", ""},
		{"cfg.ownr == 0x00", KindFieldNotFound, "owner"},
		{"cfg.3 == true", "", ""},
		{"cfg[4] == true", KindIndexOutOfBounds, ""},
		{"cfg.inner[7].tick > -5", "", ""},
		{"cfg.inner[7].tick == true", KindType, ""},
		{"cfg.inner.tick > 5", KindType, ""},
		{"cfg.owner > 5", KindType, ""},
		{"grid[2] contains 1", KindIndexOutOfBounds, ""},
		{"grid[1][1] > x", KindParse, ""},
		{"grid[1][1] > 0b1", "", ""},
		{"grid[1][1][1] > 1", KindType, ""},
		{"names[0][1] == x", KindType, ""},
		{"amounts > 5", KindUnsupportedOperator, ""},
		{"orders.id == 1", KindType, ""},
	}
	for _, c := range cases {
		_, problems, err := Compile(c.src, EVM, typedParams)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.src, err)
		case c.kind == "" && len(problems) > 0:
			t.Errorf("%s: %v", c.src, problems[0])
		case c.kind != "" && (len(problems) != 1 || problems[0].Kind != c.kind || problems[0].Suggestion != c.suggestion || problems[0].Condition != c.src):
			t.Errorf("%s: got %+v, want %s %q", c.src, problems, c.kind, c.suggestion)
		}
	}
	_, problems, err := Compile("slott > 5 AND slot > x", Solana, []Param{{Name: "slot", Kind: "u64"}})
	if err != nil || len(problems) != 2 || problems[0].Kind != KindType || problems[0].Suggestion != "slot" || problems[1].Kind != KindType {
		t.Errorf("solana: %v %v", problems, err)
	}
	_, problems, err = Compile("n.x == 1 AND m.x == 1 AND n >= 0.5", Stellar, []Param{{Name: "n", Kind: "U64"}, {Name: "m", Kind: "Order"}})
	if err != nil || len(problems) != 2 || problems[0].Kind != KindType || problems[1].Kind != KindParse {
		t.Errorf("stellar: %v %v", problems, err)
	}
}

func TestConjuncts(t *testing.T) {
	params := []Param{
		{Name: "to", Kind: "address"},
		{Name: "value", Kind: "uint256"},
		{Name: "delta", Kind: "int128"},
		{Name: "ok", Kind: "bool"},
		{Name: "memo", Kind: "string"},
		{Name: "hash", Kind: "bytes32"},
		{Name: "ids", Kind: "uint256[]"},
	}
	to := "0x" + strings.Repeat("Ab", 20)
	hash := "0x" + strings.Repeat("Cd", 32)
	src := "to == " + to + " AND value >= 1_000 AND delta < -5 AND ok != false AND memo starts_with INV AND hash == " + hash +
		" AND ids contains 5 AND ids[0] > 3 AND nope == 1 AND (value < 9 OR value > 20) AND value == x AND to == 0x12"
	p, problems, err := Compile(src, EVM, params)
	if err != nil || len(problems) != 2 {
		t.Fatal(err, problems)
	}
	var got []string
	for _, c := range p.Conjuncts() {
		got = append(got, params[c.Param].Name+" "+c.Op.String()+" "+c.Value.Class().String()+" "+c.Value.Text())
	}
	want := []string{
		"to == address " + strings.ToLower(to), "value >= unsigned integer 1000", "delta < signed integer -5", "ok != bool false",
		"memo starts_with text inv", "hash == bytes " + strings.ToLower(hash),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Dynamic bytes may be 32 bytes long, but have no word: their constant is a text.
	p, _, err = Compile("data == "+hash, EVM, []Param{{Name: "data", Kind: "bytes"}})
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Conjuncts(); len(c) != 1 || c[0].Value.Class() != Text || c[0].Value.Text() != strings.ToLower(hash) {
		t.Errorf("dynamic bytes: %+v", c)
	}
	for src, n := range map[string]int{"value > 5": 1, "value > 5 OR value < 3": 0, "(value > 5) AND value < 9": 2, "(value > 5 AND value < 9) AND ok == true": 3, "value > 2.5": 0} {
		p, _, err := Compile(src, EVM, params)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(p.Conjuncts()); got != n {
			t.Errorf("%s: %d conjuncts, want %d", src, got, n)
		}
	}
}
