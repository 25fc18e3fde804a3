package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// bare changes a state past the log, so that what is large is there once.
type bare struct {
	*testing.T
	v *View
}

func newBare(t *testing.T, tenants ...string) *bare {
	b := &bare{T: t, v: New().View()}
	for _, tenant := range tenants {
		b.do(func(t *tx) { _, _ = (&SetTenantVersion{Tenant: tenant}).apply(t) })
	}
	return b
}

func (b *bare) do(change func(*tx)) {
	b.Helper()
	next := *b.v
	next.index++
	t := begin(&next)
	change(t)
	t.end()
	b.v = &next
}

func (b *bare) restored() *View {
	b.Helper()
	v, err := ReadSnapshot(bytes.NewReader(snapshot(b, b.v)))
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// However many tenants there are, dead letters are bounded. Who has the most loses
// the oldest first, after those that were deleted.
func TestDeadLettersOfAllAreBounded(t *testing.T) {
	content := make([]byte, MaxOutgoing)
	letter := Outgoing{Key: "k000", Tenant: "many-00", Delivery: content}
	fit := KeepDeadBytes / int(letter.Size()) // of one tenant
	tenants := []string{"small"}
	for i := range MaxDead/(fit*int(letter.Size())) + 1 {
		tenants = append(tenants, fmt.Sprintf("many-%02d", i))
	}
	b := newBare(t, tenants...)
	bury := func(tenant string, at, size int) {
		b.Helper()
		b.do(func(t *tx) {
			t.bury(&Outgoing{Key: fmt.Sprintf("k%03d", at), Tenant: tenant, Delivery: content[:size]}, "", int64(at))
		})
	}
	bury("small", 0, 10)
	bury("gone", 0, 10) // was never there, or is no more
	bury("gone", 1, 10)
	before := 0
	for at := range fit {
		for _, tenant := range tenants[1:] {
			if bury(tenant, at, MaxOutgoing); b.v.Box("gone").Dead == 2 {
				before++
			}
		}
	}
	checkBoxes(t, b.v)
	if b.v.DeadBytes() > MaxDead || b.v.DeadBytes() < MaxDead-2*MaxOutgoing {
		t.Errorf("%d bytes of dead letters, %d at most", b.v.DeadBytes(), MaxDead)
	}
	if want := (MaxDead - 4*overhead) / int(letter.Size()); before < want-1 || before > want+1 {
		t.Errorf("the deleted tenant lost its letters after %d of others, want %d", before, want)
	}
	if got := b.v.Box("gone"); got != (Box{}) {
		t.Errorf("a deleted tenant has kept %+v", got)
	}
	if got := b.v.Box("small"); got.Dead != 1 || got.Forgotten != 0 {
		t.Errorf("a tenant with one letter: %+v", got)
	}
	lost := uint64(0)
	for _, tenant := range tenants[1:] {
		box := b.v.Box(tenant)
		if box.Dead < fit-2 || box.Dead+int(box.Forgotten) != fit {
			t.Errorf("%s: %+v, of %d", tenant, box, fit)
		}
		if _, ok := b.v.FindDead(tenant, "k000"); ok == (box.Forgotten > 0) {
			t.Errorf("%s: forgotten %d, the oldest is there: %v", tenant, box.Forgotten, ok)
		}
		lost += box.Forgotten
	}
	if lost == 0 {
		t.Error("nobody has lost anything")
	}
}

// A deleted tenant is the first to lose dead letters, however few it has; one of
// the same name that comes later is not. A restored state says the same.
func TestDeadLettersOfDeletedTenantsGoFirst(t *testing.T) {
	b := newBare(t, "small", "large", "gone")
	for i, tenant := range []string{"small", "large", "large", "gone"} {
		b.do(func(t *tx) { t.bury(&Outgoing{Key: fmt.Sprint("k", i), Tenant: tenant}, "", int64(i)) })
	}
	b.do(func(t *tx) { t.putOutgoing(&Outgoing{Key: "pending", Tenant: "gone"}) })
	b.do(func(t *tx) { _, _ = (&DeleteTenant{Tenant: "gone", Expect: 1}).apply(t) })
	checkBoxes(t, b.v)
	for name, v := range map[string]*View{"the state": b.v, "one restored": b.restored()} {
		for _, again := range []bool{false, true} {
			other := &bare{T: t, v: v}
			if again {
				other.do(func(t *tx) { _, _ = (&SetTenantVersion{Tenant: "gone"}).apply(t) })
			}
			checkBoxes(t, other.v)
			var got []string
			for range 4 {
				before := maps.Collect(other.v.Boxes())
				other.do(func(t *tx) {
					rest := t.deadBytes
					t.deadBytes = MaxDead + 1 // as if others had the rest
					t.boundDead("small")
					t.deadBytes += rest - MaxDead - 1
				})
				for tenant, b := range before {
					if other.v.Box(tenant).Dead < b.Dead {
						got = append(got, tenant)
					}
				}
				checkBoxes(t, other.v)
			}
			want := []string{"gone", "gone", "large", "small"}
			if again {
				want = []string{"gone", "large", "small", "large"} // as much as they have
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, the tenant there again: %v: letters were lost by %v, want %v", name, again, got, want)
			}
		}
	}
}

// What a state does not remember, it does not claim to know.
func TestBoxesSince(t *testing.T) {
	b := newBare(t, "acme")
	bury := func(i int) {
		b.do(func(t *tx) { t.bury(&Outgoing{Key: "k", Tenant: fmt.Sprint("t", i)}, "", 1) })
	}
	since := func(v *View, index uint64) []string {
		t.Helper()
		changed, known := v.BoxesSince(index)
		if !known {
			return []string{"any"}
		}
		return slices.Sorted(maps.Keys(maps.Collect(changed)))
	}
	begun := b.v.Index()
	bury(1)
	bury(2)
	bury(1)
	if got := fmt.Sprint(since(b.v, begun), since(b.v, begun+2), since(b.v, begun+3), since(b.v, begun+4)); got != "[t1 t2] [t1] [] [any]" {
		t.Errorf("changed: %s", got)
	}
	restored := b.restored()
	other := &bare{T: t, v: restored}
	other.do(func(t *tx) { t.dropDead("t2", "k") })
	if got := fmt.Sprint(since(other.v, restored.Index()), since(other.v, other.v.Index())); got != "[any] []" {
		t.Errorf("changed since the snapshot: %s", got)
	}
	b.do(func(t *tx) { t.dropDead("t2", "k") })
	gone, _ := b.v.BoxesSince(b.v.Index() - 1)
	if got := maps.Collect(gone); len(got) != 1 || got["t2"] != nil {
		t.Errorf("changed: %v, want that t2 has gone", got)
	}
	for i := range 3*keepBoxChanges + 1 {
		b.do(func(t *tx) { t.markBox(fmt.Sprint("t", i%100)) })
		if changed, known := b.v.BoxesSince(b.v.index - 1); !known || len(maps.Collect(changed)) != 1 {
			t.Fatalf("change %d is not known", i)
		}
	}
	last := b.v.Index() - keepBoxChanges // of which none is forgotten, for sure
	changed, known := b.v.BoxesSince(last)
	n := 0
	for range changed {
		n++
	}
	if !known || n != keepBoxChanges {
		t.Errorf("%d changes are known (%v), want %d", n, known, keepBoxChanges)
	}
	if got := fmt.Sprint(since(b.v, last-keepBoxChanges-1)); got != "[any]" {
		t.Errorf("changed: %s, though it is too long ago", got)
	}
	if b.v.boxNotes.count+b.v.boxNotesOld.count > 2*keepBoxChanges {
		t.Errorf("%d and %d changes are kept", b.v.boxNotes.count, b.v.boxNotesOld.count)
	}
}

// What retractions are made of is bounded, for a tenant and in all. What does not
// fit goes, and the alert stays one that is retracted.
func TestContentIsBounded(t *testing.T) {
	const size = 64 << 10
	content := bytes.Repeat([]byte{'x'}, size)
	b := newBare(t)
	fire := func(tenant string, i int, content []byte) *Fired {
		b.Helper()
		f := &Fired{Network: "base", Block: ref(9, "a"), Alert: fmt.Sprint(tenant, i), Tenant: tenant, Position: b.v.Index(), Content: content}
		b.do(func(t *tx) { t.recordFired(f) })
		kept, _ := b.v.FindFired("base", f.Block, f.Alert, 0)
		return kept
	}
	for i := range MaxContentTenant / size {
		if f := fire("acme", i, content); len(f.Content) != size {
			t.Fatalf("alert %d has lost its content", i)
		}
	}
	over := fire("acme", 1000, content[:2])
	if !bytes.Equal(over.Content, NoContent) || b.v.ContentBytesOf("acme") != MaxContentTenant {
		t.Errorf("%d bytes of content where there is no room; the tenant has %d", len(over.Content), b.v.ContentBytesOf("acme"))
	}
	if f := fire("acme", 7, content); len(f.Content) != size { // told again
		t.Error("what was there already has lost its content")
	}
	if f := fire("bolt", 1, content); len(f.Content) != size {
		t.Error("another tenant's room is taken")
	}
	checkContent(t, b.v)
	v := b.restored()
	checkContent(t, v)
	if v.ContentBytesOf("acme") != MaxContentTenant || v.ContentBytes() != MaxContentTenant+size {
		t.Errorf("restored: %d, %d bytes of content", v.ContentBytesOf("acme"), v.ContentBytes())
	}

	b.do(func(t *tx) {
		f, _ := t.FindFired("base", ref(9, "a"), "acme3", 0)
		t.forget([]*Fired{f})
	})
	if f := fire("acme", 1000, content); len(f.Content) != size { // of a later position, and there is room by now
		t.Errorf("%d bytes of content", len(f.Content))
	}
	checkContent(t, b.v)

	next := *b.v
	next.content = MaxContent - size
	b.v = &next
	for i, want := range []int{size, len(NoContent)} {
		if f := fire(fmt.Sprint("t", i), 1, content); len(f.Content) != want {
			t.Errorf("%d bytes of content, want %d", len(f.Content), want)
		}
	}
	b.do(func(t *tx) { t.forget(slices.Collect(t.FiredOn("base"))) })
	if n := b.v.contents.Len(); n != 0 {
		t.Errorf("%d tenants have content, want none", n)
	}
}

func TestSecretsAreBounded(t *testing.T) {
	b := newBare(t, "acme", "bolt")
	put := func(tenant, name string, size int) error {
		next := *b.v
		next.index++
		_, err := (&PutSecret{Tenant: tenant, Name: name, Sealed: make([]byte, size)}).apply(begin(&next))
		if err == nil {
			b.v = &next
		}
		return err
	}
	refused := func(err error, bound string) {
		t.Helper()
		if !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), bound) || !strings.Contains(err.Error(), `"acme"`) {
			t.Errorf("error %v, want one that names %s", err, bound)
		}
	}
	for i := range MaxSecrets {
		if err := put("acme", fmt.Sprint("s", i), 10); err != nil {
			t.Fatal(err)
		}
	}
	refused(put("acme", "more", 1), "1000")
	if err := put("acme", "s7", 11); err != nil {
		t.Errorf("in place of another: %v", err)
	}
	if err := put("bolt", "more", 1); err != nil {
		t.Errorf("another tenant's: %v", err)
	}
	refused(put("acme", "s7", MaxSecretBytes), "4 MiB")
	if err := put("bolt", "large", MaxSecretBytes-len("large")-len("more")-1); err != nil {
		t.Error(err)
	}
	if err := put("bolt", "more", 2); !errors.Is(err, ErrTooMany) {
		t.Errorf("a byte too many: %v", err)
	}
}
