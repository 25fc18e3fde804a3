package history

import (
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// CheckSequence checks the coverage of one network, told by one node from its
// beginning on: positions follow each other from 1 without a gap, and heights
// are linked — a block has the height after that of the block before it, a
// roll-back goes to a height at or below it. It returns the last position.
func CheckSequence(rows []fsm.CoverageRow) (last uint64, err error) {
	var tip uint64 // height
	begun := false
	for i, r := range rows {
		at := fmt.Sprintf("row %d (%+v)", i, r)
		if r.FromPosition == 0 {
			return last, fmt.Errorf("%s: heights that were never announced", at)
		}
		if r.FromPosition != last+1 || r.ToPosition < r.FromPosition {
			return last, fmt.Errorf("%s: position %d was expected", at, last+1)
		}
		last = r.ToPosition
		rollback := r.Status == fsm.RolledBack
		// What is not judged yet does not say whether it begins with a roll-back,
		// but only one has a height that was there before.
		if r.Status == fsm.Pending && begun && r.FromHeight <= tip {
			rollback = true
		}
		switch {
		case rollback && (!begun || r.FromHeight > tip):
			return last, fmt.Errorf("%s: rolls back to above the tip, %d", at, tip)
		case rollback:
			tip = r.ToHeight
			continue
		case begun && r.FromHeight != tip+1:
			return last, fmt.Errorf("%s: does not follow the tip, %d", at, tip)
		case r.Status != fsm.Skipped && r.ToHeight-r.FromHeight != r.ToPosition-r.FromPosition:
			return last, fmt.Errorf("%s: heights and positions do not match", at)
		}
		tip, begun = r.ToHeight, true
	}
	return last, nil
}
