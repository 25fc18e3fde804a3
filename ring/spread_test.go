package ring

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func regranted(leases []Lease, grants []Grant) []Lease {
	out := slices.Clone(leases)
	for i := range out {
		for _, g := range grants {
			if g.Network == out[i].Network {
				out[i].Holder = g.To
			}
		}
	}
	return out
}

func networksOf(leases []Lease) map[string]int {
	out := make(map[string]int)
	for _, l := range leases {
		out[l.Holder]++
	}
	return out
}

func TestSpread(t *testing.T) {
	two := []Node{{Name: "a"}, {Name: "b"}}
	tests := []struct {
		name   string
		nodes  []Node
		leases []Lease
		o      SpreadOptions
		want   []Grant
	}{
		{
			name: "nobody watches", nodes: two[1:], leases: []Lease{{Network: "x"}},
			want: []Grant{{"x", "", "b", ReasonInitial}},
		},
		{
			name: "holder is gone, pinned or not", nodes: two[:1],
			leases: []Lease{{Network: "x", Holder: "b", Pinned: true}, {Network: "y", Holder: "b"}},
			want:   []Grant{{"x", "b", "a", ReasonNodeFailure}, {"y", "b", "a", ReasonNodeFailure}},
		},
		{
			name: "holder leaves", nodes: two, o: SpreadOptions{Leaving: map[string]bool{"b": true}},
			leases: []Lease{{Network: "x", Holder: "b"}},
			want:   []Grant{{"x", "b", "a", ReasonScaling}},
		},
		{
			name: "the one with the fewest", nodes: two,
			leases: []Lease{{Network: "x", Holder: "a"}, {Network: "y"}},
			want:   []Grant{{"y", "", "b", ReasonInitial}},
		},
		{
			name: "one more is even", nodes: two, o: SpreadOptions{Rebalance: true},
			leases: []Lease{{Network: "x", Holder: "a"}},
		},
		{
			name: "two more is not, but not now", nodes: two,
			leases: []Lease{{Network: "x", Holder: "a"}, {Network: "y", Holder: "a"}},
		},
		{
			name: "two more is not", nodes: two, o: SpreadOptions{Rebalance: true},
			leases: []Lease{{Network: "x", Holder: "a", Pinned: true}, {Network: "y", Holder: "a"}},
			want:   []Grant{{"y", "a", "b", ReasonLoadRebalance}},
		},
		{
			name: "all pinned", nodes: two, o: SpreadOptions{Rebalance: true},
			leases: []Lease{{Network: "x", Holder: "a", Pinned: true}, {Network: "y", Holder: "a", Pinned: true}},
		},
		{
			name: "no move allowed", nodes: two, o: SpreadOptions{Rebalance: true, MoveLimit: -1},
			leases: []Lease{{Network: "x", Holder: "a"}, {Network: "y", Holder: "a"}},
		},
		{
			name: "three times the capacity", nodes: []Node{{Name: "a", Weight: 3}, {Name: "b"}}, o: SpreadOptions{Rebalance: true},
			leases: []Lease{{Network: "x", Holder: "a"}, {Network: "y", Holder: "a"}, {Network: "z", Holder: "a"}},
		},
		{name: "no nodes", leases: []Lease{{Network: "x", Holder: "a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Spread(tt.nodes, tt.leases, tt.o)); diff != "" {
				t.Errorf("grants (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpreadInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}
		var nodes []Node
		for _, name := range names[:rapid.IntRange(1, len(names)).Draw(t, "nodes")] {
			nodes = append(nodes, Node{Name: name, Weight: rapid.SampledFrom([]float64{0, 1, 2}).Draw(t, "capacity")})
		}
		var leases []Lease
		for i := range rapid.IntRange(0, 40).Draw(t, "networks") {
			leases = append(leases, Lease{
				Network: fmt.Sprintf("net%d", i),
				Holder:  rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "holder"),
				Pinned:  rapid.IntRange(0, 4).Draw(t, "pin") == 0,
			})
		}
		o := SpreadOptions{Rebalance: rapid.Bool().Draw(t, "rebalance"), MoveLimit: rapid.SampledFrom([]int{0, 1, 1000}).Draw(t, "limit")}
		grants := Spread(nodes, leases, o)
		if again := Spread(rapid.Permutation(nodes).Draw(t, "nodes again"), rapid.Permutation(leases).Draw(t, "leases again"), o); !reflect.DeepEqual(grants, again) {
			t.Fatalf("order matters: %v, %v", grants, again)
		}
		listed := make(map[string]bool)
		for _, n := range nodes {
			listed[n.Name] = true
		}
		limit := o.MoveLimit
		if limit == 0 {
			limit = max(1, len(leases)/20)
		}
		left := 0
		for _, g := range grants {
			was := leases[slices.IndexFunc(leases, func(l Lease) bool { return l.Network == g.Network })]
			if g.From != was.Holder || g.To == g.From || !listed[g.To] {
				t.Fatalf("%+v of %+v", g, was)
			}
			if listed[g.From] {
				left++
				if was.Pinned || !o.Rebalance || g.Reason != ReasonLoadRebalance {
					t.Fatalf("%+v of %+v", g, was)
				}
			}
		}
		if left > limit {
			t.Fatalf("%d leave living nodes, limit %d", left, limit)
		}
		end := regranted(leases, grants)
		for _, l := range end {
			if !listed[l.Holder] {
				t.Fatalf("%s is left with %q", l.Network, l.Holder)
			}
		}
		if limit < 1000 {
			return
		}
		if again := Spread(nodes, end, o); len(again) != 0 {
			t.Fatalf("spread again: %v", again)
		}
		if !o.Rebalance {
			return
		}
		held, low := networksOf(end), math.Inf(1)
		for _, n := range nodes {
			low = min(low, float64(held[n.Name]+1)/capacity(n))
		}
		for _, n := range nodes {
			free := slices.ContainsFunc(end, func(l Lease) bool { return l.Holder == n.Name && !l.Pinned })
			if free && float64(held[n.Name])/capacity(n) > low+1e-9 {
				t.Fatalf("%s has too many: %v", n.Name, held)
			}
		}
	})
}
