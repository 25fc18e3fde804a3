package expr

import "strings"

// Messages of errors that depend on the value. They name no value: values come from the chain
// and may be large.
const (
	msgMissing    = "the value is not available"
	msgUnreadable = "the value cannot be read as its kind"
	msgNotJSON    = "the value is not JSON"
	msgNotArray   = "a position in brackets needs an array"
	msgNotObject  = "a field name needs a value with named fields"
	msgNoField    = "there is no such field"
	msgPastEnd    = "the position is past the end"
	msgNotTuple   = "the value is not a tuple"
)

// check returns the error that the condition has for every value of kind k that can be read: a
// literal of the wrong type, an unreadable literal, or an operator that is not defined. nil means
// that the comparison can be made.
func (l *leaf) check(k kindInfo) *Error {
	switch l.dialect {
	case Stellar:
		return l.checkStellar(k)
	case Solana:
		return l.checkSolana(k)
	default:
		return l.checkEVM(k.class)
	}
}

// compare applies the condition to a value by the rules of kind k.
func (l *leaf) compare(k kindInfo, v *Value) (bool, *Error) {
	switch l.dialect {
	case Stellar:
		return l.compareStellar(k, v)
	case Solana:
		return l.compareSolana(k, v)
	default:
		return l.compareEVM(k.class, v)
	}
}

func (l *leaf) wrongLiteral(want string) *Error {
	hint := "; " + want
	switch l.lit.kind {
	case litNumber:
		return l.fail(KindType, "a number cannot be compared with this kind"+hint)
	case litBool:
		return l.fail(KindType, "true and false cannot be compared with this kind"+hint)
	}
	return l.fail(KindType, "a text cannot be compared with this kind"+hint)
}

func (l *leaf) wrongOperator(k kindInfo) *Error {
	return l.fail(KindUnsupportedOperator, "the operator "+l.op.String()+" is not defined for "+k.class.String()+" values")
}

func (l *leaf) noRules() *Error {
	return l.fail(KindType, "values of this kind cannot be compared")
}

// within applies contains, starts_with and ends_with.
func (o Op) within(value, literal string) bool {
	switch o {
	case Contains:
		return strings.Contains(value, literal)
	case StartsWith:
		return strings.HasPrefix(value, literal)
	default:
		return strings.HasSuffix(value, literal)
	}
}

// compareText applies an operator to texts that are ready to be compared.
func (o Op) compareText(value, literal string) bool {
	switch o {
	case Eq:
		return value == literal
	case Ne:
		return value != literal
	default:
		return o.within(value, literal)
	}
}
