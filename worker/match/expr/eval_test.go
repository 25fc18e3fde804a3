package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holiman/uint256"
)

// outcome is the expected end of an evaluation: "true", "false", or the kind of an error.
type outcome = string

func outcomeOf(ok bool, kind Kind) outcome {
	if kind != "" {
		return string(kind)
	}
	return fmt.Sprint(ok)
}

// evalText evaluates an expression on one parameter p that is known as text.
func evalText(d Dialect, kind, value, src string) outcome {
	return outcomeOf(run(src, d, []Param{{Name: "p", Kind: kind}}, []Value{FromText(d, kind, value)}))
}

var operators = []string{"==", "!=", "<", "<=", ">", ">=", "contains", "starts_with", "ends_with"}

// TestOperatorTable walks through every operator and type of literal for one value of each kind, as in
// the tables of expressions, sections 5 and 6. One letter per operator, in the order of operators:
// T true, F false, p parse, t type, u unsupported_operator.
func TestOperatorTable(t *testing.T) {
	a1 := "0x" + strings.Repeat("a1", 20)
	rows := []struct {
		dialect              Dialect
		kind, value, literal string
		want                 string
	}{
		{EVM, "uint256", "7", "7", "TFFTFTuuu"},
		{EVM, "uint256", "7", "'0x8'", "FTTTFFuuu"},
		{EVM, "uint256", "7", "7.0", "ppppppppp"},
		{EVM, "uint256", "7", "true", "ttttttttt"},
		{EVM, "uint256", "seven", "true", "ppppppppp"},
		{EVM, "uint24", "7", "6", "FTFFTTttt"},
		{EVM, "uint", "7", "6", "FTFFTTttt"},
		{EVM, "int256", "-7", "-7", "TFFTFTuuu"},
		{EVM, "int24", "-7", "0", "FTTTFFttt"},
		{EVM, "int8", "-7", "minus", "ppppppppp"},
		{EVM, "bool", "true", "true", "TFuuuuuuu"},
		{EVM, "bool", "true", "'true'", "ttttttttt"},
		{EVM, "bool", "yes", "'true'", "ppppppppp"},
		{EVM, "address", a1, a1, "TFuuuuuuu"},
		{EVM, "address", a1, "12", "ttttttttt"},
		{EVM, "string", "Invoice 9", "'INV'", "FTuuuuTTF"},
		{EVM, "string", "Invoice 9", "9", "ttttttttt"},
		{EVM, "string", "Invoice 9", "true", "ttttttttt"},
		{EVM, "bytes", "0xA9059cbb01", "0xa9059CBB", "FTuuuuTTF"},
		{EVM, "bytes32", "0x01", "01", "ttttttttt"},
		{EVM, "bytes32", "0x01", "'01'", "FTuuuuTFT"},
		{EVM, "bytes4", "0x01", "0x01", "TFttttTTT"},
		{EVM, "uint8[]", "[1,2]", "2", "ttuuuuTuu"},
		{EVM, "uint8[]", "[1,2]", "'[1, 2]'", "TFuuuuFuu"},
		{EVM, "uint8[]", "[1,2]", "'2,1'", "ppuuuuFuu"},
		{EVM, "uint8[]", "[1,2]", "'{}'", "ttuuuuFuu"},
		{EVM, "uint8[]", "[1,2]", "false", "ttttttttt"},
		{EVM, "uint8[2]", "[1,2]", "'2'", "ttttttTtt"},
		{EVM, "tuple", `(1,"x")`, "x", "FTuuuuTuu"},
		{EVM, "tuple", `(1,"x")`, "1", "ttuuuuTuu"},
		{EVM, "tuple", `(1,"x")`, `'( 1, "x" )'`, "TFuuuuFuu"},
		{EVM, "tuple[]", `[(1,"x")]`, "x", "ppuuuupuu"},
		{EVM, "mapping", "1", "1", "ttttttttt"},
		{EVM, "foo[]", "[1]", "1", "ttttttttt"},

		{Stellar, "U32", "7", "7", "TFFTFTuuu"},
		{Stellar, "U32", "4294967296", "7", "ppppppppp"},
		{Stellar, "U32", "7", "'7'", "ttttttttt"},
		{Stellar, "I128", "-7", "+7", "FTTTFFuuu"},
		{Stellar, "Timepoint", "7", "-1", "ppppppppp"},
		{Stellar, "Duration", "7", "18446744073709551615", "FTTTFFuuu"},
		{Stellar, "U256", "7", "7", "TFuuuuuuu"},
		{Stellar, "I256", "7", "'07'", "FTuuuuuuu"},
		{Stellar, "I256", "7", "true", "ttttttttt"},
		{Stellar, "Bool", "false", "true", "FTuuuuuuu"},
		{Stellar, "Symbol", "Swap_1", "swap", "FTuuuuTTF"},
		{Stellar, "Address", "GAB C", "gabc", "TFuuuuFFF"},
		{Stellar, "Bytes", "00ff", "'FF'", "FTuuuuTFT"},
		{Stellar, "Bytes2", "00ff", "'FF'", "FTttttTFT"},
		{Stellar, "Vec<U32>", "[1,2]", "2", "FTuuuuTuu"},
		{Stellar, "Vec<Symbol>", "[a,b]", "b", "FTuuuuTuu"},
		{Stellar, "Vec<Symbol>", "[a,b]", "'[A, b]'", "TFuuuuFuu"},
		{Stellar, "Map<Symbol,U32>", `{"k":5}`, "5", "ttuuuuTuu"},
		{Stellar, "Map<Symbol,U32>", `{"k":5}`, `'{"k": 5}'`, "TFuuuuFuu"},
		{Stellar, "Map<Symbol,U32>", `{k:5}`, "'5'", "ppuuuupuu"},
		{Stellar, "Void", "null", "null", "ttttttttt"},
		{Stellar, "Tuple<U32,U32>", "[1,2]", "1", "ttttttttt"},

		{Solana, "u8", "300", "300", "TFFTFTuuu"},
		{Solana, "i64", "-3", "'-3'", "TFFTFTuuu"},
		{Solana, "u64", "3", "'0x3'", "ttttttttt"},
		{Solana, "u64", "x", "3", "ttttttttt"},
		{Solana, "bool", "true", "'true'", "TFttttttt"},
		{Solana, "bool", "true", "1", "ttttttttt"},
		{Solana, "string", "|Ab|Cd|", "'|Ab|'", "FTttttTtt"},
		{Solana, "pubkey", "Ab1", "AB1", "FTttttFtt"},
		{Solana, "string", "15", "15", "TFttttTtt"},
		{Solana, "string", "15", "true", "ttttttttt"},
	}
	letters := map[outcome]byte{
		"true": 'T', "false": 'F', string(KindParse): 'p', string(KindType): 't', string(KindUnsupportedOperator): 'u',
		string(KindFieldNotFound): 'f', string(KindIndexOutOfBounds): 'i', string(KindUnknownVariable): 'v',
	}
	for _, r := range rows {
		var got strings.Builder
		for _, op := range operators {
			got.WriteByte(letters[evalText(r.dialect, r.kind, r.value, "p "+op+" "+r.literal)])
		}
		if got.String() != r.want {
			t.Errorf("dialect %d, %s %s against %s: got %s, want %s", r.dialect, r.kind, r.value, r.literal, got.String(), r.want)
		}
	}
}

