package ring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReasons(t *testing.T) {
	two := []Node{{Name: "a"}, {Name: "b"}}
	on := func(id, node string) Tenant { return Tenant{ID: id, Weight: 1, Node: node} }
	tests := []struct {
		name    string
		nodes   []Node
		tenants []Tenant
		o       Options
		want    []Move
	}{
		{
			name: "a new tenant", nodes: two[:1], tenants: []Tenant{on("t", "")},
			want: []Move{{"t", "", "a", ReasonInitial}},
		},
		{
			name: "its node is gone", nodes: two[:1], tenants: []Tenant{on("t", "b")},
			want: []Move{{"t", "b", "a", ReasonNodeFailure}},
		},
		{
			name: "its node leaves, and is not listed", nodes: two[:1], tenants: []Tenant{on("t", "b")},
			o:    Options{Leaving: map[string]bool{"b": true}},
			want: []Move{{"t", "b", "a", ReasonScaling}},
		},
		{
			name: "its node leaves, and is listed", nodes: two, tenants: []Tenant{on("t", "b"), on("u", "a")},
			o:    Options{Leaving: map[string]bool{"b": true}},
			want: []Move{{"t", "b", "a", ReasonScaling}},
		},
		{
			name: "pinned elsewhere", nodes: two,
			tenants: []Tenant{on("s", "a"), {ID: "t", Weight: 1, Node: "a", Pin: "b"}},
			want:    []Move{{"t", "a", "b", ReasonManual}},
		},
		{
			name: "pinned to a node that is not there", nodes: two[:1],
			tenants: []Tenant{{ID: "t", Weight: 1, Node: "a", Pin: "c"}},
		},
		{
			name: "on its way: not even a pin", nodes: two,
			tenants: []Tenant{{ID: "t", Weight: 1, Node: "a", Pin: "b", Moving: true}},
		},
		{
			name: "on its way to a node that is gone", nodes: two[:1],
			tenants: []Tenant{{ID: "t", Weight: 1, Node: "b", Moving: true}},
			want:    []Move{{"t", "b", "a", ReasonNodeFailure}},
		},
		{
			name: "a new node", nodes: two, tenants: []Tenant{on("s", "a"), on("t", "a")},
			o:    Options{Strategy: LeastLoaded},
			want: []Move{{"t", "a", "b", ReasonScaling}},
		},
		{
			name: "uneven, but not to be rebalanced", nodes: two,
			tenants: []Tenant{on("s", "a"), on("t", "a"), on("u", "a"), on("v", "b")},
		},
		{
			name: "uneven", nodes: two, o: Options{Rebalance: true},
			tenants: []Tenant{on("s", "a"), on("t", "a"), on("u", "a"), on("v", "b")},
			want:    []Move{{"u", "a", "b", ReasonLoadRebalance}},
		},
		{
			name: "uneven within the threshold", nodes: two, o: Options{Rebalance: true, Threshold: 1},
			tenants: []Tenant{on("s", "a"), on("t", "a"), on("u", "a"), on("v", "b")},
		},
		{
			name: "uneven, no moves allowed", nodes: two, o: Options{Rebalance: true, MoveLimit: -1},
			tenants: []Tenant{on("s", "a"), on("t", "a"), on("u", "a"), on("v", "b")},
		},
		{
			name: "more than it may have: the last goes", nodes: []Node{{Name: "a", MaxTenants: 1}, {Name: "b"}},
			tenants: []Tenant{on("s", "a"), {ID: "t", Weight: 1, Node: "a", Priority: 1}, on("u", "b")},
			want:    []Move{{"s", "a", "b", ReasonLoadRebalance}},
		},
		{
			name: "a pin to a full node pushes its last out", nodes: []Node{{Name: "a", MaxTenants: 1}, {Name: "b", MaxTenants: 1}},
			tenants: []Tenant{on("s", "a"), {ID: "t", Weight: 1, Node: "b", Pin: "a"}},
			want:    []Move{{"s", "a", "b", ReasonLoadRebalance}, {"t", "b", "a", ReasonManual}},
		},
		{
			// t fits neither beside two others (cap 5): the one of lowest priority
			// that suffices makes room.
			name: "a heavy one of higher priority", nodes: two,
			tenants: []Tenant{
				{ID: "p", Weight: 1, Node: "a", Priority: 1},
				{ID: "q", Weight: 1.5, Node: "a"},
				{ID: "r", Weight: 1, Node: "b", Priority: 2},
				{ID: "s", Weight: 1.5, Node: "b", Priority: 2},
				{ID: "t", Weight: 3, Priority: 2},
			},
			want: []Move{{"t", "", "a", ReasonInitial}, {"q", "a", "b", ReasonPriorityChange}},
		},
		{
			name: "a heavy one of the same priority displaces none", nodes: two, o: Options{Strategy: LeastLoaded},
			tenants: []Tenant{
				on("p", "a"),
				{ID: "q", Weight: 1.5, Node: "a"},
				{ID: "r", Weight: 1.5, Node: "b"},
				{ID: "s", Weight: 1.5, Node: "b"},
				{ID: "t", Weight: 3},
			},
			want: []Move{{"t", "", "a", ReasonInitial}},
		},
		{
			name: "displacing is bounded as rebalancing is", nodes: two, o: Options{MoveLimit: -1},
			tenants: []Tenant{
				{ID: "q", Weight: 2.5, Node: "a"},
				{ID: "s", Weight: 2.5, Node: "b", Priority: 2},
				{ID: "t", Weight: 3, Priority: 2},
			},
			want: []Move{{"t", "", "a", ReasonInitial}},
		},
		{name: "no nodes", tenants: []Tenant{on("t", "a")}},
		{name: "nothing", nodes: two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Plan(tt.nodes, tt.tenants, tt.o).Moves); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnplacedAreReported(t *testing.T) {
	tenants := []Tenant{
		{ID: "low", Weight: 9, Priority: -1},
		{ID: "stays", Weight: 1, Node: "a"},
		{ID: "too-many", Weight: 1, Node: "a", Priority: -2},
		{ID: "high", Weight: 1, Priority: 1},
	}
	nodes := []Node{{Name: "a", MaxTenants: 1}, {Name: "b"}}
	r := Plan(nodes, tenants, Options{MaxTenants: 1})
	if want := []Move{{"high", "", "b", ReasonInitial}}; !slices.Equal(r.Moves, want) {
		t.Errorf("moves %v, want %v", r.Moves, want)
	}
	if want := []string{"low", "too-many"}; !slices.Equal(r.Unplaced, want) {
		t.Errorf("unplaced %v, want %v", r.Unplaced, want)
	}
	mustEqualMaps(t, "loads", r.Loads, map[string]float64{"a": 2, "b": 1})

	r = Plan(nil, tenants, Options{})
	if want := []string{"high", "low", "stays", "too-many"}; !slices.Equal(r.Unplaced, want) {
		t.Errorf("without nodes, unplaced %v, want %v", r.Unplaced, want)
	}
}

// A tenant that alone is above every cap is reported, is given a node of its own,
// and does not make the rest move for ever.
func TestHeavyTenant(t *testing.T) {
	nodes, tenants := nodesOf(5), equal(100)
	tenants[42].Weight = 300
	o := Options{Rebalance: true, MoveLimit: 1000}
	r := Plan(nodes, tenants, o)
	if want := []string{tenants[42].ID}; !slices.Equal(r.Heavy, want) {
		t.Fatalf("heavy %v, want %v", r.Heavy, want)
	}
	end := after(tenants, r)
	for name, l := range r.Loads {
		if name == end[42].Node {
			if l != 300 {
				t.Errorf("%s has the heavy one and %v more", name, l-300)
			}
		} else if l < 20 || l > 30 {
			t.Errorf("%s has %v of 99 on four nodes", name, l)
		}
	}
	if again := Plan(nodes, end, o); len(again.Moves) != 0 {
		t.Errorf("moves again: %v", again.Moves)
	}
}

// A rebalancing round moves at most MoveLimit; several reach the threshold.
func TestRebalanceInRounds(t *testing.T) {
	nodes, tenants := nodesOf(10), equal(5000)
	for i := range tenants {
		tenants[i].Node = nodes[i%len(nodes)/2].Name // on five of them
	}
	for i := range 5 { // so that none is new
		tenants[i].Node = nodes[5+i].Name
	}
	o := Options{Rebalance: true}
	rounds := 0
	for {
		r := Plan(nodes, tenants, o)
		if len(r.Moves) == 0 {
			if r.After.Imbalance > DefaultThreshold {
				t.Errorf("ends with an imbalance of %v", r.After.Imbalance)
			}
			break
		}
		if len(r.Moves) > 250 {
			t.Fatalf("%d moves in a round", len(r.Moves))
		}
		if rounds++; rounds > 12 { // (2500 - 5) / 250, and none superfluous
			t.Fatal("takes too many rounds")
		}
		tenants = after(tenants, r)
	}
	if small := Plan(nodes[:2], placed(equal(300), "node-000", "node-001", 290), o); len(small.Moves) != 50 {
		t.Errorf("of 300 tenants, %d moved, want 50", len(small.Moves))
	}
}

// placed has the first n tenants on a, the others on b.
func placed(tenants []Tenant, a, b string, n int) []Tenant {
	for i := range tenants {
		tenants[i].Node = a
		if i >= n {
			tenants[i].Node = b
		}
	}
	return tenants
}

// 5 000 weighted tenants on 100 nodes.
func TestZipf(t *testing.T) {
	for _, s := range []float64{0.5, 0.8, 1, 1.2} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			nodes, tenants := nodesOf(100), zipf(5000, s)
			r := Plan(nodes, tenants, Options{})
			if s == 0.5 && len(r.Heavy) != 0 {
				t.Fatalf("%d tenants above the cap: this is to be the case without", len(r.Heavy))
			}
			if len(r.Heavy) == 0 && r.After.MaxOverAvg > 1.25+1e-9 {
				t.Errorf("max/avg %v", r.After.MaxOverAvg)
			}
			heavyOn := make(map[string]int)
			for _, x := range after(tenants, r) {
				if slices.Contains(r.Heavy, x.ID) {
					heavyOn[x.Node]++
				}
			}
			for name, limit := range caps(nodes, tenants, DefaultLoad) {
				if heavyOn[name] == 0 && r.Loads[name] > limit+eps {
					t.Errorf("%s has %v without a heavy tenant, cap %v", name, r.Loads[name], limit)
				}
				if heavyOn[name] > 1 {
					t.Errorf("%s has %d heavy tenants", name, heavyOn[name])
				}
			}
		})
	}
}

