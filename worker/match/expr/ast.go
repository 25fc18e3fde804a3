package expr

// ast is a *leaf or a *chain.
type ast any

// chain joins two or more terms by AND, or by OR. A chain of equal operators is flat,
// which changes nothing as both are evaluated from the left.
type chain struct {
	or    bool
	terms []ast
}

// step is one accessor of a path: an index in brackets or a key after a dot.
type step struct {
	key     string
	index   int
	bracket bool
}

// leaf is one condition: variable, path, operator, literal.
type leaf struct {
	offset int
	src    string
	name   string
	path   []step
	op     Op
	lit    literal

	// Bound to the parameters by bind.
	dialect  Dialect
	param    int // position, -1 when unknown
	declared kindInfo
	fields   []Param // components of the declared parameter
	hashed   bool    // EVM bytesN: every value has a word
}

// fail makes the error of this condition.
func (l *leaf) fail(kind Kind, message string) *Error {
	return &Error{Kind: kind, Offset: l.offset, Condition: l.src, Message: message}
}
