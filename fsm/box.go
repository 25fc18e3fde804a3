package fsm

import (
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Box is what one tenant has in the outbox and among the dead letters. Sizes are
// those of the deliveries, in bytes; see MaxOutboxTenant and KeepDeadBytes.
type Box struct {
	Entries   int   // deliveries still to be made
	Bytes     int64 // of those
	Dead      int   // dead letters
	DeadBytes int64 // of those
	// Forgotten counts the dead letters that had to make room for newer ones. It
	// starts anew with a tenant that was deleted, once nothing is left of it.
	Forgotten uint64
}

// forgotten is the part of a Box that nothing else tells.
type forgotten struct {
	Tenant string `codec:"t"`
	Count  uint64 `codec:"n"`
}

// Box counts what a tenant has in the outbox and among the dead letters.
func (v *View) Box(tenant string) Box {
	b, ok := get(v.boxes, []byte(tenant))
	if !ok {
		return Box{}
	}
	return *b
}

// Boxes yields the tenants that have, or had, something in the outbox or among the
// dead letters. A box is replaced whenever anything in it changes, also where its
// counts stay the same: who keeps the pointer can tell.
func (v *View) Boxes() iter.Seq2[string, *Box] {
	return func(yield func(string, *Box) bool) {
		for tenant, b := range walk(v.boxes, nil) {
			if !yield(string(tenant), b) {
				return
			}
		}
	}
}

// editBox replaces a tenant's box. One that tells nothing any more goes away.
func (v *View) editBox(tenant string, change func(*Box)) {
	b := v.Box(tenant)
	change(&b)
	_, exists := v.Tenant(tenant)
	if b.Entries == 0 && b.Dead == 0 && (b.Forgotten == 0 || !exists) {
		del(&v.boxes, []byte(tenant))
		return
	}
	put(&v.boxes, []byte(tenant), &b)
}

// countBoxes derives the boxes from what they count.
func (v *View) countBoxes(lost []forgotten) {
	boxes := map[string]*Box{}
	of := func(tenant string) *Box {
		b, ok := boxes[tenant]
		if !ok {
			b = new(Box)
			boxes[tenant] = b
		}
		return b
	}
	v.outboxBytes = 0
	for o := range v.Outbox() {
		b := of(o.Tenant)
		b.Entries++
		b.Bytes += int64(len(o.Delivery))
		v.outboxBytes += int64(len(o.Delivery))
	}
	for d := range v.DeadLetters() {
		b := of(d.Tenant)
		b.Dead++
		b.DeadBytes += int64(len(d.Delivery))
	}
	for _, f := range lost {
		of(f.Tenant).Forgotten = f.Count
	}
	txn := iradix.New[*Box]().Txn()
	for tenant, b := range boxes {
		txn.Insert([]byte(tenant), b)
	}
	v.boxes = txn.Commit()
}
