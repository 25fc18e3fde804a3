package ring

import (
	"slices"
	"sort"
)

// joinSlack bounds how many tenants a new node takes, relative to its share of
// their number: a share of weight made of light tenants would be many moves.
const joinSlack = 1.25

// join gives new nodes their share, and, so that a plan is final, those that
// nothing has been placed on. Nothing moves between the others.
func (p *plan) join(joiners []int32) {
	for n := range p.nodes {
		if p.nodes[n].tenants == 0 && !slices.Contains(joiners, int32(n)) {
			joiners = append(joiners, int32(n))
		}
	}
	if len(joiners) == 0 || len(p.nodes) < 2 {
		return
	}
	p.lists = nil // is not maintained meanwhile: rather built again
	slices.Sort(joiners)
	var movable []int32
	for i, n := range p.at {
		if n != nowhere && !p.fixed[i] {
			movable = append(movable, int32(i))
		}
	}
	slices.SortFunc(movable, func(a, b int32) int { return p.lighter(b, a) })
	for _, j := range joiners {
		p.fill(j, movable)
	}
}

// donor is what a node could give to a new one, the heaviest first. Limits only
// tighten while one node is filled, so both lists are gone through once.
type donor struct {
	n     int32
	homed []int32 // those at home on the new node
	all   []int32
}

// fill gives node j its share; movable are all tenants that may move, the
// heaviest first.
func (p *plan) fill(j int32, movable []int32) {
	share := int64(float64(p.total) * p.nodes[j].capacity / p.capacity)
	most := max(1, int(joinSlack*float64(len(p.tenants))*p.nodes[j].capacity/p.capacity))
	donors := p.donorsTo(j, movable)
	given := 0
	for given < most && !p.nodes[j].full() {
		d := p.mostLoaded(donors)
		if d == nil || p.nodes[j].tenants == 0 && !p.gives(d.n) {
			break
		}
		if p.nodes[d.n].tenants == 1 {
			d.n = nowhere // would be empty itself
			continue
		}
		limit := min(p.gap(d.n, j), share-p.nodes[j].load)
		i := p.pickFrom(d, limit)
		if i == nowhere {
			d.n = nowhere // has given what it can
			continue
		}
		p.shift(i, j, ReasonScaling)
		given++
	}
	if p.nodes[j].tenants == 0 && !p.nodes[j].full() {
		p.giveOne(j, movable)
	}
}

// gives tells whether a node has enough for an empty one to be helped from it:
// more than the imbalance that is tolerated.
func (p *plan) gives(n int32) bool {
	return p.nodes[n].level() > p.o.Threshold*float64(p.total)/p.capacity
}

func (p *plan) donorsTo(j int32, movable []int32) []donor {
	donors := make([]donor, len(p.nodes))
	for n := range donors {
		donors[n].n = int32(n)
	}
	donors[j].n = nowhere
	for _, i := range movable {
		n := p.at[i]
		if n == j {
			continue
		}
		d := &donors[n]
		d.all = append(d.all, i)
		if p.o.Strategy.hashed() && p.ring().of(p.hash(i)) == j {
			d.homed = append(d.homed, i)
		}
	}
	return donors
}

// mostLoaded is the donor whose node is, or nil if none is left.
func (p *plan) mostLoaded(donors []donor) *donor {
	var most *donor
	for k := range donors {
		d := &donors[k]
		if d.n != nowhere && (most == nil || p.nodes[d.n].level() > p.nodes[most.n].level()) {
			most = d
		}
	}
	return most
}

// pickFrom is what a donor gives, those at home on the new node first: as long as
// it is above its cap, as little as mends that, so that the share does for as
// many as possible; then the heaviest, so that few have to move.
func (p *plan) pickFrom(d *donor, limit int64) int32 {
	lists := [...]*[]int32{&d.homed, &d.all}
	if excess := p.nodes[d.n].load - p.nodes[d.n].cap; excess > 0 {
		for _, l := range lists {
			if i := p.pickAtLeast(l, d.n, excess, limit); i != nowhere {
				return i
			}
		}
	}
	for _, l := range lists {
		if i := p.pick(l, d.n, limit); i != nowhere {
			return i
		}
	}
	return nowhere
}

// pickAtLeast is the lightest tenant of the list that is still on n, weighs at
// least so much, and is within the limit. Of equal ones it is the first.
func (p *plan) pickAtLeast(list *[]int32, n int32, least, limit int64) int32 {
	for len(*list) > 0 && p.at[(*list)[0]] != n {
		*list = (*list)[1:]
	}
	l := *list
	end := sort.Search(len(l), func(k int) bool { return p.weight[l[k]] < least })
	for end > 0 && p.weight[l[end-1]] <= limit {
		w := p.weight[l[end-1]]
		start := sort.Search(end, func(k int) bool { return p.weight[l[k]] <= w })
		for _, i := range l[start:end] {
			if p.at[i] == n {
				return i
			}
		}
		end = start
	}
	return nowhere
}

// pick is the next tenant of the list that is still on n and within the limit.
func (p *plan) pick(list *[]int32, n int32, limit int64) int32 {
	for len(*list) > 0 {
		i := (*list)[0]
		*list = (*list)[1:]
		if p.at[i] == n && p.weight[i] <= limit {
			return i
		}
	}
	return nowhere
}

// giveOne gives an empty node the lightest tenant that is more than its share, if
// that leaves it less loaded than the giver was.
func (p *plan) giveOne(j int32, movable []int32) {
	for _, i := range slices.Backward(movable) {
		n := p.at[i]
		if n != j && p.nodes[n].tenants > 1 && p.gives(n) && p.weight[i] <= p.gap(n, j) {
			p.shift(i, j, ReasonScaling)
			return
		}
	}
}
