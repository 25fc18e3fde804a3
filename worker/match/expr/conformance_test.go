package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/vectors"
)

// vector is one case of the conformance data: an expression, arguments in text form, and what the
// peer makes of them.
type vector struct {
	Name  string `json:"name"`
	Chain string `json:"chain"`
	Input struct {
		Chain      string `json:"chain"`
		Expression string `json:"expression"`
		Params     []struct {
			Name  string `json:"name"`
			Kind  string `json:"kind"`
			Value string `json:"value"`
		} `json:"params"`
	} `json:"input"`
	Expect struct {
		Result *bool  `json:"result"`
		Error  string `json:"error"`
	} `json:"expect"`
}

// deviations are the kinds of parameters for which we answer although the peer has no rules.
var deviations = []struct {
	chain   string
	applies func(kind string) bool
	peer    Kind // how the peer fails
	reason  string
}{
	{"evm", func(kind string) bool {
		return slices.Contains(unlistedNumbers, kind)
	}, KindType, "the peer lists the integer widths 8, 16, 32, 64, 128 and 256 only; every Solidity width is a number here"},
	{"evm", func(kind string) bool {
		return kind != "bytes" && kind != "bytes32" && classifyEVM(kind) == ByteString
	}, KindType, "the peer knows bytes and bytes32 only; every bytesN and function is compared in the same way here"},
	{"evm", func(kind string) bool {
		return strings.HasSuffix(kind, "]") && classifyEVM(kind) == List
	}, KindType, "the peer knows no fixed and no nested arrays, nor arrays of unlisted element types"},
	{"stellar", func(kind string) bool {
		return kind != "bytes" && classifyStellar(kind).class == ByteString
	}, KindType, "the peer puts the length of a byte string into its kind and then has no rules for it"},
}

var unlistedNumbers = func() (kinds []string) {
	kinds = []string{"uint", "int"}
	for n := 8; n <= 256; n += 8 {
		switch n {
		case 8, 16, 32, 64, 128, 256:
		default:
			kinds = append(kinds, fmt.Sprintf("uint%d", n), fmt.Sprintf("int%d", n))
		}
	}
	return kinds
}()

// deviation returns the reason why a case may have an answer that the peer does not give.
func deviation(v *vector) string {
	for _, d := range deviations {
		if d.chain != v.Input.Chain || string(d.peer) != v.Expect.Error {
			continue
		}
		for _, p := range v.Input.Params {
			if d.applies(strings.ToLower(p.Kind)) {
				return d.reason
			}
		}
	}
	return ""
}

func TestConformance(t *testing.T) {
	var passed, deviating, failed int
	for _, c := range vectors.Files(t, "expression") {
		ok := t.Run(c.Name, func(t *testing.T) {
			v := readVector(t, c.Data)
			result, kind := runVector(v)
			switch {
			case v.Expect.Error == "" && kind == "" && result == *v.Expect.Result, v.Expect.Error != "" && string(kind) == v.Expect.Error:
			case kind == "" && deviation(v) != "":
				deviating++
				t.Logf("answers %v: %s", result, deviation(v))
			default:
				t.Errorf("%s with %+v: got %v %q, want %+v", v.Input.Expression, v.Input.Params, result, kind, v.Expect)
			}
		})
		if ok {
			passed++
		} else {
			failed++
		}
	}
	vectors.Summary("expression", passed-deviating, deviating, failed, "")
}

func readVector(t *testing.T, data []byte) *vector {
	t.Helper()
	v := new(vector)
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
	if (v.Expect.Result == nil) == (v.Expect.Error == "") {
		t.Fatal("the vector expects neither a result nor an error")
	}
	return v
}

func runVector(v *vector) (bool, Kind) {
	d, ok := map[string]Dialect{"evm": EVM, "stellar": Stellar, "solana": Solana}[v.Input.Chain]
	if !ok {
		return false, Kind("unknown chain " + v.Input.Chain)
	}
	params := make([]Param, len(v.Input.Params))
	args := make([]Value, len(params))
	for i, p := range v.Input.Params {
		params[i] = Param{Name: p.Name, Kind: p.Kind}
		args[i] = FromText(d, p.Kind, p.Value)
	}
	return run(v.Input.Expression, d, params, args)
}

// run compiles and evaluates, and reduces errors to their kind.
func run(src string, d Dialect, params []Param, args []Value) (bool, Kind) {
	p, _, err := Compile(src, d, params)
	ok := false
	if err == nil {
		ok, err = p.Eval(args)
	}
	if err != nil {
		e, is := errors.AsType[*Error](err)
		if !is {
			return false, Kind("not an *Error: " + err.Error())
		}
		return false, e.Kind
	}
	return ok, ""
}
