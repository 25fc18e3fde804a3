package fsm

// DueAt tells, for the heights from..to of the current chain, the position at
// which each was due for a depth. Heights that are not due yet, were left out,
// or lie outside the known sequence are missing. It follows the same rule as
// Branch.Due, over the whole history in short.
func (n *Network) DueAt(depth, from, to uint64) map[uint64]uint64 {
	due := map[uint64]uint64{}
	var (
		judged uint64 // every height up to here was due, once some were
		some   bool
		first  uint64 // lowest height of the sequence
		begun  bool
		skips  []Run
	)
	mark := func(lo, hi, position uint64) {
		for h := max(lo, from); h <= hi && h <= to; h++ {
			if !leftOut(skips, h) {
				due[h] = position
			}
		}
	}
	for run := range n.Runs() {
		switch run.Kind {
		case Extend:
			if !begun {
				first, begun = run.Height, true
			}
			lo := first
			if some {
				lo = max(first, judged+1)
			}
			// The first announcement of a run may make many due, after a gap; each
			// later one makes at most its own.
			if run.Height >= depth {
				mark(lo, run.Height-depth, run.Position)
			}
			last := run.Height + run.Count - 1
			begin := max(run.Height+1, from+depth)
			for tip := begin; tip <= last && tip-depth <= to; tip++ {
				if tip >= depth && tip-depth >= lo {
					mark(tip-depth, tip-depth, run.Position+(tip-run.Height))
				}
			}
			if last >= depth && (!some || last-depth > judged) {
				judged, some = last-depth, true
			}
		case Rollback:
			for h := range due {
				if h > run.Height {
					delete(due, h)
				}
			}
			judged = min(judged, run.Height)
			if run.Height < first {
				first = run.Height + 1
			}
		case Skip:
			skips = append(skips, run)
		}
	}
	return due
}

func leftOut(skips []Run, height uint64) bool {
	for _, s := range skips {
		if s.Height <= height && height <= s.ToHeight {
			return true
		}
	}
	return false
}
