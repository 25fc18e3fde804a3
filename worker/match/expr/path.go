package expr

import "strconv"

// value finds the value on the left side of the condition.
func (l *leaf) value(args []Value) (*Value, *Error) {
	if l.param < 0 {
		return nil, l.unknown()
	}
	if l.param >= len(args) || args[l.param].form == formMissing {
		return nil, l.fail(KindParse, msgMissing)
	}
	v := &args[l.param]
	if len(l.path) == 0 {
		return v, nil
	}
	if v.form != formElems || v.kind.class == List && breaksJSON(v) {
		n, ok := v.asJSON()
		if ok {
			return l.walkJSON(n)
		}
		if v.form != formElems {
			return nil, l.fail(KindParse, msgNotJSON)
		}
	}
	return l.walkElems(v)
}

// eval decides the condition.
func (l *leaf) eval(args []Value) (bool, *Error) {
	v, err := l.value(args)
	if err != nil {
		return false, err
	}
	k := l.declared
	switch {
	case v.form == formParsed || v.form == formTree:
		k = v.kind // known with the value only, as for the members of a JSON document
	case len(l.path) > 0:
		return l.compareElement(v)
	}
	ok, err := l.compare(k, v)
	if err != nil && k.extra {
		err.Kind = KindType // where the peer has no rules we answer, or fail as it does
	}
	return ok, err
}

// walkElems follows the path through decoded arrays and tuples.
func (l *leaf) walkElems(v *Value) (*Value, *Error) {
	fields := l.fields
	for _, s := range l.path {
		if v.form != formElems {
			return nil, l.notContainer(s)
		}
		i := s.index
		switch {
		case v.kind.class == Record && !s.bracket:
			var ok bool
			if i, ok = fieldIndex(fields, s.key, len(v.elems)); !ok {
				return nil, l.fail(KindFieldNotFound, msgNoField)
			}
		case !s.bracket:
			return nil, l.notContainer(s)
		case i >= len(v.elems):
			return nil, l.fail(KindIndexOutOfBounds, msgPastEnd)
		}
		if v.kind.class == Record {
			fields = componentsOf(fields, i)
		}
		v = &v.elems[i]
	}
	return v, nil
}

// fieldIndex finds a field of a tuple by its name or, written as a number, by its position.
func fieldIndex(fields []Param, key string, size int) (int, bool) {
	for i := range fields {
		if fields[i].Name == key && i < size {
			return i, true
		}
	}
	i, err := strconv.Atoi(key)
	return i, err == nil && i < size
}

func componentsOf(fields []Param, i int) []Param {
	if i < len(fields) {
		return fields[i].Components
	}
	return nil
}

func (l *leaf) notContainer(s step) *Error {
	if s.bracket {
		return l.fail(KindType, msgNotArray)
	}
	return l.fail(KindType, msgNotObject)
}

// walkJSON follows the path through a JSON document and derives the kind of what it finds.
func (l *leaf) walkJSON(n *node) (*Value, *Error) {
	for _, s := range l.path {
		switch {
		case s.bracket && n.kind != nodeArray, !s.bracket && n.kind != nodeObject:
			return nil, l.notContainer(s)
		case s.bracket:
			if s.index >= len(n.elems) {
				return nil, l.fail(KindIndexOutOfBounds, msgPastEnd)
			}
			n = n.elems[s.index]
		default:
			var ok bool
			if n, ok = n.field(s.key); !ok {
				return nil, l.fail(KindFieldNotFound, msgNoField)
			}
		}
	}
	v := &Value{dialect: l.dialect, kind: derive(l.dialect, n)}
	if n.kind == nodeArray || n.kind == nodeObject {
		v.form, v.tree = formTree, n
	} else {
		v.form, v.text = formParsed, n.text()
	}
	return v, nil
}

// derive tells the kind of a JSON value.
func derive(d Dialect, n *node) kindInfo {
	switch d {
	case Stellar:
		return deriveStellar(n)
	case Solana:
		return deriveSolana(n)
	}
	switch n.kind {
	case nodeString:
		if looksLikeAddress(n.str) {
			return kindInfo{class: Address}
		}
		return kindInfo{class: Text} // hexadecimal strings have the same rules
	case nodeInt:
		if n.neg {
			return kindInfo{class: Signed}
		}
		return kindInfo{class: Unsigned}
	case nodeFloat:
		return kindInfo{class: Unsigned}
	case nodeBool:
		return kindInfo{class: Bool}
	case nodeArray:
		return kindInfo{class: List}
	}
	return kindInfo{}
}

func deriveStellar(n *node) kindInfo {
	switch n.kind {
	case nodeString:
		if isStrkey(n.str) {
			return kindInfo{class: Address}
		}
		return kindInfo{class: Text}
	case nodeInt:
		if n.neg {
			return kindInfo{class: Signed, bits: 64}
		}
		return kindInfo{class: Unsigned, bits: 64}
	case nodeBool:
		return kindInfo{class: Bool}
	case nodeArray:
		return kindInfo{class: List}
	case nodeObject:
		return kindInfo{class: Mapping}
	}
	return kindInfo{}
}

func deriveSolana(n *node) kindInfo {
	switch {
	case n.kind == nodeBool:
		return kindInfo{class: Bool}
	case n.kind == nodeInt && n.neg:
		return kindInfo{class: Signed, bits: 128}
	case n.kind == nodeInt:
		return kindInfo{class: Unsigned, bits: 128}
	}
	return kindInfo{class: Text}
}
