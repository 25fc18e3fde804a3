package expr

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// sample is a parameter with one decoded value.
type sample struct {
	param Param
	value Value
}

var stringPool = []string{
	"", "alpha", "ALPHA", "Alpha beta", "ΟΔΟΣ", "İx", "it's", `say "hi"`, `x","y`, `tab\there`, `bad\escape`, "line\nbreak", " padded ",
	"0x" + strings.Repeat("Ab", 20), "0x" + strings.Repeat("cd", 32), "0xAb", "true", "null", "7", "-7", "1e3",
	`{"a":{"b":[1,"x",-2]},"0":"z"}`, `[1,"two",[3]]`, "(1,2)", "a,b", "[",
}

// drawWord draws an unsigned number; small ones only fit in 63 bits, so that they stay exact in JSON.
func drawWord(t *rapid.T, small bool) *uint256.Int {
	w := uint256.NewInt(rapid.Uint64Range(0, 1<<63-1).Draw(t, "low"))
	switch rapid.IntRange(0, 3).Draw(t, "size") {
	case 0:
		w.SetUint64(uint64(rapid.IntRange(0, 20).Draw(t, "tiny")))
	case 1:
		if !small {
			w.Lsh(w, uint(rapid.IntRange(1, 193).Draw(t, "shift")))
		}
	}
	return w
}

// drawSample draws a value of a random kind. Numbers inside arrays and tuples are small.
func drawSample(t *rapid.T, name string, depth int) sample {
	kinds := 8
	if depth < 3 {
		kinds = 10
	}
	nested := depth > 0
	width := strconv.Itoa(8 * rapid.IntRange(1, 32).Draw(t, "width"))
	s := sample{param: Param{Name: name}}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		s.param.Kind, s.value = "uint"+width, Uint(drawWord(t, nested))
	case 1:
		w := drawWord(t, nested)
		w.SetBytes32(w.PaddedBytes(32))
		if w.Sign() < 0 {
			w.Rsh(w, 1)
		}
		if rapid.Bool().Draw(t, "negative") {
			w.Neg(w)
		}
		s.param.Kind, s.value = "int"+width, Int(w)
	case 2:
		s.param.Kind, s.value = "bool", BoolValue(rapid.Bool().Draw(t, "bool"))
	case 3:
		s.param.Kind, s.value = "address", addr(rapid.Byte().Draw(t, "addr"))
		if !nested && rapid.IntRange(0, 5).Draw(t, "absent") == 0 {
			s.value = NoAddr()
		}
	case 4, 5:
		s.param.Kind, s.value = "string", String(rapid.SampledFrom(stringPool).Draw(t, "string"))
	case 6:
		n := rapid.SampledFrom([]int{0, 1, 4, 20, 32, 40}).Draw(t, "length")
		s.param.Kind, s.value = "bytes", Bytes(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes"))
	case 7:
		n := rapid.IntRange(1, 32).Draw(t, "length")
		s.param.Kind, s.value = "bytes"+strconv.Itoa(n), FixedBytes(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes"))
	case 8:
		elem := drawSample(t, "", depth+1)
		n := rapid.IntRange(0, 3).Draw(t, "count")
		elems := make([]Value, n)
		for i := range elems {
			elems[i] = elem.value
		}
		s.param.Kind, s.param.Components = elem.param.Kind+"[]", elem.param.Components
		if rapid.Bool().Draw(t, "fixed") {
			s.param.Kind = elem.param.Kind + "[" + strconv.Itoa(n) + "]"
		}
		s.value = Array(elems)
	default:
		s.param.Kind = "tuple"
		var elems []Value
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			field := drawSample(t, "f"+strconv.Itoa(i), depth+1)
			s.param.Components = append(s.param.Components, field.param)
			elems = append(elems, field.value)
		}
		s.value = Tuple(elems)
	}
	return s
}

// drawLiteral draws a literal that has a chance to equal something in the value.
func drawLiteral(t *rapid.T, v *Value) string {
	pool := []string{
		"true", "false", "null", "7", "-7", "+7", "7.0", "0x7", "0b111", "1_0", "alpha", "0x", "''", "'true'", "''",
		"0x" + strings.Repeat("f", 64), strings.Repeat("ab", 20), "'[]'", "'{}'", `'[1,"two",[3]]'`, "hello-world", "9223372036854775808",
	}
	var texts []string
	var gather func(v *Value)
	gather = func(v *Value) {
		texts = append(texts, v.Text())
		for i := range v.elems {
			gather(&v.elems[i])
		}
	}
	gather(v)
	text := rapid.SampledFrom(texts).Draw(t, "text")
	switch rapid.IntRange(0, 7).Draw(t, "literal") {
	case 0, 1:
		return rapid.SampledFrom(pool).Draw(t, "constant")
	case 2:
		return quoteLiteral(rapid.SampledFrom(stringPool).Draw(t, "string"))
	case 3:
		return quoteLiteral(strings.ToUpper(text))
	case 4:
		if len(text) > 1 {
			return quoteLiteral(text[:len(text)/2])
		}
	case 5:
		if text != "" && isBare(text[0]) && !strings.ContainsFunc(text, func(r rune) bool { return r > 127 || !isBare(byte(r)) }) {
			return text
		}
	}
	return quoteLiteral(text)
}

