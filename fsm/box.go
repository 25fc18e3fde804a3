package fsm

import "iter"

// Box is what one tenant has in the outbox and among the dead letters. Sizes are
// in bytes, by Outgoing.Size; see MaxOutboxTenant and KeepDeadBytes.
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

// boxed is a Box with what its place among those with dead letters depends on.
type boxed struct {
	Box
	gone bool // the tenant was deleted
}

// grave is the place of a box with dead letters: the last is the first to lose one.
func (b *boxed) grave(tenant string) string {
	first := "\x00"
	if b.gone {
		first = "\x01"
	}
	return first + be64(uint64(b.DeadBytes)) + tenant
}

// Box counts what a tenant has in the outbox and among the dead letters.
func (v *View) Box(tenant string) Box {
	b, ok := get(v.boxes, tenant)
	if !ok {
		return Box{}
	}
	return b.Box
}

// Boxes yields the tenants that have, or had, something in the outbox or among the
// dead letters. A box is replaced whenever anything in it changes, also where its
// counts stay the same: who keeps the pointer can tell.
func (v *View) Boxes() iter.Seq2[string, *Box] {
	return func(yield func(string, *Box) bool) {
		for tenant, b := range walk(v.boxes, "") {
			if !yield(tenant, &b.Box) {
				return
			}
		}
	}
}

// editBox replaces a tenant's box. One that tells nothing any more goes away.
func (t *tx) editBox(tenant string, change func(*Box)) {
	old, known := get(t.boxes, tenant)
	if !known {
		old = &boxed{}
	}
	_, exists := t.Tenant(tenant)
	next := &boxed{Box: old.Box, gone: !exists}
	change(&next.Box)
	t.outboxBytes += next.Bytes - old.Bytes
	t.deadBytes += next.DeadBytes - old.DeadBytes
	if old.DeadBytes != next.DeadBytes || old.gone != next.gone {
		t.rebury(tenant, old, next)
	}
	switch {
	case next.Entries > 0 || next.Dead > 0 || next.Forgotten > 0 && exists:
		put(t.edit, &t.boxes, tenant, next)
	case known:
		del(t.edit, &t.boxes, tenant)
	default:
		return
	}
	t.markBox(tenant)
}

// rebury moves a box to its place by its dead letters.
func (t *tx) rebury(tenant string, old, next *boxed) {
	if old.Dead > 0 {
		del(t.edit, &t.graves, old.grave(tenant))
	}
	if next.Dead > 0 {
		put(t.edit, &t.graves, next.grave(tenant), tenant)
	}
}

// countBoxes derives the boxes from what they count. What changed before is not
// known: the state was another one then.
func (t *tx) countBoxes(lost []forgotten) {
	boxes := map[string]*boxed{}
	of := func(tenant string) *boxed {
		b, ok := boxes[tenant]
		if !ok {
			_, exists := t.Tenant(tenant)
			b = &boxed{gone: !exists}
			boxes[tenant] = b
		}
		return b
	}
	t.outboxBytes, t.deadBytes = 0, 0
	t.boxesFrom, t.boxNotes, t.boxNotesOld = t.index+1, nil, nil
	for o := range t.Outbox() {
		b := of(o.Tenant)
		b.Entries++
		b.Bytes += o.Size()
		t.outboxBytes += o.Size()
	}
	for d := range t.DeadLetters() {
		b := of(d.Tenant)
		b.Dead++
		b.DeadBytes += d.Size()
		t.deadBytes += d.Size()
	}
	for _, f := range lost {
		of(f.Tenant).Forgotten = f.Count
	}
	for tenant, b := range boxes {
		put(t.edit, &t.boxes, tenant, b)
		if b.Dead > 0 {
			put(t.edit, &t.graves, b.grave(tenant), tenant)
		}
	}
}
