package ring

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What holds of every plan.
func TestPlanIsConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, everything)
		d.o.Rebalance = rapid.Bool().Draw(t, "rebalance")
		d.o.MoveLimit = rapid.SampledFrom([]int{0, -1, 1, 5, 1000}).Draw(t, "limit")
		r := Plan(d.nodes, d.tenants, d.o)
		listed, was, done := d.listed(), byID(d.tenants), byID(after(d.tenants, r))
		full := func() bool {
			n := counts(after(d.tenants, r))
			for name, node := range listed {
				if n[name] < d.places(node) {
					return false
				}
			}
			return true
		}

		moved := make(map[string]bool)
		for _, m := range r.Moves {
			if was[m.Tenant].Node != m.From || m.From == m.To || moved[m.Tenant] {
				t.Fatalf("%+v: tenant was on %q", m, was[m.Tenant].Node)
			}
			moved[m.Tenant] = true
			if _, ok := listed[m.To]; !ok {
				t.Fatalf("%+v: node is not there", m)
			}
		}
		for id, x := range done {
			_, alive := listed[x.Node]
			waits := slices.Contains(r.Unplaced, id)
			if !alive && !waits {
				t.Fatalf("%s: still on %q, which is not there, and not reported", id, x.Node)
			}
			if waits && !full() {
				t.Fatalf("%s: has no place though there is one", id)
			}
			if _, stays := listed[was[id].Node]; stays && was[id].Moving && moved[id] {
				t.Fatalf("%s: moved while it is being handed over", id)
			}
		}
		if got, want := r.Loads, loads(slices.DeleteFunc(slices.Clone(d.nodes), func(n Node) bool { return d.o.Leaving[n.Name] }), after(d.tenants, r)); !near(got, want) {
			t.Fatalf("loads %v, want %v", got, want)
		}
		if !slices.IsSorted(r.Unplaced) || !slices.IsSorted(r.Heavy) {
			t.Fatalf("not sorted: unplaced %v, heavy %v", r.Unplaced, r.Heavy)
		}

		for _, m := range r.Moves {
			if m.Reason != ReasonPriorityChange {
				continue
			}
			forWhom := slices.ContainsFunc(r.Moves, func(h Move) bool {
				_, alive := listed[h.From]
				// Not always to m.From itself: what is evened out afterwards may
				// take that place, and the newcomer another.
				return !alive && was[h.Tenant].Priority > was[m.Tenant].Priority
			})
			if !forWhom {
				t.Fatalf("%+v made room for nobody: %+v", m, r.Moves)
			}
		}

		by := tally(r.Moves)
		evicted := 0 // moves with this reason because a node had too many are not for balance
		before := counts(d.tenants)
		for name, n := range listed {
			evicted += max(0, before[name]-d.places(n))
			for _, x := range d.tenants { // pins push others out
				if x.Pin == name && x.Node != name && d.places(n) != math.MaxInt {
					evicted++
				}
			}
		}
		if n := by[ReasonPriorityChange] + by[ReasonLoadRebalance] - evicted; n > moveLimit(d.o, len(d.tenants)) {
			t.Fatalf("%d moves for balance, limit %d: %v", n, moveLimit(d.o, len(d.tenants)), r.Moves)
		}
	})
}

func near(a, b map[string]float64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || math.Abs(v-w) > eps {
			return false
		}
	}
	return true
}

// A plan carried out is final.
func TestPlanIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, everything)
		d.o.Rebalance = rapid.Bool().Draw(t, "rebalance")
		d.o.MoveLimit = 1000
		first := Plan(d.nodes, d.tenants, d.o)
		// What was on its way has arrived: only that may change the second plan.
		x := after(d.tenants, first)
		if slices.ContainsFunc(d.tenants, func(x Tenant) bool { return x.Moving }) {
			x = after(x, Plan(d.nodes, x, d.o))
		}
		second := Plan(d.nodes, x, d.o)
		if len(second.Moves) != 0 {
			t.Fatalf("planned again: %+v\nfirst: %+v", second.Moves, first.Moves)
		}
		if reflect.DeepEqual(x, after(d.tenants, first)) && !reflect.DeepEqual(first.Loads, second.Loads) {
			t.Fatalf("loads %v, then %v", first.Loads, second.Loads)
		}
		d.o.Rebalance = false
		if third := Plan(d.nodes, x, d.o); len(third.Moves) != 0 {
			t.Fatalf("without rebalancing: %+v", third.Moves)
		}
	})
}

// The order of the arguments does not matter.
func TestPlanIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, everything)
		d.o.Rebalance = rapid.Bool().Draw(t, "rebalance")
		want := Plan(d.nodes, d.tenants, d.o)
		nodes := rapid.Permutation(d.nodes).Draw(t, "nodes again")
		tenants := rapid.Permutation(d.tenants).Draw(t, "tenants again")
		input := [2]any{slices.Clone(nodes), slices.Clone(tenants)}
		if got := Plan(nodes, tenants, d.o); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if !reflect.DeepEqual(input, [2]any{nodes, tenants}) {
			t.Fatal("the arguments were changed")
		}
	})
}

