package ring

import (
	"math"

	"github.com/cespare/xxhash/v2"
)

// place finds a node for each of the tenants, all of which are nowhere, in order.
func (p *plan) place(pending []int32) {
	if len(p.nodes) == 0 {
		return
	}
	for _, i := range pending {
		if n := p.nodeFor(i); n != nowhere {
			p.put(i, n)
		} else if n = p.was[i]; n != nowhere {
			p.put(i, n)
			p.reason[i] = reasonNoPlace
		}
	}
}

// nodeFor is where a tenant goes, or nowhere.
func (p *plan) nodeFor(i int32) int32 {
	if n := p.roomFor(i); n != nowhere {
		return n
	}
	if n := p.displace(i); n != nowhere {
		return n
	}
	return p.leastLoadedWith(i)
}

// roomFor is the tenant's home, or the next node, that has room.
func (p *plan) roomFor(i int32) int32 {
	w, hash := p.weight[i], p.hash(i)
	if n := p.home(hash); n != nowhere && p.nodes[n].room(w) {
		return n
	}
	return p.next(hash, w, nowhere)
}

// leastLoadedWith is the node with a place that is least loaded with the tenant.
func (p *plan) leastLoadedWith(i int32) int32 {
	return p.best(func(n *node) float64 { return n.with(p.weight[i]) })
}

func (p *plan) hash(i int32) uint64 { return xxhash.Sum64String(p.tenants[i].ID) }

// home is the node that the strategy gives the next tenant.
func (p *plan) home(hash uint64) int32 {
	switch p.o.Strategy {
	case RoundRobin:
		return p.best(func(n *node) float64 { return float64(n.tenants+1) / n.capacity })
	case LeastLoaded:
		return p.best((*node).level)
	}
	return p.ring().of(hash)
}

func (p *plan) ring() homes {
	if p.homes == nil {
		names := make([]string, len(p.nodes))
		for n := range p.nodes {
			names[n] = p.nodes[n].name
		}
		p.homes = homesOf(names)
	}
	return p.homes
}

// best is the node with a place whose measure is least, the first by name of
// several.
func (p *plan) best(measure func(*node) float64) int32 {
	best, least := nowhere, math.Inf(1)
	for n := range p.nodes {
		if p.nodes[n].full() {
			continue
		}
		if m := measure(&p.nodes[n]); m < least {
			best, least = int32(n), m
		}
	}
	return best
}

// next is the first node in the item's rendezvous order, but one, that has room.
func (p *plan) next(hash uint64, weight int64, but int32) int32 {
	best, most := nowhere, math.Inf(-1)
	for n := range p.nodes {
		if int32(n) == but || !p.nodes[n].room(weight) {
			continue
		}
		if s := p.score(hash, n); s > most {
			best, most = int32(n), s
		}
	}
	return best
}

// score spares the logarithm where it does not change the order.
func (p *plan) score(hash uint64, n int) float64 {
	if p.uniform {
		return float64(mix(hash^p.nodes[n].hash) >> 11)
	}
	return score(hash, p.nodes[n].hash, p.nodes[n].capacity)
}
