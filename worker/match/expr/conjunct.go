package expr

// Conjunct is a condition on one parameter that holds whenever the program it comes from
// evaluates to true.
//
// The class of Value says how to compare. Unsigned, Signed, Bool and Address compare the words
// of both sides ([Value.Word]); an argument without a word satisfies Ne and nothing else. A ByteString
// constant has a word too. Text compares the texts of both sides, after [Fold] on EVM
// and Stellar; the constant is folded already.
type Conjunct struct {
	Param int // position in the params given to Compile
	Op    Op
	Value Value
}

// Conjuncts lists the conditions in the top-level AND chain that compare a parameter, without
// a path, with a constant that is readable at compile time. They hold for arguments of the
// declared kinds. The list may be empty.
func (p *Program) Conjuncts() []Conjunct { return conjuncts(nil, p.root) }

func conjuncts(out []Conjunct, n ast) []Conjunct {
	switch n := n.(type) {
	case *leaf:
		if v, ok := n.constant(); ok {
			out = append(out, Conjunct{Param: n.param, Op: n.op, Value: v})
		}
	case *chain:
		if n.or {
			break
		}
		for _, t := range n.terms {
			out = conjuncts(out, t)
		}
	}
	return out
}
