package watcher

import (
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

type hashKey = fsm.Hash

// link is a block without its payload.
type link struct {
	ref    fsm.BlockRef
	parent fsm.Hash
	time   time.Time
}

// branch is the watcher's copy of the newest part of the announced branch. Its
// methods are pure bookkeeping: announcements are applied to it after the
// journal took them.
type branch struct {
	window []fsm.BlockRef // oldest first, without gaps; empty: nothing announced
	first  uint64         // as Head.First
	limit  int
}

func newBranch(h Head, known bool, limit int) branch {
	b := branch{limit: limit}
	if !known {
		return b
	}
	b.first = h.First
	b.window = slices.Clone(h.Window)
	for i := len(b.window) - 1; i > 0; i-- {
		if b.window[i-1].Height+1 != b.window[i].Height {
			b.window = b.window[i:] // what lies before a gap is not linked to what follows
			break
		}
	}
	if len(b.window) == 0 {
		b.window = []fsm.BlockRef{h.Tip}
	}
	b.trim()
	return b
}

func (b *branch) trim() {
	if n := len(b.window) - b.limit; n > 0 {
		b.window = slices.Delete(b.window, 0, n)
	}
}

func (b *branch) tip() (fsm.BlockRef, bool) {
	if len(b.window) == 0 {
		return fsm.BlockRef{}, false
	}
	return b.window[len(b.window)-1], true
}

func (b *branch) floor() uint64 { return b.window[0].Height }

// lowest is the height below which a common ancestor is not looked for. What
// lies below the first announced block was never announced, even where its
// hash is known.
func (b *branch) lowest() uint64 { return max(b.floor(), b.first) }

// whole reports whether the window reaches back to the first announced block,
// so that nothing older could contradict a new branch.
func (b *branch) whole() bool { return b.floor() <= b.first }

func (b *branch) contains(ref fsm.BlockRef) bool {
	if len(b.window) == 0 || ref.Height < b.floor() || ref.Height-b.floor() >= uint64(len(b.window)) {
		return false
	}
	return b.window[ref.Height-b.floor()] == ref
}

// apply follows an announcement.
func (b *branch) apply(a Announcement) {
	switch a.Kind {
	case Skip:
		b.window, b.first = nil, a.To+1
	case Extend:
		if len(b.window) == 0 {
			b.first = a.Ref.Height
		}
		b.window = append(b.window, a.Ref)
		b.trim()
	case Rollback:
		if !b.contains(a.Ref) { // below everything announced
			b.window = []fsm.BlockRef{a.Ref}
			return
		}
		b.window = b.window[:a.Ref.Height-b.floor()+1]
	}
}

func (l link) extend() Announcement {
	return Announcement{Kind: Extend, Ref: l.ref, Parent: l.parent, Time: l.time}
}

// skipTo applies max_past_blocks: when the head is more than limit plus the
// confirmation depth above the last announced block, which is at next-1, it
// returns the height to go on from.
func skipTo(next, head, limit, confirmations uint64) (uint64, bool) {
	if head < next {
		return next, false
	}
	keep := limit + confirmations
	if keep < limit || head-next+1 <= keep {
		return next, false
	}
	return head - keep + 1, true
}
