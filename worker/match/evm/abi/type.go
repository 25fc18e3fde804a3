package abi

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is the shape of a type.
type Kind uint8

// The kinds.
const (
	Uint Kind = iota
	Int
	Bool
	Address
	FixedBytes // bytes1 … bytes32
	Function   // a 20-byte address and a 4-byte selector, encoded like bytes24
	Bytes
	String
	Slice // T[]
	Array // T[k]
	Tuple
)

const (
	// maxNesting bounds arrays and tuples within each other.
	maxNesting = 32
	// maxHead bounds the static size of one type in bytes.
	maxHead = 1 << 26
)

// Type is one parameter type, ready for decoding.
type Type struct {
	Kind    Kind
	Size    int     // bits of a number, bytes of FixedBytes, length of an Array
	Elem    *Type   // of Slice and Array
	Fields  []Param // of Tuple
	Dynamic bool    // encoded by offset
	head    int     // bytes in the head of what contains it: 32 when Dynamic
}

// Param is a parameter or a tuple field.
type Param struct {
	Name    string
	Kind    string // type text as the ABI writes it
	Indexed bool   // event parameters only
	Type    Type
}

// rawParam is a parameter as it stands in the document.
type rawParam struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Indexed    bool       `json:"indexed"`
	Components []rawParam `json:"components"`
}

func parseParam(raw *rawParam, depth int) (Param, error) {
	p := Param{Name: raw.Name, Kind: raw.Type, Indexed: raw.Indexed}
	t, err := parseType(strings.TrimSpace(raw.Type), raw.Components, depth)
	if err != nil {
		return p, err
	}
	p.Type = *t
	return p, nil
}

func parseParams(raw []rawParam, depth int) ([]Param, error) {
	params := make([]Param, len(raw))
	for i := range raw {
		p, err := parseParam(&raw[i], depth)
		if err != nil {
			return nil, fmt.Errorf("parameter %d %q: %w", i, raw[i].Name, err)
		}
		params[i] = p
	}
	return params, nil
}

func parseType(text string, components []rawParam, depth int) (*Type, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("type is nested deeper than %d levels", maxNesting)
	}
	if strings.HasSuffix(text, "]") {
		return parseArray(text, components, depth)
	}
	t := &Type{head: 32}
	number := func(prefix string, kind Kind) (bool, error) {
		rest, ok := strings.CutPrefix(text, prefix)
		if !ok {
			return false, nil
		}
		t.Kind, t.Size = kind, 256
		if rest == "" {
			return true, nil
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n < 8 || n > 256 || n%8 != 0 || rest[0] == '0' || rest[0] == '+' {
			return true, fmt.Errorf("unknown type %q", text)
		}
		t.Size = n
		return true, nil
	}
	switch text {
	case "bool":
		t.Kind = Bool
	case "address", "address payable":
		t.Kind = Address
	case "string":
		t.Kind, t.Dynamic = String, true
	case "bytes":
		t.Kind, t.Dynamic = Bytes, true
	case "function":
		t.Kind = Function
	case "byte":
		t.Kind, t.Size = FixedBytes, 1
	case "tuple":
		return parseTuple(components, depth)
	default:
		if ok, err := number("uint", Uint); ok {
			return t, err
		}
		if ok, err := number("int", Int); ok {
			return t, err
		}
		rest, ok := strings.CutPrefix(text, "bytes")
		n, err := strconv.Atoi(rest)
		if !ok || err != nil || n < 1 || n > 32 || rest[0] == '0' || rest[0] == '+' {
			return nil, fmt.Errorf("unknown type %q", text)
		}
		t.Kind, t.Size = FixedBytes, n
	}
	return t, nil
}

func parseArray(text string, components []rawParam, depth int) (*Type, error) {
	open := strings.LastIndexByte(text, '[')
	if open < 0 {
		return nil, fmt.Errorf("unknown type %q", text)
	}
	elem, err := parseType(text[:open], components, depth+1)
	if err != nil {
		return nil, err
	}
	length := text[open+1 : len(text)-1]
	if length == "" {
		return &Type{Kind: Slice, Elem: elem, Dynamic: true, head: 32}, nil
	}
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || length[0] == '+' {
		return nil, fmt.Errorf("bad array length in type %q", text)
	}
	t := &Type{Kind: Array, Size: n, Elem: elem, Dynamic: elem.Dynamic && n > 0, head: 32}
	if n > maxHead/max(elem.head, 1) {
		return nil, fmt.Errorf("type %q is too large", text)
	}
	if !t.Dynamic {
		t.head = n * elem.head
	}
	return t, nil
}

func parseTuple(components []rawParam, depth int) (*Type, error) {
	fields, err := parseParams(components, depth+1)
	if err != nil {
		return nil, err
	}
	t := &Type{Kind: Tuple, Fields: fields}
	for i := range fields {
		t.Dynamic = t.Dynamic || fields[i].Type.Dynamic
		t.head += fields[i].Type.head
	}
	if t.head > maxHead {
		return nil, fmt.Errorf("tuple is larger than %d bytes", maxHead)
	}
	if t.Dynamic {
		t.head = 32
	}
	return t, nil
}

// write appends the canonical text, as it is hashed.
func (t *Type) write(b *strings.Builder) {
	switch t.Kind {
	case Uint, Int:
		if t.Kind == Uint {
			b.WriteByte('u')
		}
		b.WriteString("int")
		b.WriteString(strconv.Itoa(t.Size))
	case Bool:
		b.WriteString("bool")
	case Address:
		b.WriteString("address")
	case FixedBytes:
		b.WriteString("bytes")
		b.WriteString(strconv.Itoa(t.Size))
	case Function:
		b.WriteString("function")
	case Bytes:
		b.WriteString("bytes")
	case String:
		b.WriteString("string")
	case Slice:
		t.Elem.write(b)
		b.WriteString("[]")
	case Array:
		t.Elem.write(b)
		b.WriteByte('[')
		b.WriteString(strconv.Itoa(t.Size))
		b.WriteByte(']')
	case Tuple:
		writeTypes(b, t.Fields)
	}
}

func writeTypes(b *strings.Builder, params []Param) {
	b.WriteByte('(')
	for i := range params {
		if i > 0 {
			b.WriteByte(',')
		}
		params[i].Type.write(b)
	}
	b.WriteByte(')')
}

// String is the canonical text of the type.
func (t *Type) String() string {
	var b strings.Builder
	t.write(&b)
	return b.String()
}

// leaf is the type inside all arrays.
func (t *Type) leaf() *Type {
	for t.Kind == Slice || t.Kind == Array {
		t = t.Elem
	}
	return t
}

// byTopic reports whether an indexed parameter of this type is only known by
// its hash.
func (t *Type) byTopic() bool {
	switch t.Kind {
	case String, Bytes, Slice, Array, Tuple:
		return true
	default:
		return false
	}
}
