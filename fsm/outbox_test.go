package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// letters is a state whose outbox is filled through the log.
type letters struct{ *pausing }

func newLetters(t *testing.T) letters {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 1)
	return letters{p}
}

func (l letters) handOver(out ...Outgoing) {
	l.Helper()
	l.do(&Progress{Cohort: "n1", Epoch: l.epoch, Network: "base", Outbox: out})
	checkBoxes(l, l.View())
}

func (l letters) box(tenant string, want Box) {
	l.Helper()
	if got := l.View().Box(tenant); got != want {
		l.Fatalf("box of %q: %+v, want %+v", tenant, got, want)
	}
}

// sized is a delivery with so many bytes of content.
func sized(tenant, key string, size int) Outgoing {
	return Outgoing{Tenant: tenant, Key: key, Delivery: bytes.Repeat([]byte{'x'}, size), At: 5, Attempts: 1, Reason: "busy"}
}

// What is too large for the outbox is a dead letter without its content, and
// stays one.
func TestTooLargeForTheOutbox(t *testing.T) {
	l := newLetters(t)
	l.handOver(sized("acme", "fits", MaxOutgoing), sized("acme", "large", MaxOutgoing+1))
	fits := sized("acme", "fits", MaxOutgoing)
	d, ok := l.View().FindDead("acme", "large")
	if !ok || len(d.Delivery) != 0 || d.Reason != reasonLarge || d.DiedAt != 5 || d.Attempts != 1 {
		t.Fatalf("dead letter %+v", d)
	}
	l.box("acme", Box{Entries: 1, Bytes: fits.Size(), Dead: 1, DeadBytes: d.Size()})
	if n := l.do(&Redeliver{Tenant: "acme", Keys: []string{"large"}, At: 9}); n != 0 {
		t.Errorf("%v redelivered, though nothing is left of it", n)
	}
	l.do(&Progress{Cohort: "n1", Epoch: l.epoch, Network: "base", Dead: []Dead{{Outgoing: sized("acme", "refused", MaxOutgoing+1), DiedAt: 8}}})
	refused, _ := l.View().FindDead("acme", "refused")
	l.box("acme", Box{Entries: 1, Bytes: fits.Size(), Dead: 2, DeadBytes: d.Size() + refused.Size()})
}

