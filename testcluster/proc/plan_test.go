package proc

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPlanFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		n := rapid.IntRange(0, 300).Draw(t, "n")
		nodes := []string{"a", "b", "c"}
		plan := PlanFaults(seed, n, nodes, 10*time.Second)
		if len(plan) != n {
			t.Fatalf("%d faults, want %d", len(plan), n)
		}
		if !slices.Equal(plan, PlanFaults(seed, n, nodes, 10*time.Second)) {
			t.Fatal("the same seed gives another plan")
		}
		if n >= 20 && slices.Equal(plan, PlanFaults(seed+1, n, nodes, 10*time.Second)) {
			t.Fatal("another seed gives the same plan")
		}
		kinds := map[FaultKind]int{}
		for _, f := range plan {
			kinds[f.Kind]++
			switch f.Kind {
			case PauseNode, CutNode:
				if f.Lasts < time.Second || f.Lasts > 10*time.Second {
					t.Fatalf("%v", f)
				}
			}
		}
		if n >= 20 && len(kinds) != 9 {
			t.Fatalf("kinds: %v", kinds)
		}
	})
}
