package worker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
)

// step is what one announcement asks of a worker.
type step struct {
	entry      fsm.Entry
	judgements []judgement
	superseded bool // a block due here was rolled back by a later announcement; known once it is judged
}

// judgement is one block to be judged with the monitors of one depth.
type judgement struct {
	ref    fsm.BlockRef
	engine engine
	only   map[owner]bool // nil: all of them
}

// plan turns announcements into steps and moves branch and book along. later
// are the announcements that follow, as far as they are known: what they roll
// back is not judged any more. plan reads no clock and asks nobody, so that
// every node would find the same steps. With an error come the steps before the
// announcement that it is about.
func plan(v *fsm.View, b *book, branch fsm.Branch, entries, later []fsm.Entry, keep int) ([]step, fsm.Branch, error) {
	lowest := lowestRollback(entries, later)
	steps := make([]step, len(entries))
	for i, e := range entries {
		s := step{entry: e}
		moved, err := b.advance(v, e.Index, e.Position)
		if err != nil {
			return steps[:i], branch, fmt.Errorf("position %d: %w", e.Position, err)
		}
		next := branch.Step(e, keep)
		judge := func(refs []fsm.BlockRef, en engine, only map[owner]bool) {
			for _, ref := range refs {
				if lowest[i] < ref.Height {
					s.superseded = true
					continue
				}
				s.judgements = append(s.judgements, judgement{ref, en, only})
			}
		}
		for _, m := range moved {
			judge(branch.Owed(m.from, m.to), b.engines[m.to], m.keys)
		}
		for _, depth := range slices.Sorted(maps.Keys(b.engines)) {
			judge(branch.Due(next, depth), b.engines[depth], nil)
		}
		branch = next
		steps[i] = s
	}
	return steps, branch, nil
}

// lowestRollback gives, for each entry, the lowest height to which any
// announcement after it rolls back.
func lowestRollback(entries, later []fsm.Entry) []uint64 {
	const none = ^uint64(0)
	least := none
	for _, e := range later {
		if e.Kind == fsm.Rollback {
			least = min(least, e.Ref.Height)
		}
	}
	out := make([]uint64, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		out[i] = least
		if entries[i].Kind == fsm.Rollback {
			least = min(least, entries[i].Ref.Height)
		}
	}
	return out
}

// supersededOf lists the steps of which a block was not judged.
func supersededOf(steps []step) (out []fsm.Span) {
	for _, s := range steps {
		if s.superseded {
			out = append(out, fsm.Span{From: s.entry.Position, To: s.entry.Position})
		}
	}
	return out
}