// A tenant whose receivers are down for days fills its own outbox, and no other's.
func TestOutboxOfATenantIsBounded(t *testing.T) {
	const each, fit = 32 << 10, MaxOutboxTenant / (32 << 10)
	l := newLetters(t)
	one := sized("acme", "k000", 0)
	full := sized("acme", "k000", each-int(one.Size()))
	for i := range fit {
		o := full
		o.Key = fmt.Sprintf("k%03d", i)
		l.handOver(o)
	}
	small := sized("bolt", "over", 1)
	l.handOver(sized("acme", "over", 1), small)
	d, _ := l.View().FindDead("acme", "over")
	if d.Reason != reasonTenant || len(d.Delivery) != 1 {
		t.Fatalf("dead letter %+v", d)
	}
	l.box("acme", Box{Entries: fit, Bytes: MaxOutboxTenant, Dead: 1, DeadBytes: d.Size()})
	l.box("bolt", Box{Entries: 1, Bytes: small.Size()})
	// The same again, after another attempt or none: nothing grows, nothing dies.
	again, same := full, full
	again.Key, again.Attempts, same.Key = "k001", 2, "k002"
	l.handOver(again, same, sized("acme", "over", 1))
	l.box("acme", Box{Entries: fit, Bytes: MaxOutboxTenant, Dead: 1, DeadBytes: d.Size()})
	if o, _ := l.View().FindOutgoing("acme", "k001"); o.Attempts != 2 || o.Reason != "busy" {
		t.Errorf("%d attempts, %s", o.Attempts, o.Reason)
	}
	// What a receiver answers takes no more room than there is, and kills nothing.
	long := strings.Repeat("x", maxText)
	again.Attempts, again.Excerpt = 3, long
	l.handOver(again)
	l.do(&Settle{At: 9, Settled: []Settled{{Tenant: "acme", Key: "k003", Outcome: HandedOver, Attempts: 4, Reason: long, Excerpt: long}}})
	checkBoxes(t, l.View())
	for key, attempts := range map[string]uint32{"k001": 3, "k003": 4} {
		if o, ok := l.View().FindOutgoing("acme", key); !ok || o.Attempts != attempts || o.Reason != "" || o.Excerpt != "" {
			t.Errorf("%s in the full outbox: %+v", key, o)
		}
	}
	if b := l.View().Box("acme"); b.Entries != fit || b.Dead != 1 {
		t.Errorf("box %+v", b)
	}
	l.do(&Settle{At: 9, Settled: []Settled{
		{Tenant: "acme", Key: "k001", Outcome: HandedOver, Attempts: 4, Reason: "busy"}, {Tenant: "acme", Key: "k003", Outcome: HandedOver, Attempts: 5, Reason: "busy"},
	}})

	// Asked for once more, it says why it does not go; and goes once there is room.
	if n := l.do(&Redeliver{Tenant: "acme", Keys: []string{"over"}, At: 9}); n != 0 {
		t.Errorf("%v redelivered into a full outbox", n)
	}
	if d, _ := l.View().FindDead("acme", "over"); d.Reason != reasonTenant || d.DiedAt != 5 {
		t.Errorf("dead letter %+v", d)
	}
	l.do(&Settle{At: 10, Settled: []Settled{{Tenant: "acme", Key: "k000", Outcome: Sent}}})
	if n := l.do(&Redeliver{Tenant: "acme", Keys: []string{"over"}, At: 11}); n != 1 {
		t.Errorf("%v redelivered, want 1", n)
	}
	back, _ := l.View().FindOutgoing("acme", "over")
	l.box("acme", Box{Entries: fit, Bytes: MaxOutboxTenant - each + back.Size()})
}

// However many tenants there are, the outbox is bounded; what is in it stays.
func TestOutboxIsBounded(t *testing.T) {
	view := *New().View()
	tx := begin(&view)
	first := sized("acme", "first", 10)
	if !tx.admit(&first, 1) {
		t.Fatal("an empty outbox is full")
	}
	second, third := sized("bolt", "second", 12), sized("bolt", "third", 12)
	tx.outboxBytes = MaxOutbox - third.Size() // as if other tenants had the rest
	if tx.admit(&second, 2) || !tx.admit(&third, 3) {
		t.Error("a byte more than is free is admitted, or what is free is not")
	}
	if d, ok := view.FindDead("bolt", "second"); !ok || d.Reason != reasonFull || d.DiedAt != 2 {
		t.Errorf("dead letter %+v", d)
	}
	smaller := sized("acme", "first", 9)
	if !tx.admit(&smaller, 4) || view.OutboxBytes() != MaxOutbox-1 {
		t.Errorf("%d bytes", view.OutboxBytes())
	}
}

// Tenants whose receivers are down leave room for those that have less, however many
// they are; what is in the outbox keeps its place.
func TestOutboxIsShared(t *testing.T) {
	view := *New().View()
	tx := begin(&view)
	one := sized("", "", 60<<10)
	put := func(tenant string, n int) bool {
		o := one // whose content is the same memory
		o.Tenant, o.Key = tenant, fmt.Sprint(n)
		room := view.OutboxRoom(tenant)
		ok := tx.admit(&o, 1)
		if !ok && o.Size() <= room {
			t.Fatalf("tenant %s: %d bytes are refused where there was room for %d", tenant, o.Size(), room)
		}
		return ok
	}
	const many = 200
	for n, more := 0, true; more; n++ {
		more = false
		for i := range many {
			more = put(fmt.Sprint("t", i), n) || more
		}
	}
	free := MaxOutbox - view.OutboxBytes()
	for i := range many {
		if b := view.Box(fmt.Sprint("t", i)); b.Bytes < free/outboxPart-2*one.Size() || b.Bytes > MaxOutbox/many {
			t.Fatalf("tenant %d has %d bytes, while %d are free", i, b.Bytes, free)
		}
	}
	if d, _ := view.FindDead("t0", fmt.Sprint(view.Box("t0").Entries)); d == nil || d.Reason != reasonShare {
		t.Errorf("dead letter %+v", d)
	}
	again, _ := view.FindOutgoing("t0", "0")
	longer := *again
	longer.Reason = strings.Repeat("x", 100)
	if !tx.admit(&longer, 2) {
		t.Error("what waits has lost its place")
	} else if o, _ := view.FindOutgoing("t0", "0"); o.Reason != longer.Reason {
		t.Errorf("what waits says %q", o.Reason)
	}
	for n := range 5 {
		if !put("late", n) {
			t.Errorf("no room for delivery %d of a tenant that had none", n)
		}
	}
	if view.OutboxBytes() > MaxOutbox {
		t.Errorf("%d bytes", view.OutboxBytes())
	}
}

