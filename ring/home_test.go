package ring

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// The table is what the library says, and the remembered one is the right one.
func TestHomesAreTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names []string
		for i := range 12 {
			if rapid.Bool().Draw(t, "listed") {
				names = append(names, fmt.Sprintf("n%d", i)) // n1 is a prefix of n10
			}
		}
		if len(names) == 0 {
			t.Skip("no nodes")
		}
		slices.Sort(names)
		r := newRing(rapid.Permutation(names).Draw(t, "order"))
		table := homesOf(names)
		for i := range 200 {
			id := fmt.Sprint("tenant", i)
			if got, want := names[table.of(xxhash.Sum64String(id))], r.LocateKey([]byte(id)).String(); got != want {
				t.Fatalf("%s: home %s, the ring says %s", id, got, want)
			}
		}
	})
}

// With room everywhere, a hashed strategy puts every tenant at its home, the
// others in turn or on the least loaded.
func TestStrategiesDifferInHome(t *testing.T) {
	nodes, tenants := nodesOf(4), zipf(400, 0.3)
	names := []string{"node-000", "node-001", "node-002", "node-003"}
	table := homesOf(names)
	at := make(map[Strategy]map[string]int)
	for _, s := range strategies {
		r := Plan(nodes, tenants, Options{Strategy: s, Load: 4})
		end := after(tenants, r)
		at[s] = counts(end)
		for _, x := range end {
			if home := names[table.of(xxhash.Sum64String(x.ID))]; s.hashed() && x.Node != home {
				t.Errorf("%s: %s is on %s, its home is %s", s, x.ID, x.Node, home)
			}
		}
		if s == LeastLoaded && r.After.Imbalance > 0.01 {
			t.Errorf("%s: imbalance %v", s, r.After.Imbalance)
		}
	}
	mustEqualMaps(t, "round-robin", at[RoundRobin], map[string]int{"node-000": 100, "node-001": 100, "node-002": 100, "node-003": 100})
	mustEqualMaps(t, "activity-based", at[ActivityBased], at[ConsistentHashing])
	mustEqualMaps(t, "default", at[""], at[ConsistentHashing])

	// In turn also when tenants come one by one, and by capacity.
	nodes[3].Weight = 2
	var some []Tenant
	for i := range 10 {
		some = settled(nodes, append(some, Tenant{ID: fmt.Sprint(i), Weight: 1}), Options{Strategy: RoundRobin, Load: 9})
	}
	mustEqualMaps(t, "one by one", counts(some), map[string]int{"node-000": 2, "node-001": 2, "node-002": 2, "node-003": 4})
}

// A node of twice the capacity comes first twice as often, and nodes that come or
// go do not change the order of the others.
func TestRendezvous(t *testing.T) {
	const items = 20_000
	wins := make([]int, 3)
	for i := range uint64(items) {
		best := 0
		for n := 1; n < 3; n++ {
			if score(mix(i+1), mix(uint64(n)+99), float64(1+n%2)) > score(mix(i+1), mix(uint64(best)+99), float64(1+best%2)) {
				best = n
			}
		}
		wins[best]++
	}
	for n, want := range []int{items / 4, items / 2, items / 4} {
		if wins[n] < want*95/100 || wins[n] > want*105/100 {
			t.Errorf("node %d comes first %d times, want about %d", n, wins[n], want)
		}
	}
}
