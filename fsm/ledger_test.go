package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// told records states of one alert, "a", as a worker would.
func (p *pausing) told(states ...Fired) {
	p.Helper()
	for i := range states {
		states[i].Network, states[i].Alert = "base", "a"
	}
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Fired: states})
}

func (p *pausing) retracted(want Retraction) {
	p.Helper()
	if got, ok := p.View().Retracted("base", "a", 0); got != want || ok != (want != Retraction{}) {
		p.Fatalf("retracted: %+v, %v; want %+v", got, ok, want)
	}
}

func in(height uint64, branch string, state AlertState, position uint64) Fired {
	return Fired{Block: ref(height, branch), State: state, Position: position}
}

// An alert is retracted from its roll-back on until it comes back, in whatever
// block, and whatever is told again meanwhile.
func TestRetracted(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 12)
	p.retracted(Retraction{})
	p.told(in(12, "a", AlertFired, 12))
	p.retracted(Retraction{})
	back := in(12, "a", AlertRetracted, 13)
	p.told(back)
	p.retracted(Retraction{ref(12, "a"), 13, 0})
	p.told(in(12, "b", AlertReinstated, 14))
	p.retracted(Retraction{})
	p.told(back) // the answer was lost: it is proposed again
	p.retracted(Retraction{})
	p.told(in(12, "b", AlertConfirmed, 15), in(12, "b", AlertRetracted, 16))
	p.retracted(Retraction{ref(12, "b"), 16, 0})
	p.told(in(12, "b", AlertConfirmed, 15)) // also again: it was before
	p.retracted(Retraction{ref(12, "b"), 16, 0})
	p.told(in(12, "a", AlertReinstated, 17)) // the first block is back
	p.retracted(Retraction{})
	p.told(in(12, "a", AlertRetracted, 18), in(11, "a", AlertFired, 18))
	p.retracted(Retraction{ref(12, "a"), 18, 0}) // of one position, the first counts

	if _, ok := p.View().Retracted("other", "a", 0); ok {
		t.Error("retracted on another network")
	}
	if err := p.Restore(bytes.NewReader(snapshot(t, p.View()))); err != nil {
		t.Fatal(err)
	}
	p.retracted(Retraction{ref(12, "a"), 18, 0})
}

// With the ledger's entry of the block that was rolled back goes the retraction:
// what comes after is a new alert. Another block's entry changes nothing.
func TestRetractionGoesWithItsBlock(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 8)
	p.told(in(2, "a", AlertFired, 2), in(6, "b", AlertFired, 6), in(6, "b", AlertRetracted, 7))
	p.progress(8)
	p.announce("base", 1)
	if _, ok := p.View().FindFired("base", ref(2, "a"), "a", 0); ok {
		t.Fatal("an alert of a final block is kept")
	}
	p.retracted(Retraction{ref(6, "b"), 7, 0})
	p.progress(9)
	p.announce("base", 3)
	p.progress(12)
	p.retracted(Retraction{})
	if n := p.View().retracted.Len(); n != 0 {
		t.Errorf("%d retractions are kept", n)
	}
}

// What a cursor may still meet the roll-back of stays retractable, however far the
// tip has gone; alerts that are never retracted go with their block.
func TestLedgerKeepsWhatASlowCursorMayRetract(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 10)
	fired := in(10, "a", AlertFired, 10)
	fired.Content = []byte("alert")
	plain := fired
	plain.Network, plain.Alert, plain.Content = "base", "plain", nil
	p.told(fired)
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", To: 10, Fired: []Fired{plain}})
	c := &Announce{Network: "base", Epoch: p.network("base").Lease.Epoch, Entries: []Entry{{Kind: Rollback, Ref: ref(9, "a")}}}
	parent := ref(9, "a")
	for height := uint64(10); height <= 30; height++ {
		c.Entries = append(c.Entries, Entry{Kind: Extend, Ref: ref(height, "b"), Parent: parent.Hash})
		parent = ref(height, "b")
	}
	p.do(c)
	if _, ok := p.View().FindFired("base", ref(10, "a"), "plain", 0); ok {
		t.Error("an alert of a final block that is never retracted is kept")
	}
	if _, ok := p.View().FindFired("base", ref(10, "a"), "a", 0); !ok {
		t.Fatal("the alert is gone before its roll-back was judged")
	}
	p.told(in(10, "a", AlertRetracted, 11))
	p.progress(11)
	p.retracted(Retraction{ref(10, "a"), 11, 0})
	p.progress(32)
	p.retracted(Retraction{})
	if n := len(slices.Collect(p.View().FiredOn("base"))); n != 0 {
		t.Errorf("%d alerts are kept", n)
	}
}

