package expr

import (
	"fmt"
	"strings"
)

// Kind says why an expression could not be parsed or evaluated (expressions, section 3).
type Kind string

// The kinds of error.
const (
	KindParse               Kind = "parse"
	KindType                Kind = "type"
	KindUnsupportedOperator Kind = "unsupported_operator"
	KindUnknownVariable     Kind = "unknown_variable"
	KindFieldNotFound       Kind = "field_not_found"
	KindIndexOutOfBounds    Kind = "index_out_of_bounds"
)

// Error is a mistake in an expression, or a value that does not suit it. It is the only
// error type of this package. While a block is judged it means "does not match".
type Error struct {
	Kind       Kind
	Offset     int    // byte offset in the source
	Condition  string // the condition concerned, as written; empty for syntax errors
	Message    string
	Suggestion string // a name that was probably meant, or empty
}

// Error describes the mistake in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Condition != "" {
		fmt.Fprintf(&b, "condition %q at offset %d: %s", e.Condition, e.Offset, e.Message)
	} else {
		fmt.Fprintf(&b, "expression at offset %d: %s", e.Offset, e.Message)
	}
	if e.Suggestion != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Suggestion)
	}
	return b.String()
}
