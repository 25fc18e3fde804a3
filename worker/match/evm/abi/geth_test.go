package abi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	geth "github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

// drawParam is a random parameter with types up to some depth.
func drawParam(t *rapid.T, name string, depth int) rawParam {
	p := rawParam{Name: name}
	choices := []string{
		"uint256", "uint8", "uint64", "int256", "int24", "int8", "address", "bool", "bytes32", "bytes4", "bytes", "string", "function",
	}
	if depth > 0 {
		choices = append(choices, "tuple", "tuple")
	}
	p.Type = rapid.SampledFrom(choices).Draw(t, "type")
	if p.Type == "tuple" {
		for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
			p.Components = append(p.Components, drawParam(t, fmt.Sprintf("f%d", i), depth-1))
		}
	}
	for range rapid.IntRange(0, max(depth, 0)).Draw(t, "dimensions") {
		p.Type += rapid.SampledFrom([]string{"[]", "[1]", "[2]"}).Draw(t, "dimension")
	}
	return p
}

type jsonItem struct {
	Type   string     `json:"type"`
	Name   string     `json:"name"`
	Inputs []rawParam `json:"inputs"`
}

func parseOne(t interface{ Fatal(args ...any) }, it jsonItem) (*Definition, geth.ABI) {
	doc, err := json.Marshal([]jsonItem{it})
	if err != nil {
		t.Fatal(err)
	}
	var ps Parser
	ours, problems, err := ps.Parse(doc)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	theirs, err := geth.JSON(strings.NewReader(string(doc)))
	if err != nil {
		t.Fatal(err)
	}
	return append(ours.Functions, ours.Events...)[0], theirs
}

// drawValue is a random Go value as go-ethereum packs it.
func drawValue(t *rapid.T, typ *geth.Type) reflect.Value {
	v := reflect.New(typ.GetType()).Elem()
	switch typ.T {
	case geth.UintTy, geth.IntTy:
		limit := new(big.Int).Lsh(big.NewInt(1), uint(typ.Size))
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, typ.Size/8).Draw(t, "number"))
		if typ.T == geth.IntTy && n.Bit(typ.Size-1) == 1 {
			n.Sub(n, limit)
		}
		switch {
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.ValueOf(n))
		case v.CanUint():
			v.SetUint(n.Uint64())
		default:
			v.SetInt(n.Int64())
		}
	case geth.BoolTy:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case geth.StringTy:
		v.SetString(rapid.StringN(0, 40, 100).Draw(t, "string"))
	case geth.BytesTy:
		v.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "bytes"))
	case geth.SliceTy:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			v.Index(i).Set(drawValue(t, typ.Elem))
		}
	case geth.ArrayTy:
		for i := range typ.Size {
			v.Index(i).Set(drawValue(t, typ.Elem))
		}
	case geth.TupleTy:
		for i, e := range typ.TupleElems {
			v.Field(i).Set(drawValue(t, e))
		}
	default: // arrays of bytes
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, "byte")))
		}
	}
	return v
}

// gethText is the text of a decoded value in the peer's form (evm-matching,
// section 5).
func gethText(typ *geth.Type, v reflect.Value, inner bool) string {
	quote := func(s string) string {
		if inner {
			return `"` + s + `"`
		}
		return s
	}
	list := func(n int, open, end string, at func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = at(i)
		}
		return open + strings.Join(parts, ",") + end
	}
	switch typ.T {
	case geth.AddressTy:
		return quote(strings.ToLower(v.Interface().(common.Address).Hex()))
	case geth.StringTy:
		return quote(text([]byte(v.String())))
	case geth.BytesTy:
		return quote("0x" + hex.EncodeToString(v.Bytes()))
	case geth.FixedBytesTy, geth.FunctionTy:
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		if typ.T == geth.FixedBytesTy {
			b = append(b, make([]byte, 32-len(b))...)
		}
		return quote("0x" + hex.EncodeToString(b))
	case geth.SliceTy, geth.ArrayTy:
		return list(v.Len(), "[", "]", func(i int) string { return gethText(typ.Elem, v.Index(i), true) })
	case geth.TupleTy:
		return list(v.NumField(), "(", ")", func(i int) string { return gethText(typ.TupleElems[i], v.Field(i), true) })
	default:
		return fmt.Sprint(v.Interface())
	}
}

// TestDecodeEqualsGoEthereum packs random arguments of random types with
// go-ethereum, and decodes them as a call and as the body of an event.
func TestDecodeEqualsGoEthereum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		it := jsonItem{Type: "function", Name: "f"}
		for i := range rapid.IntRange(0, 3).Draw(t, "params") {
			it.Inputs = append(it.Inputs, drawParam(t, fmt.Sprintf("p%d", i), 3))
		}
		function, theirs := parseOne(t, it)
		method := theirs.Methods["f"]
		if function.Signature != method.Sig || string(method.ID) != string(function.Hash[:4]) {
			t.Fatalf("signature %s %x, want %s %x", function.Signature, function.Hash[:4], method.Sig, method.ID)
		}
		args := make([]any, len(method.Inputs))
		for i := range args {
			args[i] = drawValue(t, &method.Inputs[i].Type).Interface()
		}
		data, err := method.Inputs.Pack(args...)
		if err != nil {
			t.Fatal(err)
		}
		it.Type = "event"
		event, _ := parseOne(t, it)
		for name, decode := range map[string]func() ([]string, error){
			"call": func() ([]string, error) { return texts(function.Layout.DecodeCall(data, nil)) },
			"log":  func() ([]string, error) { return texts(event.Layout.DecodeLog([]fsm.Hash{event.Hash}, data, nil)) },
		} {
			got, err := decode()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i := range args {
				if want := gethText(&method.Inputs[i].Type, reflect.ValueOf(args[i]), false); got[i] != want {
					t.Fatalf("%s: argument %d of %s:\n%s\nwant\n%s", name, i, function.Signature, got[i], want)
				}
			}
		}
	})
}
