package ring

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func nodesOf(n int) []Node {
	out := make([]Node, n)
	for i := range out {
		out[i].Name = fmt.Sprintf("node-%03d", i)
	}
	return out
}

// equal are n tenants of weight 1.
func equal(n int) []Tenant {
	out := make([]Tenant, n)
	for i := range out {
		out[i] = Tenant{ID: fmt.Sprintf("tenant-%06d", i), Weight: 1}
	}
	return out
}

// zipf are n tenants with weights rank^-s, in an order that says nothing.
func zipf(n int, s float64) []Tenant {
	out := equal(n)
	for rank, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		out[i].Weight = 1000 * math.Pow(float64(rank+1), -s)
	}
	return out
}

// after are the tenants once the moves are carried out.
func after(tenants []Tenant, r Result) []Tenant {
	to := make(map[string]string, len(r.Moves))
	for _, m := range r.Moves {
		to[m.Tenant] = m.To
	}
	out := slices.Clone(tenants)
	for i := range out {
		if n, ok := to[out[i].ID]; ok {
			out[i].Node = n
		}
		out[i].Moving = false
	}
	return out
}

// settled are the tenants where a first plan puts them.
func settled(nodes []Node, tenants []Tenant, o Options) []Tenant {
	return after(tenants, Plan(nodes, tenants, o))
}

func byID(tenants []Tenant) map[string]Tenant {
	out := make(map[string]Tenant, len(tenants))
	for _, t := range tenants {
		out[t.ID] = t
	}
	return out
}

func counts(tenants []Tenant) map[string]int {
	out := make(map[string]int)
	for _, t := range tenants {
		if t.Node != "" {
			out[t.Node]++
		}
	}
	return out
}

func without(nodes []Node, name string) []Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Name == name })
}

func capacity(n Node) float64 {
	if n.Weight > 0 {
		return n.Weight
	}
	return 1
}

// caps are the nodes' caps, computed without the package's own arithmetic.
func caps(nodes []Node, tenants []Tenant, load float64) map[string]float64 {
	weight, room := 0.0, 0.0
	for _, t := range tenants {
		weight += t.Weight
	}
	for _, n := range nodes {
		room += capacity(n)
	}
	out := make(map[string]float64)
	for _, n := range nodes {
		out[n.Name] = load * weight / room * capacity(n)
	}
	return out
}

func loads(nodes []Node, tenants []Tenant) map[string]float64 {
	out := make(map[string]float64)
	for _, n := range nodes {
		out[n.Name] = 0
	}
	for _, t := range tenants {
		if _, ok := out[t.Node]; ok {
			out[t.Node] += t.Weight
		}
	}
	return out
}

const eps = 1e-3 // weights are rounded to millionths

// draw is a placement problem.
type draw struct {
	nodes   []Node
	tenants []Tenant
	o       Options
}

// drawOptions says what a problem may contain.
type drawOptions struct {
	bounds, pins, owners, moving, leaving, weights, priorities bool
}

var everything = drawOptions{bounds: true, pins: true, owners: true, moving: true, leaving: true, weights: true, priorities: true}

var strategies = []Strategy{"", ConsistentHashing, RoundRobin, LeastLoaded, ActivityBased}

func drawProblem(t *rapid.T, with drawOptions) draw {
	var d draw
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	places := rapid.IntRange(0, 12)
	live := rapid.IntRange(1, len(names)).Draw(t, "nodes")
	for _, name := range names[:live] {
		n := Node{Name: name}
		if with.weights {
			n.Weight = rapid.SampledFrom([]float64{0, 1, 1, 1, 2, 0.5, 3}).Draw(t, "capacity")
		}
		if with.bounds {
			n.MaxTenants = max(0, places.Draw(t, "places")-4)
		}
		d.nodes = append(d.nodes, n)
	}
	light := rapid.Bool().Draw(t, "light")
	for i := range rapid.IntRange(0, 60).Draw(t, "tenants") {
		x := Tenant{ID: fmt.Sprintf("t%02d", i), Weight: 1}
		if with.weights && !light {
			x.Weight = rapid.SampledFrom([]float64{1, 1, 1, 2, 3, 5.5, 0.25, 12}).Draw(t, "weight")
		}
		if with.priorities {
			x.Priority = rapid.IntRange(-1, 2).Draw(t, "priority")
		}
		if with.pins && rapid.IntRange(0, 5).Draw(t, "pinned") == 0 {
			x.Pin = rapid.SampledFrom(names).Draw(t, "pin")
		}
		if with.owners {
			x.Node = rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "node")
			x.Moving = with.moving && rapid.IntRange(0, 8).Draw(t, "moving") == 0
		}
		d.tenants = append(d.tenants, x)
	}
	d.o.Strategy = rapid.SampledFrom(strategies).Draw(t, "strategy")
	if with.bounds {
		d.o.MaxTenants = max(0, places.Draw(t, "all places")-6)
	}
	if with.leaving && rapid.Bool().Draw(t, "leaves") {
		d.o.Leaving = map[string]bool{rapid.SampledFrom(names).Draw(t, "leaving"): true}
	}
	return d
}

// listed are the nodes that may have something.
func (d draw) listed() map[string]Node {
	out := make(map[string]Node)
	for _, n := range d.nodes {
		if !d.o.Leaving[n.Name] {
			out[n.Name] = n
		}
	}
	return out
}

func (d draw) places(n Node) int {
	switch {
	case n.MaxTenants > 0:
		return n.MaxTenants
	case d.o.MaxTenants > 0:
		return d.o.MaxTenants
	}
	return math.MaxInt
}

func moveLimit(o Options, tenants int) int {
	if o.MoveLimit == 0 {
		return max(tenants/20, 50)
	}
	return max(0, o.MoveLimit)
}

func tally(moves []Move) map[Reason]int {
	out := make(map[Reason]int)
	for _, m := range moves {
		out[m.Reason]++
	}
	return out
}

func mustEqualMaps[K comparable, V comparable](t testing.TB, what string, got, want map[K]V) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
