package fsm

import (
	"bytes"
	"testing"
)

// instantly fires an alert with content for a tenant, in the block of a position.
func (p *pausing) instantly(tenant string, height, position uint64) {
	p.Helper()
	p.do(&Progress{Cohort: p.tenant(tenant).Cohort, Epoch: p.cohort(tenant).Epoch, Network: "base", To: position, Fired: []Fired{{
		Network: "base", Block: ref(height, "a"), Alert: tenant + "'s", Tenant: tenant, State: AlertFired, Position: position, Content: []byte("c"),
	}}})
}

func (p *pausing) cohort(tenant string) *Cohort {
	c, _ := p.View().Cohort(p.tenant(tenant).Cohort)
	return c
}

// judgeOf lets a tenant's cohort judge everything.
func (p *pausing) judgeOf(tenant string) {
	p.Helper()
	c := p.cohort(tenant)
	p.do(&Progress{Cohort: c.ID, Epoch: c.Epoch, Network: "base", To: p.network("base").Next - 1})
}

// goesOn checks whether the cursor of a tenant's cohort still follows the network.
func (p *pausing) goesOn(tenant string, want bool) {
	p.Helper()
	c, ok := p.View().Cursor("base", p.tenant(tenant).Cohort)
	if !ok || c.Parked() == want || (c.Until == 0) != want {
		p.Fatalf("cursor %+v, want it to go on: %v", c, want)
	}
}

// A paused tenant's cursor goes on as long as an alert of its may be retracted, and
// so does the network; nothing is judged for it.
func TestCursorGoesOnForRetractions(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 3)
	p.instantly("acme", 3, 3)
	p.wants("acme") // at 4
	p.goesOn("acme", true)
	if n := p.network("base"); n.Wanted != 0 || !p.View().Draining("base") {
		t.Fatalf("network %+v, want it wanted by nobody, and watched", n)
	}
	p.announce("base", 4) // to height 7: 3 lies 4 deep, which is not final yet
	p.judgeOf("acme")
	p.goesOn("acme", true)
	p.coverage("acme", "1-3 judged 1", "4-7 not wanted 0")

	// A state restored from its snapshot knows as much.
	written := snapshot(t, p.View())
	if err := p.Restore(bytes.NewReader(written)); err != nil {
		t.Fatal(err)
	}
	p.announce("base", 1)
	p.goesOn("acme", true) // it has not judged that yet
	p.judgeOf("acme")
	p.parked(true)
	p.retired("base", true)
	p.coverage("acme", "1-3 judged 1", "4-8 not wanted 0")
}

// Wanted again meanwhile, nothing is skipped; a plain alert keeps nobody.
func TestWantedAgainWhileRetractable(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 3)
	p.instantly("acme", 3, 3)
	p.wants("acme") // at 4
	p.announce("base", 2)
	p.wants("acme", "base") // at 6
	p.announce("base", 10)
	p.judgeOf("acme") // the alert is forgotten
	p.goesOn("acme", true)
	p.coverage("acme", "1-3 judged 1", "4-5 not wanted 0", "6-15 judged 3")
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", Fired: []Fired{{Network: "base", Block: ref(15, "a"), Alert: "plain", Tenant: "acme", Position: 15}}})
	p.wants("acme")
	p.parked(true)
	p.retired("base", true)
}

// The one for whom a cursor goes on takes that along, to another cohort, through a
// hand-over and a merge.
func TestRetractableMoves(t *testing.T) {
	p := newPausing(t)
	p.do(&RegisterNode{Name: "n2"})
	p.wantedByBoth("base", 3)
	p.instantly("acme", 3, 3)
	p.wants("acme")
	p.wants("bolt")
	p.goesOn("acme", true)
	p.do(&Move{Moves: []Moved{{Tenant: "acme", Cohort: "n1", To: "n2"}}})
	p.goesOn("acme", true)
	p.parkedIn("n1", true) // nobody else there has anything to come
	moved := p.tenant("acme").Cohort
	p.do(&Release{Cohort: moved, Epoch: p.cohort("acme").Epoch})
	p.goesOn("acme", true)
	p.announce("base", 2)
	p.judgeOf("acme")
	from, _ := p.View().Cohort(moved)
	into, _ := p.View().Cohort("n2")
	p.do(&Merge{From: moved, Into: "n2", FromEpoch: from.Epoch, IntoEpoch: into.Epoch})
	p.goesOn("acme", true)
	p.announce("base", 5)
	p.judgeOf("acme")
	p.parkedIn("n2", true)
	p.retired("base", true)
}

// A network is watched with the document that it had last, as long as an alert may be
// retracted there, however many versions come after; and no older one is kept for it.
func TestNetworkDocumentIsKeptForRetractions(t *testing.T) {
	p := newPausing(t)
	p.do(&PutBlobs{Blobs: [][]byte{[]byte("first"), []byte("last")}})
	set := func(docs ...Doc) {
		c := &SetTenantVersion{Tenant: Shared, Manifest: Manifest{Docs: docs}}
		if t := p.tenant(Shared); t != nil {
			c.Expect = t.Current.Number
		}
		p.do(c)
	}
	with := func(text string) Doc { return Doc{Kind: DocNetwork, ID: "base", Hash: HashBlob([]byte(text))} }
	set(with("first"))
	set(with("last"))
	p.wants("acme", "base")
	p.announce("base", 3)
	p.instantly("acme", 3, 3)
	p.wants("acme")
	for range 2 * keepVersions {
		set()
	}
	p.goesOn("acme", true)
	list := p.tenant(Shared).Previous
	if d, ok := list[0].Manifest.Find(DocNetwork, "base"); !ok || d.Hash != with("last").Hash || len(list) > keepVersions+1 {
		t.Fatalf("%d older versions are kept, of the network's document %+v", len(list), d)
	}
	p.announce("base", 5)
	p.judgeOf("acme")
	p.parked(true)
	set()
	if n := p.tenant(Shared).describes("base"); n != 0 {
		t.Errorf("version %d is kept, though nobody follows the network any more", n)
	}
}

func (p *pausing) parkedIn(cohort string, want bool) {
	p.Helper()
	if c, ok := p.View().Cursor("base", cohort); !ok || c.Parked() != want {
		p.Fatalf("cursor %+v, want parked: %v", c, want)
	}
}

// A deleted tenant is owed nothing, and what the ledger still has of it does not
// keep the next one of its name.
func TestDeletedTenantIsOwedNoRetraction(t *testing.T) {
	p := newPausing(t)
	p.wantedByBoth("base", 3)
	p.instantly("acme", 3, 3)
	p.wants("bolt")
	p.wants("acme")
	p.goesOn("acme", true)
	p.remove("acme")
	p.goesOn("bolt", false)
	p.retired("base", true)

	p.wants("acme")
	p.goesOn("bolt", false)
}

// Whoever grants leases hears when a cursor is parked, with the last announcement
// that it owes or with the last alert that may be retracted.
func TestParkingWakesTheLeases(t *testing.T) {
	for _, content := range []bool{false, true} {
		p := newPausing(t)
		p.wants("acme", "base")
		p.announce("base", 3)
		if content {
			p.instantly("acme", 3, 3)
		}
		p.wants("acme")
		p.announce("base", 5)
		p.parked(false)
		woken := p.Changed(TopicLeases)
		p.judgeOf("acme")
		p.parked(true)
		select {
		case <-woken:
		default:
			t.Errorf("with an alert: %v: nobody was woken", content)
		}
	}
}
