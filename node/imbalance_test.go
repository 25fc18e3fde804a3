package node

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/ring"
)

// What status and metrics call imbalance is what rebalancing goes by.
func TestImbalanceIsThatOfTheRing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var commands []fsm.Command
		var nodes []ring.Node
		capacity := map[string]float64{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "nodes") {
			name := string(rune('a' + i))
			weight := rapid.Uint32Range(1, 300).Draw(rt, "capacity")
			commands = append(commands, &fsm.RegisterNode{Name: name, Server: name + "@1", Roles: fsm.AllRoles, Weight: weight})
			nodes = append(nodes, ring.Node{Name: name, Weight: float64(weight) / 100})
			capacity[name] = float64(weight)
		}
		var tenants []ring.Tenant
		activity := map[string]float64{}
		for i := range rapid.IntRange(0, 12).Draw(rt, "tenants") {
			id := fmt.Sprintf("t%d", i)
			at := nodes[rapid.IntRange(0, len(nodes)-1).Draw(rt, "at")].Name
			weight := rapid.SampledFrom([]uint32{0, 0, 50, 400}).Draw(rt, "weight")
			if rapid.Bool().Draw(rt, "measured") {
				activity[id] = rapid.Float64Range(0.1, 9).Draw(rt, "activity")
			}
			commands = append(commands, wanting(t, id, "net")...)
			commands = append(commands, &fsm.SetPlacement{Tenant: id, Weight: weight})
			commands = append(commands, &fsm.Move{Moves: []fsm.Moved{{Tenant: id, To: at, Reason: fsm.ReasonInitial}}})
			tenants = append(tenants, ring.Tenant{ID: id, Weight: weightOf(&fsm.Tenant{ID: id, Weight: weight}, &activity), Node: at})
		}
		v := stateWith(t, commands...).View()
		want := ring.Plan(nodes, tenants, ring.Options{Strategy: ring.ConsistentHashing}).Before.Imbalance
		if got := imbalance(v, capacity, &activity); math.Abs(got-want) > 1e-3 { // the ring counts in whole units
			rt.Fatalf("imbalance %v, the ring says %v", got, want)
		}
	})
}
