package abi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

func texts(values []expr.Value, err error) ([]string, error) {
	out := make([]string, len(values))
	for i := range values {
		out[i] = values[i].Text()
	}
	return out, err
}

func mustParse(t testing.TB, doc string) *ABI {
	t.Helper()
	var ps Parser
	a, problems, err := ps.Parse([]byte(doc))
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return a
}

func words(ws ...string) []byte {
	var b strings.Builder
	for _, w := range ws {
		if strings.HasPrefix(w, "<") { // left-aligned
			b.WriteString(w[1:] + strings.Repeat("0", 65-len(w)))
			continue
		}
		b.WriteString(strings.Repeat("0", 64-len(w)) + w)
	}
	out, err := hex.DecodeString(b.String())
	if err != nil {
		panic(err)
	}
	return out
}

func TestParse(t *testing.T) {
	a := mustParse(t, `{"abi":[
		{"type":"event","name":"B","inputs":[{"name":"x","type":"uint","indexed":true}]},
		{"type":"event","name":"A","inputs":[{"type":"tuple[2]","components":[{"name":"y","type":"int"},{"type":"byte"}]}],"anonymous":false},
		{"type":"event","name":"Hidden","inputs":[],"anonymous":true},
		{"type":"function","name":"z","inputs":[{"name":"a","type":"address payable"}]},
		{"type":"function","name":"f","inputs":null,"outputs":[]},
		{"type":"constructor","inputs":[]},{"type":"fallback"},{"type":"error","name":"E","inputs":[]}
	]}`)
	var got []string
	for _, d := range append(a.Events, a.Functions...) {
		got = append(got, d.Signature)
	}
	if want := "A((int256,bytes1)[2]) B(uint256) f() z(address)"; strings.Join(got, " ") != want {
		t.Errorf("signatures %q, want %q", got, want)
	}
	if kind := a.Events[1].Params[0].Kind; kind != "uint" {
		t.Errorf("kind %q, want the document's", kind)
	}
	if v := a.Events[0].Vars[0]; v.Kind != "tuple[2]" || len(v.Components) != 2 || v.Components[0].Kind != "int256" {
		t.Errorf("variable %+v", v)
	}
	if a.EventByTopic(a.Events[1].Hash) != a.Events[1] || a.FunctionBySelector(a.Functions[0].Selector()) != a.Functions[0] {
		t.Error("lookup fails")
	}
}

func TestParseProblems(t *testing.T) {
	var ps Parser
	for _, doc := range []string{``, `null`, `{}`, `"abi"`, `{"abi":5}`, `[`, `{"version":"1","name":"idl"}`} {
		if _, _, err := ps.Parse([]byte(doc)); !errors.Is(err, ErrNotABI) {
			t.Errorf("%q: %v", doc, err)
		}
	}
	for _, typ := range []string{
		"", "uint7", "uint264", "uint08", "int+8", "bytes0", "bytes33", "bytes01", "uint[", "uint]", "[]", "uint[-1]", "uint[1e9]",
		"uint[9999999999]", "uint[99999][99999]", "fixed", "ufixed128x18", "Tuple", "mapping(uint=>uint)", "uint256 []",
		"uint" + strings.Repeat("[]", 40),
	} {
		doc := fmt.Sprintf(`[{"type":"function","name":"bad","inputs":[{"name":"a","type":%q}]},{"type":"function","name":"good","inputs":[]}]`, typ)
		a, problems, err := ps.Parse([]byte(doc))
		if err != nil || len(problems) != 1 || len(a.Functions) != 1 {
			t.Errorf("type %q: %v, problems %v, functions %d", typ, err, problems, len(a.Functions))
		}
	}
	a, problems, err := ps.Parse([]byte(`[5,{"type":"event","name":"E","inputs":[
		{"type":"bool","indexed":true},{"type":"bool","indexed":true},{"type":"bool","indexed":true},{"type":"bool","indexed":true}]}]`))
	if err != nil || len(problems) != 2 || len(a.Events) != 0 {
		t.Errorf("%v, problems %v", err, problems)
	}
}

func TestFirstOfEqualsIsFound(t *testing.T) {
	a := mustParse(t, `[
		{"type":"event","name":"E","inputs":[{"name":"second","type":"bool"}]},
		{"type":"event","name":"E","inputs":[{"name":"third","type":"bool","indexed":true}]},
		{"type":"function","name":"b","inputs":[]},{"type":"function","name":"a","inputs":[]},{"type":"function","name":"a","inputs":[]}]`)
	if d := a.EventByTopic(a.Events[1].Hash); d.Params[0].Name != "second" {
		t.Errorf("found %q", d.Params[0].Name)
	}
	if a.FunctionBySelector(a.Functions[1].Selector()) != a.Functions[0] || a.Functions[2].Name != "b" {
		t.Error("functions are not in order")
	}
}