// quoteLiteral writes s as a literal; what cannot be written is left out.
func quoteLiteral(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, `\`, ""), "")
	if strings.Contains(s, "'") {
		return `"` + strings.ReplaceAll(s, `"`, "") + `"`
	}
	return "'" + s + "'"
}

// drawPath draws a path that mostly exists in the value.
func drawPath(t *rapid.T, v *Value) string {
	var b strings.Builder
	for rapid.IntRange(0, 2).Draw(t, "step") > 0 {
		i := rapid.IntRange(0, max(1, len(v.elems))).Draw(t, "index")
		switch {
		case v.form != formElems && v.Class() != Text:
			if rapid.IntRange(0, 9).Draw(t, "stray") > 0 {
				return b.String()
			}
			b.WriteString("[0]")
		case v.Class() == Text:
			b.WriteString(rapid.SampledFrom([]string{".a", ".a.b", ".a.b[0]", ".a.b[1]", ".a.b[2]", ".a.b[3]", ".0", "[0]", "[1]", "[2]", "[2][0]"}).Draw(t, "json path"))
			return b.String()
		case v.Class() == List:
			fmt.Fprintf(&b, "[%d]", i)
		default:
			fmt.Fprintf(&b, rapid.SampledFrom([]string{"[%d]", ".%d", ".f%d"}).Draw(t, "accessor"), i)
		}
		if i >= len(v.elems) {
			return b.String()
		}
		v = &v.elems[i]
	}
	return b.String()
}

// knowsMore reports whether some string in the value cannot stand between quotes, or some tuple makes
// the text no JSON: there the decoded value knows more than its text.
func knowsMore(s *sample) bool {
	return s.value.form == formElems && (breaksJSON(&s.value) || s.value.hasTuple())
}

// TestTextAgreesWithValue: the text of a value and the value itself give the same answer wherever the text
// gives one, and the same error wherever the value does not know more than its text.
func TestTextAgreesWithValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t, "p", 0)
		path := drawPath(t, &s.value)
		src := "p" + path + " " + rapid.SampledFrom(operators).Draw(t, "op") + " " + drawLiteral(t, &s.value)
		params := []Param{s.param}
		text := FromText(EVM, s.param.Kind, s.value.Text())
		viaText := outcomeOf(run(src, EVM, params, []Value{text}))
		viaValue := outcomeOf(run(src, EVM, params, []Value{s.value}))
		if viaText == viaValue {
			return
		}
		answered := viaText == "true" || viaText == "false"
		if answered || path == "" && !knowsMore(&s) || s.value.form != formElems {
			t.Fatalf("%s on %s = %s: text gives %s, value gives %s", src, s.param.Kind, s.value.Text(), viaText, viaValue)
		}
	})
}

// drawExpression draws an expression over the samples.
func drawExpression(t *rapid.T, samples []sample, depth int) string {
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "leaf") == 0 {
		s := rapid.SampledFrom(samples).Draw(t, "param")
		name := s.param.Name
		if rapid.IntRange(0, 30).Draw(t, "typo") == 0 {
			name += "x"
		}
		return name + drawPath(t, &s.value) + " " + rapid.SampledFrom(operators).Draw(t, "op") + " " + drawLiteral(t, &s.value)
	}
	terms := make([]string, rapid.IntRange(2, 3).Draw(t, "terms"))
	for i := range terms {
		terms[i] = drawExpression(t, samples, depth-1)
		if rapid.Bool().Draw(t, "parentheses") {
			terms[i] = "(" + terms[i] + ")"
		}
	}
	return strings.Join(terms, rapid.SampledFrom([]string{" AND ", " AND ", " OR "}).Draw(t, "join"))
}

// drawEasy draws conditions that often hold, so that whole chains do.
func drawEasy(t *rapid.T, samples []sample) string {
	terms := make([]string, rapid.IntRange(1, 4).Draw(t, "terms"))
	for i := range terms {
		s := rapid.SampledFrom(samples).Draw(t, "param")
		text := s.value.Text()
		if s.value.Class() != Bool && s.value.Class() != Unsigned && s.value.Class() != Signed || rapid.Bool().Draw(t, "quoted") && s.value.Class() != Bool {
			text = quoteLiteral(text)
		}
		op := rapid.SampledFrom([]string{"==", "==", "!=", "<=", ">=", "<", ">", "contains", "starts_with"}).Draw(t, "op")
		terms[i] = s.param.Name + " " + op + " " + text
		if rapid.IntRange(0, 3).Draw(t, "or") == 0 {
			terms[i] = "(" + terms[i] + " OR " + drawExpression(t, samples, 0) + ")"
		}
	}
	return strings.Join(terms, " AND ")
}

