package fsm

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// The short history tells the same positions as the branch did step by step.
func TestDueAtEqualsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.Uint64Range(0, 5).Draw(t, "depth")
		n := Network{Next: 1}
		want := map[uint64]uint64{}
		tip := BlockRef{}
		begun := false
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			if begun && rapid.IntRange(0, 15).Draw(t, "end") == 0 {
				// Nobody wants it any more. Wanted again, it begins where the chain
				// is then: further on, right behind, or below after a reorganisation.
				begin(&View{}).retire(&n)
				tip.Height += rapid.Uint64Range(0, 12).Draw(t, "away") - 4
				begun = false
			}
			e := Entry{Position: n.Next, Kind: Extend}
			switch kind := rapid.IntRange(0, 11).Draw(t, "kind"); {
			case begun && n.Gap == 0 && kind == 0:
				back := rapid.IntRange(0, min(6, len(n.Branch.Refs)-1)).Draw(t, "back")
				e.Kind, e.Ref = Rollback, n.Branch.Refs[len(n.Branch.Refs)-1-back]
				if e.Ref.Height < n.First {
					continue // the watcher never rolls back over a skip
				}
			case begun && n.Gap == 0 && kind == 1:
				e.Kind, e.From = Skip, tip.Height+1
				e.Ref.Height = tip.Height + rapid.Uint64Range(1, 4).Draw(t, "skip")
			case !begun && n.Next > 1:
				e.Ref = ref(tip.Height+1, fmt.Sprint(i))
			case !begun:
				e.Ref = ref(100, "x")
			case n.Gap != 0:
				e.Ref = ref(n.Gap+1, fmt.Sprint(i))
			default:
				e.Ref = ref(tip.Height+1, fmt.Sprint(i))
			}
			if _, any := n.Branch.Tip(); e.Kind == Extend && (!any || n.Gap != 0) {
				n.First = e.Ref.Height
				if !any {
					maps.DeleteFunc(want, func(h, _ uint64) bool { return h >= e.Ref.Height })
				}
			}
			next := n.Branch.Step(e, 64)
			if e.Kind == Rollback {
				for h := range want {
					if h > e.Ref.Height {
						delete(want, h)
					}
				}
			}
			for _, r := range n.Branch.Due(next, depth) {
				want[r.Height] = e.Position
			}
			n.Gap = 0
			if e.Kind == Skip {
				n.Gap = e.Ref.Height
			} else {
				tip, begun = e.Ref, true
			}
			n.Branch = next
			n.record(e)
			n.Next++
		}
		from := rapid.Uint64Range(90, 130).Draw(t, "from")
		to := from + rapid.Uint64Range(0, 200).Draw(t, "span")
		got := n.DueAt(depth, from, to)
		for h, p := range want {
			if h >= from && h <= to && got[h] != p {
				t.Fatalf("height %d: due at %d, want %d (depth %d)", h, got[h], p, depth)
			}
		}
		for h, p := range got {
			if want[h] != p {
				t.Fatalf("height %d: due at %d, want %d (depth %d)", h, p, want[h], depth)
			}
		}
	})
}