func TestFoldSignature(t *testing.T) {
	for in, want := range map[string]string{
		" Transfer( address , UINT256 ) ": "transfer(address,uint256)",
		"f(uint,int[2],(byte,uint)[])":    "f(uint256,int256[2],(bytes1,uint256)[])",
		"uint(bytes,uint8)":               "uint(bytes,uint8)",
		"noparens uint":                   "noparensuint",
		"open(uint":                       "open(uint256",
	} {
		if got := FoldSignature(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestLayoutsAreShared(t *testing.T) {
	var c Cache
	get := func(doc string) *ABI {
		a, _, err := c.Get([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	doc := `[{"type":"event","name":"E","inputs":[{"name":"x","type":"uint256","indexed":true}]}]`
	a, same, renamed := get(doc), get(doc), get(strings.Replace(doc, `"x"`, `"y"`, 1))
	other := get(strings.Replace(doc, "true", "false", 1))
	if a != same {
		t.Error("equal documents are parsed twice")
	}
	if a == renamed || a.Events[0].Layout != renamed.Events[0].Layout {
		t.Error("names should differ and the layout be shared")
	}
	if a.Events[0].Layout == other.Events[0].Layout {
		t.Error("another layout is shared")
	}
}

// TestDirtyWords checks content that no compiler writes: bits outside of the
// declared width.
func TestDirtyWords(t *testing.T) {
	a := mustParse(t, `[{"type":"function","name":"f","inputs":[
		{"type":"address"},{"type":"bool"},{"type":"bytes4"},{"type":"uint8"},{"type":"int8"}]}]`)
	full := strings.Repeat("f", 64)
	got, err := texts(a.Functions[0].Layout.DecodeCall(words(full, "200", full, "1ff", full), nil))
	want := []string{"0x" + strings.Repeat("f", 40), "true", "0x" + full, "511", "-1"}
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestIndexedDynamicIsTopic(t *testing.T) {
	a := mustParse(t, `[{"type":"event","name":"E","inputs":[
		{"type":"string","indexed":true},{"type":"bytes","indexed":true},{"type":"uint8[]","indexed":true},{"type":"string"}]}]`)
	topics := []fsm.Hash{a.Events[0].Hash, {1}, {2}, {3}}
	got, err := texts(a.Events[0].Layout.DecodeLog(topics, words("20", "3", "<616263"), nil))
	want := []string{topics[1].String(), topics[2].String(), topics[3].String(), "abc"}
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestBrokenText(t *testing.T) {
	for in, want := range map[string]string{
		"ok":                  "ok",
		"a\xffb":              "a\ufffdb",
		"\xff\xff":            "\ufffd\ufffd",
		"\xe2\x82":            "\ufffd",
		"\xe2\x82x":           "\ufffdx",
		"\xf0\x9f\x98":        "\ufffd",
		"\xf0\x9f\x98\xe2":    "\ufffd\ufffd",
		"\xed\xa0\x80":        "\ufffd\ufffd\ufffd",
		"\xc0\x80":            "\ufffd\ufffd",
		"\xf0\x9f\x98\x80 ok": "\U0001f600 ok",
	} {
		if got := text([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestHostile checks content that claims to be much larger than it is.
func TestHostile(t *testing.T) {
	a := mustParse(t, `[
		{"type":"function","name":"bytes","inputs":[{"type":"bytes"}]},
		{"type":"function","name":"empty","inputs":[{"type":"uint256[0][]"}]},
		{"type":"function","name":"list","inputs":[{"type":"uint256[]"}]},
		{"type":"function","name":"nested","inputs":[{"type":"bytes[]"}]},
		{"type":"function","name":"square","inputs":[{"type":"uint256[][]"}]},
		{"type":"function","name":"wide","inputs":[{"type":"uint256[1000000]"}]}]`)
	layout := func(name string) *Layout {
		for _, d := range a.Functions {
			if d.Name == name {
				return d.Layout
			}
		}
		t.Fatal(name)
		return nil
	}
	// A thousand elements that all point at one long one.
	aliased := func(head string) []byte {
		ws := []string{"20", "3e8"}
		for range 1000 {
			ws = append(ws, "7d00")
		}
		ws = append(ws, head)
		for range 2000 {
			ws = append(ws, "1")
		}
		return words(ws...)
	}
	all := strings.Repeat("f", 64)
	tests := []struct {
		name string
		fn   string
		data []byte
		want error
	}{
		{"no data", "bytes", nil, ErrShort},
		{"offset outside", "bytes", words("40"), ErrShort},
		{"offset at the end", "bytes", words("20"), ErrShort},
		{"offset huge", "bytes", words(all), ErrShort},
		{"offset negative as int", "bytes", words("ffffffff"), ErrShort},
		{"length huge", "bytes", words("20", all), ErrShort},
		{"length beyond the end", "bytes", words("20", "21", "1"), ErrShort},
		{"list longer than the data", "list", words("20", "3", "1", "2"), ErrShort},
		{"list huge", "list", words("20", "7fffffff"), ErrShort},
		{"elements without size", "empty", words("20", "7fffffff"), ErrBudget},
		{"aliased bytes", "nested", aliased("fa00"), ErrBudget},
		{"aliased lists", "square", aliased("7d0"), ErrBudget},
		{"static array longer than the data", "wide", words("1"), ErrShort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := layout(tt.fn).DecodeCall(tt.data, make([]expr.Value, 1, 4))
			if !errors.Is(err, tt.want) || len(got) != 1 {
				t.Errorf("%d values, %v; want %v", len(got), err, tt.want)
			}
		})
	}
	if _, err := layout("bytes").DecodeCall(append(words("20", "1", "<ff"), 1, 2, 3), nil); err != nil {
		t.Errorf("bytes behind the arguments: %v", err)
	}
}

func TestTopicCount(t *testing.T) {
	a := mustParse(t, `[{"type":"event","name":"E","inputs":[{"type":"bool","indexed":true}]}]`)
	l := a.Events[0].Layout
	for n, want := range map[int]error{0: ErrTopics, 1: ErrTopics, 2: nil, 3: ErrTopics} {
		if _, err := l.DecodeLog(make([]fsm.Hash, n), nil, nil); !errors.Is(err, want) {
			t.Errorf("%d topics: %v, want %v", n, err, want)
		}
	}
}
