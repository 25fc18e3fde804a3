package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/holiman/uint256"
)

// bind resolves the variable and readies the literal. It returns the error that the condition
// will always have, if there is one.
func (l *leaf) bind(d Dialect, params []Param) *Error {
	l.dialect, l.param = d, -1
	l.lit.prepare(d)
	for i := range params {
		if params[i].Name == l.name {
			l.param = i
			break
		}
	}
	if l.param < 0 {
		err := l.unknown()
		err.Suggestion = closest(l.name, params)
		return err
	}
	desc := &params[l.param]
	l.declared, l.fields = classify(d, desc.Kind), desc.Components
	_, l.hashed = widthAfter(strings.ToLower(desc.Kind), "bytes")
	if d != Solana && l.expectsDeep() && l.lit.kind != litBool {
		l.lit.deep = newDeepReadings(d, &l.lit)
	}
	k, problem := l.target(desc)
	if problem != nil || k.class == Invalid && len(l.path) > 0 {
		return problem
	}
	return l.check(k)
}

func (l *leaf) unknown() *Error {
	kind := KindUnknownVariable
	if l.dialect == Solana {
		kind = KindType
	}
	return l.fail(kind, "there is no variable named "+strconv.Quote(l.name))
}

// target follows the path through the declared type. The class is Invalid where the declaration does not
// tell what will be found, as inside strings that hold JSON.
func (l *leaf) target(desc *Param) (kindInfo, *Error) {
	if len(l.path) == 0 {
		return l.declared, nil
	}
	switch l.declared.class {
	case Unsigned, Signed, Bool, Digits:
		return kindInfo{}, l.notContainer(l.path[0])
	}
	if l.dialect != EVM {
		return kindInfo{}, nil
	}
	kind, fields := strings.ToLower(desc.Kind), desc.Components
	for i, s := range l.path {
		elem, size, isArray := arrayElem(kind)
		switch {
		case isArray && !s.bracket:
			return kindInfo{}, l.notContainer(s)
		case isArray:
			if size >= 0 && s.index >= size {
				return kindInfo{}, l.fail(KindIndexOutOfBounds, fmt.Sprintf("position %d is past the end of %s", s.index, kind))
			}
			kind = elem
		case kind == "tuple":
			if fields == nil {
				return kindInfo{}, nil
			}
			at, err := l.fieldAt(s, fields)
			if err != nil {
				return kindInfo{}, err
			}
			kind, fields = strings.ToLower(fields[at].Kind), fields[at].Components
		case i == 0 && (kind == "address" || classifyEVM(kind) == ByteString):
			return kindInfo{}, l.fail(KindParse, "values of kind "+kind+" have no fields or positions")
		case i > 0 && classifyEVM(kind) != Invalid:
			return kindInfo{}, l.notContainer(s)
		default:
			return kindInfo{}, nil
		}
	}
	k := kindInfo{class: classifyEVM(kind)}
	if k.class == Signed && l.lit.isUnsigned {
		k.class = Unsigned // positive elements are compared as unsigned numbers
	}
	return k, nil
}

func (l *leaf) fieldAt(s step, fields []Param) (int, *Error) {
	if s.bracket {
		if s.index >= len(fields) {
			return 0, l.fail(KindIndexOutOfBounds, fmt.Sprintf("the tuple has %d fields", len(fields)))
		}
		return s.index, nil
	}
	at, ok := fieldIndex(fields, s.key, len(fields))
	if !ok {
		err := l.fail(KindFieldNotFound, "the tuple has no field named "+strconv.Quote(s.key))
		err.Suggestion = closest(s.key, fields)
		return 0, err
	}
	return at, nil
}

// compile makes the closure of the condition. The comparisons that monitors use most have their own.
func (l *leaf) compile() evalFunc {
	c := l.declared.class
	if l.dialect != EVM || l.param < 0 || len(l.path) > 0 || l.checkEVM(c) != nil {
		return l.eval
	}
	switch c {
	case Unsigned, Signed:
		three := (*uint256.Int).Cmp
		if c == Signed {
			three = compareSigned
		}
		return l.fast(c, func(w *uint256.Int) bool { return l.op.holds(three(w, &l.lit.number)) })
	case Address:
		if l.lit.isAccount {
			return l.fast(c, func(w *uint256.Int) bool { return w.Eq(&l.lit.account) == (l.op == Eq) })
		}
	case Bool:
		want := l.lit.truth == (l.op == Eq)
		return l.fast(c, func(w *uint256.Int) bool { return w.IsZero() != want })
	}
	return l.eval
}

// fast compares words where the argument is a decoded value of the declared class; the general way does the rest.
func (l *leaf) fast(c Class, holds func(*uint256.Int) bool) evalFunc {
	at := l.param
	return func(args []Value) (bool, *Error) {
		if at < len(args) {
			if v := &args[at]; v.form == formWord && v.kind.class == c {
				return holds(&v.word), nil
			}
		}
		return l.eval(args)
	}
}

// constant returns the literal as a value to compare whole parameters with, for conditions that
// have a simple one.
func (l *leaf) constant() (Value, bool) {
	if l.param < 0 || len(l.path) > 0 || l.check(l.declared) != nil {
		return Value{}, false
	}
	v := Value{form: formWord, kind: kindInfo{class: l.declared.class}, dialect: l.dialect}
	switch l.declared.class {
	case Unsigned, Signed:
		v.word = l.lit.number
		if l.dialect != EVM {
			v.word, _ = parseExact(l.lit.text, l.declared)
		}
		return v, true
	case Bool:
		return BoolValue(l.lit.text == "true"), true
	case Address:
		v.word = l.lit.account
		return v, l.lit.isAccount
	case ByteString:
		h := FromText(EVM, "bytes32", l.lit.folded)
		if w, ok := h.Word(); ok && l.dialect == EVM && l.op.equality() && l.hashed {
			v.word = w
			return v, true
		}
		return String(l.lit.folded), true
	case Text:
		if l.dialect == Solana {
			return String(l.lit.text), true
		}
		return String(l.lit.folded), true
	}
	return Value{}, false
}

// closest finds the name that was probably meant, or nothing.
func closest(name string, params []Param) string {
	best, limit := "", max(1, len(name)/3)+1
	const longest = 64 // names beyond are not compared
	if len(name) > longest {
		return ""
	}
	for i := range params {
		candidate := params[i].Name
		if candidate == "" || len(candidate) > longest {
			continue
		}
		if strings.EqualFold(candidate, name) {
			return candidate
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours between a and b.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
