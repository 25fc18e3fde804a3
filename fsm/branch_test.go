package fsm

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func ref(height uint64, branch string) BlockRef {
	return BlockRef{Height: height, Hash: sha256.Sum256(fmt.Appendf(nil, "%s/%d", branch, height))}
}

func TestDueAfterShallowRollback(t *testing.T) {
	const depth = 2
	b := Branch{}
	for h := uint64(1); h <= 10; h++ {
		b = b.Extend(ref(h, "a"), 64)
	}
	if got, _ := b.Judged(depth); got != 8 {
		t.Fatalf("judged at depth 2 with tip 10: %d, want 8", got)
	}
	back := b.Rollback(ref(9, "a"))
	ten := back.Extend(ref(10, "b"), 64)
	if due := back.Due(ten, depth); len(due) != 0 {
		t.Fatalf("block 8 judged twice: %v", due)
	}
	eleven := ten.Extend(ref(11, "b"), 64)
	if due := ten.Due(eleven, depth); len(due) != 1 || due[0] != ref(9, "a") {
		t.Fatalf("due at 11: %v, want block 9", due)
	}
}

// Whatever the forks, at every depth each block that stays deep enough is due
// exactly once on its branch, in ascending order, and never before its depth.
func TestDueIsCompleteAndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.Uint64Range(0, 6).Draw(t, "depth")
		b := Branch{}.Extend(ref(100, "0"), 64)
		var chain []BlockRef // the model: the whole current branch
		chain = append(chain, ref(100, "0"))
		judged := map[BlockRef]int{}
		for _, r := range (Branch{}).Due(b, depth) {
			judged[r]++
		}
		dead := map[BlockRef]bool{}
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for i := range steps {
			if back := rapid.IntRange(0, 8).Draw(t, "back"); rapid.IntRange(0, 9).Draw(t, "fork") == 0 && back < len(chain) {
				to := chain[len(chain)-1-back]
				for _, r := range chain[len(chain)-back:] {
					dead[r] = true
				}
				next := b.Rollback(to)
				if due := b.Due(next, depth); len(due) != 0 {
					t.Fatalf("a roll-back made %v due", due)
				}
				b, chain = next, slices.Clone(chain[:len(chain)-back])
				continue
			}
			r := ref(chain[len(chain)-1].Height+1, fmt.Sprint(i))
			next := b.Extend(r, 64)
			for _, due := range b.Due(next, depth) {
				if due.Height+depth > r.Height {
					t.Fatalf("block %v due below depth %d at tip %v", due, depth, r)
				}
				judged[due]++
			}
			b, chain = next, append(chain, r)
		}
		for r, n := range judged {
			if n != 1 {
				t.Fatalf("block %v judged %d times", r, n)
			}
		}
		tip := chain[len(chain)-1].Height
		for _, r := range chain {
			if r.Height+depth <= tip && judged[r] != 1 {
				t.Fatalf("block %v at depth %d below tip %d was never judged", r, depth, tip)
			}
		}
		for r := range judged {
			if !dead[r] && !slices.Contains(chain, r) {
				t.Fatalf("block %v judged but never on a branch", r)
			}
		}
	})
}
