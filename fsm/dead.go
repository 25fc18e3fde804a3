package fsm

import (
	"iter"
	"strings"
)

// Dead is a dead letter: a delivery that was given up.
type Dead struct {
	Outgoing
	DiedAt int64 `codec:"x"` // Unix milliseconds
}

// Bounds of dead letters: of more, those that died first are forgotten, and counted
// in Box.Forgotten. What is too much in all goes from the tenant that has the most
// bytes of them, so that none pushes out what one with fewer has; from one that was
// deleted before that.
const (
	KeepDead      = 1000      // of one tenant
	KeepDeadBytes = 4 << 20   // of one tenant, by Outgoing.Size
	MaxDead       = 256 << 20 // of all, by Outgoing.Size
)

// deaths is a tenant's dead letters by the time they died, then by key.
type deaths = tree[struct{}]

// DeadLetters yields the deliveries that were given up, by tenant and key.
func (v *View) DeadLetters() iter.Seq[*Dead] { return values(v.dead) }

// DeadOf yields a tenant's dead letters, by key.
func (v *View) DeadOf(tenant string) iter.Seq[*Dead] { return below(v.dead, join(tenant, "")) }

// DeadLen is the number of dead letters.
func (v *View) DeadLen() int { return v.dead.Len() }

// DeadBytes is the size of all dead letters; see MaxDead.
func (v *View) DeadBytes() int64 { return v.deadBytes }

// FindDead finds a tenant's dead letter.
func (v *View) FindDead(tenant, key string) (*Dead, bool) { return get(v.dead, letterKey(tenant, key)) }

// isDead reports whether a delivery is a dead letter: one that an earlier tenant of the
// name left behind is another.
func (v *View) isDead(o *Outgoing) bool {
	d, ok := v.FindDead(o.Tenant, o.Key)
	return ok && d.Born == o.Born
}

// bury makes a delivery a dead letter; the outbox has it no more.
func (t *tx) bury(o *Outgoing, reason string, at int64) {
	d := &Dead{Outgoing: *o, DiedAt: at}
	d.Reason = reason
	t.putDead(d)
}

// putDead keeps a dead letter in place of the delivery in the outbox, and of an
// earlier death. One too large for the outbox keeps its other fields alone.
func (t *tx) putDead(d *Dead) {
	if len(d.Delivery) > MaxOutgoing {
		d.Delivery = nil
	}
	d.Reason, d.Excerpt = clip(d.Reason), clip(d.Excerpt)
	t.dropOutgoing(d.Tenant, d.Key)
	t.dropDead(d.Tenant, d.Key)
	put(t.edit, &t.dead, letterKey(d.Tenant, d.Key), d)
	t.indexDead(d)
	t.editBox(d.Tenant, func(b *Box) {
		b.Dead++
		b.DeadBytes += d.Size()
	})
	t.boundDead(d.Tenant)
	t.touch(TopicOutbox)
}

// boundDead forgets dead letters after a tenant has got more of them.
func (t *tx) boundDead(tenant string) {
	for b := t.Box(tenant); b.Dead > KeepDead || b.DeadBytes > KeepDeadBytes; b = t.Box(tenant) {
		t.forgetOldest(tenant)
	}
	for t.deadBytes > MaxDead {
		_, heaviest, _ := t.graves.last()
		t.forgetOldest(heaviest)
	}
}

// forgetOldest forgets the first of a tenant's dead letters, to make room.
func (t *tx) forgetOldest(tenant string) {
	index, _ := get(t.deaths, tenant)
	oldest, _, _ := index.first()
	t.editBox(tenant, func(b *Box) { b.Forgotten++ })
	t.dropDead(tenant, oldest[len(timeKey(0)):])
}

// dropDead forgets a dead letter and reports whether there was one.
func (t *tx) dropDead(tenant, key string) bool {
	d, ok := t.FindDead(tenant, key)
	if !ok {
		return false
	}
	del(t.edit, &t.dead, letterKey(tenant, key))
	index, _ := get(t.deaths, tenant)
	del(t.edit, &index, deathKey(d))
	if index.Len() == 0 {
		del(t.edit, &t.deaths, tenant)
	} else {
		put(t.edit, &t.deaths, tenant, index)
	}
	t.editBox(tenant, func(b *Box) {
		b.Dead--
		b.DeadBytes -= d.Size()
	})
	t.touch(TopicOutbox)
	return true
}

// indexDead notes when a dead letter died.
func (t *tx) indexDead(d *Dead) {
	index, _ := get(t.deaths, d.Tenant)
	put(t.edit, &index, deathKey(d), struct{}{})
	put(t.edit, &t.deaths, d.Tenant, index)
}

func deathKey(d *Dead) string { return timeKey(d.DiedAt) + d.Key }

// Purge forgets deliveries of a tenant, dead letters and those still to be made.
// It answers with how many it has forgotten.
type Purge struct {
	Tenant string   `codec:"t"`
	Keys   []string `codec:"k"`
}

// Type is TypePurge.
func (*Purge) Type() Type { return TypePurge }

func (c *Purge) apply(t *tx) (any, error) {
	n := 0
	for _, key := range c.Keys {
		if t.dropDead(c.Tenant, key) || t.dropOutgoing(c.Tenant, key) {
			n++
		}
	}
	return n, nil
}

// Redeliver has deliveries of a tenant attempted at once, as if they were handed
// over now and never attempted: their schedule begins anew. Dead letters go back to
// the outbox as far as it has room for them. One whose content was too large to be
// kept stays where it is, and so does one of a deleted tenant whose name another
// has by now. It answers with how many are due now.
type Redeliver struct {
	Tenant string   `codec:"t"`
	Keys   []string `codec:"k"`
	At     int64    `codec:"a"` // Unix milliseconds
}

// Type is TypeRedeliver.
func (*Redeliver) Type() Type { return TypeRedeliver }

func (c *Redeliver) apply(t *tx) (any, error) {
	n := 0
	for _, key := range c.Keys {
		if t.redeliver(c.Tenant, key, c.At) {
			n++
		}
	}
	return n, nil
}

func (t *tx) redeliver(tenant, key string, at int64) bool {
	due := max(at, 1) // 0 would leave it to the schedule
	if o, ok := t.FindOutgoing(tenant, key); ok {
		next := *o
		next.At, next.Attempts, next.NotBefore = at, 0, due
		t.putOutgoing(&next)
		return true
	}
	d, ok := t.FindDead(tenant, key)
	if !ok || len(d.Delivery) == 0 || t.succeeded(tenant, d.Born) {
		return false
	}
	next := d.Outgoing
	next.At, next.Attempts, next.NotBefore = at, 0, due
	if reason := t.overflow(&next); reason != "" {
		told := *d // it died when it died: its turn to be forgotten stays
		told.Reason = reason
		put(t.edit, &t.dead, letterKey(tenant, key), &told)
		t.editBox(tenant, func(b *Box) { b.DeadBytes += told.Size() - d.Size() })
		t.boundDead(tenant)
		t.touch(TopicOutbox)
		return false
	}
	t.dropDead(tenant, key)
	t.putOutgoing(&next)
	return true
}

// clip bounds a text that comes from outside, and leaves whole characters.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
