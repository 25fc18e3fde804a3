package fsm

import (
	"iter"
	"slices"
)

// AlertState is what has become of an alert. The zero value is not a state.
type AlertState uint8

// The states of an alert; the numbers are those of worker/alert.State.
const (
	AlertFired      AlertState = 1 // the transaction was judged in a block of the chain
	AlertRetracted  AlertState = 2 // that block was rolled back
	AlertReinstated AlertState = 3 // the transaction came back, in another block or in the same
	AlertConfirmed  AlertState = 4 // the block has reached the network's depth (mode both)
)

// String is the state's name.
func (s AlertState) String() string {
	switch s {
	case AlertFired:
		return "fired"
	case AlertRetracted:
		return "retracted"
	case AlertReinstated:
		return "reinstated"
	case AlertConfirmed:
		return "confirmed"
	default:
		return "unknown"
	}
}

// Fired is an entry of the fired ledger: an alert, the block it came from and
// what was sent of it. It is kept until that block is final, so that a crash
// repeats nothing and a roll-back knows what to retract.
type Fired struct {
	Network  string     `codec:"n"`
	Block    BlockRef   `codec:"b"`
	Alert    string     `codec:"a"` // alert id
	Tenant   string     `codec:"t"`
	Born     uint64     `codec:"z"` // the tenant's: what another of the name was told counts for nothing
	Monitor  string     `codec:"m"` // monitor id
	Tx       string     `codec:"x"`
	State    AlertState `codec:"s"` // the last one for this block
	Position uint64     `codec:"p"` // of the announcement that brought State about
	Version  uint64     `codec:"v"` // configuration version
	At       int64      `codec:"u"` // Unix milliseconds
	// Content is what a retraction is made of: the alert, encoded. It is there only
	// where the monitor has a mode; any other's alerts are never retracted.
	Content    []byte      `codec:"c,omitempty"`
	Deliveries []Delivered `codec:"d,omitempty"`
}

// Delivered is one delivery of a fired alert.
type Delivered struct {
	Key        string     `codec:"k"` // delivery key
	Trigger    string     `codec:"t"`
	Occurrence uint32     `codec:"n,omitempty"` // of the trigger in the monitor's list, from 0
	State      AlertState `codec:"s,omitempty"` // the state that was told
	Position   uint64     `codec:"p,omitempty"` // of the announcement that brought it about
	Outcome    Outcome    `codec:"o"`
	// After is the key of what the same trigger was to hear before; empty: nothing.
	After string `codec:"f,omitempty"`
}

// Retraction says that an alert was retracted and has not come back since.
type Retraction struct {
	Block    BlockRef `codec:"b"` // in which it had fired
	Position uint64   `codec:"p"` // of the roll-back
	Born     uint64   `codec:"z"` // see Fired
}

// retraction is a Retraction as it is kept.
type retraction struct {
	Network string `codec:"n"`
	Alert   string `codec:"a"`
	Retraction
}

func firedKey(network string, block BlockRef, alert string) string {
	return join(network, "") + be64(block.Height) + string(block.Hash[:]) + alert
}

// FindFired finds what was recorded of an alert for one block, of the tenant that
// was born at that index.
func (v *View) FindFired(network string, block BlockRef, alert string, born uint64) (*Fired, bool) {
	f, ok := get(v.fired, firedKey(network, block, alert))
	if !ok || f.Born != born {
		return nil, false
	}
	return f, true
}

// FiredOn yields the ledger of a network by height, block and alert.
func (v *View) FiredOn(network string) iter.Seq[*Fired] {
	return func(yield func(*Fired) bool) {
		for _, f := range walk(v.fired, join(network, "")) {
			if !yield(f) {
				return
			}
		}
	}
}

// FiredBetween yields what was fired for blocks of the heights given, both
// included, on whatever branch they lay.
func (v *View) FiredBetween(network string, from, to uint64) iter.Seq[*Fired] {
	return func(yield func(*Fired) bool) {
		for _, f := range v.fired.from(join(network, "") + be64(from)) {
			if f.Network != network || f.Block.Height > to || !yield(f) {
				return
			}
		}
	}
}

