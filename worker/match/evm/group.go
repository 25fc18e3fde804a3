package evm

import (
	"slices"

	"github.com/holiman/uint256"

	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// posting is one condition of one monitor in force, filed where a block's
// content will find it. cond is nil for a monitor that matches on the address
// alone.
type posting struct {
	inst *instance
	cond *condition
}

// group holds the postings of one event, function, or (layout nil) of the
// transactions that involve an address, so that arguments are decoded once for
// all of them. While it is small, all postings are tried; then they are filed
// by a condition that must hold.
type group struct {
	layout *abi.Layout
	rest   []posting // to be tried always
	filed  *files    // nil while small
	size   int32     // postings, gone ones included
	gone   int32     // postings of monitors that are gone
}

// smallGroup is the size up to which trying everything is cheapest; a variable
// for the sake of tests.
var smallGroup int32 = 12

// files are postings by constants that an argument must equal, reach, or not
// exceed.
type files struct {
	equal    map[equalKey][]posting
	byEqual  []uint16 // parameters used in equal
	above    map[uint16]*thresholds
	below    map[uint16]*thresholds
	byBounds []uint16 // parameters used in above or below
}

type equalKey struct {
	param uint16
	word  uint256.Int
}

func (g *group) add(p posting) {
	g.size++
	if g.filed == nil {
		if g.size <= smallGroup {
			g.rest = append(g.rest, p)
			return
		}
		g.filed = &files{equal: make(map[equalKey][]posting)}
		all := g.rest
		g.rest = nil
		for _, q := range all {
			g.file(q)
		}
	}
	g.file(p)
}

// file puts a posting where its most telling necessary condition leads: an
// equality, preferably one that few others share; else a bound; else rest.
func (g *group) file(p posting) {
	if p.cond == nil || p.cond.program == nil {
		g.rest = append(g.rest, p)
		return
	}
	f := g.filed
	var best equalKey
	fewest := -1
	var bound *expr.Conjunct
	conjuncts := p.cond.program.Conjuncts()
	for i := range conjuncts {
		c := &conjuncts[i]
		word, ok := g.word(c)
		switch {
		case !ok:
		case c.Op == expr.Eq:
			key := equalKey{uint16(c.Param), word}
			if n := len(f.equal[key]); fewest < 0 || n < fewest {
				best, fewest = key, n
			}
		case bound == nil && c.Op >= expr.Lt && c.Op <= expr.Ge && (c.Value.Class() == expr.Unsigned || c.Value.Class() == expr.Signed):
			bound = c
		}
	}
	switch {
	case fewest >= 0:
		list := f.equal[best]
		if n := len(list); n >= 16 && n&(n-1) == 0 { // now and then, while growing
			list = slices.DeleteFunc(list, func(q posting) bool { return q.inst.gone })
		}
		f.equal[best] = append(list, p)
		f.byEqual = with(f.byEqual, best.param)
	case bound != nil:
		f.addBound(bound, p)
	default:
		g.rest = append(g.rest, p)
	}
}

// word is the constant of a condition whose parameter always has a word of the
// same meaning.
func (g *group) word(c *expr.Conjunct) (w uint256.Int, ok bool) {
	switch c.Value.Class() {
	case expr.Unsigned, expr.Signed, expr.Bool, expr.Address:
	case expr.ByteString:
		if g.layout == nil || g.layout.Type(c.Param).Kind != abi.FixedBytes {
			return w, false
		}
	default:
		return w, false
	}
	return c.Value.Word()
}

// addBound files by an inequality. Strictness is left to the evaluation, and
// upper bounds become lower ones by complement.
func (f *files) addBound(c *expr.Conjunct, p posting) {
	w, _ := c.Value.Word()
	if c.Value.Class() == expr.Signed {
		w = flipSign(w)
	}
	table := &f.above
	if c.Op == expr.Lt || c.Op == expr.Le {
		table = &f.below
		w.Not(&w)
	}
	param := uint16(c.Param)
	if *table == nil {
		*table = make(map[uint16]*thresholds)
	}
	t := (*table)[param]
	if t == nil {
		t = &thresholds{}
		(*table)[param] = t
	}
	t.add(&w, p)
	f.byBounds = with(f.byBounds, param)
}

// flipSign maps signed words so that their order is that of unsigned ones.
func flipSign(w uint256.Int) uint256.Int {
	w[3] ^= 1 << 63
	return w
}

func with(list []uint16, n uint16) []uint16 {
	if slices.Contains(list, n) {
		return list
	}
	return append(list, n)
}

// candidates calls visit for every posting that may hold for the arguments,
// and some that do not.
func (g *group) candidates(args []expr.Value, visit func(posting)) {
	for _, p := range g.rest {
		visit(p)
	}
	f := g.filed
	if f == nil {
		return
	}
	for _, param := range f.byEqual {
		if word, ok := args[param].Word(); ok {
			for _, p := range f.equal[equalKey{param, word}] {
				visit(p)
			}
		}
	}
	for _, param := range f.byBounds {
		word, ok := args[param].Word()
		if !ok {
			continue
		}
		if args[param].Class() == expr.Signed {
			word = flipSign(word)
		}
		if t := f.above[param]; t != nil {
			t.reached(&word, visit)
		}
		if t := f.below[param]; t != nil {
			word.Not(&word)
			t.reached(&word, visit)
		}
	}
}

// drop notes that a posting belongs to a monitor that is gone. Once half of
// them are, the group is built anew, so dropping costs a constant on average.
func (g *group) drop() {
	g.gone++
	if g.gone*2 <= g.size {
		return
	}
	old := *g
	*g = group{layout: old.layout}
	keep := func(p posting) {
		if !p.inst.gone {
			g.add(p)
		}
	}
	for _, p := range old.rest {
		keep(p)
	}
	if f := old.filed; f != nil {
		for _, list := range f.equal {
			for _, p := range list {
				keep(p)
			}
		}
		for _, table := range []map[uint16]*thresholds{f.above, f.below} {
			for _, t := range table {
				t.all(keep)
			}
		}
	}
}
