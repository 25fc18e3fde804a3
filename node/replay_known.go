package node

import (
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// knowledge is what is known of the deliveries of one height. Positive evidence is
// looked for first, from the surest on. That nothing is known of a delivery proves
// something only where somebody would know: the ledger of blocks that are not
// final yet, judging again with a version that is kept, or all journals.
type knowledge struct {
	replay *replay
	height uint64
	block  *chain.Block

	judged *judgedBefore // nil: not looked at yet
}

// judgedBefore is what coverage says of a height.
type judgedBefore struct {
	pending bool // a cursor has not come there yet
	lost    bool // nobody can tell any more how it was judged
	found   []foundBefore
}

// foundBefore is what judging again with an older version gives.
type foundBefore struct {
	version uint64
	found   []worker.Found
}

// of tells whether a delivery was made before, and how that is known.
func (k *knowledge) of(a *alert.Alert, d *alert.Delivery, occurrence int) (api.Before, string, error) {
	r := k.replay
	own := evidence{key: d.Key.String(), outcome: fsm.HandedOver.String()}
	if how := r.past.became(own); how != "" {
		return api.BeforeYes, how, nil
	}
	lost := false
	for e := range k.evidence(a, d, occurrence) {
		if how := r.past.became(e); how != "" {
			return api.BeforeYes, how, nil
		}
		lost = true
	}
	if lost {
		return api.BeforeUnknown, "it was handed to the outbox and is no longer there, and no journal has that it was accepted", nil
	}
	if within(r.done, k.height) {
		return api.BeforeYes, "replayed before", nil
	}
	if k.judged == nil {
		var err error
		if k.judged, err = k.look(); err != nil {
			return "", "", err
		}
	}
	if k.judged.pending {
		return api.BeforePending, "announced, and about to be judged", nil
	}
	if !k.replay.past.final(k.height) {
		return api.BeforeNo, "not in the fired ledger", nil
	}
	for _, f := range k.judged.found {
		if fires(f.found, a, d.Trigger, occurrence) {
			return api.BeforeYes, fmt.Sprintf("judged with version %d, which fires it", f.version), nil
		}
	}
	switch {
	case !k.judged.lost && len(k.judged.found) == 0:
		return api.BeforeNo, "the monitor did not judge the block", nil
	case !k.judged.lost:
		return api.BeforeNo, "the monitor did not fire it then", nil
	case len(r.past.silent) > 0:
		return api.BeforeUnknown, "how it was judged is no longer kept, and not all journals could be asked", nil
	case r.past.gone != 0 && k.height <= r.past.gone:
		return api.BeforeUnknown, "how it was judged is no longer kept, and a journal has forgotten that time", nil
	}
	return api.BeforeNo, "in no node's journal", nil
}

// look finds out how the height was judged, with which versions, and judges it
// again with those that had the monitor.
func (k *knowledge) look() (*judgedBefore, error) {
	p := k.replay.past
	out := &judgedBefore{lost: !p.wholeAt(k.height)}
	for i := range p.list {
		reg := &p.list[i]
		if !reg.kept {
			out.lost = out.lost || !reg.behind && p.mayHaveJudged(reg, k.height, k.replay.depths(reg)...)
			continue
		}
		for j := range reg.groups {
			position, which, ok := p.judgedAt(reg, &reg.groups[j], k.height)
			if !ok || which != nil && !which[p.monitor] {
				continue
			}
			switch p.notJudged(position) {
			case string(fsm.Pending):
				out.pending = true
				continue
			case string(fsm.Superseded), string(fsm.Behind):
				continue
			}
			if !k.replay.past.final(k.height) {
				continue // the ledger knows
			}
			found, err := reg.groups[j].judge.Judge(k.block.Payload)
			if err != nil {
				return nil, fmt.Errorf("block %v, with version %d: %w", k.block.Ref, reg.version, err)
			}
			out.found = append(out.found, foundBefore{reg.version, found})
		}
	}
	return out, nil
}

// fires reports whether an older version's matches give the delivery.
func fires(found []worker.Found, a *alert.Alert, trigger string, occurrence int) bool {
	return slices.ContainsFunc(found, func(f worker.Found) bool {
		if f.Transaction != a.Tx {
			return false
		}
		n := 0
		for _, t := range f.Triggers {
			if t == trigger {
				n++
			}
		}
		return n > occurrence
	})
}

// wholeAt reports whether all is known of who judged a height when: neither the
// network's sequence nor the tenant's coverage has lost its beginning. A sequence
// that came from a backup has.
func (c *past) wholeAt(h uint64) bool {
	first := uint64(0)
	for run := range c.network.Runs() {
		first = run.Position
		break
	}
	runs := c.tenant.Coverage[c.network.Key]
	cut := len(runs) >= coverageKept
	if first <= 1 && !cut {
		return true
	}
	if c.due[0] == nil {
		c.due[0] = c.network.DueAt(0, c.from, c.to)
	}
	position, known := c.due[0][h]
	return known && (!cut || position >= runs[0].From)
}

// coverageKept is a number of coverage runs that says that there may have been more.
const coverageKept = 4096
