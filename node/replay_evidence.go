package node

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// evidence is what somebody noted of a delivery when its alert was recorded. That
// it was handed to the outbox, or was a dead letter, says nothing of what became of
// it since: it may have been purged, or forgotten for want of room.
type evidence struct {
	from    string // who noted it
	key     string // of the delivery
	outcome string // of fsm.Outcome
}

// left reports whether the state and the journals' attempts tell more.
func (e evidence) left() bool {
	return e.outcome == fsm.HandedOver.String() || e.outcome == fsm.Refused.String()
}

// became tells how it is known that a delivery was made, or still may be; empty
// if nothing says so any more.
func (c *past) became(e evidence) string {
	if !e.left() {
		return e.from + ": " + e.outcome
	}
	if _, ok := c.view.FindOutgoing(c.tenant.ID, e.key); ok {
		return "in the outbox"
	}
	if _, ok := c.view.FindDead(c.tenant.ID, e.key); ok {
		return "dead letter: see `ozmo delivery`"
	}
	if c.accepted[e.key] {
		return "journal: accepted"
	}
	return ""
}

// evidence yields what is noted of a delivery that told of the alert in this block,
// in whatever words, by the ledger and by the journals.
func (k *knowledge) evidence(a *alert.Alert, d *alert.Delivery, occurrence int) iter.Seq[evidence] {
	return func(yield func(evidence) bool) {
		p, key := k.replay.past, d.Key.String()
		if f, ok := p.view.FindFired(a.Network, a.Block, a.ID.String(), p.tenant.Born); ok {
			for _, o := range f.Deliveries {
				same := o.Trigger == d.Trigger && int(o.Occurrence) == occurrence && o.State != fsm.AlertRetracted
				if (same || o.Key == key) && !yield(evidence{"fired ledger", o.Key, o.Outcome.String()}) {
					return
				}
			}
		}
		for _, t := range p.told[k.height] {
			if t.ID != a.ID.String() || t.Block != a.Block {
				continue
			}
			for _, list := range t.States {
				n := -1
				for _, o := range list {
					if o.Trigger == d.Trigger {
						n++
					}
					same := o.Trigger == d.Trigger && n == occurrence
					if (same || o.Key == key) && !yield(evidence{"journal", o.Key, o.Outcome}) {
						return
					}
				}
			}
		}
	}
}

// acceptedBatch bounds the keys that a node is asked about at once.
const acceptedBatch = 1024

// findAccepted asks the nodes' journals which of the deliveries that left ledger and
// journals by the outbox were accepted. What is in it still needs no asking.
func (n *Node) findAccepted(ctx context.Context, c *past) {
	open := map[string]bool{}
	note := func(e evidence) {
		if e.left() && c.became(e) == "" {
			open[e.key] = true
		}
	}
	for f := range c.view.FiredBetween(c.network.Key, c.from, c.to) {
		if f.Tenant != c.tenant.ID || f.Born != c.tenant.Born {
			continue
		}
		for _, o := range f.Deliveries {
			note(evidence{key: o.Key, outcome: o.Outcome.String()})
		}
	}
	for _, list := range c.told {
		for _, t := range list {
			for _, o := range slices.Concat(t.States...) {
				note(evidence{key: o.Key, outcome: o.Outcome})
			}
		}
	}
	c.accepted = map[string]bool{}
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(open)), acceptedBatch) {
		_, refs, silent := n.gatherAttempts(ctx, attemptsQuery{Tenant: c.tenant.ID, Accepted: keys})
		for _, r := range refs {
			c.accepted[r.Key] = true
		}
		if c.silent = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.silent, silent)))); len(silent) > 0 {
			return // what it has stays unknown, and the next batch would wait for it again
		}
	}
}
