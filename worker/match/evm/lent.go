package evm

import (
	"sync"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// lent holds the rules of a monitor against functions of other monitors' ABIs,
// compiled when they are first met.
type lent struct {
	functions []spec.Signature // the conditions, in order

	mu    sync.Mutex
	rules map[*abi.Definition]*rule
}

// maxLent bounds the rules kept; ABIs that come and go would add up.
const maxLent = 256

// rule returns the monitor's function conditions against d, nil when none can
// hold.
func (l *lent) rule(d *abi.Definition) *rule {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.rules[d]; ok {
		return r
	}
	if l.rules == nil || len(l.rules) >= maxLent {
		l.rules = make(map[*abi.Definition]*rule)
	}
	r := l.compile(d)
	l.rules[d] = r
	return r
}

func (l *lent) compile(d *abi.Definition) *rule {
	var conds []condition
	for i := range l.functions {
		want := &l.functions[i]
		if abi.FoldSignature(want.Signature) != d.Folded {
			continue
		}
		c := condition{index: uint32(i)}
		if want.Expression != nil {
			var err error
			if c.program, _, err = expr.Compile(*want.Expression, expr.EVM, d.Vars); err != nil {
				continue
			}
		}
		conds = append(conds, c)
	}
	return newRule(d, conds)
}
