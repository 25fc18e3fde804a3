package fsm

import (
	"iter"
	"slices"
)

// Fired is an entry of the fired ledger: an alert, the block it came from and
// what was sent of it. It is kept until that block is final, so that a crash
// repeats nothing and a roll-back knows what to retract.
type Fired struct {
	Network    string      `codec:"n"`
	Block      BlockRef    `codec:"b"`
	Alert      string      `codec:"a"` // alert id
	Tenant     string      `codec:"t"`
	Monitor    string      `codec:"m"` // monitor id
	Tx         string      `codec:"x"`
	Position   uint64      `codec:"p"`
	Version    uint64      `codec:"v"` // configuration version
	At         int64       `codec:"u"` // Unix milliseconds
	Deliveries []Delivered `codec:"d,omitempty"`
}

// Delivered is one delivery of a fired alert.
type Delivered struct {
	Key     string  `codec:"k"` // delivery key
	Trigger string  `codec:"t"`
	Outcome Outcome `codec:"o"`
}

// Outcome is what became of a delivery when it was recorded.
type Outcome uint8

// The outcomes.
const (
	Sent       Outcome = 1 // the receiver accepted it
	HandedOver Outcome = 2 // it is in the outbox
	Refused    Outcome = 3 // it is a dead letter
)

// String is the outcome's name in metrics, the journal and messages.
func (o Outcome) String() string {
	switch o {
	case Sent:
		return "sent"
	case HandedOver:
		return "outbox"
	case Refused:
		return "dead"
	default:
		return "unknown"
	}
}

// Outgoing is an entry of the outbox: a delivery that is still to be made.
type Outgoing struct {
	Key      string `codec:"k"`
	Tenant   string `codec:"t"`
	Trigger  string `codec:"g"`
	Delivery []byte `codec:"d"` // alert.Delivery, encoded
	At       int64  `codec:"a"` // when it was handed over, Unix milliseconds
	Attempts uint32 `codec:"n"` // made so far
	// NotBefore is when the next attempt is due, Unix milliseconds; 0 when the
	// schedule alone tells.
	NotBefore int64  `codec:"b,omitempty"`
	Reason    string `codec:"r"` // why the last attempt failed
}

func firedKey(network string, block BlockRef, alert string) []byte {
	key := append(join(network, ""), be64(block.Height)...)
	key = append(key, block.Hash[:]...)
	return append(key, alert...)
}

// FindFired finds what was recorded of an alert for one block.
func (v *View) FindFired(network string, block BlockRef, alert string) (*Fired, bool) {
	return get(v.fired, firedKey(network, block, alert))
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
		prefix := join(network, "")
		it := v.fired.Root().Iterator()
		it.SeekLowerBound(append(prefix, be64(from)...))
		for _, f, ok := it.Next(); ok; _, f, ok = it.Next() {
			if f.Network != network || f.Block.Height > to || !yield(f) {
				return
			}
		}
	}
}

// Outbox yields the deliveries still to be made, by key.
func (v *View) Outbox() iter.Seq[*Outgoing] { return values(v.outbox) }

// OutboxLen is the number of deliveries still to be made.
func (v *View) OutboxLen() int { return v.outbox.Len() }

// FindOutgoing finds a delivery still to be made.
func (v *View) FindOutgoing(key string) (*Outgoing, bool) { return get(v.outbox, []byte(key)) }

// recordFired adds to the ledger; deliveries recorded before are kept.
func (t *tx) recordFired(f *Fired) {
	key := firedKey(f.Network, f.Block, f.Alert)
	if old, ok := get(t.fired, key); ok {
		merged := *old
		merged.Deliveries = slices.Clone(old.Deliveries)
		for _, d := range f.Deliveries {
			i := slices.IndexFunc(merged.Deliveries, func(o Delivered) bool { return o.Key == d.Key })
			if i < 0 {
				merged.Deliveries = append(merged.Deliveries, d)
			} else {
				merged.Deliveries[i] = d
			}
		}
		f = &merged
	}
	put(&t.fired, key, f)
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
	least := n.Next - 1
	for c := range t.Cursors(n.Key) {
		least = min(least, c.Position)
	}
	prefix := join(n.Key, "")
	var gone [][]byte
	held := 0
	for key, f := range walk(t.fired, prefix) {
		if f.Block.Height >= final || held == pruneStep || len(gone) == added+pruneStep {
			break
		}
		if f.Position <= least {
			gone = append(gone, key)
		} else {
			held++
		}
	}
	if len(gone) == 0 {
		return
	}
	t.forget(gone)
}

// forget takes alerts out of the ledger.
func (t *tx) forget(keys [][]byte) {
	txn := t.fired.Txn()
	for _, key := range keys {
		txn.Delete(key)
	}
	t.fired = txn.Commit()
}

// Settle tells what became of deliveries in the outbox.
type Settle struct {
	Settled []Settled `codec:"s"`
	At      int64     `codec:"a"`
}

// Settled is the outcome of one delivery: Sent takes it off the outbox, Refused
// makes it a dead letter, HandedOver keeps it with one more attempt counted.
type Settled struct {
	Key      string  `codec:"k"`
	Outcome  Outcome `codec:"o"`
	Attempts uint32  `codec:"n"`
	Reason   string  `codec:"r,omitempty"`
	// NotBefore: see Outgoing.
	NotBefore int64 `codec:"b,omitempty"`
}

// Type is TypeSettle.
func (*Settle) Type() Type { return TypeSettle }

func (c *Settle) apply(t *tx) (any, error) {
	for _, s := range c.Settled {
		o, ok := get(t.outbox, []byte(s.Key))
		if !ok {
			continue // settled before
		}
		next := *o
		next.Attempts, next.Reason, next.NotBefore = s.Attempts, s.Reason, s.NotBefore
		switch s.Outcome {
		case Sent:
			del(&t.outbox, []byte(s.Key))
		case Refused:
			t.bury(&next, s.Reason, c.At)
		default:
			put(&t.outbox, []byte(s.Key), &next)
		}
	}
	t.touch(TopicOutbox)
	return nil, nil
}

func (t *tx) bury(o *Outgoing, reason string, at int64) {
	d := Dead{Outgoing: *o, DiedAt: at}
	d.Reason = reason
	del(&t.outbox, []byte(o.Key))
	t.putDead(&d)
	t.touch(TopicOutbox)
}
