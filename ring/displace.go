package ring

import (
	"cmp"
	"slices"
)

// maxLooked bounds how many tenants one plan looks at for displacing them. Only
// tenants heavier than the slack under the caps come to it, of which there are
// few; the bound is for inputs where all fail.
const maxLooked = 1 << 20

// displace makes room for a tenant, under the cap of a node, by moving tenants of
// lower priority from there to where they have room. It returns that node, or
// nowhere if there is none.
func (p *plan) displace(i int32) int32 {
	if p.tenants[i].Priority <= p.lowest || p.left() == 0 {
		return nowhere
	}
	hash := p.hash(i)
	p.movable()
	preferred := make([]int32, len(p.nodes))
	for n := range preferred {
		preferred[n] = int32(n)
	}
	slices.SortFunc(preferred, func(a, b int32) int {
		return cmp.Or(cmp.Compare(p.score(hash, int(b)), p.score(hash, int(a))), cmp.Compare(a, b))
	})
	for _, n := range preferred {
		if p.looked > maxLooked {
			break
		}
		// What a crowded node gave up may have to return.
		if !p.nodes[n].crowded && p.weight[i] <= p.nodes[n].cap && p.makeRoom(n, i) {
			return n
		}
	}
	return nowhere
}

// makeRoom moves as few tenants as it finds, the lowest priority first; if that
// does not do, none.
func (p *plan) makeRoom(n, i int32) bool {
	// What does not fit elsewhere now will not later either.
	elsewhere := int64(-1)
	for m := range p.nodes {
		if int32(m) != n && !p.nodes[m].full() {
			elsewhere = max(elsewhere, p.nodes[m].cap-p.nodes[m].load)
		}
	}
	var lower []int32
	var sum int64
	for _, c := range p.lists[n] { // the lightest first
		if p.weight[c] > elsewhere {
			break
		}
		p.looked++
		if p.costs(c) && p.tenants[c].Priority < p.tenants[i].Priority {
			lower = append(lower, c)
			sum += p.weight[c]
		}
	}
	w := p.weight[i]
	if p.nodes[n].load-sum+w > p.nodes[n].cap {
		return false
	}
	slices.SortFunc(lower, func(a, b int32) int { return p.order(b, a) })
	var gone []int32
	for len(lower) > 0 && !p.nodes[n].room(w) && len(gone) < p.left() && p.looked <= maxLooked {
		// Of the lowest priority, the lightest that suffices, or the heaviest.
		k := 0
		for k+1 < len(lower) && p.tenants[lower[k+1]].Priority == p.tenants[lower[0]].Priority &&
			p.nodes[n].load-p.weight[lower[k]]+w > p.nodes[n].cap {
			k++
			p.looked++
		}
		c := lower[k]
		lower = slices.Delete(lower, k, k+1)
		if to := p.next(p.hash(c), p.weight[c], n); to != nowhere {
			p.replace(c, to)
			gone = append(gone, c)
		}
	}
	if !p.nodes[n].room(w) {
		for _, c := range gone {
			p.replace(c, n)
		}
		return false
	}
	for _, c := range gone {
		p.reason[c] = ReasonPriorityChange
	}
	p.moved += len(gone)
	return true
}
