package fsm

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// pausing is a cluster of one network, "base", whose tenants come and go.
type pausing struct {
	*testing.T
	*State
	index  uint64
	epoch  uint64 // the cohort's
	height uint64 // of the newest announcement
	gone   map[changeRecord]bool
}

func newPausing(t *testing.T) *pausing {
	p := &pausing{T: t, State: New(), gone: map[changeRecord]bool{}}
	p.epoch = p.do(&RegisterNode{Name: "n1"}).(uint64)
	return p
}

// wantedByBoth has acme and bolt want a network, and so many blocks of it announced.
func (p *pausing) wantedByBoth(network string, blocks int) {
	p.Helper()
	p.wants("acme", network)
	p.wants("bolt", network)
	p.announce(network, blocks)
}

func (p *pausing) do(c Command) any {
	p.Helper()
	p.index++
	if progress, ok := c.(*Progress); ok {
		bear(p.View(), progress)
	}
	result, err := p.Apply(p.index, mustEncode(p, c))
	if err != nil {
		p.Fatal(err)
	}
	if a, ok := c.(*Audited); ok {
		c = a.inner
	}
	if d, ok := c.(*DeleteTenant); ok {
		p.gone[changeRecord{Index: p.index, Tenant: d.Tenant}] = true
	}
	checkCohorts(p, p.View(), p.gone)
	return result
}

// bear says of alerts and deliveries that they are those of the tenants there are,
// unless it was said already.
func bear(v *View, c *Progress) {
	of := func(tenant string, born *uint64) {
		if t, ok := v.Tenant(tenant); ok && *born == 0 {
			*born = t.Born
		}
	}
	for i := range c.Fired {
		of(c.Fired[i].Tenant, &c.Fired[i].Born)
	}
	for i := range c.Outbox {
		of(c.Outbox[i].Tenant, &c.Outbox[i].Born)
	}
	for i := range c.Dead {
		of(c.Dead[i].Tenant, &c.Dead[i].Born)
	}
}

func (p *pausing) tenant(id string) *Tenant {
	t, _ := p.View().Tenant(id)
	return t
}

// wants gives a tenant a new version that watches the networks. A new tenant
// joins the cohort n1 before.
func (p *pausing) wants(id string, keys ...string) {
	p.Helper()
	p.wantsOn("n1", id, keys...)
}

// wantsOn is wants for a tenant of a node's main cohort. Its first version, by
// which it comes there, wants nothing.
func (p *pausing) wantsOn(node, id string, keys ...string) {
	p.Helper()
	if p.tenant(id) == nil {
		p.do(&SetTenantVersion{Tenant: id})
		p.do(&Move{Moves: []Moved{{Tenant: id, To: node}}})
		from, _ := p.View().Cohort(p.tenant(id).Cohort)
		into, _ := p.View().Cohort(node)
		p.do(&Merge{From: from.ID, Into: node, FromEpoch: from.Epoch, IntoEpoch: into.Epoch})
	}
	p.do(&SetTenantVersion{Tenant: id, Expect: p.tenant(id).Current.Number, Manifest: Manifest{Wanted: keys}})
}

// rows is a tenant's coverage; versions are counted from the first that wanted
// something.
func (p *pausing) rows(id, network string) []CoverageRow {
	rows := p.View().Coverage(p.tenant(id), network, 0, 0)
	for i := range rows {
		if rows[i].Version > 0 {
			rows[i].Version--
		}
	}
	return rows
}

func (p *pausing) remove(id string) {
	p.Helper()
	p.do(&DeleteTenant{Tenant: id, Expect: p.tenant(id).Current.Number})
}

func (p *pausing) network(key string) *Network {
	n, _ := p.View().Network(key)
	return n
}

// announce adds blocks on top of the newest.
func (p *pausing) announce(key string, blocks int) {
	p.Helper()
	n := p.network(key)
	if n.Lease.Holder == "" {
		p.do(&GrantLease{Network: key, Holder: "n1", IfEpoch: n.Lease.Epoch, Window: 4})
	}
	c := &Announce{Network: key, Epoch: p.network(key).Lease.Epoch}
	for range blocks {
		p.height++
		c.Entries = append(c.Entries, Entry{Kind: Extend, Ref: ref(p.height, "a"), Parent: ref(p.height-1, "a").Hash})
	}
	p.do(c)
}

func (p *pausing) progress(to uint64, superseded ...Span) {
	p.Helper()
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", To: to, Superseded: superseded})
}

