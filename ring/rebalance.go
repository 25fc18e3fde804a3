package ring

import (
	"math"
	"slices"
)

// gap is the greatest weight that node to can take from node from and still be
// less loaded than from was. It is below 1 if there is none.
func (p *plan) gap(from, to int32) int64 {
	f, t := &p.nodes[from], &p.nodes[to]
	w := int64(math.Ceil(f.level()*t.capacity)) - t.load
	for w > 0 && !(t.with(w) < f.level()) {
		w--
	}
	return w
}

// even is the weight whose move leaves both nodes equally loaded.
func (p *plan) even(from, to int32) int64 {
	f, t := &p.nodes[from], &p.nodes[to]
	return int64((float64(f.load)*t.capacity - float64(t.load)*f.capacity) / (f.capacity + t.capacity))
}

// rebalance moves tenants from the most to the least loaded node until the
// imbalance is within the threshold. A node that can give nothing (it has one
// heavy tenant, or only pinned ones) is left out from then on, also from the
// imbalance: else all others would be moved about for what they cannot mend.
//
// Every step replaces the loads of two nodes by two that are both below the
// greater: no state comes twice. The bound on steps is for the time it may take.
func (p *plan) rebalance() {
	out := make([]bool, len(p.nodes))
	for range 2*len(p.tenants) + len(p.nodes) {
		from, low, threshold := p.donor(out)
		if from == nowhere {
			return
		}
		i, to := p.relief(from, threshold, out)
		if i == nowhere {
			out[from] = true
			continue
		}
		if p.costs(i) {
			if p.left() == 0 {
				return
			}
			p.moved++
		}
		p.shift(i, to, ReasonLoadRebalance)
		if !p.uniform || p.nodes[from].level() < low {
			clear(out) // this one may now take what no other could
		}
	}
}

// donor is the most loaded node that is not out, the level of the least loaded
// that can take something, and the difference that is tolerated; nowhere if all
// is within it.
func (p *plan) donor(out []bool) (from int32, low, threshold float64) {
	var load int64
	var capacity float64
	from, low = nowhere, math.Inf(1)
	for k := range p.nodes {
		n := &p.nodes[k]
		if out[k] {
			continue
		}
		load += n.load
		capacity += n.capacity
		if from == nowhere || n.level() > p.nodes[from].level() {
			from = int32(k)
		}
		if !n.full() {
			low = min(low, n.level())
		}
	}
	if from == nowhere {
		return nowhere, 0, 0
	}
	threshold = p.o.Threshold * float64(load) / capacity
	if !(p.nodes[from].level()-low > threshold) {
		return nowhere, 0, 0
	}
	return from, low, threshold
}

// relief is a tenant to take from a node and where to: the least loaded node that
// any would help, and the heaviest tenant that does not overshoot, so that few
// have to move.
func (p *plan) relief(from int32, threshold float64, out []bool) (tenant, to int32) {
	var takers []int32
	for k := range p.nodes {
		n := &p.nodes[k]
		if !out[k] && !n.full() && p.nodes[from].level()-n.level() > threshold {
			takers = append(takers, int32(k))
		}
	}
	slices.SortStableFunc(takers, func(a, b int32) int {
		switch la, lb := p.nodes[a].level(), p.nodes[b].level(); {
		case la < lb:
			return -1
		case la > lb:
			return 1
		}
		return 0
	})
	for _, to := range takers {
		even := p.even(from, to)
		if i := p.heaviest(from, even); i != nowhere {
			return i, to
		}
		if i := p.lightest(from, even); i != nowhere && p.weight[i] <= p.gap(from, to) {
			return i, to
		}
	}
	return nowhere, nowhere
}