// With tenants that fit into the slack of every node, no cap is ever exceeded.
func TestCapHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := nodesOf(rapid.IntRange(1, 8).Draw(t, "nodes"))
		for i := range nodes {
			nodes[i].Weight = rapid.SampledFrom([]float64{1, 1, 2, 0.5}).Draw(t, "capacity")
		}
		tenants := equal(rapid.IntRange(100, 400).Draw(t, "tenants"))
		some := rapid.SliceOfN(rapid.Float64Range(0.1, 1), 7, 7).Draw(t, "weights")
		for i := range tenants {
			tenants[i].Weight, tenants[i].Priority = some[i%len(some)], i%3
		}
		load := rapid.SampledFrom([]float64{1.25, 1.5, 2}).Draw(t, "load")
		limits := caps(nodes, tenants, load)
		for _, c := range limits {
			if c*(load-1)/load < slices.Max(some)+eps {
				t.Skip("a tenant is heavier than the slack")
			}
		}
		r := Plan(nodes, tenants, Options{Load: load, Strategy: rapid.SampledFrom(strategies).Draw(t, "strategy")})
		for name, l := range r.Loads {
			if l > limits[name]+eps {
				t.Fatalf("%s has %v, cap %v", name, l, limits[name])
			}
		}
	})
}

// Where a cap is exceeded by placing, no other node had room for the last one
// placed there.
func TestCapIsExceededOnlyWithoutRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, drawOptions{weights: true, owners: true, bounds: true})
		for i := range d.nodes { // none is new
			d.tenants = append(d.tenants, Tenant{ID: "own-" + d.nodes[i].Name, Weight: 1, Node: d.nodes[i].Name, Moving: true})
		}
		r := Plan(d.nodes, d.tenants, d.o)
		end, limits, listed := after(d.tenants, r), caps(d.nodes, d.tenants, DefaultLoad), d.listed()
		n := counts(end)
		last := make(map[string]Move)
		for _, m := range r.Moves {
			last[m.To] = m // in placing order
		}
		for name, m := range last {
			if r.Loads[name] <= limits[name]+eps {
				continue
			}
			w := byID(d.tenants)[m.Tenant].Weight
			for other, node := range listed {
				if other != name && n[other] < d.places(node) && r.Loads[other]+w < limits[other]-eps {
					t.Fatalf("%s (%v) went to %s, over its cap (%v > %v), though %s had room: %v of %v",
						m.Tenant, w, name, r.Loads[name], limits[name], other, r.Loads[other], limits[other])
				}
			}
		}
	})
}

// MaxTenants is never exceeded by moving something in.
func TestMaxTenantsHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, everything)
		d.o.Rebalance = rapid.Bool().Draw(t, "rebalance")
		r := Plan(d.nodes, d.tenants, d.o)
		n := counts(after(d.tenants, r))
		for name, node := range d.listed() {
			if n[name] <= d.places(node) {
				continue
			}
			for _, m := range r.Moves {
				if m.To == name {
					t.Fatalf("%s has %d tenants, may have %d, and is given %s\n%+v\n%+v", name, n[name], d.places(node), m.Tenant, d, r)
				}
			}
		}
	})
}

// Pins are followed, up to MaxTenants.
func TestPinsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, everything)
		d.o.Rebalance = rapid.Bool().Draw(t, "rebalance")
		r := Plan(d.nodes, d.tenants, d.o)
		end, listed := after(d.tenants, r), d.listed()
		n := counts(end)
		for i, x := range end {
			node, there := listed[x.Pin]
			_, alive := listed[d.tenants[i].Node]
			if there && x.Node != x.Pin && (!alive || !d.tenants[i].Moving) && n[x.Pin] < d.places(node) {
				t.Fatalf("%s is on %q, not on %q where it is pinned", x.ID, x.Node, x.Pin)
			}
		}
		for _, m := range r.Moves {
			if pin := byID(d.tenants)[m.Tenant].Pin; m.Reason == ReasonManual && m.To != pin {
				t.Fatalf("%+v, pinned to %q", m, pin)
			}
		}
	})
}

// When places are short, priority decides who has one.
func TestPriorityHasThePlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, drawOptions{bounds: true, priorities: true, weights: true})
		r := Plan(d.nodes, d.tenants, d.o)
		worst, best := math.MaxInt, math.MinInt
		for _, x := range d.tenants {
			if slices.Contains(r.Unplaced, x.ID) {
				best = max(best, x.Priority)
			} else {
				worst = min(worst, x.Priority)
			}
		}
		if best > worst {
			t.Fatalf("priority %d has no place, %d has: %v", best, worst, r.Unplaced)
		}
	})
}