// Of what is told of one alert in one block, the later state counts and every
// delivery is kept.
func TestLedgerMerges(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 3)
	first := in(3, "a", AlertFired, 3)
	first.Version, first.At, first.Content, first.Tenant = 1, 10, []byte("alert"), "acme"
	first.Deliveries = []Delivered{{Key: "k1", Trigger: "hook", State: AlertFired, Outcome: HandedOver}}
	later := in(3, "a", AlertRetracted, 5)
	later.Version, later.At, later.Tenant = 2, 20, "acme"
	later.Deliveries = []Delivered{{Key: "k2", Trigger: "hook", State: AlertRetracted, Position: 5, Occurrence: 1, Outcome: Sent}}
	again := first
	again.Deliveries = []Delivered{{Key: "k1", Trigger: "hook", State: AlertFired, Outcome: Sent}, {Key: "k3", Trigger: "mail", State: AlertFired, Outcome: Sent}}
	want := later
	want.Network, want.Alert, want.Content, want.Born = "base", "a", first.Content, p.tenant("acme").Born
	want.Deliveries = []Delivered{again.Deliveries[0], later.Deliveries[0], again.Deliveries[1]}
	for _, order := range [][]Fired{{first, later, again}, {first, again, later}, {later, again}} {
		s := *p
		s.State = New()
		if err := s.Restore(bytes.NewReader(snapshot(t, p.View()))); err != nil {
			t.Fatal(err)
		}
		s.told(order...)
		got, ok := s.View().FindFired("base", ref(3, "a"), "a", p.tenant("acme").Born)
		byKey := func(f Fired) Fired {
			f.Deliveries = slices.SortedFunc(slices.Values(f.Deliveries), func(a, b Delivered) int { return int(a.Key[1]) - int(b.Key[1]) })
			return f
		}
		if !ok {
			t.Fatal("nothing was recorded")
		}
		if diff := cmp.Diff(byKey(want), byKey(*got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestReplay(t *testing.T) {
	p := newPausing(t)
	doc, other := HashBlob(blob(1)), HashBlob(blob(2))
	p.do(&PutBlobs{Blobs: [][]byte{blob(1), blob(2)}})
	set := func(expect uint64, tenant string, docs ...Doc) {
		t.Helper()
		m := Manifest{Docs: docs}
		m.Normalize()
		p.do(&SetTenantVersion{Tenant: tenant, Expect: expect, Manifest: m})
	}
	monitor := func(id string, hash Hash) Doc {
		return Doc{Kind: DocMonitor, ID: id, Hash: hash, Watches: []Watch{{Network: "base", Slug: "base"}}}
	}
	set(0, "acme", monitor("m", doc), monitor("n", doc))
	set(0, "bolt", monitor("m", doc))
	replay := func(tenant, id string, from, to uint64, out ...Outgoing) any {
		t.Helper()
		return p.do(&Replay{Tenant: tenant, Network: "base", Monitor: id, Doc: doc, From: from, To: to, Outbox: out, At: 50})
	}
	told := func(tenant, id string, want ...Span) {
		t.Helper()
		if got := p.View().Replayed(tenant, "base", id, doc); !slices.Equal(got, want) {
			t.Fatalf("replayed %v, want %v", got, want)
		}
	}
	p.refused(&Replay{Tenant: "none", Network: "base", Monitor: "m", Doc: doc}, ErrNotFound)
	p.refused(&Replay{Tenant: "acme", Network: "base", Monitor: "m", Doc: other}, ErrConflict)
	p.refused(&Replay{Tenant: "acme", Network: "base", Monitor: "gone", Doc: doc}, ErrConflict)

	p.announce("base", 1)
	waiting := sized("acme", "waiting", 2)
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Outbox: []Outgoing{waiting}, Dead: []Dead{{Outgoing: sized("acme", "dead", 2)}}})
	fresh := Outgoing{Tenant: "bolt", Key: "fresh", Delivery: []byte("{}"), At: 50} // whose it is, the command says
	dead := replay("acme", "m", 10, 19, sized("acme", "waiting", 9), sized("acme", "dead", 9), fresh, fresh, sized("acme", "large", MaxOutgoing+1))
	if keys, ok := dead.([]string); !ok || !slices.Equal(keys, []string{"dead", "large"}) {
		t.Errorf("%v are dead letters, want the one that was and the large one", dead)
	}
	checkBoxes(t, p.View())
	if got := p.View().Box("acme"); got.Entries != 2 || got.Dead != 2 {
		t.Errorf("box %+v", got)
	}
	if o, ok := p.View().FindOutgoing("acme", "fresh"); !ok || o.NotBefore != 50 {
		t.Errorf("%+v is not due at once", o)
	}
	if d, ok := p.View().FindDead("acme", "large"); !ok || d.Reason != reasonLarge || d.DiedAt != 50 {
		t.Errorf("dead letter %+v", d)
	}
	replay("acme", "m", 30, 30)
	replay("acme", "m", 20, 21)
	replay("acme", "m", 40, 39) // nothing
	replay("acme", "n", 1, 2)
	replay("bolt", "m", 5, 6)
	told("acme", "m", Span{10, 21}, Span{30, 30})
	told("acme", "n", Span{1, 2})
	if err := p.Restore(bytes.NewReader(snapshot(t, p.View()))); err != nil {
		t.Fatal(err)
	}
	told("acme", "m", Span{10, 21}, Span{30, 30})

	set(1, "acme", monitor("m", other), monitor("n", doc))
	told("acme", "m")
	told("acme", "n", Span{1, 2})
	told("bolt", "m", Span{5, 6})
	set(2, "acme", monitor("m", doc), monitor("n", doc)) // as it was: nobody knows any more
	told("acme", "m")
	p.do(&DeleteTenant{Tenant: "acme", Expect: 3})
	told("acme", "n")
	told("bolt", "m", Span{5, 6})
	if n := p.View().replays.Len(); n != 1 {
		t.Errorf("%d replays are kept, want that of the other tenant", n)
	}
}

// What was replayed is not forgotten to make room: it would be sent again.
func TestReplaysAreBounded(t *testing.T) {
	p := newPausing(t)
	p.do(&PutBlobs{Blobs: [][]byte{blob(1)}})
	doc := Doc{Kind: DocMonitor, ID: "m", Hash: HashBlob(blob(1))}
	p.do(&SetTenantVersion{Tenant: "acme", Manifest: Manifest{Docs: []Doc{doc}}})
	at := func(from, to uint64) *Replay {
		return &Replay{Tenant: "acme", Network: "base", Monitor: "m", Doc: doc.Hash, From: from, To: to}
	}
	p.do(at(0, 0))
	r, _ := get(p.View().replays, replayKey("acme", "base", "m"))
	full := *r
	for i := range uint64(keepReplays - 1) {
		full.Heights = append(full.Heights, Span{2*i + 2, 2*i + 2})
	}
	v := *p.View()
	tx := begin(&v)
	put(tx.edit, &tx.replays, replayKey("acme", "base", "m"), &full)
	tx.end()
	p.view.Store(&v)
	p.refused(at(20_001, 20_001), ErrTooMany)
	p.do(at(0, 20_001))
	if got := p.View().Replayed("acme", "base", "m", doc.Hash); !slices.Equal(got, []Span{{0, 20_001}}) {
		t.Errorf("replayed %v", got)
	}
}

func TestSecrets(t *testing.T) {
	p := newPausing(t)
	put := func(tenant, name, sealed string) any {
		t.Helper()
		return p.do(&PutSecret{Tenant: tenant, Name: name, Sealed: []byte(sealed), At: 7})
	}
	p.refused(&PutSecret{Tenant: "acme", Name: "hook"}, ErrNotFound)
	p.fresh("acme", "acme2")
	changed := p.Changed(TopicSecrets)
	first := put("acme", "hook", "one")
	<-changed
	second := put("acme", "hook", "two")
	put("acme", "smtp", "three")
	put("acme2", "hook", "four")
	if err := p.Restore(bytes.NewReader(snapshot(t, p.View()))); err != nil {
		t.Fatal(err)
	}
	want := Secret{Tenant: "acme", Name: "hook", Sealed: []byte("two"), Index: second.(uint64), At: 7}
	if got, ok := p.View().Secret("acme", "hook"); !ok || !cmp.Equal(*got, want) || first == second {
		t.Errorf("secret %+v, want %+v", got, want)
	}
	list := func(tenant string) (names []string) {
		for s := range p.View().SecretsOf(tenant) {
			names = append(names, s.Name+" "+string(s.Sealed))
		}
		return names
	}
	if got := fmt.Sprint(list("acme"), list("acme2"), list("none")); got != "[hook two smtp three] [hook four] []" {
		t.Errorf("secrets %s", got)
	}
	changed = p.Changed(TopicSecrets)
	p.do(&DropSecret{Tenant: "acme", Name: "smtp"})
	<-changed
	p.refused(&DropSecret{Tenant: "acme", Name: "smtp"}, ErrNotFound)
	p.refused(&DropSecret{Tenant: "none", Name: "hook"}, ErrNotFound)
	changed = p.Changed(TopicSecrets)
	p.do(&DeleteTenant{Tenant: "acme", Expect: 1})
	<-changed
	if got := fmt.Sprint(list("acme"), list("acme2")); got != "[] [hook four]" {
		t.Errorf("secrets %s after the tenant was deleted", got)
	}
}

func TestNamesOfStatesAndModes(t *testing.T) {
	var got []string
	for s := range AlertConfirmed + 2 {
		got = append(got, s.String())
	}
	for m := range ModeConfirmation + 2 {
		got = append(got, m.String())
	}
	want := []string{
		"unknown", "fired", "retracted", "reinstated", "confirmed", "unknown",
		"", "instant", "confirmed", "finalized", "confirmation", "unknown",
	}
	if !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

// What a deleted tenant was told counts for nothing with another of its name, and
// what comes late of it is none of the other's business.
func TestLedgerOfANameGivenAgain(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 3)
	told := func(born uint64, state AlertState, position uint64, key string) {
		f := in(3, "a", state, position)
		f.Network, f.Alert, f.Tenant, f.Born = "base", "a", "acme", born
		f.Deliveries = []Delivered{{Key: key, Trigger: "hook", State: state, Position: position, Outcome: Refused}}
		dead := sized("acme", key, 2)
		dead.Born = born
		p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Fired: []Fired{f}, Dead: []Dead{{Outgoing: dead}}})
	}
	first := p.tenant("acme").Born
	told(first, AlertRetracted, 3, "k")
	p.remove("acme")
	p.wants("acme", "base")
	second := p.tenant("acme").Born
	if f, ok := p.View().FindFired("base", ref(3, "a"), "a", second); ok {
		t.Errorf("the new tenant has %+v", f)
	}
	if r, ok := p.View().Retracted("base", "a", second); ok {
		t.Errorf("the new tenant has %+v", r)
	}
	if n := p.do(&Redeliver{Tenant: "acme", Keys: []string{"k"}, At: 9}); n != 0 {
		t.Errorf("%v of the first tenant's dead letters are redelivered", n)
	}
	handed := sized("acme", "k", 2)
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Outbox: []Outgoing{handed}})
	checkBoxes(t, p.View())
	if o, ok := p.View().FindOutgoing("acme", "k"); !ok || o.Born != second {
		t.Errorf("a dead letter of the first tenant keeps the second one's delivery out: %+v", o)
	}
	told(second, AlertFired, 4, "k2")
	told(first, AlertRetracted, 5, "late")
	f, ok := p.View().FindFired("base", ref(3, "a"), "a", second)
	if !ok || f.State != AlertFired || len(f.Deliveries) != 1 || f.Deliveries[0].Key != "k2" {
		t.Errorf("ledger %+v", f)
	}
	if _, ok := p.View().FindDead("acme", "late"); ok {
		t.Error("what comes late of the first tenant is among the second one's dead letters")
	}
	p.retracted(Retraction{})
	if n := p.View().retracted.Len(); n != 0 {
		t.Errorf("%d retractions are kept", n)
	}
}
