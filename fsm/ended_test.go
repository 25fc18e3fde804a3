package fsm

import (
	"errors"
	"maps"
	"slices"
	"testing"
)

// After a pause of all tenants the sequence begins anew: heights that nobody
// wanted are due at no position, and neither are those that were not deep enough
// before it.
func TestDueAtAfterPause(t *testing.T) {
	for name, test := range map[string]struct {
		depth uint64
		away  uint64 // blocks while paused
		want  map[uint64]uint64
	}{
		"a long pause":                {0, 3, map[uint64]uint64{1: 1, 2: 2, 3: 3, 4: 4, 8: 5, 9: 6, 10: 7}},
		"deep":                        {2, 3, map[uint64]uint64{1: 3, 2: 4, 8: 7}},
		"shorter than a block":        {2, 0, map[uint64]uint64{1: 3, 2: 4, 5: 7}},
		"deeper than what is known":   {9, 3, map[uint64]uint64{}},
		"deeper than what came after": {3, 20, map[uint64]uint64{1: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPausing(t)
			p.wants("acme", "base")
			p.announce("base", 4)
			p.progress(4)
			p.wants("acme")
			p.wants("acme") // changed once more while nothing is wanted
			p.retired("base", true)
			p.height += test.away
			p.wants("acme", "base")
			p.announce("base", 3)
			if got := p.network("base").DueAt(test.depth, 0, 100); !maps.Equal(got, test.want) {
				t.Errorf("due at %v, want %v", got, test.want)
			}
			runs := slices.Collect(p.network("base").Runs())
			want := []Run{
				{Position: 1, Height: 1, Count: 4, Kind: Extend},
				{Position: 5, Kind: Ended},
				{Position: 5, Height: 5 + test.away, Count: 3, Kind: Extend},
			}
			if !slices.Equal(runs, want) {
				t.Errorf("runs %+v, want %+v", runs, want)
			}
			for position, height := range map[uint64]uint64{1: 1, 4: 4, 5: 5 + test.away, 7: 7 + test.away} {
				if got, ok := p.network("base").HeightAt(position); !ok || got != height {
					t.Errorf("height %d (%v) at position %d, want %d", got, ok, position, height)
				}
			}
			rows := []CoverageRow{
				{1, 4, 1, 4, Judged, 1},
				{0, 0, 5, 4 + test.away, NotWanted, 0},
				{5, 7, 5 + test.away, 7 + test.away, Pending, 4},
			}
			if test.away == 0 {
				rows = slices.Delete(rows, 1, 2)
			}
			if got := p.rows("acme", "base"); !slices.Equal(got, rows) {
				t.Errorf("coverage %+v, want %+v", got, rows)
			}
		})
	}
}

// While nobody wants the network, the last position is the last announced.
func TestHeightAtAfterTheEnd(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 4)
	p.progress(4)
	p.wants("acme")
	n := p.network("base")
	if h, ok := n.HeightAt(5); ok {
		t.Errorf("height %d at a position that there is not", h)
	}
	if h, ok := n.HeightAt(4); !ok || h != 4 {
		t.Errorf("height %d (%v) at position 4", h, ok)
	}
	if err := n.follows(Entry{Kind: Ended}); !errors.Is(err, ErrConflict) {
		t.Errorf("announced an end: %v", err)
	}
}

// A sequence that begins with heights left out tells of those nobody wanted too.
func TestCoverageOfAPauseBeforeASkip(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 2)
	p.progress(2)
	p.wants("acme")
	p.wants("acme", "base")
	epoch := p.do(&GrantLease{Network: "base", Holder: "n1", IfEpoch: p.network("base").Lease.Epoch}).(uint64)
	p.do(&Announce{Network: "base", Epoch: epoch, Entries: []Entry{{Kind: Skip, From: 6, Ref: BlockRef{Height: 8}}}})
	rows := []CoverageRow{{1, 2, 1, 2, Judged, 1}, {0, 0, 3, 5, NotWanted, 0}, {3, 3, 6, 8, Skipped, 3}}
	if got := p.rows("acme", "base"); !slices.Equal(got, rows) {
		t.Errorf("coverage %+v, want %+v", got, rows)
	}
}

// A checkpoint does not make a network go back, whether it is wanted or not.
func TestStartIsRefusedOnceAnnounced(t *testing.T) {
	p := newPausing(t)
	p.do(&StartNetwork{Network: "base", Height: 7})
	p.wants("acme", "base")
	p.do(&StartNetwork{Network: "base", Height: 8})
	p.announce("base", 2)
	p.progress(2)
	p.wants("acme")
	p.retired("base", true)
	p.index++
	if _, err := p.Apply(p.index, mustEncode(t, &StartNetwork{Network: "base", Height: 1})); !errors.Is(err, ErrConflict) {
		t.Errorf("a network that had begun was given another start: %v", err)
	}
	if start := p.network("base").Start; start != nil {
		t.Errorf("start %+v", start)
	}
}