func (p *pausing) coverage(id string, want ...string) {
	p.Helper()
	var got []string
	for _, r := range p.rows(id, "base") {
		if r.FromPosition == 0 {
			continue // never announced
		}
		got = append(got, fmt.Sprintf("%d-%d %s %d", r.FromPosition, r.ToPosition, r.Status, r.Version))
	}
	if !slices.Equal(got, want) {
		p.Fatalf("coverage %q, want %q", got, want)
	}
}

func (p *pausing) parked(want bool) {
	p.Helper()
	c, ok := p.View().Cursor("base", "n1")
	if !ok || c.Parked() != want {
		p.Fatalf("cursor %+v, want parked: %v", c, want)
	}
	active := slices.Collect(p.View().Cursors("base"))
	if want != (len(active) == 0) {
		p.Fatalf("cursors %v, want parked: %v", active, want)
	}
}

// retired checks whether the network has forgotten its branch.
func (p *pausing) retired(key string, want bool) {
	p.Helper()
	n := p.network(key)
	_, begun := n.Branch.Tip()
	if got := !begun && n.Lease.Holder == "" && len(n.Entries) == 0; got != want || begun == want {
		p.Fatalf("network %+v, want retired: %v", n, want)
	}
}

// A cohort whose last tenant pauses still owes what was announced until then,
// and nothing of what comes after.
func TestCoverageAfterPause(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 10)
	p.progress(3, Span{2, 2})
	p.wants("acme") // at 11
	p.coverage("acme", "1-1 judged 1", "2-2 superseded 1", "3-3 judged 1", "4-10 pending 1")
	p.parked(false)
	p.retired("base", false)
	if n := p.network("base"); len(n.Entries) != 7 || n.Wanted != 0 {
		t.Fatalf("%d entries kept, wanted by %d", len(n.Entries), n.Wanted)
	}
	p.announce("base", 2) // the watcher has not noticed yet
	p.progress(6)
	p.coverage("acme", "1-1 judged 1", "2-2 superseded 1", "3-6 judged 1", "7-10 pending 1", "11-12 not wanted 0")
	p.parked(false)
	p.progress(9, Span{7, 8})
	p.parked(false)
	p.progress(12)
	p.parked(true)
	p.retired("base", true)
	past := []string{"1-1 judged 1", "2-2 superseded 1", "3-6 judged 1", "7-8 superseded 1", "9-10 judged 1", "11-12 not wanted 0"}
	p.coverage("acme", past...)

	p.progress(12, Span{1, 12}) // told again
	p.coverage("acme", past...)
	p.wants("acme", "base") // at 13
	p.parked(false)
	p.height = 100 // it begins anew at the tip of that day
	p.announce("base", 2)
	p.coverage("acme", append(past, "13-14 pending 3")...)
	p.progress(14)
	p.coverage("acme", append(past, "13-14 judged 3")...)
}

// A tenant that comes back before the cursor has come to where it left finds it
// where it was.
func TestWantedAgainBeforeParked(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 10)
	p.progress(3)
	p.wants("acme") // at 11
	p.announce("base", 5)
	p.wants("bolt", "base") // at 16
	p.announce("base", 5)
	c, _ := p.View().Cursor("base", "n1")
	if c.Position != 3 || c.Until != 0 || c.Tenants != 1 {
		t.Fatalf("cursor %+v", c)
	}
	p.coverage("acme", "1-3 judged 1", "4-10 pending 1", "11-20 not wanted 0")
	p.coverage("bolt", "1-15 not wanted 0", "16-20 pending 1")
	p.progress(20)
	p.coverage("acme", "1-10 judged 1", "11-20 not wanted 0")
	p.coverage("bolt", "1-15 not wanted 0", "16-20 judged 1")
	p.parked(false)
}

// A parked cursor stays where it is, whatever is announced for others; wanted
// again, it stands behind all of that.
func TestParkedCursorStaysUntilWanted(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.do(&RegisterNode{Name: "n2"})
	p.wantsOn("n2", "bolt", "base")
	p.announce("base", 5)
	p.wants("acme") // at 6
	p.announce("base", 5)
	at := func(position uint64, parked bool) {
		t.Helper()
		if c, _ := p.View().Cursor("base", "n1"); c.Position != position || c.Parked() != parked {
			t.Fatalf("cursor %+v, want it at %d, parked: %v", c, position, parked)
		}
	}
	p.progress(5, Span{4, 5})
	at(5, true)
	p.progress(9, Span{6, 9})
	at(5, true)
	p.wants("acme", "base") // at 11
	at(10, false)
	p.announce("base", 1)
	p.coverage("acme", "1-3 judged 1", "4-5 superseded 1", "6-10 not wanted 0", "11-11 pending 3")
	if n := p.network("base"); len(n.Entries) != 11 {
		t.Fatalf("%d entries kept for the other cohort, want 11", len(n.Entries))
	}
}

