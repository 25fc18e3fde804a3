package fsm

import "fmt"

// Progress records deliveries and moves a cursor forward, both or neither. Nothing is
// recorded of a tenant whose name another has by now.
type Progress struct {
	Cohort     string     `codec:"c"`
	Epoch      uint64     `codec:"e"` // the cohort's
	Born       uint64     `codec:"b"` // the cursor's: what was judged of a network that was forgotten since does not count for one of the same name; 0: of any
	Network    string     `codec:"n"`
	To         uint64     `codec:"p"`           // the cursor's new position; 0 records without moving
	Superseded []Span     `codec:"s,omitempty"` // of the positions passed
	Fired      []Fired    `codec:"f,omitempty"`
	Outbox     []Outgoing `codec:"o,omitempty"` // deliveries still to be made
	Dead       []Dead     `codec:"d,omitempty"` // deliveries refused for good at the first attempt
}

// Type is TypeProgress.
func (*Progress) Type() Type { return TypeProgress }

func (c *Progress) apply(t *tx) (any, error) {
	cohort, ok := t.Cohort(c.Cohort)
	if !ok || cohort.Epoch != c.Epoch || cohort.Node == "" {
		return nil, fmt.Errorf("cohort %q: progress under epoch %d: %w", c.Cohort, c.Epoch, ErrStaleEpoch)
	}
	n, ok := t.Network(c.Network)
	if !ok {
		return nil, fmt.Errorf("network %q: %w", c.Network, ErrNotFound)
	}
	cursor, ok := t.Cursor(c.Network, c.Cohort)
	if c.Born != 0 && (!ok || cursor.Born != c.Born) {
		return nil, fmt.Errorf("network %q: progress of a cursor that is no more: %w", c.Network, ErrConflict)
	}
	moves := ok && !cursor.Parked() && c.To > cursor.Position // otherwise not wanted any more, or told before
	if moves && c.To >= n.Next {
		return nil, fmt.Errorf("network %q: progress to position %d, %d are announced: %w", c.Network, c.To, n.Next-1, ErrConflict)
	}
	for i := range c.Fired {
		if f := &c.Fired[i]; !t.succeeded(f.Tenant, f.Born) {
			t.recordFired(f)
		}
	}
	for i := range c.Outbox {
		if o := &c.Outbox[i]; !t.succeeded(o.Tenant, o.Born) {
			t.handOver(o)
		}
	}
	for i := range c.Dead {
		if d := &c.Dead[i]; !t.succeeded(d.Tenant, d.Born) {
			t.putDead(d)
		}
	}
	next := t.network(c.Network) // as recording left it
	if !moves {
		t.prune(&next, len(c.Fired))
		return nil, nil
	}
	cursor, _ = t.Cursor(c.Network, c.Cohort)
	moved := *cursor
	moved.Position = c.To
	if e, ok := next.Entry(c.To); ok {
		moved.Index = e.Index
	}
	moved.Superseded = addSpans(moved.Superseded, c.Superseded)
	put(t.edit, &t.cursors, cursorKey(c.Network, c.Cohort), &moved)
	t.trim(&next)
	t.retire(&next)
	t.putNetwork(next)
	t.prune(&next, len(c.Fired))
	if moved.Parked() {
		t.touch(TopicLeases)
	}
	return nil, nil
}
