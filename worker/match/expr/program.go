package expr

import "slices"

// Param describes one variable an expression may name.
type Param struct {
	Name       string
	Kind       string  // type text: the ABI type on EVM ("uint256", "tuple[]", "bytes4[3]"), the chain's kinds elsewhere
	Components []Param // fields of a tuple, also of arrays of tuples; nil otherwise
}

// evalFunc is a compiled part of an expression.
type evalFunc func(args []Value) (bool, *Error)

// Program is a compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	source string
	eval   evalFunc
	root   ast
	leaves []*leaf
	names  []string
	uses   []bool
}

// Compile parses src once and binds its names to positions in params; where names repeat
// the first is meant. A syntax error is the only error; it is an *Error of [KindParse].
//
// problems lists, in source order, the conditions that can never be evaluated: unknown
// variables, operators and literals that do not fit the declared kind, paths that the declared
// type does not have. The program runs all the same, and as in the peer such a condition
// fails only when it is reached.
func Compile(src string, d Dialect, params []Param) (p *Program, problems []*Error, err error) {
	root, perr := parse(src)
	if perr != nil {
		return nil, nil, perr
	}
	p = &Program{source: src, root: root, uses: make([]bool, len(params))}
	p.collect(root)
	for _, l := range p.leaves {
		problem := l.bind(d, params)
		if problem != nil {
			problems = append(problems, problem)
		}
		if l.param >= 0 {
			p.uses[l.param] = true
		}
	}
	p.eval = compile(root)
	return p, problems, nil
}

// Eval runs the program. args are parallel to the params given to [Compile]; absent ones
// count as [Missing]. An error, always an *Error, means that the condition does not match.
func (p *Program) Eval(args []Value) (bool, error) {
	ok, err := p.eval(args)
	if err != nil {
		return false, err
	}
	return ok, nil
}

// Source returns the text the program was compiled from.
func (p *Program) Source() string { return p.source }

// Names returns the distinct variables named, in order of first use, unknown ones included.
func (p *Program) Names() []string { return p.names }

// Uses reports whether the program reads the parameter at that position.
func (p *Program) Uses(param int) bool {
	return param >= 0 && param < len(p.uses) && p.uses[param]
}

// collect gathers the leaves and names in source order.
func (p *Program) collect(n ast) {
	switch n := n.(type) {
	case *leaf:
		p.leaves = append(p.leaves, n)
		if !slices.Contains(p.names, n.name) {
			p.names = append(p.names, n.name)
		}
	case *chain:
		for _, t := range n.terms {
			p.collect(t)
		}
	}
}

// compile turns the tree into closures.
func compile(n ast) evalFunc {
	switch n := n.(type) {
	case *leaf:
		return n.compile()
	case *chain:
		terms := make([]evalFunc, len(n.terms))
		for i, t := range n.terms {
			terms[i] = compile(t)
		}
		stop := n.or // OR stops at the first true term, AND at the first false one
		return func(args []Value) (bool, *Error) {
			for _, term := range terms {
				ok, err := term(args)
				if err != nil {
					return false, err
				}
				if ok == stop {
					return stop, nil
				}
			}
			return !stop, nil
		}
	}
	panic("expr: unknown node")
}