func TestEvalText(t *testing.T) {
	max := "115792089237316195423570985008687907853269984665640564039457584007913129639935"
	cases := []struct {
		dialect          Dialect
		kind, value, src string
		want             outcome
	}{
		// Ways to write unsigned numbers.
		{EVM, "uint256", "1000", "p == 1_000", "true"},
		{EVM, "uint256", "5", "p == 0b101", "true"},
		{EVM, "uint256", "8", "p == 0o10", "true"},
		{EVM, "uint256", "8", "p == ' 8 '", "true"},
		{EVM, "uint256", "8", "p == +8", "parse"},
		{EVM, "uint256", "8", "p == 1e3", "parse"},
		{EVM, "uint256", "8", "p == ''", "parse"},
		{EVM, "uint256", max, "p == 0x" + strings.Repeat("F", 64), "true"},
		{EVM, "uint256", max + "0", "p == 1", "parse"},
		{EVM, "uint256", "0x" + strings.Repeat("0", 80) + "1", "p == 1", "true"},
		// Signed numbers: hexadecimal is the raw word.
		{EVM, "int256", "-1", "p == 0x" + strings.Repeat("f", 64), "true"},
		{EVM, "int256", "255", "p == 0xff", "true"},
		{EVM, "int256", "-0", "p == 0", "true"},
		{EVM, "int256", "1", "p < " + max, "parse"},
		{EVM, "int16", "-5", "p == '-5'", "true"},
		// Addresses.
		{EVM, "address", "", "p == ''", "true"},
		{EVM, "address", "0x" + strings.Repeat("Ab", 20), "p == ' " + strings.Repeat("aB", 20) + " '", "true"},
		// Text folds by Unicode.
		{EVM, "string", "ΟΔΟΣ", "p == 'οδος'", "true"},
		{EVM, "string", "ΟΔΟΣ", "p contains 'οδοσ'", "false"},
		{EVM, "string", "ΣΑ", "p starts_with 'σα'", "true"},
		{EVM, "string", "İ", "p == 'i\u0307'", "true"},
		{EVM, "string", "ÄÖ", "p == 'äö'", "true"},
		{EVM, "string", "abc", "p contains ''", "true"},
		// Arrays: searched as a whole value, folded, numbers as decimals.
		{EVM, "string[]", `["Alpha"]`, "p contains 'alph'", "false"},
		{EVM, "string[]", `["Alpha"]`, "p contains ALPHA", "true"},
		{EVM, "array", "[1.50]", "p contains 1.5", "true"},
		{EVM, "array", "[7]", "p contains 7.0", "true"},
		{EVM, "array", "[7]", "p contains '+7'", "true"},
		{EVM, "array", "[1e21]", "p contains '1e21'", "true"},
		{EVM, "array", "[null]", "p contains null", "true"},
		{EVM, "array", "[[[-3]]]", "p contains -3", "true"},
		{EVM, "array", "[true]", "p contains 'TRUE'", "true"},
		{EVM, "array", `{"a":1}`, "p contains 1", "parse"},
		{EVM, "array", `[1,2]`, "p == '[2,1]'", "false"},
		{EVM, "array", `[1]`, `p == '["1"]'`, "false"},
		{EVM, "array", `[true]`, `p == '[TRUE]'`, "true"},
		{EVM, "array", `[{"a":1,"b":2}]`, `p == '[{"B":2,"A":1}]'`, "true"},
		// Integers beyond 64 bits are floating-point numbers in JSON text.
		{EVM, "uint256[]", "[36893488147419103232]", "p[0] > 1", "parse"},
		// Paths.
		{EVM, "string", `{"a":{"b":[1,"x"]}}`, "p.a.b[1] == X", "true"},
		{EVM, "string", `{"a":5}`, "p.a > 4", "true"},
		{EVM, "string", `{"A":5}`, "p.a > 4", "field_not_found"},
		{EVM, "string", `{"a":-5}`, "p.a == -5", "true"},
		{EVM, "string", `{"a":5}`, "p.a > -5", "parse"},
		{EVM, "string", `{"a":[]}`, "p.a[0] == 1", "index_out_of_bounds"},
		{EVM, "string", "plain", "p.a == 1", "parse"},
		{EVM, "uint256", "12", "p[0] == 1", "type"},
		{EVM, "bool", "true", "p.x == 1", "type"},
		{EVM, "address", "0x00", "p[0] == 1", "parse"},
		{EVM, "uint256[3]", "[4,5,6]", "p[2] == 6", "true"},
		{EVM, "uint8[][]", "[[4],[5]]", "p[1][0] == 5", "true"},
		{EVM, "tuple", `(1,"x")`, "p.0 == 1", "parse"},
		{EVM, "object", `{"0":"x"}`, "p.0 == x", "true"},
		{EVM, "object", `["x"]`, "p.0 == x", "type"},
		{EVM, "object", `{"h":"0xAbC"}`, "p.h starts_with 0xab", "true"},
		{EVM, "object", `{"a":1,"a":2}`, "p.a == 2", "true"},
		{EVM, "object", `{"a":"\u00e9\ud83d\ude00"}`, "p.a == 'é😀'", "true"},
		{EVM, "object", `{"a":"\ud83d"}`, "p.a == x", "parse"},
		// Tuples.
		{EVM, "tuple", `(1,"a b")`, `p == '(1,"a b")'`, "true"},
		{EVM, "tuple", `(1,"a b")`, `p == '(1,"ab")'`, "false"},
		{EVM, "tuple", `(1,"A")`, `p == '(1,"a")'`, "false"},
		{EVM, "tuple", `(1,("x","y"),[3])`, "p contains y", "true"},
		{EVM, "tuple", `(1,"a,b")`, "p contains 'a,b'", "true"},
		{EVM, "tuple", `(1,[(2,3)])`, "p contains 1", "parse"},

		// Stellar.
		{Stellar, "I128", "170141183460469231731687303715884105727", "p == 170141183460469231731687303715884105727", "true"},
		{Stellar, "U64", "7", "p == 7.5", "parse"},
		{Stellar, "String", "AbC", "p == aBc", "true"},
		{Stellar, "Vec", `[{"type":"U128","value":"9"}]`, "p contains 9", "true"},
		{Stellar, "Vec", `[{"k":{"value":"Ab"}}]`, "p contains Ab", "true"},
		{Stellar, "Vec", `[{"k":{"value":"Ab"}}]`, "p contains ab", "false"},
		{Stellar, "Vec", `[["x",1]]`, `p contains '["x",1]'`, "true"},
		{Stellar, "Vec", `[{"value":{"value":"x"}}]`, "p contains x", "true"},
		{Stellar, "Vec", `[{"value":{"value":"x"}}]`, `p contains '{"value":"x"}'`, "false"},
		{Stellar, "Vec", "[a,b]", "p contains A", "false"},
		{Stellar, "Vec", "a, b", "p == 'A,B'", "true"},
		{Stellar, "Vec", "[1]", "p == 1", "false"},
		{Stellar, "Vec", "5", "p == 5", "true"},
		{Stellar, "Map", `{"k":{"value":"9"}}`, "p contains 9", "true"},
		{Stellar, "Map", `[1]`, "p contains 1", "type"},
		{Stellar, "Map", `{"a":{"value":"5"}}`, "p.a.value == '5'", "true"},
		{Stellar, "Map", `{"a":{"value":"5"}}`, "p.a.value > 5", "type"},
		{Stellar, "Map", `{"a":7}`, "p.a >= 7", "true"},
		{Stellar, "Map", `{"a":7}`, "p.a >= -7", "parse"},
		{Stellar, "Map", `{"a":-7}`, "p.a >= -7", "true"},
		{Stellar, "Map", `{"a":7.5}`, "p.a >= 7", "type"},
		{Stellar, "Map", `{"a":null}`, "p.a == null", "type"},
		{Stellar, "Map", `{"a":[1,2]}`, "p.a contains 2", "true"},
		{Stellar, "Map", `{"a":{"b":1}}`, `p.a == '{"b":1}'`, "true"},
		{Stellar, "Map", `{"a":1}`, "p.b == 1", "field_not_found"},

		// Solana.
		{Solana, "string", "plain", "p.x == 1", "parse"},
		{Solana, "u64", "5", "p[0] == 1", "type"},
		{Solana, "u64", "+5", "p == 5", "true"},
	}
	for _, c := range cases {
		if got := evalText(c.dialect, c.kind, c.value, c.src); got != c.want {
			t.Errorf("dialect %d, %s = %q: %s: got %s, want %s", c.dialect, c.kind, c.value, c.src, got, c.want)
		}
	}
}

