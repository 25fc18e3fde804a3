package ring

import (
	"fmt"
	"slices"
	"testing"
)

// The figures of docs/ring.md. Tenants have weights rank^-0.5: the heaviest of
// 5 000 is as heavy as 35 average ones, and still below the cap of 100 nodes.
// Besides the time of a plan:
//
//	max/avg   load of the most loaded node after it, relative to the average
//	heavy     tenants that alone are above the cap, which make max/avg exceed 1.25
//	moved_%   tenants that move
//	ideal_%   tenants that would move if all were equal: the share of one node
//	old_%     tenants that move between nodes that were there before (join)
//	owned_%   tenants that the node had (leave)

func eachSize(b *testing.B, run func(b *testing.B, nodes []Node, tenants []Tenant)) {
	b.Helper()
	for _, n := range []int{3, 10, 20, 100} {
		for _, t := range []int{500, 5_000, 100_000} {
			b.Run(fmt.Sprintf("nodes=%d/tenants=%d", n, t), func(b *testing.B) {
				run(b, nodesOf(n), zipf(t, 0.5))
			})
		}
	}
}

func benchPlan(b *testing.B, nodes []Node, tenants []Tenant, o Options) Result {
	b.Helper()
	b.ReportAllocs()
	Plan(nodes, tenants, o) // the ring of these nodes is remembered from here on: see BenchmarkRing
	var r Result
	for b.Loop() {
		r = Plan(nodes, tenants, o)
	}
	b.ReportMetric(r.After.MaxOverAvg, "max/avg")
	b.ReportMetric(float64(len(r.Heavy)), "heavy")
	return r
}

func percent(part, all int) float64 { return 100 * float64(part) / float64(all) }

// BenchmarkPlanInitial: no tenant has a node.
func BenchmarkPlanInitial(b *testing.B) {
	eachSize(b, func(b *testing.B, nodes []Node, tenants []Tenant) {
		benchPlan(b, nodes, tenants, Options{})
	})
}

// BenchmarkPlanSettled: nothing has to be done. This is what the leader does every
// second.
func BenchmarkPlanSettled(b *testing.B) {
	eachSize(b, func(b *testing.B, nodes []Node, tenants []Tenant) {
		if r := benchPlan(b, nodes, settled(nodes, tenants, Options{}), Options{}); len(r.Moves) != 0 {
			b.Fatalf("%d moves", len(r.Moves))
		}
	})
}

// BenchmarkPlanJoin: a node is new.
func BenchmarkPlanJoin(b *testing.B) {
	eachSize(b, func(b *testing.B, nodes []Node, tenants []Tenant) {
		start := settled(nodes, tenants, Options{})
		more := append(slices.Clone(nodes), Node{Name: "new"})
		r := benchPlan(b, more, start, Options{})
		old := 0
		for _, m := range r.Moves {
			if m.To != "new" {
				old++
			}
		}
		b.ReportMetric(percent(len(r.Moves), len(tenants)), "moved_%")
		b.ReportMetric(100/float64(len(more)), "ideal_%")
		b.ReportMetric(percent(old, len(tenants)), "old_%")
	})
}

// BenchmarkPlanLeave: a node is gone.
func BenchmarkPlanLeave(b *testing.B) {
	eachSize(b, func(b *testing.B, nodes []Node, tenants []Tenant) {
		start := settled(nodes, tenants, Options{})
		gone := nodes[len(nodes)/2].Name
		r := benchPlan(b, without(nodes, gone), start, Options{})
		b.ReportMetric(percent(len(r.Moves), len(tenants)), "moved_%")
		b.ReportMetric(percent(counts(start)[gone], len(tenants)), "owned_%")
		b.ReportMetric(100/float64(len(nodes)), "ideal_%")
	})
}

// BenchmarkPlanRebalance: one round; the loads go up to the cap.
func BenchmarkPlanRebalance(b *testing.B) {
	eachSize(b, func(b *testing.B, nodes []Node, tenants []Tenant) {
		r := benchPlan(b, nodes, settled(nodes, tenants, Options{}), Options{Rebalance: true})
		b.ReportMetric(percent(len(r.Moves), len(tenants)), "moved_%")
		b.ReportMetric(r.Before.Imbalance, "imbalance_before")
		b.ReportMetric(r.After.Imbalance, "imbalance_after")
	})
}

// BenchmarkStrategies: 5 000 tenants, 100 nodes, from nothing.
func BenchmarkStrategies(b *testing.B) {
	for _, s := range []Strategy{ConsistentHashing, RoundRobin, LeastLoaded, ActivityBased} {
		b.Run(string(s), func(b *testing.B) {
			benchPlan(b, nodesOf(100), zipf(5_000, 0.5), Options{Strategy: s})
		})
	}
}

// BenchmarkRing: building the table of homes, which happens when the nodes change.
func BenchmarkRing(b *testing.B) {
	for _, n := range []int{3, 10, 20, 100} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			var names []string
			for _, n := range nodesOf(n) {
				names = append(names, n.Name)
			}
			for b.Loop() {
				newHomes(names)
			}
		})
	}
}

// BenchmarkSpread: 200 networks nobody watches.
func BenchmarkSpread(b *testing.B) {
	leases := make([]Lease, 200)
	for i := range leases {
		leases[i].Network = fmt.Sprintf("network-%d", i)
	}
	for _, n := range []int{3, 100} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			nodes := nodesOf(n)
			for b.Loop() {
				Spread(nodes, leases, SpreadOptions{Rebalance: true})
			}
		})
	}
}
