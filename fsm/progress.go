package fsm

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Cursor says how far a cohort has judged a network: every position up to
// Position is judged, and its deliveries are recorded or in the outbox.
type Cursor struct {
	Network    string `codec:"n"`
	Cohort     string `codec:"c"`
	Position   uint64 `codec:"p"`
	Index      uint64 `codec:"x"`           // log index of the announcement at Position, or of the cursor's beginning
	Born       uint64 `codec:"b"`           // log index at which the cursor was made
	Tenants    int    `codec:"t"`           // how many of the cohort want the network
	Superseded []Span `codec:"s,omitempty"` // positions rolled back before they were judged, oldest first
	// Until is set once no tenant wants the network any more: positions before it
	// are still owed. A cursor that has come so far is parked.
	Until uint64 `codec:"u,omitempty"`
}

// Parked reports whether the cursor has nothing left to judge: it stays only to
// tell what became of the past.
func (c *Cursor) Parked() bool { return c.Until != 0 && c.Position+1 >= c.Until }

// Span is a stretch of positions, both ends included.
type Span struct {
	From uint64 `codec:"f"`
	To   uint64 `codec:"t"`
}

// keepSpans bounds the superseded stretches that a cursor names.
const keepSpans = 4096

func cursorKey(network, cohort string) []byte { return join(network, cohort) }

// Cursor finds a cohort's cursor on a network, parked or not.
func (v *View) Cursor(network, cohort string) (*Cursor, bool) {
	return get(v.cursors, cursorKey(network, cohort))
}

// Cursors yields the cursors on a network that are not parked, by cohort.
func (v *View) Cursors(network string) iter.Seq[*Cursor] {
	return active(v, cursorKey(network, ""))
}

// AllCursors yields every cursor that is not parked, by network and cohort.
func (v *View) AllCursors() iter.Seq[*Cursor] { return active(v, nil) }

func active(v *View, prefix []byte) iter.Seq[*Cursor] {
	return func(yield func(*Cursor) bool) {
		for _, c := range walk(v.cursors, prefix) {
			if !c.Parked() && !yield(c) {
				return
			}
		}
	}
}

// wantCursor counts a tenant of a cohort in or out. A cursor that begins, or
// begins again, stands behind what is announced: a tenant is not owed what came
// before it. One that ends still owes what was announced until then.
func (t *tx) wantCursor(n *Network, cohort string, by int) {
	c := Cursor{Network: n.Key, Cohort: cohort, Position: n.Next - 1, Index: t.index, Born: t.index}
	if old, ok := t.Cursor(n.Key, cohort); ok {
		c = *old
		if c.Parked() {
			c.Position, c.Index = n.Next-1, t.index
		}
	}
	c.Tenants += by
	c.Until = 0
	if c.Tenants <= 0 {
		c.Until = n.Next
	}
	put(&t.cursors, cursorKey(n.Key, cohort), &c)
}

// release lets go of what was owed to a deleted tenant alone: nobody is left to
// tell, and its private networks have no document any more by which they could
// be judged. The tenant is gone already.
func (t *tx) release(gone *Tenant) {
	for _, key := range slices.Sorted(maps.Keys(gone.Coverage)) {
		old, ok := t.Cursor(key, gone.Cohort)
		if !ok || old.Until == 0 || old.Parked() {
			continue
		}
		c := *old
		c.Until = c.Position + 1
		for other := range t.Tenants() {
			if runs := other.Coverage[key]; other.Cohort == c.Cohort && len(runs) > 0 {
				c.Until = max(c.Until, runs[len(runs)-1].To)
			}
		}
		put(&t.cursors, cursorKey(key, c.Cohort), &c)
		n := t.network(key)
		t.trim(&n)
		t.retire(&n)
		t.putNetwork(n)
	}
}

// drop forgets the private networks of a tenant that is gone, with all that was
// known of them: who comes under the same name later begins with nothing. A
// network is kept while anybody else is owed something of it, which the
// documents do not allow.
func (t *tx) drop(tenant string) {
	if tenant == Shared {
		return
	}
	var idle []string
	for key, n := range walk(t.networks, []byte(networkKey(tenant, ""))) {
		if n.Wanted == 0 && !t.draining(n.Key) {
			idle = append(idle, string(key))
		}
	}
	for _, key := range idle {
		del(&t.networks, []byte(key))
		var cursors, fired [][]byte
		for k := range walk(t.cursors, cursorKey(key, "")) {
			cursors = append(cursors, k)
		}
		for _, k := range cursors {
			del(&t.cursors, k)
		}
		for k := range walk(t.fired, join(key, "")) {
			fired = append(fired, k)
		}
		t.forget(fired)
		t.touch(TopicNetwork(key))
	}
}

// draining reports whether somebody is still to judge announcements of a network.
func (v *View) draining(network string) bool {
	for range v.Cursors(network) {
		return true
	}
	return false
}

// Progress records deliveries and moves a cursor forward, both or neither.
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
	if !ok || cohort.Epoch != c.Epoch {
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
	for i := range c.Fired {
		t.recordFired(&c.Fired[i])
	}
	for i := range c.Outbox {
		put(&t.outbox, []byte(c.Outbox[i].Key), &c.Outbox[i])
		t.touch(TopicOutbox)
	}
	for i := range c.Dead {
		t.putDead(&c.Dead[i])
		t.touch(TopicOutbox)
	}
	if !ok || cursor.Parked() || c.To <= cursor.Position {
		t.prune(n, len(c.Fired))
		return nil, nil // not wanted any more, or told before
	}
	if c.To >= n.Next {
		return nil, fmt.Errorf("network %q: progress to position %d, %d are announced: %w", c.Network, c.To, n.Next-1, ErrConflict)
	}
	moved := *cursor
	moved.Position = c.To
	if e, ok := n.Entry(c.To); ok {
		moved.Index = e.Index
	}
	moved.Superseded = addSpans(moved.Superseded, c.Superseded)
	put(&t.cursors, cursorKey(c.Network, c.Cohort), &moved)
	next := *n
	t.trim(&next)
	t.retire(&next)
	t.putNetwork(next)
	t.prune(&next, len(c.Fired))
	if moved.Parked() {
		t.touch(TopicLeases)
	}
	return nil, nil
}

func addSpans(spans, more []Span) []Span {
	for _, s := range more {
		if last := len(spans) - 1; last >= 0 && spans[last].To+1 == s.From {
			spans = slices.Clone(spans)
			spans[last].To = s.To
			continue
		}
		spans = append(slices.Clip(spans), s)
	}
	return spans[max(0, len(spans)-keepSpans):]
}
