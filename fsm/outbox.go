package fsm

import "iter"

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
	Born     uint64 `codec:"z"` // the tenant's: another of the name has nothing to do with it
	Trigger  string `codec:"g"`
	Delivery []byte `codec:"d"` // alert.Delivery, encoded
	At       int64  `codec:"a"` // when it was handed over, Unix milliseconds
	Attempts uint32 `codec:"n"` // made so far
	// NotBefore is when the next attempt is due, Unix milliseconds; 0 when the
	// schedule alone tells.
	NotBefore int64 `codec:"b,omitempty"`
	// After is the key of the delivery of the same alert and trigger that must be
	// settled first; empty: none.
	After   string `codec:"f,omitempty"`
	Reason  string `codec:"r"`           // why the last attempt failed
	Status  int    `codec:"s,omitempty"` // of the last answer; 0 where there was none
	Excerpt string `codec:"e,omitempty"` // of the last answer
}

// Bounds of the outbox, in bytes. What does not fit becomes a dead letter at once,
// with a reason that says so: a receiver that is down for days must not fill the
// memory of every node, nor take another tenant's place.
const (
	MaxOutgoing     = 64 << 10  // of one Delivery; as a dead letter it keeps its other fields alone
	MaxOutboxTenant = 4 << 20   // of one tenant's entries, by Outgoing.Size
	MaxOutbox       = 256 << 20 // of all entries, by Outgoing.Size
)

// outboxPart is the part of what is free in the whole outbox that a tenant may have in
// it, and put in one more: 4 MiB while a quarter is free, and less the less there is.
// However many tenants' receivers are down, who has nothing in it finds room.
const outboxPart = 16

// overhead is what an entry takes in memory beside its texts and its content, in
// bytes: the other fields, and its place in the trees. Measured: 755 in the outbox.
const overhead = 768

// Size is what an entry, or a dead letter, counts for in every bound, in bytes.
func (o *Outgoing) Size() int64 {
	return int64(overhead + len(o.Key) + len(o.Tenant) + len(o.Trigger) + len(o.After) + len(o.Delivery) + len(o.Reason) + len(o.Excerpt))
}

// maxText bounds the texts of an entry that come from outside, in bytes.
const maxText = 1 << 10

// The reasons of what does not fit.
const (
	reasonLarge  = "too large for the outbox: a delivery may have 64 KiB"
	reasonTenant = "the tenant's outbox is full: it holds 4 MiB of deliveries that could not be made yet"
	reasonShare  = "the cluster's outbox is filling up: what is free is for tenants that have less in it than this one"
	reasonFull   = "the cluster's outbox is full: it holds 256 MiB of deliveries that could not be made yet"
)

func letterKey(tenant, key string) string { return join(tenant, key) }

// Outbox yields the deliveries still to be made, by tenant and key.
func (v *View) Outbox() iter.Seq[*Outgoing] { return values(v.outbox) }

// OutboxOf yields a tenant's deliveries still to be made, by key.
func (v *View) OutboxOf(tenant string) iter.Seq[*Outgoing] { return below(v.outbox, join(tenant, "")) }

// OutboxLen is the number of deliveries still to be made.
func (v *View) OutboxLen() int { return v.outbox.Len() }

// OutboxBytes is the size of all deliveries still to be made; see MaxOutbox.
func (v *View) OutboxBytes() int64 { return v.outboxBytes }

// FindOutgoing finds a tenant's delivery still to be made.
func (v *View) FindOutgoing(tenant, key string) (*Outgoing, bool) {
	return get(v.outbox, letterKey(tenant, key))
}

// admit puts a delivery into the outbox in place of the one of the same key. Where
// it does not fit, it becomes a dead letter that died at the time given; what is
// there already goes on without its texts rather than that.
func (t *tx) admit(o *Outgoing, at int64) bool {
	t.dropDead(o.Tenant, o.Key) // of an earlier tenant of the name
	o.Reason, o.Excerpt = clip(o.Reason), clip(o.Excerpt)
	reason := t.overflow(o)
	if reason == "" {
		t.putOutgoing(o)
		return true
	}
	bare := *o
	bare.Reason, bare.Excerpt = "", ""
	if _, there := t.FindOutgoing(o.Tenant, o.Key); there && t.overflow(&bare) == "" {
		t.putOutgoing(&bare)
		return true
	}
	t.bury(o, reason, at)
	return false
}

