package fsm

import (
	"slices"
	"sort"
)

// KeepRefs is how many blocks of a branch are kept, whatever the network's
// finality depth: enough for every depth that monitors may ask for, also when
// one asks for it later.
const KeepRefs = MaxWindow

// Branch is what is known of a chain's current branch at one position: the
// newest refs, oldest first, and how high the tip has been over them. It is a
// value: its methods return a new Branch and leave the receiver as it was.
type Branch struct {
	Refs     []BlockRef `codec:"r"`           // ascending heights; ends with the tip; a skipped range leaves a gap
	Plateaus []Plateau  `codec:"p,omitempty"` // roll-backs whose former tip was not reached again
	Anchors  []BlockRef `codec:"a,omitempty"` // those among Refs that were never announced: a roll-back went right below the first block
}

// Plateau remembers a roll-back: blocks at or below Height lie on the current
// branch and once had a tip at height Peak above them.
type Plateau struct {
	Height uint64 `codec:"h"`
	Peak   uint64 `codec:"k"`
}

// Tip is the highest block; ok is false while the branch is empty.
func (b Branch) Tip() (tip BlockRef, ok bool) {
	if len(b.Refs) == 0 {
		return BlockRef{}, false
	}
	return b.Refs[len(b.Refs)-1], true
}

// At is the block of the branch at a height, if it is kept.
func (b Branch) At(height uint64) (BlockRef, bool) {
	i := sort.Search(len(b.Refs), func(i int) bool { return b.Refs[i].Height >= height })
	if i == len(b.Refs) || b.Refs[i].Height != height {
		return BlockRef{}, false
	}
	return b.Refs[i], true
}

// Contains reports whether the block lies on the branch as far as it is kept.
func (b Branch) Contains(ref BlockRef) bool {
	at, ok := b.At(ref.Height)
	return ok && at == ref
}

// Extend puts a block on top and forgets all but the newest keep blocks.
func (b Branch) Extend(ref BlockRef, keep int) Branch {
	drop := 0
	if keep > 0 {
		drop = max(0, len(b.Refs)+1-keep)
	}
	// Copied, not appended: views share a branch, and several readers extend it.
	b.Refs = slices.Concat(b.Refs[min(drop, len(b.Refs)):], []BlockRef{ref})
	forgotten := func(a BlockRef) bool { return a.Height < b.Refs[0].Height }
	if slices.ContainsFunc(b.Anchors, forgotten) {
		b.Anchors = slices.DeleteFunc(slices.Clone(b.Anchors), forgotten)
	}
	reached := func(p Plateau) bool { return p.Peak <= ref.Height }
	if slices.ContainsFunc(b.Plateaus, reached) {
		b.Plateaus = slices.DeleteFunc(slices.Clone(b.Plateaus), reached)
	}
	return b
}

// Rollback takes off every block above the one given, which becomes the tip. It
// may be the parent of the first block ever announced: then it was on no branch
// before, and is put there as the place where the new branch begins.
func (b Branch) Rollback(to BlockRef) Branch {
	tip, _ := b.Tip()
	i := sort.Search(len(b.Refs), func(i int) bool { return b.Refs[i].Height > to.Height })
	var anchors []BlockRef
	for _, a := range b.Anchors {
		if a.Height < to.Height || a == to {
			anchors = append(anchors, a)
		}
	}
	if i == 0 || b.Refs[i-1] != to {
		if i > 0 && b.Refs[i-1].Height == to.Height {
			i-- // an earlier anchor, on a branch that is no more
		}
		b.Refs = append(b.Refs[:i:i], to)
		anchors = append(anchors, to)
	} else {
		b.Refs = b.Refs[:i:i]
	}
	b.Anchors = anchors
	peak := tip.Height
	for _, p := range b.Plateaus {
		if p.Height >= to.Height {
			peak = max(peak, p.Peak)
		}
	}
	var kept []Plateau
	for _, p := range b.Plateaus {
		if p.Height < to.Height && p.Peak > peak {
			kept = append(kept, p)
		}
	}
	if peak > to.Height {
		kept = append(kept, Plateau{Height: to.Height, Peak: peak})
	}
	b.Plateaus = kept
	return b
}

// Judged is the greatest height that was due for a depth at or before this
// position: a block at height x is due once the tip has been at x + depth
// while x lay on the branch. Nothing is due where ok is false.
func (b Branch) Judged(depth uint64) (height uint64, ok bool) {
	consider := func(h uint64) { height, ok = max(height, h), true }
	if tip, exists := b.Tip(); exists && tip.Height >= depth {
		consider(tip.Height - depth)
	}
	for _, p := range b.Plateaus {
		if p.Peak >= depth {
			consider(min(p.Height, p.Peak-depth))
		}
	}
	return height, ok
}

// Due lists the blocks that become due for a depth by the step from b to
// next, oldest first. It is a pure function of the announcements, so every
// node finds the same.
func (b Branch) Due(next Branch, depth uint64) []BlockRef {
	upTo, ok := next.Judged(depth)
	if !ok {
		return nil
	}
	from, judged := b.Judged(depth)
	return next.between(from, judged, upTo)
}

// Owed lists the blocks that are due at depth to, but were not yet at the
// greater depth from: what is to be judged when the depth is lowered here.
func (b Branch) Owed(from, to uint64) []BlockRef {
	upTo, ok := b.Judged(to)
	if !ok {
		return nil
	}
	after, judged := b.Judged(from)
	return b.between(after, judged, upTo)
}

// between lists the blocks at heights above after, where that is set, up to upTo.
func (b Branch) between(after uint64, set bool, upTo uint64) []BlockRef {
	lo := sort.Search(len(b.Refs), func(i int) bool { return !set || b.Refs[i].Height > after })
	hi := sort.Search(len(b.Refs), func(i int) bool { return b.Refs[i].Height > upTo })
	if lo >= hi {
		return nil
	}
	due := b.Refs[lo:hi:hi]
	anchor := func(r BlockRef) bool { return slices.Contains(b.Anchors, r) }
	if slices.ContainsFunc(due, anchor) {
		due = slices.DeleteFunc(slices.Clone(due), anchor)
	}
	return due
}
