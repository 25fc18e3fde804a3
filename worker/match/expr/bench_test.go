package expr

import (
	"strings"
	"testing"
)

var (
	benchParams = []Param{
		{Name: "from", Kind: "address"},
		{Name: "to", Kind: "address"},
		{Name: "value", Kind: "uint256"},
		{Name: "delta", Kind: "int256"},
		{Name: "ok", Kind: "bool"},
		{Name: "memo", Kind: "string"},
		{Name: "data", Kind: "bytes"},
		{Name: "id", Kind: "bytes32"},
		{Name: "to_list", Kind: "address[]"},
		{Name: "cfg", Kind: "tuple", Components: []Param{{Name: "limit", Kind: "uint96"}}},
	}
	benchArgs = []Value{
		addr(0x11), addr(0x22), Uint(big("2000000000000000000")), signed(-5), BoolValue(true), String("Invoice 2024-17"),
		Bytes([]byte{0xa9, 0x05, 0x9c, 0xbb, 1, 2, 3, 4}), Word([32]byte{1}), Array([]Value{addr(1), addr(2), addr(3)}), Tuple([]Value{UintFrom64(7)}),
	}
	a22 = "0x" + strings.Repeat("22", 20)
)

// frugal are expressions that must not allocate.
var frugal = map[string]string{
	"number":       "value >= 1000000000000000000",
	"hexadecimal":  "value != 0xde0b6b3a7640000",
	"signed":       "delta < -1",
	"bool":         "ok == true",
	"address":      "to == " + a22,
	"no address":   "from != ''",
	"chain":        "(value > 1 OR delta > 0) AND ok != false AND from != " + a22 + " AND to == " + a22,
	"text":         "memo == 'invoice 2024-17'",
	"bytes":        "data starts_with 0xa9059cbb AND data ends_with '04'",
	"bytes32":      "id != 0x" + strings.Repeat("00", 32),
	"array":        "to_list contains 0x" + strings.Repeat("03", 20),
	"tuple":        "cfg contains 7",
	"tuple field":  "cfg.limit < 8",
	"array member": "to_list[2] == 0x" + strings.Repeat("03", 20),
}

func compileBench(t testing.TB, src string) *Program {
	t.Helper()
	p, problems, err := Compile(src, EVM, benchParams)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return p
}

func TestEvalAllocatesNothing(t *testing.T) {
	for name, src := range frugal {
		p := compileBench(t, src)
		if ok, err := p.Eval(benchArgs); err != nil || !ok {
			t.Errorf("%s: %s gives %v %v", name, src, ok, err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Eval(benchArgs) }); n != 0 {
			t.Errorf("%s: %s allocates %v times", name, src, n)
		}
	}
	// Numbers and booleans known as text are read without allocating, too.
	params := []Param{{Name: "n", Kind: "U64"}, {Name: "b", Kind: "Bool"}, {Name: "s", Kind: "Symbol"}}
	args := []Value{FromText(Stellar, "U64", "700"), FromText(Stellar, "Bool", "true"), FromText(Stellar, "Symbol", "Swap")}
	p, _, err := Compile("n > 5 AND b == true AND s == swap", Stellar, params)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Eval(args) }); n != 0 {
		t.Errorf("text: %v allocations", n)
	}
}

func BenchmarkEval(b *testing.B) {
	for name, src := range frugal {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			p := compileBench(b, src)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Eval(benchArgs)
			}
		})
	}
}

func BenchmarkEvalText(b *testing.B) {
	params := []Param{{Name: "m", Kind: "Map<Symbol,U64>"}}
	args := []Value{FromText(Stellar, "Map<Symbol,U64>", `{"amount":{"type":"I128","value":"5"},"id":77}`)}
	p, _, err := Compile("m.id > 70 AND m.amount.value == '5'", Stellar, params)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.Eval(args)
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Compile(frugal["chain"], EVM, benchParams); err != nil {
			b.Fatal(err)
		}
	}
}
