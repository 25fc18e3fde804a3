package fsm

// DueAt tells, for the heights from..to of the current chain, the position at
// which each was due for a depth. Heights that are not due yet, were left out,
// or lie outside the known sequence are missing; so are those that were not due
// yet when the network ended to be wanted. It follows the same rule as
// Branch.Due, over the whole history in short.
func (n *Network) DueAt(depth, from, to uint64) map[uint64]uint64 {
	due := dueHeights{at: map[uint64]uint64{}, from: from, to: to}
	var (
		judged uint64 // every height up to here was due, once some were
		some   bool
		first  uint64 // lowest height of the sequence
		begun  bool
	)
	for run := range n.Runs() {
		switch run.Kind {
		case Extend:
			if !begun {
				first, begun = run.Height, true
				due.removeFrom(first) // of an earlier sequence, which went higher
			}
			lo := first
			if some {
				lo = max(first, judged+1)
			}
			// The first announcement of a run may make many due, after a gap; each
			// later one makes at most its own.
			if run.Height >= depth {
				due.mark(lo, run.Height-depth, run.Position)
			}
			last := run.Height + run.Count - 1
			begin := max(run.Height+1, from+depth)
			for tip := begin; tip <= last && tip-depth <= to; tip++ {
				if tip >= depth && tip-depth >= lo {
					due.mark(tip-depth, tip-depth, run.Position+(tip-run.Height))
				}
			}
			if last >= depth && (!some || last-depth > judged) {
				judged, some = last-depth, true
			}
		case Rollback:
			due.removeFrom(run.Height + 1)
			judged = min(judged, run.Height)
			if run.Height < first {
				first = run.Height + 1
			}
		case Skip:
			due.skips = append(due.skips, run)
		case Ended:
			judged, some, begun, due.skips = 0, false, false, nil
		}
	}
	return due.at
}

// dueHeights collects the answer of DueAt.
type dueHeights struct {
	at       map[uint64]uint64
	from, to uint64
	above    uint64 // no height from here on is in at
	skips    []Run  // of the current sequence
}

func (d *dueHeights) mark(lo, hi, position uint64) {
	for h := max(lo, d.from); h <= hi && h <= d.to; h++ {
		if !leftOut(d.skips, h) {
			d.at[h] = position
			d.above = max(d.above, h+1)
		}
	}
}

// removeFrom takes out a height and what is above it, at a cost of what it takes
// out and the heights left out among them.
func (d *dueHeights) removeFrom(lo uint64) {
	lo = max(lo, d.from)
	for h := lo; h < d.above; h++ {
		delete(d.at, h)
	}
	d.above = min(d.above, lo)
}

func leftOut(skips []Run, height uint64) bool {
	for _, s := range skips {
		if s.Height <= height && height <= s.ToHeight {
			return true
		}
	}
	return false
}
