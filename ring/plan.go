package ring

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Plan says where the tenants are to be. In this order:
//
//  1. A tenant stays where it is while that node is listed. Exceptions: a pin is
//     followed, and a node that has more tenants than it may gives up the last.
//  2. Those without a node are placed: the higher the priority, then the
//     heavier, the earlier. Each goes to its home if that has room under its
//     cap, else to the next node in rendezvous order that has, else in place
//     of tenants of lower priority that find room elsewhere, else to the node
//     that ends up least loaded.
//  3. A node that has nothing takes its share, from the most loaded first.
//  4. If Options.Rebalance, tenants move from the most to the least loaded node
//     until the imbalance is within the threshold.
//
// A node's cap is Options.Load times its share of all weight by capacity. Its
// MaxTenants is never exceeded by a move.
//
// Planning again from the result moves nothing, unless MoveLimit cut it short.
func Plan(nodes []Node, tenants []Tenant, o Options) Result {
	p := newPlan(nodes, tenants, o.withDefaults(len(tenants)))
	pending, again := p.settle()
	slices.SortFunc(pending, p.order)
	joiners := p.empty()
	p.place(pending)
	for n := range p.nodes {
		p.nodes[n].crowded = false
	}
	for _, i := range again {
		p.bringIn(i, p.find(p.tenants[i].Pin))
	}
	p.join(joiners)
	if p.o.Rebalance {
		p.rebalance()
	}
	return p.result(pending)
}

func (o Options) withDefaults(tenants int) Options {
	if !(o.Load >= 1) || math.IsInf(o.Load, 1) {
		o.Load = DefaultLoad
	}
	if !(o.Threshold > 0) {
		o.Threshold = DefaultThreshold
	}
	if o.MoveLimit == 0 {
		o.MoveLimit = max(tenants/moveLimitDivisor, minMoveLimit)
	}
	return o
}

// Weights are whole numbers of a millionth while planning: sums are exact, so
// that they depend neither on the order of adding nor on what moved meanwhile.
const (
	unit      = 1e6
	maxWeight = 1e6
)

func toUnits(w float64) int64 {
	if !(w > 0) {
		w = 1
	}
	return max(1, int64(math.Round(min(w, maxWeight)*unit)))
}

const nowhere = int32(-1)

// node is a Node while planning.
type node struct {
	name     string
	hash     uint64
	capacity float64
	places   int   // most tenants
	cap      int64 // most weight, but where nothing else is left
	load     int64
	tenants  int
	fixed    int  // tenants that stay
	crowded  bool // it had more tenants than places, and these may have to return
}

// level is the node's load relative to its capacity.
func (n *node) level() float64 { return float64(n.load) / n.capacity }

// with is the level it would have with that much more.
func (n *node) with(weight int64) float64 { return float64(n.load+weight) / n.capacity }

func (n *node) full() bool { return n.crowded || n.tenants >= n.places }

func (n *node) room(weight int64) bool { return !n.full() && n.load+weight <= n.cap }

// plan is a placement in the making. Nodes and tenants are known by index.
type plan struct {
	o       Options
	nodes   []node // by name
	index   map[string]int32
	uniform bool // all capacities are equal

	tenants []Tenant
	weight  []int64
	was     []int32  // the listed node it was on, or nowhere
	at      []int32  // the node it is on now, or nowhere
	fixed   []bool   // pinned where it is, or on its way there
	reason  []Reason // why it moved first

	total    int64   // weight of all tenants
	capacity float64 // of all nodes
	before   Balance

	homes  homes     // nil until needed, or not by hash
	lists  [][]int32 // see movable
	lowest int       // lowest priority of the tenants that stayed
	queues [][]int32 // see lastOn
	looked int       // see displace
	moved  int       // counted against MoveLimit
}

func newPlan(nodes []Node, tenants []Tenant, o Options) *plan {
	p := &plan{
		o:       o,
		tenants: tenants,
		weight:  make([]int64, len(tenants)),
		was:     make([]int32, len(tenants)),
		at:      make([]int32, len(tenants)),
		fixed:   make([]bool, len(tenants)),
		reason:  make([]Reason, len(tenants)),
		lowest:  math.MaxInt,
	}
	p.setNodes(nodes)
	for i := range tenants {
		t := &tenants[i]
		p.weight[i] = toUnits(t.Weight)
		p.total += p.weight[i]
		p.at[i], p.was[i] = nowhere, p.find(t.Node)
	}
	for n := range p.nodes {
		p.nodes[n].cap = int64(math.Round(o.Load * float64(p.total) * p.nodes[n].capacity / p.capacity))
	}
	return p
}

// setNodes takes over the nodes that may be given something.
func (p *plan) setNodes(nodes []Node) {
	p.nodes, p.capacity, p.uniform = eligible(nodes, p.o.Leaving)
	p.index = make(map[string]int32, len(p.nodes))
	for i := range p.nodes {
		n := &p.nodes[i]
		p.index[n.name] = int32(i)
		if n.places <= 0 {
			n.places = p.o.MaxTenants
		}
		if n.places <= 0 {
			n.places = math.MaxInt
		}
	}
}