func TestStellarAddressInPath(t *testing.T) {
	// The checksum of this account text holds; white space does not count in addresses, but does in strings.
	const account = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
	if !isStrkey(account) {
		t.Fatal("not recognised as an account")
	}
	for _, bad := range []string{account[:55] + "G", "M" + account[1:], account[:55], strings.ToLower(account), ""} {
		if isStrkey(bad) {
			t.Errorf("%q is recognised as an account", bad)
		}
	}
	spaced := account[:8] + " " + account[8:]
	if got := evalText(Stellar, "Map", `{"a":"`+account+`"}`, "p.a == '"+spaced+"'"); got != "true" {
		t.Errorf("as an address: %s", got)
	}
	if got := evalText(Stellar, "Map", `{"a":"x`+account+`"}`, "p.a == 'x"+spaced+"'"); got != "false" {
		t.Errorf("as a string: %s", got)
	}
}

func TestWithJSON(t *testing.T) {
	params := []Param{{Name: "m", Kind: "Map<String,U32>"}, {Name: "v", Kind: "Vec<Address>"}}
	args := []Value{
		FromText(Stellar, "Map<String,U32>", "{id:7}").WithJSON(`{"id":7}`),
		FromText(Stellar, "Vec<Address>", "[GA,GB]").WithJSON(`["GA","GB"]`),
	}
	for src, want := range map[string]outcome{
		"m.id == 7":          "true",
		`m == '{"id":7}'`:    "true",
		"m contains 7":       "true",
		"m.other == 7":       "field_not_found",
		"v[1] == GB":         "true",
		"v contains GB":      "true",
		"v contains gb":      "false", // the text still decides where it gives an answer
		`v == '["GA","GB"]'`: "false",
	} {
		if got := outcomeOf(run(src, Stellar, params, args)); got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
}

func TestShortCircuit(t *testing.T) {
	params := []Param{{Name: "a", Kind: "uint8"}, {Name: "a", Kind: "string"}, {Name: "s", Kind: "string"}}
	args := []Value{UintFrom64(1), String("second"), Missing()}
	for src, want := range map[string]outcome{
		"a == 1 OR nope == 1":              "true",
		"nope == 1 OR a == 1":              "unknown_variable",
		"a == 2 AND nope == 1":             "false",
		"a == 1 AND nope == 1":             "unknown_variable",
		"a == 2 AND nope == 1 OR a == 1":   "true",
		"(a == 2 OR s == x) AND a == 1":    "parse",
		"a == 2 AND (s == x OR nope == 1)": "false",
		"s != x":                           "parse",
		"s > x":                            "parse",
	} {
		if got := outcomeOf(run(src, EVM, params, args)); got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
	p, _, err := Compile("s == x", EVM, params)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(nil); err == nil {
		t.Error("absent arguments are not missing")
	}
}

func TestProgramNames(t *testing.T) {
	p, _, err := Compile("b > 1 AND (a == x OR c == 1) AND b < 9", EVM, []Param{{Name: "a", Kind: "string"}, {Name: "b", Kind: "uint8"}, {Name: "d", Kind: "bool"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Names(), " "); got != "b a c" {
		t.Errorf("names: %s", got)
	}
	if !p.Uses(0) || !p.Uses(1) || p.Uses(2) || p.Uses(3) || p.Uses(-1) {
		t.Error("uses")
	}
	if p.Source() != "b > 1 AND (a == x OR c == 1) AND b < 9" {
		t.Error("source")
	}
}

func TestExplain(t *testing.T) {
	params := []Param{{Name: "a", Kind: "uint8"}, {Name: "t", Kind: "tuple", Components: []Param{{Name: "who", Kind: "string"}}}}
	args := []Value{UintFrom64(5), Tuple([]Value{String("Ann")})}
	p, _, err := Compile("a == 5 AND (t.who == bob OR nope == 1 OR a == 6)", EVM, params)
	if err != nil {
		t.Fatal(err)
	}
	steps := p.Explain(args)
	var got []string
	for _, s := range steps {
		got = append(got, fmt.Sprintf("%s|%s|%s|%v|%v|%v", s.Condition, s.Left, s.Right, s.Evaluated, s.Holds, s.Err != nil))
	}
	want := []string{
		"a == 5|5|5|true|true|false",
		"t.who == bob|Ann|bob|true|false|false",
		"nope == 1||1|true|false|true",
		"a == 6||6|false|false|false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWord(t *testing.T) {
	var addr [20]byte
	addr[19] = 9
	minus := new(uint256.Int).Neg(uint256.NewInt(2))
	nine := uint256.NewInt(9)
	for name, c := range map[string]struct {
		v    Value
		want *uint256.Int
	}{
		"uint":            {Uint(nine), nine},
		"int":             {Int(minus), minus},
		"true":            {BoolValue(true), uint256.NewInt(1)},
		"address":         {Addr(addr), nine},
		"fixed bytes":     {FixedBytes([]byte{9}), new(uint256.Int).Lsh(nine, 248)},
		"uint text":       {FromText(EVM, "uint8", "0x9"), nine},
		"int text":        {FromText(EVM, "int8", "-2"), minus},
		"address text":    {FromText(EVM, "address", "0x"+strings.Repeat("0", 39)+"9"), nine},
		"bytes32 text":    {FromText(EVM, "bytes32", "0x"+strings.Repeat("0", 63)+"9"), nine},
		"stellar text":    {FromText(Stellar, "I128", "-2"), minus},
		"false text":      {FromText(Solana, "bool", "false"), new(uint256.Int)},
		"no address":      {NoAddr(), nil},
		"string":          {String("9"), nil},
		"bytes":           {Bytes([]byte{9}), nil},
		"missing":         {Missing(), nil},
		"array":           {Array([]Value{UintFrom64(9)}), nil},
		"unreadable text": {FromText(EVM, "uint8", "nine"), nil},
		"short address":   {FromText(EVM, "address", "0x09"), nil},
		"other kind":      {FromText(EVM, "string", "9"), nil},
	} {
		w, ok := c.v.Word()
		if ok != (c.want != nil) || ok && !w.Eq(c.want) {
			t.Errorf("%s: got %s %v", name, w.Hex(), ok)
		}
	}
}
