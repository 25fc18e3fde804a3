package expr

import "github.com/holiman/uint256"

// Op is a comparison operator.
type Op uint8

// The operators.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
	Contains
	StartsWith
	EndsWith
)

// String returns the operator as it is written.
func (o Op) String() string {
	names := [...]string{"==", "!=", "<", "<=", ">", ">=", "contains", "starts_with", "ends_with"}
	if int(o) < len(names) {
		return names[o]
	}
	return "?"
}

// equality reports whether o is == or !=.
func (o Op) equality() bool { return o == Eq || o == Ne }

// ordering reports whether o is one of < <= > >=.
func (o Op) ordering() bool { return o >= Lt && o <= Ge }

// holds applies an operator of numbers to the outcome of a three-way comparison.
func (o Op) holds(cmp int) bool {
	switch o {
	case Eq:
		return cmp == 0
	case Ne:
		return cmp != 0
	case Lt:
		return cmp < 0
	case Le:
		return cmp <= 0
	case Gt:
		return cmp > 0
	default:
		return cmp >= 0
	}
}

// compareSigned is the three-way comparison of two's complement words.
func compareSigned(a, b *uint256.Int) int {
	switch {
	case a.Slt(b):
		return -1
	case a.Eq(b):
		return 0
	}
	return 1
}