func drawSamples(t *rapid.T) (samples []sample, params []Param, args []Value) {
	for i := range rapid.IntRange(1, 4).Draw(t, "params") {
		s := drawSample(t, fmt.Sprintf("v%d", i), 1)
		samples, params = append(samples, s), append(params, s.param)
		arg := s.value
		if rapid.Bool().Draw(t, "as text") {
			arg = FromText(EVM, s.param.Kind, s.value.Text())
		}
		args = append(args, arg)
	}
	return samples, params, args
}

// holdsAlone evaluates a conjunct with the exported means only, as an index of monitors does.
func holdsAlone(c Conjunct, d Dialect, arg *Value) bool {
	switch c.Value.Class() {
	case Text:
		text := arg.Text()
		if d != Solana {
			text = Fold(text)
		}
		return c.Op.compareText(text, c.Value.Text())
	case Signed:
		a, ok := arg.Word()
		b, _ := c.Value.Word()
		return ok && c.Op.holds(compareSigned(&a, &b)) || !ok && c.Op == Ne
	default:
		a, ok := arg.Word()
		b, _ := c.Value.Word()
		return ok && c.Op.holds(a.Cmp(&b)) || !ok && c.Op == Ne
	}
}

func TestConjunctsAreSound(t *testing.T) {
	var held, conjuncts int
	rapid.Check(t, func(t *rapid.T) {
		samples, params, args := drawSamples(t)
		src := drawEasy(t, samples)
		p, _, err := Compile(src, EVM, params)
		if err != nil {
			return // a text that cannot be written as a literal
		}
		if ok, err := p.Eval(args); err != nil || !ok {
			return
		}
		held++
		for _, c := range p.Conjuncts() {
			conjuncts++
			if !holdsAlone(c, EVM, &args[c.Param]) {
				t.Fatalf("%s holds, its conjunct %s %s %s does not for %s", src, params[c.Param].Name, c.Op, c.Value.Text(), args[c.Param].Text())
			}
		}
	})
	if held == 0 || conjuncts == 0 {
		t.Errorf("nothing was tested: %d true expressions, %d conjuncts", held, conjuncts)
	}
}

func TestConjunctsAreSoundElsewhere(t *testing.T) {
	kinds := map[Dialect][]string{
		Stellar: {"U32", "U64", "I128", "Timepoint", "Bool", "String", "Symbol", "Bytes", "Bytes4", "Address", "U256", "Vec<U32>"},
		Solana:  {"u8", "u64", "i128", "bool", "string", "pubkey"},
	}
	values := []string{"0", "7", "-7", "+7", "300", "true", "false", "Abc", "abc", "00ff"}
	var conjuncts int
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom([]Dialect{Stellar, Solana}).Draw(t, "dialect")
		kind := rapid.SampledFrom(kinds[d]).Draw(t, "kind")
		arg := FromText(d, kind, rapid.SampledFrom(values).Draw(t, "value"))
		lit := rapid.SampledFrom(values).Draw(t, "literal")
		if rapid.Bool().Draw(t, "quoted") {
			lit = "'" + lit + "'"
		}
		p, _, err := Compile("p "+rapid.SampledFrom(operators).Draw(t, "op")+" "+lit, d, []Param{{Name: "p", Kind: kind}})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := p.Eval([]Value{arg}); err != nil || !ok {
			return
		}
		for _, c := range p.Conjuncts() {
			conjuncts++
			if !holdsAlone(c, d, &arg) {
				t.Fatalf("%s: conjunct %s %s does not hold for %s %s", p.Source(), c.Op, c.Value.Text(), kind, arg.Text())
			}
		}
	})
	if conjuncts == 0 {
		t.Error("no conjunct was tested")
	}
}

// TestExplainAgreesWithEval: the steps say what evaluation did.
func TestExplainAgreesWithEval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples, params, args := drawSamples(t)
		src := drawExpression(t, samples, 2)
		p, _, err := Compile(src, EVM, params)
		if err != nil {
			return
		}
		ok, everr := p.Eval(args)
		var failure error
		evaluated := 0
		for _, s := range p.Explain(args) {
			if s.Evaluated {
				evaluated++
			}
			if s.Err != nil {
				failure = s.Err
			}
			if s.Holds && s.Err != nil || !strings.Contains(src, s.Condition) {
				t.Fatalf("%s: bad step %+v", src, s)
			}
		}
		if evaluated == 0 || (failure != nil) != (everr != nil) || everr != nil && (ok || failure.Error() != everr.Error()) {
			t.Fatalf("%s: eval says %v %v, explain says %v", src, ok, everr, failure)
		}
	})
}

// TestProblemsAlwaysFail: a condition that is reported at compile time never gives an answer.
func TestProblemsAlwaysFail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t, "p", 0)
		src := "p" + drawPath(t, &s.value) + " " + rapid.SampledFrom(operators).Draw(t, "op") + " " + drawLiteral(t, &s.value)
		p, problems, err := Compile(src, EVM, []Param{s.param})
		if err != nil || len(problems) == 0 {
			return
		}
		if ok, err := p.Eval([]Value{s.value}); err == nil {
			t.Fatalf("%s on %s = %s: reported as %v, yet gives %v", src, s.param.Kind, s.value.Text(), problems[0], ok)
		}
	})
}
