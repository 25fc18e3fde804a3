package fsm

import (
	"maps"
	"slices"
)

// CoverageRun says that a tenant's announcements From up to, but not with, To
// are judged with one version of its configuration. To is 0 while it is in force.
// How far they are judged already, the cursor of the tenant's cohort tells.
type CoverageRun struct {
	From    uint64 `codec:"f"`
	To      uint64 `codec:"t,omitempty"`
	Version uint64 `codec:"v"`
	Behind  bool   `codec:"b,omitempty"` // they are not: they were left out by PassOver
}

// keepRuns bounds a tenant's coverage of one network; the oldest runs go first.
const keepRuns = 4096

// setCoverage closes the runs of the version before and opens those of the
// current one, and keeps count of who wants which network.
func (t *tx) setCoverage(next, old *Tenant) {
	var was []string
	if old.Current.Manifest != nil {
		was = old.Current.Manifest.Wanted
	}
	now := next.Current.Manifest.Wanted
	next.Coverage = map[string][]CoverageRun{}
	maps.Copy(next.Coverage, old.Coverage)
	for _, key := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(was, now)))) {
		n := t.network(key)
		owed := t.retractables(key, next.ID, next.Born) > 0
		var before, after share
		before.add(old.Coverage[key], owed)
		runs := closeRuns(slices.Clone(old.Coverage[key]), n.Next)
		wants, wanted := slices.Contains(now, key), slices.Contains(was, key)
		if wants {
			runs = append(runs, CoverageRun{From: n.Next, Version: next.Current.Number})
		}
		delete(next.Coverage, key)
		after.add(runs, owed)
		if len(runs) > 0 {
			next.Coverage[key] = runs[max(0, len(runs)-keepRuns):]
		}
		by := tally{after.tenants - before.tenants, after.members - before.members}
		if by == (tally{}) && wants == wanted {
			continue
		}
		switch {
		case wants && !wanted:
			n.Wanted++
		case wanted && !wants:
			n.Wanted--
		}
		t.recount(&n, next.Cohort, by)
		t.settleCursors(&n)
		t.touch(TopicLeases)
	}
	for _, d := range next.Current.Manifest.Docs {
		if d.Kind == DocNetwork && d.Depth != 0 && next.ID == Shared {
			t.setDepth(d.ID, d.Depth)
		}
		for _, w := range d.Watches {
			if n := t.network(w.Network); w.Depth > n.Deepest {
				n.Deepest = w.Depth
				t.putNetwork(n)
			}
		}
	}
}

// setDepth notes from which position on a shared network has a depth.
func (t *tx) setDepth(key string, depth uint64) {
	n := t.network(key)
	last := len(n.Depths) - 1
	if last >= 0 && n.Depths[last].Depth == depth {
		return
	}
	n.Depths = append(slices.Clip(n.Depths), Depth{From: n.Next, Depth: depth})
	n.Depths = n.Depths[max(0, len(n.Depths)-keepDepths):]
	t.putNetwork(n)
}

// closeRuns ends what is in force before a position; how far that is judged by
// then does not matter, since the cursor goes on to there. A version that was
// never in force at any position leaves no run.
func closeRuns(runs []CoverageRun, at uint64) []CoverageRun {
	for i, r := range runs {
		if r.To == 0 {
			runs[i].To = at
		}
	}
	return slices.DeleteFunc(runs, func(r CoverageRun) bool { return r.To == r.From })
}

// CoverageStatus is what became of a stretch of announcements.
type CoverageStatus string

// What coverage can say of a stretch.
const (
	Judged     CoverageStatus = "judged"
	Pending    CoverageStatus = "pending"                  // announced, not judged yet
	Superseded CoverageStatus = "superseded"               // rolled back before it was judged
	Skipped    CoverageStatus = "skipped-by-configuration" // max_past_blocks
	Behind     CoverageStatus = "behind"                   // left out: the tenant was too far behind, and others would have waited for it
	NotWanted  CoverageStatus = "not wanted"               // no unpaused monitor asked for the network
	RolledBack CoverageStatus = "rollback"                 // the announcement of a roll-back itself
)

// CoverageRow is one line of a tenant's coverage of a network: a stretch of
// positions and the heights that were announced there, with one status. Heights
// that were never announced, because nobody wanted the network, have positions 0.
type CoverageRow struct {
	FromPosition uint64         `json:"from_position"`
	ToPosition   uint64         `json:"to_position"` // inclusive
	FromHeight   uint64         `json:"from_height"`
	ToHeight     uint64         `json:"to_height"` // inclusive
	Status       CoverageStatus `json:"status"`
	Version      uint64         `json:"version,omitempty"` // configuration version; 0 where none applies
}

