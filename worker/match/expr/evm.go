package expr

import "github.com/holiman/uint256"

// checkEVM is check by the rules of expressions, section 5.
func (l *leaf) checkEVM(c Class) *Error {
	k := kindInfo{class: c}
	switch c {
	case Unsigned, Signed:
		switch {
		case l.lit.kind == litBool:
			return l.wrongLiteral("write a number")
		case c == Unsigned && !l.lit.isUnsigned:
			return l.fail(KindParse, "the literal is not an unsigned whole number of at most 256 bits")
		case c == Signed && !l.lit.isSigned:
			return l.fail(KindParse, "the literal is not a signed whole number of at most 256 bits")
		case !l.op.equality() && !l.op.ordering():
			return l.wrongOperator(k)
		}
	case Bool:
		if l.lit.kind != litBool {
			return l.wrongLiteral("write true or false, without quotes")
		}
		if !l.op.equality() {
			return l.wrongOperator(k)
		}
	case Address:
		if l.lit.kind != litString {
			return l.wrongLiteral("write an address, in quotes if it has digits only")
		}
		if !l.op.equality() {
			return l.wrongOperator(k)
		}
	case Text, ByteString:
		if l.lit.kind != litString {
			return l.wrongLiteral("put the literal in quotes")
		}
		if l.op.ordering() {
			return l.wrongOperator(k)
		}
	case List, Record:
		if l.lit.kind == litBool || l.lit.kind == litNumber && l.op.equality() {
			return l.wrongLiteral("put the literal in quotes")
		}
		if !l.op.equality() && l.op != Contains {
			return l.wrongOperator(k)
		}
	default:
		return l.noRules()
	}
	return nil
}

// compareEVM is compare by the rules of expressions, section 5. The value of a number or a boolean
// is looked at before the literal, all else after it.
func (l *leaf) compareEVM(c Class, v *Value) (bool, *Error) {
	switch c {
	case Unsigned, Signed:
		var w uint256.Int
		var ok bool
		if c == Unsigned {
			w, ok = v.asUnsigned()
		} else {
			w, ok = v.asSigned()
		}
		if !ok {
			return false, l.fail(KindParse, msgUnreadable)
		}
		if err := l.checkEVM(c); err != nil {
			return false, err
		}
		if c == Unsigned {
			return l.op.holds(w.Cmp(&l.lit.number)), nil
		}
		return l.op.holds(compareSigned(&w, &l.lit.number)), nil
	case Bool:
		b, ok := v.asBool()
		if !ok {
			return false, l.fail(KindParse, msgUnreadable)
		}
		if err := l.checkEVM(c); err != nil {
			return false, err
		}
		return (b == l.lit.truth) == (l.op == Eq), nil
	}
	if err := l.checkEVM(c); err != nil {
		return false, err
	}
	switch c {
	case Address:
		return l.addressEqual(v) == (l.op == Eq), nil
	case List, Record:
		if l.op == Contains {
			return l.search(c, v)
		}
		var equal bool
		var err *Error
		if c == Record {
			equal = stripOuterSpace(v.Text()) == l.deep().compact
		} else if equal, err = l.listEqual(v); err != nil {
			return false, err
		}
		return equal == (l.op == Eq), nil
	}
	return v.compareFolded(l.op, l.lit.folded), nil
}

// addressEqual compares accounts: 0x is optional, case and white space do not count.
func (l *leaf) addressEqual(v *Value) bool {
	if v.form == formWord && v.kind.class == Address {
		return l.lit.isAccount && v.word.Eq(&l.lit.account)
	}
	return l.addressTextEqual(v.Text())
}

func (l *leaf) addressTextEqual(s string) bool {
	if looksLikeAddress(s) {
		return foldedEqual(s[2:], l.lit.address)
	}
	return normalAddress(s) == l.lit.address
}

// looksLikeAddress reports whether s is 0x and 40 hexadecimal digits.
func looksLikeAddress(s string) bool {
	return len(s) == 42 && s[0] == '0' && s[1] == 'x' && allHex(s[2:])
}

// listEqual compares an array with the literal as JSON, without regard to letter case. Text in the
// peer's form decides wherever it is JSON; where it is not, because it has tuples or because a
// string breaks it, the elements themselves are compared.
func (l *leaf) listEqual(v *Value) (bool, *Error) {
	if v.form == formElems {
		if !breaksJSON(v) {
			return l.elemsEqual(v)
		}
		if n, ok := parseJSON(Fold(v.Text())); ok {
			return l.nodeEqual(n)
		}
		return l.elemsEqual(v)
	}
	n, ok := parseJSON(Fold(v.Text()))
	if !ok {
		return false, l.fail(KindParse, msgNotJSON)
	}
	return l.nodeEqual(n)
}

func (l *leaf) nodeEqual(n *node) (bool, *Error) {
	lit := l.deep().json
	switch {
	case lit == nil:
		return false, l.fail(KindParse, "the literal is not JSON")
	case n.kind != nodeArray:
		return false, l.fail(KindType, "the value is not a JSON array")
	case lit.kind != nodeArray:
		return false, l.fail(KindType, "the literal is not a JSON array")
	}
	return n.equal(lit), nil
}

func (l *leaf) elemsEqual(v *Value) (bool, *Error) {
	lit := l.deep().json
	switch {
	case v.hasTuple():
		return stripOuterSpace(v.Text()) == l.deep().compact, nil
	case lit == nil:
		return false, l.fail(KindParse, "the literal is not JSON")
	case lit.kind != nodeArray:
		return false, l.fail(KindType, "the literal is not a JSON array")
	}
	return v.equalNode(lit), nil
}

// compareElement compares a value reached by a path through decoded arrays and tuples. In the peer the
// kind of such a value is derived from its JSON form. Where that gives an answer it is kept; where
// it does not, the declared kind answers.
func (l *leaf) compareElement(v *Value) (bool, *Error) {
	c := v.kind.class
	switch c {
	case Signed:
		if v.word.Sign() >= 0 && l.lit.isUnsigned {
			c = Unsigned
		}
	case Text, ByteString:
		if l.op.equality() && v.addressLike() {
			c = Address
		}
	}
	return l.compareEVM(c, v)
}