// One who leaves with nothing left to judge parks the cursor at once; so does
// one who came and left between two announcements.
func TestParkedAtOnce(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.wants("acme")
	if c, ok := p.View().Cursor("base", "n1"); ok {
		t.Fatalf("cursor %+v tells nobody anything", c)
	}
	p.retired("base", true)
	p.wants("acme", "base")
	p.announce("base", 4)
	p.progress(4)
	p.wants("acme")
	p.parked(true)
	p.retired("base", true)
	p.coverage("acme", "1-4 judged 3")
}

// Nothing is kept of a deleted tenant's own networks: who comes under the same
// name later, and calls a network the same, begins with nothing.
func TestDeletedTenantsNetworksAreForgotten(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base", "acme/anvil", "acme/idle")
	p.wants("acme2", "acme2/anvil")
	p.announce("acme2/anvil", 2)
	p.height = 0
	p.announce("acme/anvil", 3)
	fired := func(key string, height, position uint64) {
		c := &Progress{Cohort: "n1", Epoch: p.epoch, Network: key, Superseded: []Span{{1, 1}}, To: 1}
		c.Fired = []Fired{{Network: key, Block: ref(height, "a"), Alert: "a1", Position: position}}
		p.do(c)
	}
	fired("acme/anvil", 3, 3)
	fired("acme2/anvil", 2, 2)
	p.height = 0
	p.announce("base", 1)
	fired("base", 1, 1)
	p.do(&StartNetwork{Network: "acme/never-watched", Height: 7})
	lease := p.network("acme/anvil").Lease.Epoch
	before, _ := p.View().Cursor("acme/anvil", "n1")
	p.remove("acme")
	for _, key := range []string{"acme/anvil", "acme/idle", "acme/never-watched"} {
		if n := p.network(key); n != nil {
			t.Errorf("network %+v of a deleted tenant is kept", n)
		}
		if c, ok := p.View().Cursor(key, "n1"); ok {
			t.Errorf("cursor %+v on a network of a deleted tenant is kept", c)
		}
		for f := range p.View().FiredOn(key) {
			t.Errorf("fired %+v on a network of a deleted tenant is kept", f)
		}
	}
	for _, key := range []string{"base", "acme2/anvil"} {
		if n, ledger := p.network(key), slices.Collect(p.View().FiredOn(key)); n == nil || len(ledger) != 1 {
			t.Errorf("network %s of others: %+v, fired %v", key, n, ledger)
		}
	}

	p.wants("acme", "acme/anvil")
	if n := p.network("acme/anvil"); n.Next != 1 || len(n.History) > 0 || n.Last.Count > 0 {
		t.Fatalf("network %+v inherits from the deleted tenant", n)
	}
	p.height = 50
	p.announce("acme/anvil", 1)
	if epoch := p.network("acme/anvil").Lease.Epoch; epoch <= lease {
		t.Fatalf("lease at epoch %d, the earlier tenant's was at %d", epoch, lease)
	}
	late := &Progress{Cohort: "n1", Epoch: p.epoch, Born: before.Born, Network: "acme/anvil", To: 1}
	late.Fired = []Fired{{Network: "acme/anvil", Block: ref(3, "a"), Alert: "late", Position: 1}}
	p.index++
	if _, err := p.Apply(p.index, mustEncode(t, late)); !errors.Is(err, ErrConflict) {
		t.Errorf("progress on the earlier network: %v", err)
	}
	rows := p.rows("acme", "acme/anvil")
	want := []CoverageRow{{FromPosition: 1, ToPosition: 1, FromHeight: 51, ToHeight: 51, Status: Pending, Version: 1}}
	if !slices.Equal(rows, want) {
		t.Fatalf("coverage %+v, want %+v", rows, want)
	}
}

// What was owed to a deleted tenant alone is let go; what another is owed is not.
func TestDeletedTenantIsOwedNothing(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base", "acme/anvil")
	p.wants("bolt", "base")
	p.announce("base", 10)
	p.height = 0
	p.announce("acme/anvil", 3)
	p.height = 10
	p.wants("bolt") // at 11
	p.announce("base", 5)
	p.progress(3)
	p.remove("acme")
	p.parked(false) // bolt
	p.coverage("bolt", "1-3 judged 1", "4-10 pending 1", "11-15 not wanted 0")
	p.progress(9)
	p.parked(false)
	p.remove("bolt")
	if c, ok := p.View().Cursor("base", "n1"); ok {
		t.Fatalf("cursor %+v tells nobody anything", c)
	}
	p.retired("base", true)
}

