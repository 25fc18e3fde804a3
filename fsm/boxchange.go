package fsm

import "iter"

// boxChange notes that a tenant's box has changed, with the notes before it. It
// never changes, so views share it.
type boxChange struct {
	index  uint64
	tenant string
	before *boxChange
	count  int // of the notes from here on
}

// keepBoxChanges is how many of the last changes of boxes are remembered at least,
// and half of how many at most.
const keepBoxChanges = 1 << 14

// markBox notes that a box has changed. The notes are in two parts, so that the
// older ones can be let go.
func (t *tx) markBox(tenant string) {
	count := 1
	if last := t.boxNotes; last != nil {
		if last.index == t.index && last.tenant == tenant {
			return
		}
		count += last.count
	}
	if count > keepBoxChanges {
		if t.boxNotesOld != nil {
			t.boxesFrom = t.boxNotesOld.index
		}
		t.boxNotesOld, t.boxNotes, count = t.boxNotes, nil, 1
	}
	t.boxNotes = &boxChange{index: t.index, tenant: tenant, before: t.boxNotes, count: count}
}

// BoxesSince yields the tenants whose box has changed after a log index, with nil
// where it has gone; a tenant may come more than once. known is false where the
// state does not remember that far back: any box may have changed.
func (v *View) BoxesSince(index uint64) (changed iter.Seq2[string, *Box], known bool) {
	if index < v.boxesFrom || index > v.index {
		return nil, false
	}
	return func(yield func(string, *Box) bool) {
		for _, part := range []*boxChange{v.boxNotes, v.boxNotesOld} {
			for c := part; c != nil && c.index > index; c = c.before {
				var box *Box
				if b, there := get(v.boxes, c.tenant); there {
					box = &b.Box
				}
				if !yield(c.tenant, box) {
					return
				}
			}
		}
	}, true
}