// Coverage lists what was done with each announcement of a network for a
// tenant, in the order of positions, restricted to heights from..to (to 0: no
// upper bound). Heights are those announced; with a depth, the blocks judged
// there lie that much lower.
func (v *View) Coverage(tenant *Tenant, network string, from, to uint64) []CoverageRow {
	n, ok := v.Network(network)
	if !ok {
		return nil
	}
	cursor, _ := v.Cursor(network, tenant.Cohort)
	var rows []CoverageRow
	var above uint64 // the height after the last one told of
	for run := range n.Runs() {
		if run.Kind == Ended {
			continue // what follows tells which heights nobody wanted
		}
		if run.Kind != Rollback && above != 0 && run.Height > above {
			// The network was not wanted meanwhile: nothing was announced.
			gap := CoverageRow{FromHeight: max(above, from), ToHeight: run.Height - 1, Status: NotWanted}
			if to != 0 {
				gap.ToHeight = min(gap.ToHeight, to)
			}
			if gap.FromHeight <= gap.ToHeight {
				rows = append(rows, gap)
			}
		}
		above = run.next()
		for _, piece := range cut(run, tenant.Coverage[network], cursor) {
			if piece.ToHeight < from || to != 0 && piece.FromHeight > to {
				continue
			}
			if run.Kind == Extend {
				piece = piece.clamp(from, to)
			}
			rows = append(rows, piece)
		}
	}
	return mergeRows(rows)
}

// next is the height that follows a run when nothing is missing.
func (r Run) next() uint64 {
	switch r.Kind {
	case Skip:
		return r.ToHeight + 1
	case Rollback:
		return r.Height + 1
	default:
		return r.Height + r.Count
	}
}

// cut splits one run of announcements where the tenant's status changes.
func cut(run Run, coverage []CoverageRun, cursor *Cursor) []CoverageRow {
	bounds := []uint64{run.Position, run.Position + run.Count}
	add := func(p uint64) {
		if p > run.Position && p < run.Position+run.Count {
			bounds = append(bounds, p)
		}
	}
	for _, c := range coverage {
		add(c.From)
		add(c.To)
	}
	if cursor != nil {
		add(cursor.Position + 1)
		for _, s := range cursor.Superseded {
			add(s.From)
			add(s.To + 1)
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	var rows []CoverageRow
	for i := range len(bounds) - 1 {
		row := CoverageRow{FromPosition: bounds[i], ToPosition: bounds[i+1] - 1}
		row.Status, row.Version = status(run, bounds[i], coverage, cursor)
		switch run.Kind {
		case Extend:
			row.FromHeight = run.Height + (row.FromPosition - run.Position)
			row.ToHeight = run.Height + (row.ToPosition - run.Position)
		default:
			row.FromHeight, row.ToHeight = run.Height, max(run.Height, run.ToHeight)
		}
		rows = append(rows, row)
	}
	return rows
}

func status(run Run, position uint64, coverage []CoverageRun, cursor *Cursor) (CoverageStatus, uint64) {
	i := slices.IndexFunc(coverage, func(c CoverageRun) bool {
		return c.From <= position && (c.To == 0 || position < c.To)
	})
	switch {
	case i < 0 || cursor == nil:
		return NotWanted, 0
	case run.Kind == Skip:
		return Skipped, coverage[i].Version
	case coverage[i].Behind && run.Kind == Extend && !cursor.superseded(position):
		return Behind, coverage[i].Version
	case position > cursor.Position:
		return Pending, coverage[i].Version
	case run.Kind == Rollback:
		return RolledBack, coverage[i].Version
	case cursor.superseded(position):
		return Superseded, coverage[i].Version
	default:
		return Judged, coverage[i].Version
	}
}

func (c *Cursor) superseded(position uint64) bool {
	return slices.ContainsFunc(c.Superseded, func(s Span) bool { return s.From <= position && position <= s.To })
}

// clamp cuts a row of consecutive heights to the heights asked for.
func (r CoverageRow) clamp(from, to uint64) CoverageRow {
	if r.FromHeight < from {
		r.FromPosition += from - r.FromHeight
		r.FromHeight = from
	}
	if to != 0 && r.ToHeight > to {
		r.ToPosition -= r.ToHeight - to
		r.ToHeight = to
	}
	return r
}

// mergeRows joins neighbours that say the same of consecutive heights.
func mergeRows(rows []CoverageRow) []CoverageRow {
	var out []CoverageRow
	for _, r := range rows {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if last.Status == r.Status && last.Version == r.Version && last.Status != RolledBack &&
				last.ToPosition+1 == r.FromPosition && last.ToHeight+1 == r.FromHeight {
				last.ToPosition, last.ToHeight = r.ToPosition, r.ToHeight
				continue
			}
		}
		out = append(out, r)
	}
	return out
}