// What has to make room is counted, over a snapshot and a restart.
func TestForgottenDeadLettersAreCounted(t *testing.T) {
	one := sized("acme", "k000", MaxOutgoing)
	fit := KeepDeadBytes / int(one.Size())
	l := newLetters(t)
	for i := range fit + 3 {
		l.do(&Progress{Cohort: "n1", Epoch: l.epoch, Network: "base", Dead: []Dead{{Outgoing: sized("acme", fmt.Sprintf("k%03d", i), MaxOutgoing), DiedAt: int64(i)}}})
		checkBoxes(l, l.View())
	}
	l.box("acme", Box{Dead: fit, DeadBytes: int64(fit) * one.Size(), Forgotten: 3})
	if d, ok := l.View().FindDead("acme", "k002"); ok {
		t.Errorf("%s is kept", d.Key)
	}
	var keys []string
	for d := range l.View().DeadOf("acme") {
		keys = append(keys, d.Key)
	}
	if n := l.do(&Purge{Tenant: "acme", Keys: keys}); n != fit {
		t.Errorf("%v purged, want %d", n, fit)
	}
	l.box("acme", Box{Forgotten: 3}) // purged on purpose is not forgotten
	if err := l.Restore(bytes.NewReader(snapshot(t, l.View()))); err != nil {
		t.Fatal(err)
	}
	l.box("acme", Box{Forgotten: 3})
	l.do(&DeleteTenant{Tenant: "acme", Expect: l.tenant("acme").Current.Number})
	l.box("acme", Box{})
}

func TestRedeliver(t *testing.T) {
	l := newLetters(t)
	later := sized("acme", "pending", 3)
	later.Attempts, later.NotBefore, later.After = 4, 1_000_000, "before"
	l.handOver(later, sized("acme", "given up", 3), sized("bolt", "pending", 3))
	l.do(&Settle{At: 7, Settled: []Settled{
		{Tenant: "acme", Key: "given up", Outcome: Refused, Attempts: 10, Reason: "410 Gone", Status: 410, Excerpt: "gone"},
		{Tenant: "bolt", Key: "given up", Outcome: Sent}, // another tenant's key tells nothing
	}})
	d, ok := l.View().FindDead("acme", "given up")
	if !ok || d.Status != 410 || d.Excerpt != "gone" || d.Reason != "410 Gone" || d.Attempts != 10 || d.DiedAt != 7 {
		t.Fatalf("dead letter %+v", d)
	}
	if n := l.do(&Redeliver{Tenant: "acme", Keys: []string{"pending", "given up", "unknown"}, At: 99}); n != 2 {
		t.Errorf("%v redelivered, want 2", n)
	}
	checkBoxes(t, l.View())
	if o, _ := l.View().FindOutgoing("acme", "pending"); o.NotBefore != 99 || o.Attempts != 0 || o.After != "before" || o.At != 99 {
		t.Errorf("pending %+v", o)
	}
	if o, ok := l.View().FindOutgoing("acme", "given up"); !ok || o.NotBefore != 99 || o.Attempts != 0 || o.At != 99 || o.Status != 410 {
		t.Errorf("given up %+v", o)
	}
	if o, _ := l.View().FindOutgoing("bolt", "pending"); o.NotBefore != 0 {
		t.Errorf("another tenant's %+v", o)
	}
	size := func(tenant, key string) int64 {
		o, _ := l.View().FindOutgoing(tenant, key)
		return o.Size()
	}
	given := size("acme", "given up")
	l.box("acme", Box{Entries: 2, Bytes: size("acme", "pending") + given})
	if n := l.do(&Purge{Tenant: "acme", Keys: []string{"pending", "pending", "unknown"}}); n != 1 {
		t.Errorf("%v purged, want 1", n)
	}
	l.box("acme", Box{Entries: 1, Bytes: given})
	l.box("bolt", Box{Entries: 1, Bytes: size("bolt", "pending")})
}

