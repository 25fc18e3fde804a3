package ring

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// movable builds, and from then on put and take maintain, each node's tenants
// that may move, the lightest first. Among equal ones those of lower priority
// are last, which is where heaviest looks first.
func (p *plan) movable() [][]int32 {
	if p.lists != nil {
		return p.lists
	}
	p.lists = make([][]int32, len(p.nodes))
	for i, n := range p.at {
		if n != nowhere && !p.fixed[i] {
			p.lists[n] = append(p.lists[n], int32(i))
		}
	}
	for _, l := range p.lists {
		slices.SortFunc(l, p.lighter)
	}
	return p.lists
}

func (p *plan) lighter(a, b int32) int {
	return cmp.Or(
		cmp.Compare(p.weight[a], p.weight[b]),
		cmp.Compare(p.tenants[b].Priority, p.tenants[a].Priority),
		strings.Compare(p.tenants[a].ID, p.tenants[b].ID),
	)
}

func (p *plan) list(i, n int32) {
	if p.lists == nil || p.fixed[i] {
		return
	}
	at, _ := slices.BinarySearchFunc(p.lists[n], i, p.lighter)
	p.lists[n] = slices.Insert(p.lists[n], at, i)
}

func (p *plan) unlist(i, n int32) {
	if p.lists == nil || p.fixed[i] {
		return
	}
	at, _ := slices.BinarySearchFunc(p.lists[n], i, p.lighter)
	p.lists[n] = slices.Delete(p.lists[n], at, at+1)
}

// heaviest is the heaviest movable tenant of a node that weighs at most so
// much, or nowhere.
func (p *plan) heaviest(n int32, most int64) int32 {
	l := p.movable()[n]
	at := sort.Search(len(l), func(k int) bool { return p.weight[l[k]] > most })
	if at == 0 {
		return nowhere
	}
	return l[at-1]
}

// lightest is the lightest movable tenant of a node that weighs more than so
// much, or nowhere.
func (p *plan) lightest(n int32, least int64) int32 {
	l := p.movable()[n]
	at := sort.Search(len(l), func(k int) bool { return p.weight[l[k]] > least })
	if at == len(l) {
		return nowhere
	}
	return p.heaviest(n, p.weight[l[at]])
}