// overflow is why a delivery does not fit; empty if it does.
func (v *View) overflow(o *Outgoing) string {
	grow := o.Size()
	old, there := v.FindOutgoing(o.Tenant, o.Key)
	if there {
		grow -= old.Size()
	}
	used, free := v.Box(o.Tenant).Bytes, MaxOutbox-v.outboxBytes
	switch {
	case len(o.Delivery) > MaxOutgoing:
		return reasonLarge
	case grow <= 0:
		return ""
	case used+grow > MaxOutboxTenant:
		return reasonTenant
	case grow > free:
		return reasonFull
	case !there && used > 0 && used+grow > free/outboxPart:
		return reasonShare
	}
	return ""
}

// OutboxRoom is how many bytes, in deliveries of any sizes, a tenant's outbox takes for
// sure.
func (v *View) OutboxRoom(tenant string) int64 {
	used, free := v.Box(tenant).Bytes, MaxOutbox-v.outboxBytes
	return max(0, min(MaxOutboxTenant-used, (free-outboxPart*used)/(outboxPart+1)))
}

func (t *tx) putOutgoing(o *Outgoing) {
	t.dropOutgoing(o.Tenant, o.Key)
	put(t.edit, &t.outbox, letterKey(o.Tenant, o.Key), o)
	t.editBox(o.Tenant, func(b *Box) {
		b.Entries++
		b.Bytes += o.Size()
	})
	t.touch(TopicOutbox)
}

// dropOutgoing takes a delivery off the outbox and reports whether it was there.
func (t *tx) dropOutgoing(tenant, key string) bool {
	old, ok := t.FindOutgoing(tenant, key)
	if !ok {
		return false
	}
	del(t.edit, &t.outbox, letterKey(tenant, key))
	t.editBox(tenant, func(b *Box) {
		b.Entries--
		b.Bytes -= old.Size()
	})
	t.touch(TopicOutbox)
	return true
}

// handOver takes what a worker could not deliver at once. What is a dead letter
// already, or waits after as many attempts, was told before: its schedule stays.
func (t *tx) handOver(o *Outgoing) {
	if t.isDead(o) {
		return
	}
	if old, ok := t.FindOutgoing(o.Tenant, o.Key); ok && old.Attempts >= o.Attempts {
		return
	}
	t.admit(o, o.At)
}

// Settle tells what became of deliveries in the outbox.
type Settle struct {
	Settled []Settled `codec:"s"`
	At      int64     `codec:"a"`
}

// Settled is the outcome of one delivery: Sent takes it off the outbox, Refused
// makes it a dead letter, HandedOver keeps it with one more attempt counted.
type Settled struct {
	Tenant   string  `codec:"t"`
	Key      string  `codec:"k"`
	Outcome  Outcome `codec:"o"`
	Attempts uint32  `codec:"n"`
	Reason   string  `codec:"r,omitempty"`
	Status   int     `codec:"s,omitempty"` // of the answer; 0 where there was none
	Excerpt  string  `codec:"x,omitempty"` // of the answer
	// NotBefore: see Outgoing.
	NotBefore int64 `codec:"b,omitempty"`
}

// Type is TypeSettle.
func (*Settle) Type() Type { return TypeSettle }

func (c *Settle) apply(t *tx) (any, error) {
	for _, s := range c.Settled {
		o, ok := t.FindOutgoing(s.Tenant, s.Key)
		if !ok {
			continue // settled before
		}
		next := *o
		next.Attempts, next.Reason, next.NotBefore = s.Attempts, s.Reason, s.NotBefore
		next.Status, next.Excerpt = s.Status, s.Excerpt
		switch s.Outcome {
		case Sent:
			t.dropOutgoing(s.Tenant, s.Key)
		case Refused:
			t.bury(&next, s.Reason, c.At)
		default:
			t.admit(&next, c.At)
		}
	}
	t.touch(TopicOutbox)
	return nil, nil
}