// What a receiver answers must not fill the state.
func TestTextsAreClipped(t *testing.T) {
	l := newLetters(t)
	long := strings.Repeat("ä", maxText)
	o := sized("acme", "a", 1)
	o.Reason, o.Excerpt = long, long
	l.handOver(o, sized("acme", "b", 1))
	l.do(&Settle{Settled: []Settled{{Tenant: "acme", Key: "b", Outcome: Refused, Reason: "x" + long, Excerpt: long}}})
	a, _ := l.View().FindOutgoing("acme", "a")
	b, _ := l.View().FindDead("acme", "b")
	want := strings.Repeat("ä", maxText/2)
	if a.Reason != want || a.Excerpt != want || b.Excerpt != want || b.Reason != "x"+want[:maxText-2] {
		t.Errorf("%d, %d, %d, %d bytes", len(a.Reason), len(a.Excerpt), len(b.Reason), len(b.Excerpt))
	}
}

// TestBoxes: whatever is handed over, settled, redelivered and purged, up to the
// bounds and over them, the counts are what a scan gives, nothing is lost without
// being counted, and a snapshot gives the same view.
func TestBoxes(t *testing.T) {
	content := make([]byte, MaxOutgoing+1)
	rapid.Check(t, func(t *rapid.T) {
		v := New().View()
		do := func(c Command) { // past the log: its encoding would cost most of the test
			next := *v
			next.index++
			if _, err := c.apply(begin(&next)); err != nil {
				t.Fatal(err)
			}
			checkChanged(t, v, &next)
			v = &next
			checkBoxes(t, v)
			checkDeaths(t, v)
		}
		do(&RegisterNode{Name: "n1"})
		do(&SetTenantVersion{Tenant: "acme", Manifest: Manifest{Wanted: []string{"base"}}})
		key := rapid.Map(rapid.IntRange(0, 199), func(i int) string { return fmt.Sprint("k", i) })
		keys := rapid.SliceOfNDistinct(key, 1, 40, rapid.ID[string])
		known := map[[2]string]bool{} // handed over, neither sent nor purged
		there := func(id [2]string) bool {
			_, waiting := v.FindOutgoing(id[0], id[1])
			_, dead := v.FindDead(id[0], id[1])
			return waiting || dead
		}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			tenant := rapid.SampledFrom([]string{"acme", "acme", "acme", "gone"}).Draw(t, "tenant")
			size := rapid.SampledFrom([]int{0, 1, 1000, MaxOutgoing / 2, MaxOutgoing, MaxOutgoing, MaxOutgoing + 1}).Draw(t, "size")
			at := rapid.Int64Range(0, 50).Draw(t, "at")
			those := keys.Draw(t, "keys")
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				do(&Purge{Tenant: tenant, Keys: those})
				for _, k := range those {
					delete(known, [2]string{tenant, k})
				}
			case 1:
				do(&Redeliver{Tenant: tenant, Keys: those, At: at})
			case 2, 3:
				outcome := rapid.SampledFrom([]Outcome{Sent, HandedOver, Refused, Refused}).Draw(t, "outcome")
				c := &Settle{At: at}
				for _, k := range those {
					if _, ok := v.FindOutgoing(tenant, k); ok && outcome == Sent {
						delete(known, [2]string{tenant, k})
					}
					c.Settled = append(c.Settled, Settled{Tenant: tenant, Key: k, Outcome: outcome, Attempts: 2})
				}
				do(c)
			default:
				cohort, _ := v.Cohort("n1")
				c := &Progress{Cohort: "n1", Epoch: cohort.Epoch, Network: "base"}
				for _, k := range those {
					c.Outbox = append(c.Outbox, Outgoing{Tenant: tenant, Key: k, Delivery: content[:size], At: at, Attempts: 1})
					known[[2]string{tenant, k}] = true
				}
				bear(v, c)
				do(c)
			}
		}
		missing := map[string]uint64{}
		for id := range known {
			if !there(id) {
				missing[id[0]]++
			}
		}
		for tenant, n := range missing {
			if forgotten := v.Box(tenant).Forgotten; n > forgotten {
				t.Fatalf("%d deliveries of %q are gone, %d are said to be forgotten", n, tenant, forgotten)
			}
		}
		written := snapshot(t, v)
		restored, err := ReadSnapshot(bytes.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written, snapshot(t, restored)) {
			t.Fatal("a restored view writes another snapshot")
		}
		if diff := cmp.Diff(dump(v).Boxes, dump(restored).Boxes); diff != "" {
			t.Fatalf("restored boxes differ (-want +got):\n%s", diff)
		}
		checkBoxes(t, restored)
		checkDeaths(t, restored)
	})
}

