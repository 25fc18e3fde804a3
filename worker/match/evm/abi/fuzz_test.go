package abi

import (
	"reflect"
	"strings"
	"testing"

	geth "github.com/ethereum/go-ethereum/accounts/abi"

	"github.com/ozmo-dev/ozmo/fsm"
)

// FuzzDecodeABI parses arbitrary documents and decodes arbitrary content by
// whatever they define.
func FuzzDecodeABI(f *testing.F) {
	f.Add(`[{"type":"event","name":"E","inputs":[{"name":"x","type":"uint256","indexed":true},{"type":"string[2][]"}]}]`, []byte("data"))
	f.Add(`{"abi":[{"type":"function","name":"f","inputs":[{"type":"tuple[]","components":[{"type":"bytes"},{"type":"int8[3]"}]}]}]}`, words("20", "1", "20", "80"))
	f.Add(`[{"type":"function","name":"f","inputs":[{"type":"uint256[0][]"}]}]`, words("20", "ffff"))
	f.Fuzz(func(t *testing.T, doc string, data []byte) {
		var ps Parser
		a, _, err := ps.Parse([]byte(doc))
		if err != nil {
			return
		}
		for _, d := range append(a.Functions, a.Events...) {
			if FoldSignature(d.Signature) != d.Folded {
				t.Fatalf("folding is not stable for %q", d.Signature)
			}
			var topics []fsm.Hash
			for range d.Layout.Indexed + 1 {
				topics = append(topics, d.Hash)
			}
			values, err := d.Layout.decode(topics, data, nil)
			if err != nil {
				continue
			}
			if len(values) != len(d.Params) {
				t.Fatalf("%d values for %s", len(values), d.Signature)
			}
			for i := range values {
				_ = values[i].Text()
			}
		}
	})
}

const fuzzEvent = `[{"type":"event","name":"E","inputs":[
	{"name":"a","type":"address","indexed":true},{"name":"b","type":"uint256[]"},
	{"name":"c","type":"tuple[]","components":[{"name":"d","type":"string"},{"name":"e","type":"int8[2]"}]},{"name":"f","type":"bytes"}]}]`

// FuzzDecodeLog decodes arbitrary content and compares what go-ethereum, which
// is stricter about padding, accepts as well.
func FuzzDecodeLog(f *testing.F) {
	f.Add(words("60", "a0", "1a0", "1", "7", "1", "20", "60", "1", "2", "3", "<616263", "2", "<ffff"))
	f.Add(words("60", "80", "80", "0", "0"))
	f.Add([]byte{})
	d := mustParse(f, fuzzEvent).Events[0]
	theirs, err := geth.JSON(strings.NewReader(fuzzEvent))
	if err != nil {
		f.Fatal(err)
	}
	inputs := theirs.Events["E"].Inputs
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := texts(d.Layout.DecodeLog([]fsm.Hash{d.Hash, {31: 1}}, data, nil))
		want, theirErr := unpack(inputs.NonIndexed(), data)
		if theirErr != nil || err == ErrBudget { //nolint:errorlint // returned unwrapped
			return
		}
		if err != nil {
			t.Fatalf("%v, but go-ethereum finds %v", err, want)
		}
		for i := range want {
			if text := gethText(&inputs[i+1].Type, reflect.ValueOf(want[i]), false); got[i+1] != text {
				t.Fatalf("argument %d: %q, want %q", i+1, got[i+1], text)
			}
		}
	})
}

// unpack calls go-ethereum, which may ask for very much memory for content
// that claims to be large; such content is left out.
func unpack(inputs geth.Arguments, data []byte) ([]any, error) {
	if len(data) > 4096 {
		return nil, ErrShort
	}
	return inputs.Unpack(data)
}
