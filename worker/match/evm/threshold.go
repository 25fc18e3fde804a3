package evm

import (
	"slices"

	"github.com/holiman/uint256"
)

// thresholds holds postings by a bound and finds those whose bound a value
// reaches, at a cost of the postings found. Adding is cheap: sorted runs of
// doubling sizes are merged as they fill up.
type thresholds struct {
	fresh []bounded   // unsorted, at most freshLimit
	runs  [][]bounded // each ascending by bound; sizes fall along the list
}

type bounded struct {
	bound uint256.Int
	posting
}

// freshLimit is a variable for the sake of tests.
var freshLimit = 32

func (t *thresholds) add(bound *uint256.Int, p posting) {
	t.fresh = append(t.fresh, bounded{*bound, p})
	if len(t.fresh) < freshLimit {
		return
	}
	run := slices.Clone(live(t.fresh))
	slices.SortStableFunc(run, func(a, b bounded) int { return a.bound.Cmp(&b.bound) })
	t.fresh = t.fresh[:0]
	for n := len(t.runs); n > 0 && len(t.runs[n-1]) < 2*len(run); n-- {
		run = merge(live(t.runs[n-1]), run)
		t.runs = t.runs[:n-1]
	}
	if len(run) > 0 {
		t.runs = append(t.runs, run)
	}
}

// live drops postings of monitors that are gone, in place.
func live(list []bounded) []bounded {
	return slices.DeleteFunc(list, func(b bounded) bool { return b.inst.gone })
}

func merge(a, b []bounded) []bounded {
	out := make([]bounded, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].bound.Lt(&a[0].bound) {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}

// reached calls visit for every posting whose bound is at most v.
func (t *thresholds) reached(v *uint256.Int, visit func(posting)) {
	for _, run := range t.runs {
		for i := range run {
			if v.Lt(&run[i].bound) {
				break
			}
			visit(run[i].posting)
		}
	}
	for i := range t.fresh {
		if !v.Lt(&t.fresh[i].bound) {
			visit(t.fresh[i].posting)
		}
	}
}

// all calls visit for every posting.
func (t *thresholds) all(visit func(posting)) {
	for _, run := range t.runs {
		for i := range run {
			visit(run[i].posting)
		}
	}
	for i := range t.fresh {
		visit(t.fresh[i].posting)
	}
}