// A node joins 100 that are up to their caps: what it takes brings all of them
// under the caps that are now lower.
func TestJoinEndsUnderTheCap(t *testing.T) {
	for _, tenants := range [][]Tenant{zipf(5000, 0.5), equal(5000)} {
		nodes := nodesOf(100)
		start := settled(nodes, tenants, Options{})
		r := Plan(append(slices.Clone(nodes), Node{Name: "new"}), start, Options{})
		if most := len(tenants) * 5 / 4 / 101; len(r.Moves) == 0 || len(r.Moves) > most {
			t.Errorf("%d moves, at most %d", len(r.Moves), most)
		}
		if r.Before.MaxOverAvg <= 1.25 {
			t.Errorf("max/avg was %v: the case is too easy", r.Before.MaxOverAvg)
		}
		if r.After.MaxOverAvg > 1.25+1e-9 {
			t.Errorf("max/avg %v", r.After.MaxOverAvg)
		}
	}
}

func TestParseStrategy(t *testing.T) {
	for _, s := range []Strategy{ConsistentHashing, RoundRobin, LeastLoaded, ActivityBased} {
		if got, err := ParseStrategy(string(s)); got != s || err != nil {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	if got, err := ParseStrategy(""); got != ConsistentHashing || err != nil {
		t.Errorf("default: %q, %v", got, err)
	}
	_, err := ParseStrategy("random")
	if !errors.Is(err, ErrUnknownStrategy) || !strings.Contains(err.Error(), `"random"`) || !strings.Contains(err.Error(), "round-robin") {
		t.Errorf("error: %v", err)
	}
}
