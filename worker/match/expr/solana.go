package expr

// checkSolana is check by the rules of solana-matching, section 5. Nearly every mistake is of
// KindType there.
func (l *leaf) checkSolana(k kindInfo) *Error {
	switch k.class {
	case Unsigned, Signed:
		if l.lit.kind == litBool {
			return l.wrongLiteral("write a number")
		}
		if _, ok := parseExact(l.lit.text, k); !ok {
			return l.fail(KindType, "the literal is not a whole number in the range of 128 bits")
		}
		if !l.op.equality() && !l.op.ordering() {
			return l.wrongOperator(k)
		}
	case Bool:
		if l.lit.text != "true" && l.lit.text != "false" {
			return l.wrongLiteral("write true or false")
		}
		if !l.op.equality() {
			return l.fail(KindType, "the operator "+l.op.String()+" is not defined for bool values")
		}
	default:
		if l.lit.kind == litBool {
			return l.wrongLiteral("put the literal in quotes")
		}
		if !l.op.equality() && l.op != Contains {
			return l.fail(KindType, "the operator "+l.op.String()+" is not defined for text values")
		}
	}
	return nil
}

// compareSolana is compare by the rules of solana-matching, section 5. Letter case counts.
func (l *leaf) compareSolana(k kindInfo, v *Value) (bool, *Error) {
	switch k.class {
	case Unsigned, Signed:
		return l.compareExact(k, v, KindType)
	case Bool:
		b, ok := v.asBool()
		if !ok {
			return false, l.fail(KindType, msgUnreadable)
		}
		if err := l.checkSolana(k); err != nil {
			return false, err
		}
		return (b == (l.lit.text == "true")) == (l.op == Eq), nil
	}
	if err := l.checkSolana(k); err != nil {
		return false, err
	}
	return l.op.compareText(v.Text(), l.lit.text), nil
}
