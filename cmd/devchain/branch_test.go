package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func sender(n byte) common.Address { return common.Address{n} }

// deadBranch draws transactions of a few senders over a few blocks, in order.
func deadBranch(t *rapid.T) []placed[string] {
	blocks := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte().Filter(func(b byte) bool { return b < 4 }), 0, 6), 0, 8).Draw(t, "blocks")
	var dead []placed[string]
	for block, senders := range blocks {
		for _, s := range senders {
			dead = append(dead, placed[string]{tx: fmt.Sprintf("tx%d", len(dead)), sender: sender(s), block: block})
		}
	}
	return dead
}

func TestPlanBranch(t *testing.T) {
	dead := []placed[string]{
		{"a0", sender(1), 0}, {"b0", sender(2), 0}, {"a1", sender(1), 1}, {"a2", sender(1), 1}, {"c0", sender(3), 2},
	}
	tests := []struct {
		mode reorgMode
		want []placed[string]
	}{
		{modeDrop, nil},
		{modeReinclude, []placed[string]{{"a0", sender(1), 0}, {"a1", sender(1), 1}, {"c0", sender(3), 2}}},
		{modeMove, []placed[string]{
			{"a0", sender(1), 1}, {"b0", sender(2), 1}, {"a1", sender(1), 2}, {"a2", sender(1), 2}, {"c0", sender(3), 3},
		}},
	}
	for _, test := range tests {
		t.Run(string(test.mode), func(t *testing.T) {
			got := planBranch(test.mode, dead)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(placed[string]{})); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanBranchKeepsNoncesWithoutGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dead := deadBranch(t)
		kept := planBranch(modeReinclude, dead)
		for _, s := range []byte{0, 1, 2, 3} {
			bySender := func(all []placed[string]) []placed[string] {
				return slices.DeleteFunc(slices.Clone(all), func(p placed[string]) bool { return p.sender != sender(s) })
			}
			mine, still := bySender(dead), bySender(kept)
			if len(still) < len(mine)/2 || len(still) > (len(mine)+1)/2 {
				t.Fatalf("sender %d: %d of %d kept, want half", s, len(still), len(mine))
			}
			if !slices.Equal(still, mine[:len(still)]) {
				t.Fatalf("sender %d: kept %v, want the first of %v in their places", s, still, mine)
			}
		}
		// Roundings alternate, so the whole is half as well.
		if len(kept) < len(dead)/2 || len(kept) > (len(dead)+1)/2 {
			t.Fatalf("%d of %d kept, want half", len(kept), len(dead))
		}
	})
}

func TestPlanBranchMovesAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dead := deadBranch(t)
		moved := planBranch(modeMove, dead)
		if len(moved) != len(dead) {
			t.Fatalf("%d of %d moved", len(moved), len(dead))
		}
		for i := range dead {
			if moved[i].tx != dead[i].tx || moved[i].block != dead[i].block+1 {
				t.Fatalf("%v became %v", dead[i], moved[i])
			}
		}
	})
}