// A node leaves: what it had moves, and nothing else.
func TestLeaveMovesOnlyWhatWasThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, drawOptions{weights: true})
		start := settled(d.nodes, d.tenants, d.o)
		gone := rapid.SampledFrom(d.nodes).Draw(t, "gone").Name
		end := settled(without(d.nodes, gone), start, d.o)
		for _, m := range Plan(without(d.nodes, gone), start, d.o).Moves {
			// A node with nothing is helped, from among all.
			if m.From != gone && counts(start)[m.To] != 0 {
				t.Fatalf("%+v, but %s left", m, gone)
			}
		}
		if len(d.nodes) > 1 && counts(end)[gone] != 0 {
			t.Fatalf("%s still has something", gone)
		}
	})
}

// A node joins: it takes at most 1.25 of its share of the tenants, and nothing
// moves between the others.
func TestJoinMovesAShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, drawOptions{weights: true, priorities: true})
		start := settled(d.nodes, d.tenants, d.o)
		for _, n := range d.nodes {
			if counts(start)[n.Name] == 0 {
				t.Skip("a node has nothing: it joins too")
			}
		}
		joiner := Node{Name: "new", Weight: rapid.SampledFrom([]float64{1, 0.5, 2}).Draw(t, "joiner")}
		nodes := append(slices.Clone(d.nodes), joiner)
		r := Plan(nodes, start, d.o)
		room := 0.0
		for _, n := range nodes {
			room += capacity(n)
		}
		if most := max(1, int(1.25*float64(len(start))*joiner.Weight/room)); len(r.Moves) > most {
			t.Fatalf("%d moves, at most %d", len(r.Moves), most)
		}
		for _, m := range r.Moves {
			if m.To != "new" || m.Reason != ReasonScaling {
				t.Fatalf("%+v", m)
			}
		}
		if r.After.MaxOverAvg > Plan(nodes, start, Options{MoveLimit: -1}).Before.MaxOverAvg {
			t.Fatalf("the most loaded has more than before: %+v", r)
		}
	})
}

// Rebalancing ends within the threshold, or where no single move helps.
func TestRebalanceConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawProblem(t, drawOptions{owners: true, weights: true})
		d.o.Rebalance = true
		d.o.Threshold = rapid.SampledFrom([]float64{0, 0.05, 0.5}).Draw(t, "threshold")
		d.o.MoveLimit = rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "limit")
		threshold := d.o.Threshold
		if threshold == 0 {
			threshold = DefaultThreshold
		}
		x := d.tenants
		for round := 0; ; round++ {
			r := Plan(d.nodes, x, d.o)
			x = after(x, r)
			if len(r.Moves) == 0 {
				break
			}
			if round > 10*len(x) {
				t.Fatalf("still moving: %+v", r.Moves)
			}
		}
		r := Plan(d.nodes, x, d.o)
		if r.After.Imbalance <= threshold+1e-9 {
			return
		}
		// Then the most loaded node has nothing that would make things better
		// on the least loaded.
		level := func(n Node) float64 { return r.Loads[n.Name] / capacity(n) }
		high := slices.MaxFunc(d.nodes, func(a, b Node) int { return cmpFloat(level(a), level(b)) })
		low := slices.MinFunc(d.nodes, func(a, b Node) int { return cmpFloat(level(a), level(b)) })
		for _, y := range x {
			if y.Node == high.Name && (r.Loads[low.Name]+y.Weight)/capacity(low) < level(high)-eps {
				t.Fatalf("%s (%v) on %s would be better on %s: %v", y.ID, y.Weight, high.Name, low.Name, r.Loads)
			}
		}
	})
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Loads follow the nodes' capacities.
func TestCapacityIsProportional(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := nodesOf(rapid.IntRange(2, 8).Draw(t, "nodes"))
		total := 0.0
		for i := range nodes {
			nodes[i].Weight = rapid.SampledFrom([]float64{0.5, 1, 2, 4}).Draw(t, "capacity")
			total += nodes[i].Weight
		}
		o := Options{Strategy: rapid.SampledFrom(strategies).Draw(t, "strategy"), Rebalance: rapid.Bool().Draw(t, "rebalance")}
		const tenants = 2000
		r := Plan(nodes, equal(tenants), o)
		for _, n := range nodes {
			share := tenants * n.Weight / total
			if l := r.Loads[n.Name]; l > DefaultLoad*share+1 {
				t.Fatalf("%s has %v, its share is %v", n.Name, l, share)
			} else if o.Rebalance && l < 0.8*share-1 {
				t.Fatalf("%s has only %v, its share is %v", n.Name, l, share)
			}
		}
	})
}