// Retracted tells whether an alert, of the tenant that was born at that index, was
// retracted and has not come back since. It is forgotten with the ledger's entry of
// the block that was rolled back.
func (v *View) Retracted(network, alert string, born uint64) (Retraction, bool) {
	r, ok := get(v.retracted, retractionKey(network, alert))
	if !ok || r.Born != born {
		return Retraction{}, false
	}
	return r.Retraction, true
}

func retractionKey(network, alert string) string { return join(network, alert) }

// recordFired adds to the ledger. Deliveries recorded before are kept; the later
// state of two counts, whichever is told first. What a tenant of the same name left
// behind gives way.
func (t *tx) recordFired(f *Fired) {
	key := firedKey(f.Network, f.Block, f.Alert)
	old, known := get(t.fired, key)
	if known && old.Born != f.Born {
		t.countRetractable(old, -1)
		t.addContent(old, -1)
		known = false
	}
	if known {
		merged := *old
		if f.Position > old.Position {
			merged = *f
		}
		if len(merged.Content) == 0 {
			merged.Content = old.Content
		}
		if len(merged.Content) == 0 {
			merged.Content = f.Content
		}
		merged.Deliveries = mergeDelivered(old.Deliveries, f.Deliveries)
		t.putFired(key, old, &merged)
	} else {
		t.putFired(key, nil, f)
	}
	if len(f.Content) > 0 && (!known || len(old.Content) == 0) {
		t.hold(f)
	}
	if !known || f.Position > old.Position { // otherwise it was told before: what followed stands
		t.recordRetraction(f)
	}
}

// mergeDelivered adds deliveries; one that is told again is as told last.
func mergeDelivered(old, more []Delivered) []Delivered {
	merged := slices.Clone(old)
	for _, d := range more {
		i := slices.IndexFunc(merged, func(o Delivered) bool { return o.Key == d.Key })
		if i < 0 {
			merged = append(merged, d)
		} else {
			merged[i] = d
		}
	}
	return merged
}

// recordRetraction follows what an alert's new state means for it as a whole,
// over all the blocks it was in.
func (t *tx) recordRetraction(f *Fired) {
	key := retractionKey(f.Network, f.Alert)
	old, known := get(t.retracted, key)
	switch {
	case known && old.Born == f.Born && old.Position >= f.Position:
	case f.State == AlertRetracted:
		put(t.edit, &t.retracted, key, &retraction{
			Network: f.Network, Alert: f.Alert, Retraction: Retraction{Block: f.Block, Position: f.Position, Born: f.Born},
		})
	case known:
		del(t.edit, &t.retracted, key)
	}
}

// pruneStep is how many alerts more than it has added one command may forget,
// and how many that a slow cursor holds back it looks past. Those lie in front,
// so what is behind more of them waits as well.
const pruneStep = 1024

// prune forgets what was fired for blocks that are final and judged, by a
// command that has added alerts itself: whatever the load, more may go than come.
func (t *tx) prune(n *Network, added int) {
	tip, ok := n.Branch.Tip()
	window := uint64(n.Lease.window())
	if !ok || tip.Height < window {
		return
	}
	final := tip.Height - window
	judged, _ := n.Base.Tip() // by every cursor: a slow one may still have to retract, or to confirm
	retractable := func(f *Fired) bool { return len(f.Content) > 0 && f.Block.Height+window >= judged.Height }
	least := n.Next - 1
	for c := range t.Cursors(n.Key) {
		least = min(least, c.Position)
	}
	prefix := join(n.Key, "")
	var gone []*Fired
	held := 0
	for _, f := range walk(t.fired, prefix) {
		if f.Block.Height >= final || held == pruneStep || len(gone) == added+pruneStep {
			break
		}
		if f.Position <= least && !retractable(f) {
			gone = append(gone, f)
		} else {
			held++
		}
	}
	if len(gone) == 0 {
		return
	}
	t.forget(gone)
	t.lapse(n, gone)
}

// forget takes alerts out of the ledger, and what retracted them.
func (t *tx) forget(gone []*Fired) {
	for _, f := range gone {
		t.addContent(f, -1)
		del(t.edit, &t.fired, firedKey(f.Network, f.Block, f.Alert))
		t.countRetractable(f, -1)
		key := retractionKey(f.Network, f.Alert)
		if r, ok := get(t.retracted, key); ok && r.Block == f.Block && r.Born == f.Born {
			del(t.edit, &t.retracted, key)
		}
	}
}
