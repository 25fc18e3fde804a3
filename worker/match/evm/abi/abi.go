package abi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/sha3"

	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// ErrNotABI is returned for a document that is no Solidity ABI.
var ErrNotABI = errors.New("contract_spec is not a Solidity ABI")

// ABI is the functions and events of a contract. It is immutable.
type ABI struct {
	Functions []*Definition // by name, then in order of the document
	Events    []*Definition // likewise, without anonymous ones

	functions map[[4]byte]*Definition
	events    map[[32]byte]*Definition
	problems  []error
}

// Definition is a function or an event.
type Definition struct {
	Name      string
	Signature string   // canonical, as it is hashed
	Hash      [32]byte // keccak256 of Signature: topic 0; its first four bytes are the selector
	Params    []Param
	Event     bool
	Folded    string       // Signature as FoldSignature gives it
	Vars      []expr.Param // the parameters as expressions see them
	Layout    *Layout      // how to decode; equal definitions of one Parser share it
}

// Selector is the first four bytes of a call of the function.
func (d *Definition) Selector() (s [4]byte) {
	copy(s[:], d.Hash[:4])
	return s
}

// FunctionBySelector returns the first function with this selector, nil when
// there is none.
func (a *ABI) FunctionBySelector(s [4]byte) *Definition { return a.functions[s] }

// EventByTopic returns the first event with this topic 0, nil when there is
// none.
func (a *ABI) EventByTopic(t [32]byte) *Definition { return a.events[t] }

// Parser parses documents and lets them share the layouts they have in common.
// The zero value is ready. It is not safe for concurrent use.
type Parser struct {
	layouts interned[string, Layout]
}

type rawItem struct {
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Inputs    []rawParam `json:"inputs"`
	Anonymous bool       `json:"anonymous"`
}

// Parse reads an ABI: an array of items or an object with such an array under
// "abi". Missing outputs, anonymous flags and unknown keys are fine. An item
// that cannot be used is left out and reported in problems; err is ErrNotABI
// when the document as a whole is something else.
func (ps *Parser) Parse(doc []byte) (a *ABI, problems []error, err error) {
	doc = bytes.TrimSpace(doc)
	if len(doc) > 0 && doc[0] == '{' {
		var wrapper struct {
			ABI json.RawMessage `json:"abi"`
		}
		if err := json.Unmarshal(doc, &wrapper); err != nil || len(wrapper.ABI) == 0 {
			return nil, nil, fmt.Errorf("%w: an object without an \"abi\" array", ErrNotABI)
		}
		doc = wrapper.ABI
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(doc, &raws); err != nil || len(doc) == 0 || doc[0] != '[' {
		return nil, nil, fmt.Errorf("%w: want a JSON array of functions and events", ErrNotABI)
	}
	a = &ABI{functions: make(map[[4]byte]*Definition), events: make(map[[32]byte]*Definition)}
	for i, raw := range raws {
		var it rawItem
		if err := json.Unmarshal(raw, &it); err != nil {
			problems = append(problems, fmt.Errorf("item %d: %w", i, err))
			continue
		}
		if it.Type != "function" && (it.Type != "event" || it.Anonymous) {
			continue
		}
		d, err := ps.define(&it)
		if err != nil {
			problems = append(problems, fmt.Errorf("item %d, %s %q: %w", i, it.Type, it.Name, err))
			continue
		}
		if d.Event {
			a.Events = append(a.Events, d)
		} else {
			a.Functions = append(a.Functions, d)
		}
	}
	byName := func(x, y *Definition) int { return strings.Compare(x.Name, y.Name) }
	slices.SortStableFunc(a.Functions, byName)
	slices.SortStableFunc(a.Events, byName)
	a.problems = problems
	for _, d := range slices.Backward(a.Functions) { // the first of equals remains
		a.functions[d.Selector()] = d
	}
	for _, d := range slices.Backward(a.Events) {
		a.events[d.Hash] = d
	}
	return a, problems, nil
}

func (ps *Parser) define(it *rawItem) (*Definition, error) {
	params, err := parseParams(it.Inputs, 0)
	if err != nil {
		return nil, err
	}
	d := &Definition{Name: it.Name, Params: params, Event: it.Type == "event"}
	var b strings.Builder
	b.WriteString(d.Name)
	writeTypes(&b, params)
	d.Signature = b.String()
	d.Folded = FoldSignature(d.Signature)
	d.Vars = variables(params)
	if d.Layout, err = ps.layout(d); err != nil {
		return nil, err
	}
	d.Hash = d.Layout.hash
	return d, nil
}

func keccak(text string) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	h.Write([]byte(text))
	h.Sum(sum[:0])
	return sum
}

// variables describes parameters to the expression compiler, with aliases
// spelt out.
func variables(params []Param) []expr.Param {
	if len(params) == 0 {
		return nil
	}
	out := make([]expr.Param, len(params))
	for i := range params {
		p := &params[i]
		out[i] = expr.Param{Name: p.Name, Kind: p.Type.kindText()}
		if leaf := p.Type.leaf(); leaf.Kind == Tuple {
			out[i].Components = variables(leaf.Fields)
		}
	}
	return out
}

// kindText is the canonical type text with tuples written as "tuple".
func (t *Type) kindText() string {
	switch t.Kind {
	case Tuple:
		return "tuple"
	case Slice:
		return t.Elem.kindText() + "[]"
	case Array:
		return fmt.Sprintf("%s[%d]", t.Elem.kindText(), t.Size)
	default:
		return t.String()
	}
}

// FoldSignature gives the form in which signatures are compared: no white
// space, lower case, aliases of types spelt out (evm-matching 3.4).
func FoldSignature(s string) string {
	s = strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s))
	open := strings.IndexByte(s, '(')
	if open < 0 || !strings.Contains(s[open:], "uint") && !strings.Contains(s[open:], "int") && !strings.Contains(s[open:], "byte") {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:open])
	for rest := s[open:]; rest != ""; {
		n := strings.IndexAny(rest, "(),[]")
		word := rest
		if n >= 0 {
			word = rest[:n]
		}
		switch word {
		case "uint", "int":
			b.WriteString(word)
			b.WriteString("256")
		case "byte":
			b.WriteString("bytes1")
		default:
			b.WriteString(word)
		}
		if n < 0 {
			break
		}
		b.WriteByte(rest[n])
		rest = rest[n+1:]
	}
	return b.String()
}
