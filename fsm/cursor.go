package fsm

import (
	"iter"
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
	Tenants    int    `codec:"t"`           // how many of the cohort want the network, or have alerts there that may still be retracted
	Members    int    `codec:"m"`           // how many of the cohort want it or ever did: at 0 the cursor goes away
	Superseded []Span `codec:"s,omitempty"` // positions rolled back before they were judged, ascending
	// Until is set once there are none of these any more: positions before it are
	// still owed. A cursor that has come so far is parked.
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

func cursorKey(network, cohort string) string { return join(network, cohort) }

// Cursor finds a cohort's cursor on a network, parked or not.
func (v *View) Cursor(network, cohort string) (*Cursor, bool) {
	return get(v.cursors, cursorKey(network, cohort))
}

// Cursors yields the cursors on a network that are not parked, by cohort.
func (v *View) Cursors(network string) iter.Seq[*Cursor] {
	return active(v, cursorKey(network, ""))
}

// AllCursors yields every cursor that is not parked, by network and cohort.
func (v *View) AllCursors() iter.Seq[*Cursor] { return active(v, "") }

func active(v *View, prefix string) iter.Seq[*Cursor] {
	return func(yield func(*Cursor) bool) {
		for _, c := range walk(v.cursors, prefix) {
			if !c.Parked() && !yield(c) {
				return
			}
		}
	}
}

// Draining reports whether somebody still has announcements of a network to judge,
// or to follow for the sake of what may be retracted.
func (v *View) Draining(network string) bool {
	for range v.Cursors(network) {
		return true
	}
	return false
}

// tally counts tenants in or out of a cursor.
type tally struct {
	tenants int // of those that want the network, or have alerts there that may still be retracted
	members int // of those that have coverage of it
}

// share is what some tenants of a cohort have of its cursor on a network.
type share struct {
	tally
	until uint64 // the least position that all their coverage lies before; see Cursor.Until
}

// add counts a tenant in by its coverage; owed tells that it has alerts that may
// still be retracted.
func (s *share) add(runs []CoverageRun, owed bool) {
	if len(runs) == 0 {
		return
	}
	s.members++
	last := runs[len(runs)-1]
	if last.To == 0 || owed {
		s.tenants++
	}
	s.until = max(s.until, last.To)
}

// recount counts tenants of a cohort in or out. A cursor that begins, or begins
// again, stands behind what is announced: a tenant is not owed what came before
// it. One that ends to be wanted still owes what was announced until then.
func (t *tx) recount(n *Network, cohort string, by tally) {
	c := Cursor{Network: n.Key, Cohort: cohort, Position: n.Next - 1, Index: t.index, Born: t.index}
	if old, ok := t.Cursor(n.Key, cohort); ok {
		c = *old
		if c.Parked() && by.tenants > 0 {
			c.Position, c.Index = n.Next-1, t.index
		}
	}
	c.Tenants += by.tenants
	c.Members += by.members
	switch {
	case c.Tenants > 0:
		c.Until = 0
	case c.Until == 0:
		c.Until = n.Next
	}
	t.putCursor(&c)
}

// putCursor keeps a cursor while it tells anybody anything.
func (t *tx) putCursor(c *Cursor) {
	if c.Members <= 0 {
		del(t.edit, &t.cursors, cursorKey(c.Network, c.Cohort))
		return
	}
	put(t.edit, &t.cursors, cursorKey(c.Network, c.Cohort), c)
}

// settleCursors follows changes of a network's cursors: what others waited for
// may be parked or gone.
func (t *tx) settleCursors(n *Network) {
	t.trim(n)
	t.retire(n)
	t.putNetwork(*n)
}

// split makes the cursor of a new cohort for its share of another's: it stands
// where that one stands. The other is still to be counted down.
func (t *tx) split(network, from, to string, s share) {
	old, ok := t.Cursor(network, from)
	if !ok {
		return
	}
	c := *old
	c.Cohort, c.Born, c.Tenants, c.Members, c.Until = to, t.index, s.tenants, s.members, 0
	if c.Tenants == 0 {
		c.Until = s.until
	}
	t.putCursor(&c)
}

// atEnd reports whether a cohort has judged all that is announced of a network,
// as far as it will.
func (v *View) atEnd(network, cohort string) bool {
	c, ok := v.Cursor(network, cohort)
	if !ok || c.Parked() {
		return true
	}
	n, ok := v.Network(network)
	return ok && c.Position+1 == n.Next
}

// unite makes one cursor of two that are atEnd. Where both stand at one position,
// the lesser Index counts: a change of configuration between the two is still
// to be met.
func (t *tx) unite(network, from, into string) {
	a, ok := t.Cursor(network, from)
	if !ok {
		return
	}
	c := *a
	c.Cohort, c.Born = into, t.index
	if b, ok := t.Cursor(network, into); ok {
		c.Born = b.Born
		c.Position = max(a.Position, b.Position)
		switch {
		case a.Position == b.Position:
			c.Index = min(a.Index, b.Index)
		case b.Position > a.Position:
			c.Index = b.Index
		}
		c.Tenants += b.Tenants
		c.Members += b.Members
		c.Until = max(a.Until, b.Until)
		c.Superseded = uniteSpans(a.Superseded, b.Superseded)
	}
	if c.Tenants > 0 {
		c.Until = 0
	}
	del(t.edit, &t.cursors, cursorKey(network, from))
	t.putCursor(&c)
}

// uniteSpans is every position of either, in order; of too many the newest.
func uniteSpans(a, b []Span) []Span {
	out := mergeSpans(a, b)
	return slices.Clip(out[max(0, len(out)-keepSpans):])
}

// mergeSpans is every number of either, in order.
func mergeSpans(a, b []Span) []Span {
	if len(a) == 0 || len(b) == 0 {
		return slices.Concat(a, b)
	}
	all := slices.SortedFunc(slices.Values(slices.Concat(a, b)), func(x, y Span) int {
		switch {
		case x.From < y.From:
			return -1
		case x.From > y.From:
			return 1
		}
		return 0
	})
	out := all[:1]
	for _, s := range all[1:] {
		last := &out[len(out)-1]
		if s.From <= last.To+1 {
			last.To = max(last.To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// addSpans appends what follows.
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
