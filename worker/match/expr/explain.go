package expr

// Step tells what became of one condition in an evaluation.
type Step struct {
	Condition string // as written
	Left      string // text of the value compared; empty when not evaluated or not found
	Right     string // text of the literal
	Evaluated bool   // false when a neighbour had decided before
	Holds     bool
	Err       error // *Error, or nil
}

// Explain evaluates the program and returns one step for each condition, in source order.
// It is made for people and costs more than [Program.Eval].
func (p *Program) Explain(args []Value) []Step {
	steps := make([]Step, len(p.leaves))
	index := make(map[*leaf]int, len(p.leaves))
	for i, l := range p.leaves {
		steps[i] = Step{Condition: l.src, Right: l.lit.text}
		index[l] = i
	}
	_, _ = explain(p.root, args, func(l *leaf, ok bool, err *Error) {
		s := &steps[index[l]]
		s.Evaluated, s.Holds = true, ok
		if err != nil {
			s.Err = err
		}
		if v, verr := l.value(args); verr == nil {
			s.Left = v.Text()
		}
	})
	return steps
}

// explain evaluates n as compile does and reports each condition reached.
func explain(n ast, args []Value, report func(*leaf, bool, *Error)) (bool, *Error) {
	switch n := n.(type) {
	case *leaf:
		ok, err := n.eval(args)
		report(n, ok, err)
		return ok, err
	case *chain:
		for _, t := range n.terms {
			ok, err := explain(t, args, report)
			if err != nil {
				return false, err
			}
			if ok == n.or {
				return ok, nil
			}
		}
		return !n.or, nil
	}
	panic("expr: unknown node")
}