// checkChanged: the boxes said to have changed are those that have.
func checkChanged(t *rapid.T, old, v *View) {
	said, known := v.BoxesSince(old.index)
	if !known {
		t.Fatalf("what changed after %d is not known at %d", old.index, v.index)
	}
	want, got := maps.Collect(v.Boxes()), map[string]*Box{}
	for tenant, b := range old.Boxes() {
		if now, there := want[tenant]; !there {
			want[tenant] = nil
		} else if now == b {
			delete(want, tenant)
		}
	}
	maps.Insert(got, said)
	if !maps.Equal(got, want) {
		t.Fatalf("changed are %v, said to have changed %v", want, got)
	}
}

func TestDepthOn(t *testing.T) {
	for _, tc := range []struct {
		watch Watch
		want  uint64
	}{
		{Watch{}, 12},
		{Watch{Depth: 3}, 3},
		{Watch{Depth: 3, Mode: ModeInstant}, 0},
		{Watch{Mode: ModeConfirmed}, 12},
		{Watch{Depth: 3, Mode: ModeConfirmed}, 3},
		{Watch{Depth: 3, Mode: ModeFinalized}, 64},
		{Watch{Mode: ModeConfirmation}, 12},
		{Watch{Depth: math.MaxUint64, Mode: ModeConfirmation}, math.MaxUint64},
	} {
		if got := tc.watch.DepthOn(12, 64); got != tc.want {
			t.Errorf("%+v: depth %d, want %d", tc.watch, got, tc.want)
		}
	}
}

// The finality depth is that of the lease under which an announcement was made.
func TestFinalityAt(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	grant := func(window uint32) {
		t.Helper()
		n, _ := p.View().Network("base")
		p.do(&GrantLease{Network: "base", Holder: "n1", IfEpoch: n.Lease.Epoch, Window: window})
	}
	n, _ := p.View().Network("base")
	if got := n.FinalityAt(1); got != DefaultWindow {
		t.Errorf("before any lease: %d", got)
	}
	grant(4)
	p.announce("base", 3) // positions 1 to 3
	grant(4)
	grant(8)
	grant(4) // the one before never counted
	p.announce("base", 1)
	grant(9)
	p.announce("base", 1)
	grant(0)
	n, _ = p.View().Network("base")
	if want := []Depth{{1, 4}, {5, 9}, {6, DefaultWindow}}; !slices.Equal(n.Windows, want) {
		t.Errorf("finality depths %v, want %v", n.Windows, want)
	}
	for position, want := range map[uint64]uint64{0: 4, 1: 4, 4: 4, 5: 9, 6: DefaultWindow, 100: DefaultWindow} {
		if got := n.FinalityAt(position); got != want {
			t.Errorf("position %d: %d, want %d", position, got, want)
		}
	}
}