// Alerts of blocks that are final when a network ends are forgotten then; the
// others stay, so that a block announced again repeats nothing.
func TestLedgerOfARetiredNetwork(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 10)
	c := &Progress{Cohort: "n1", Epoch: p.epoch, Network: "base", To: 10}
	for h := uint64(1); h <= 10; h++ {
		c.Fired = append(c.Fired, Fired{Network: "base", Block: ref(h, "a"), Alert: "a1", Tenant: "acme", Position: h})
	}
	p.wants("acme")
	p.do(c)
	p.retired("base", true)
	var kept []uint64
	for f := range p.View().FiredOn("base") {
		kept = append(kept, f.Block.Height)
	}
	if want := []uint64{6, 7, 8, 9, 10}; !slices.Equal(kept, want) { // a window of 4 below 10
		t.Fatalf("alerts kept of heights %v, want %v", kept, want)
	}
}

// A version is kept while a cursor that only finishes still needs it, however
// many come after.
func TestVersionsNeededAfterPause(t *testing.T) {
	p := newPausing(t)
	p.wants("acme", "base")
	p.announce("base", 5)
	p.wants("acme", "base")
	p.announce("base", 5)
	p.progress(7)
	for range 2 * keepVersions {
		p.wants("acme")
	}
	kept := func(id string, number uint64) bool {
		_, ok := p.tenant(id).Number(number + 1) // the first wants nothing
		return ok
	}
	if kept("acme", 1) || !kept("acme", 2) {
		t.Fatalf("version 1 kept: %v, 2: %v; position 8 is judged with 2", kept("acme", 1), kept("acme", 2))
	}
	e, _ := p.network("base").Entry(8)
	if v, ok := p.tenant("acme").InForce(e.Index); !ok || v.Number != 3 {
		t.Fatalf("in force at position 8: %d %v", v.Number, ok)
	}
	p.progress(10)
	p.parked(true)
	p.wants("acme")
	if kept("acme", 2) || len(p.tenant("acme").Previous) != keepVersions {
		t.Fatalf("%d older versions kept", len(p.tenant("acme").Previous))
	}
}

// The document of a network gives the depth that announcements are judged at:
// its version is kept for every cursor on the network, whoever owns it.
func TestNetworkVersionsAreNeeded(t *testing.T) {
	for owner, key := range map[string]string{Shared: "base", "acme": "acme/base"} {
		p := newPausing(t)
		doc := []byte("network")
		p.do(&PutBlobs{Blobs: [][]byte{doc}})
		edit := func() {
			c := &SetTenantVersion{Tenant: owner, Manifest: Manifest{Docs: []Doc{{Kind: DocNetwork, ID: "base", Hash: HashBlob(doc)}}}}
			if t := p.tenant(owner); t != nil {
				c.Expect = t.Current.Number
			}
			p.do(c)
		}
		edit()
		p.wants("bolt", key)
		p.announce(key, 3)
		for range 2 * keepVersions {
			edit()
		}
		e, _ := p.network(key).Entry(1)
		if v, ok := p.tenant(owner).InForce(e.Index); !ok || v.Number != 1 {
			t.Fatalf("%s: in force at position 1: %d %v", key, v.Number, ok)
		}
		p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: key, To: 3})
		edit()
		if n := len(p.tenant(owner).Previous); n != keepVersions {
			t.Fatalf("%s: %d older versions kept", key, n)
		}
	}
}

// A private network that somebody else was judged on, which the documents do not
// allow, is kept with its tenant's past.
func TestDropKeepsWhatOthersHave(t *testing.T) {
	p := newPausing(t)
	p.wantedByBoth("acme/anvil", 2)
	p.do(&Progress{Cohort: "n1", Epoch: p.epoch, Network: "acme/anvil", To: 2})
	p.wants("bolt")
	p.remove("acme")
	if rows := p.rows("bolt", "acme/anvil"); len(rows) != 1 || rows[0].Status != Judged {
		t.Errorf("coverage %+v", rows)
	}
	p.remove("bolt")
	p.wants("acme")
	p.remove("acme")
	if n := p.network("acme/anvil"); n != nil {
		t.Errorf("network %+v of a deleted tenant is kept", n)
	}
}