// eligible are the nodes that do not leave, by name, with the sum of their
// capacities and whether these are all equal.
func eligible(nodes []Node, leaving map[string]bool) (out []node, capacity float64, uniform bool) {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b Node) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.MaxTenants, b.MaxTenants))
	})
	sorted = slices.CompactFunc(sorted, func(a, b Node) bool { return a.Name == b.Name })
	uniform = true
	for _, n := range sorted {
		if n.Name == "" || leaving[n.Name] {
			continue
		}
		c := n.Weight
		if !(c > 0) || math.IsInf(c, 1) {
			c = 1
		}
		out = append(out, node{name: n.Name, hash: xxhash.Sum64String(n.Name), capacity: c, places: n.MaxTenants})
		capacity += c
		uniform = uniform && c == out[0].capacity
	}
	return out, capacity, uniform
}

// find is the index of the node of that name, or nowhere.
func (p *plan) find(name string) int32 {
	if name == "" {
		return nowhere
	}
	if n, ok := p.index[name]; ok {
		return n
	}
	return nowhere
}

// order is the order of placing.
func (p *plan) order(a, b int32) int {
	return cmp.Or(
		cmp.Compare(p.tenants[b].Priority, p.tenants[a].Priority),
		cmp.Compare(p.weight[b], p.weight[a]),
		strings.Compare(p.tenants[a].ID, p.tenants[b].ID),
	)
}

// put places a tenant that is nowhere.
func (p *plan) put(i, n int32) {
	p.at[i] = n
	p.nodes[n].load += p.weight[i]
	p.nodes[n].tenants++
	if p.fixed[i] {
		p.nodes[n].fixed++
	}
	p.list(i, n)
}

// take removes a tenant from where it is.
func (p *plan) take(i int32) {
	n := p.at[i]
	p.unlist(i, n)
	p.nodes[n].load -= p.weight[i]
	p.nodes[n].tenants--
	p.at[i] = nowhere
}

// shift moves a tenant that is somewhere. The reason it first moved for stands.
func (p *plan) shift(i, to int32, why Reason) {
	if p.reason[i] == "" {
		p.reason[i] = why
	}
	p.replace(i, to)
}

func (p *plan) replace(i, to int32) {
	p.take(i)
	p.put(i, to)
}

// costs tells whether moving the tenant away counts against MoveLimit: it would
// leave a living node for the sake of others.
func (p *plan) costs(i int32) bool { return p.at[i] == p.was[i] }

// left is how many more tenants may do that.
func (p *plan) left() int { return max(0, p.o.MoveLimit-p.moved) }

func (p *plan) balance() Balance {
	loads := make([]int64, len(p.nodes))
	for n := range p.nodes {
		loads[n] = p.nodes[n].load
	}
	return p.balanceOf(loads)
}

func (p *plan) balanceOf(loads []int64) Balance {
	var sum int64
	low, high := math.Inf(1), 0.0
	for n, load := range loads {
		sum += load
		level := float64(load) / p.nodes[n].capacity
		low, high = min(low, level), max(high, level)
	}
	if sum == 0 {
		return Balance{}
	}
	avg := float64(sum) / p.capacity
	return Balance{MaxOverAvg: high / avg, Imbalance: (high - low) / avg}
}

// result tells what came of it; pending are in placing order, which spares sorting
// them once more where most moves are theirs.
func (p *plan) result(pending []int32) Result {
	r := Result{Loads: make(map[string]float64, len(p.nodes)), Before: p.before, After: p.balance()}
	most := int64(math.MaxInt64)
	for n := range p.nodes {
		r.Loads[p.nodes[n].name] = float64(p.nodes[n].load) / unit
		if n == 0 || p.nodes[n].cap > most {
			most = p.nodes[n].cap
		}
	}
	moved := slices.DeleteFunc(pending, func(i int32) bool { return p.at[i] == p.was[i] })
	listed := make([]bool, len(p.tenants))
	for _, i := range moved {
		listed[i] = true
	}
	for i := range p.tenants {
		n := p.at[i]
		if p.weight[i] > most {
			r.Heavy = append(r.Heavy, p.tenants[i].ID)
		}
		if n == nowhere || n == p.was[i] && p.reason[i] == reasonNoPlace {
			r.Unplaced = append(r.Unplaced, p.tenants[i].ID)
		} else if n != p.was[i] && !listed[i] {
			moved = append(moved, int32(i))
		}
	}
	slices.SortFunc(moved, p.order)
	if len(moved) > 0 {
		r.Moves = make([]Move, 0, len(moved))
	}
	for _, i := range moved {
		t := &p.tenants[i]
		r.Moves = append(r.Moves, Move{Tenant: t.ID, From: t.Node, To: p.nodes[p.at[i]].name, Reason: p.reason[i]})
	}
	slices.Sort(r.Unplaced)
	slices.Sort(r.Heavy)
	return r
}
