package fsm

import (
	"bytes"
	"maps"
	"reflect"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// check compares the state with the model after every step.
func (m *machine) check(t *rapid.T) {
	v := m.s.View()
	if v.Index() != m.index {
		t.Fatalf("index %d, want %d", v.Index(), m.index)
	}
	if !bytes.Equal(snapshot(t, v), snapshot(t, m.twin.View())) {
		t.Fatalf("two states fed the same log differ:\n%s", cmp.Diff(dump(v), dump(m.twin.View()), cmpopts.EquateEmpty()))
	}
	m.checkTenants(t, v)
	m.checkBlobs(t, v)
	m.checkCursors(t, v)
	m.checkCluster(t, v)
	if got := len(slices.Collect(v.Networks())); got != len(m.m.nets) {
		t.Fatalf("%d networks, want %d", got, len(m.m.nets))
	}
	for key, want := range m.m.nets {
		n, ok := v.Network(key)
		if !ok {
			t.Fatalf("network %q is gone", key)
		}
		m.checkNetwork(t, n, want)
		m.checkReplay(t, n, want)
		m.checkRuns(t, n, want)
		m.checkFired(t, v, key, want)
	}
	d := dump(v)
	same(t, "cohorts", d.Cohorts, m.m.cohorts)
	same(t, "nodes", d.Nodes, m.m.nodes)
	same(t, "tokens", d.Tokens, m.m.tokens)
	m.checkDelivery(t, v)
	m.checkTenancy(t, v)
}

func same[T any](t *rapid.T, what string, got map[string]*T, want map[string]T) {
	t.Helper()
	values := map[string]T{}
	for k, v := range got {
		values[k] = *v
	}
	if diff := cmp.Diff(want, values, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s differ (-want +got):\n%s", what, diff)
	}
}

func (m *machine) checkTenants(t *rapid.T, v *View) {
	if got := len(slices.Collect(v.Tenants())); got != len(m.m.tenants) {
		t.Fatalf("%d tenants, want %d", got, len(m.m.tenants))
	}
	for id, want := range m.m.tenants {
		got, ok := v.Tenant(id)
		if !ok || got.Cohort != want.cohort {
			t.Fatalf("tenant %q: %+v", id, got)
		}
		if diff := cmp.Diff(want.current(), got.Current, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("tenant %q differs (-want +got):\n%s", id, diff)
		}
		for key, n := range m.m.nets {
			checkCoverage(t, v, got, want, key, n)
			m.checkOwed(t, v, got, want, key, n)
			checkBehind(t, v, got, want, key, n)
		}
	}
}

// checkCoverage: each position a tenant wanted is in exactly one run, of the
// version in force at its entry; every other position in none.
func checkCoverage(t *rapid.T, v *View, got *Tenant, want *modelTenant, key string, n *modelNet) {
	runs := got.Coverage[key]
	for i, r := range runs {
		if open := r.To == 0; open != (i == len(runs)-1 && want.wants(key)) {
			t.Fatalf("tenant %q on %s: open run at %d of %v", got.ID, key, i, runs)
		}
		if r.To != 0 && r.From >= r.To || i > 0 && r.From < runs[i-1].To {
			t.Fatalf("tenant %q on %s: runs out of order or empty: %v", got.ID, key, runs)
		}
	}
	if want.wants(key) && len(runs) == 0 {
		t.Fatalf("tenant %q on %s: wanted, but without coverage", got.ID, key)
	}
	for _, e := range n.log {
		var naming []uint64
		for _, r := range runs {
			if r.From <= e.Position && (r.To == 0 || e.Position < r.To) {
				naming = append(naming, r.Version)
			}
		}
		var owed []uint64
		if want.owed(key, e) {
			owed = []uint64{want.inForce(e.Index).Number}
		}
		if !slices.Equal(naming, owed) {
			t.Fatalf("tenant %q on %s position %d: in force and wanted %v, coverage says %v (%v)", got.ID, key, e.Position, owed, naming, runs)
		}
	}
	rows := announcedRows(v, got, key)
	for i, r := range rows {
		if i > 0 && r.FromPosition != rows[i-1].ToPosition+1 {
			t.Fatalf("tenant %q on %s: rows with a gap or an overlap: %+v", got.ID, key, rows)
		}
	}
}

// checkOwed: each position that a tenant wanted was told by its cohort, and its
// status says how; or it is still to be told, by a cursor that is not parked,
// from an announcement and a configuration that are kept. No other position has
// a status.
func (m *machine) checkOwed(t *rapid.T, v *View, got *Tenant, want *modelTenant, key string, n *modelNet) {
	rows := announcedRows(v, got, key)
	network, _ := v.Network(key)
	cursor, begun := v.Cursor(key, got.Cohort)
	model := m.m.cursors[[2]string{key, got.Cohort}]
	for _, e := range n.log {
		i := slices.IndexFunc(rows, func(r CoverageRow) bool { return r.FromPosition <= e.Position && e.Position <= r.ToPosition })
		if i < 0 {
			t.Fatalf("tenant %q on %s: no row for position %d", got.ID, key, e.Position)
		}
		status, version := NotWanted, uint64(0)
		if want.owed(key, e) {
			version = want.inForce(e.Index).Number
			superseded, told := model.told[e.Position]
			switch {
			case e.Kind == Skip:
				status = Skipped
			case want.behind[key][e.Position] && e.Kind == Extend && !superseded:
				status = Behind
			case !told:
				status = Pending
			case e.Kind == Rollback:
				status = RolledBack
			case superseded:
				status = Superseded
			default:
				status = Judged
			}
			if !told {
				kept, ok := network.Entry(e.Position)
				if !begun || cursor.Parked() || cursor.Position >= e.Position || !ok || kept != e {
					t.Fatalf("tenant %q on %s: nobody will judge position %d: cursor %+v, entry %+v %v", got.ID, key, e.Position, cursor, kept, ok)
				}
				if inForce, ok := got.InForce(e.Index); !ok || inForce.Number != version {
					t.Fatalf("tenant %q on %s: position %d is to be judged with version %d, kept is %d %v", got.ID, key, e.Position, version, inForce.Number, ok)
				}
			}
		}
		if rows[i].Status != status || rows[i].Version != version {
			t.Fatalf("tenant %q on %s position %d (%v): %+v, want %s of version %d", got.ID, key, e.Position, e.Kind, rows[i], status, version)
		}
		if inForce, ok := got.InForce(e.Index); ok && inForce.Number != want.inForce(e.Index).Number {
			t.Fatalf("tenant %q at index %d: version %d in force, want %d", got.ID, e.Index, inForce.Number, want.inForce(e.Index).Number)
		}
		if _, ok := got.InForce(e.Index); !ok && want.inForce(e.Index).Number != 0 && len(got.Previous) < keepVersions {
			t.Fatalf("tenant %q at index %d: no version in force, want %d", got.ID, e.Index, want.inForce(e.Index).Number)
		}
	}
}

func (m *machine) checkBlobs(t *rapid.T, v *View) {
	used := uses(v)
	got := dump(v).Blobs
	if len(got) != len(m.m.blobs) {
		t.Fatalf("%d blobs, want %d", len(got), len(m.m.blobs))
	}
	for hash, at := range m.m.blobs {
		b, ok := got[string(hash[:])]
		if !ok || b.At != at || b.Uses != used[hash] || HashBlob(b.Data) != hash {
			t.Fatalf("blob %v: %+v, want last put %d, used %d", hash.Short(), b, at, used[hash])
		}
	}
	idle := map[string]bool{}
	for key := range walk(v.idle, "") {
		idle[key] = true
	}
	for hash, b := range got {
		if key := idleKey(b.At, Hash([]byte(hash))); idle[key] != (b.Uses == 0) {
			t.Fatalf("blob %x, used %d: listed as unused: %v", hash, b.Uses, idle[key])
		} else {
			delete(idle, key)
		}
	}
	if len(idle) > 0 {
		t.Fatalf("listed as unused, but gone or of another time: %x", slices.Collect(maps.Keys(idle)))
	}
	for hash := range used {
		if _, ok := v.Blob(hash); !ok {
			t.Fatalf("blob %v is in use and gone", hash.Short())
		}
	}
}

func (m *machine) checkCursors(t *rapid.T, v *View) {
	var active []*Cursor
	cursors := map[[2]string]uint64{}
	for c := range values(v.cursors) {
		key := [2]string{c.Network, c.Cohort}
		cursors[key] = c.Position
		want := m.m.cursors[key]
		if want == nil {
			t.Fatalf("cursor %+v was never wanted", c)
		}
		if c.Position != want.position || c.Until != want.until || c.Parked() == want.active() {
			t.Fatalf("cursor %+v (parked: %v), want position %d until %d", c, c.Parked(), want.position, want.until)
		}
		if c.Position < m.cursors[key] {
			t.Fatalf("cursor %v moved back from %d to %d", key, m.cursors[key], c.Position)
		}
		if want := m.m.cohortNeeds(c.Network, c.Cohort); c.Tenants != want || (c.Until == 0) != (want > 0) {
			t.Fatalf("cursor %+v, want %d tenants", c, want)
		}
		superseded := map[uint64]bool{}
		for _, s := range c.Superseded {
			for p := s.From; p <= s.To; p++ {
				superseded[p] = true
			}
		}
		for p := uint64(1); p <= c.Position; p++ {
			if superseded[p] != want.told[p] {
				t.Fatalf("cursor %+v: position %d superseded: %v, want %v", c, p, superseded[p], want.told[p])
			}
		}
		if !c.Parked() {
			active = append(active, c)
		}
		if found, ok := v.Cursor(c.Network, c.Cohort); !ok || found != c {
			t.Fatalf("cursor %+v is not found", c)
		}
	}
	if len(cursors) != len(m.m.cursors) {
		t.Fatalf("cursors %v, want %d", cursors, len(m.m.cursors))
	}
	if all := slices.Collect(v.AllCursors()); !slices.Equal(all, active) {
		t.Fatalf("cursors yielded %v, those not parked are %v", all, active)
	}
	for key := range m.m.nets {
		here := slices.DeleteFunc(slices.Clone(active), func(c *Cursor) bool { return c.Network != key })
		if on := slices.Collect(v.Cursors(key)); !slices.Equal(on, here) {
			t.Fatalf("network %s: cursors yielded %v, those not parked are %v", key, on, here)
		}
	}
	m.cursors = cursors
}

func (m *machine) checkNetwork(t *rapid.T, n *Network, want *modelNet) {
	lease := want.lease
	if n.Lease != lease || n.Next != want.next() || n.Gap != want.gap || n.Deepest != want.deepest || n.Wanted != m.m.wanted(n.Key) || !reflect.DeepEqual(n.Start, want.start) {
		t.Fatalf("network %s: %+v, want lease %+v, next %d, gap %d, deepest %d, wanted by %d, start %v",
			n.Key, n, lease, want.next(), want.gap, want.deepest, m.m.wanted(n.Key), want.start)
	}
	if refs := want.chain[max(0, len(want.chain)-KeepRefs):]; !slices.Equal(n.Branch.Refs, refs) {
		t.Fatalf("network %s: branch %v, want %v", n.Key, n.Branch.Refs, refs)
	}
	if refs := want.chain[want.low:]; !slices.Equal(n.Window(), refs) {
		t.Fatalf("network %s: %v may be rolled back, want %v", n.Key, n.Window(), refs)
	}
	kept := want.log[m.m.least(n.Key):]
	if !slices.Equal(n.Entries, kept) {
		t.Fatalf("network %s: entries kept %+v, want %+v", n.Key, n.Entries, kept)
	}
	for _, e := range kept {
		if got, ok := n.Entry(e.Position); !ok || got != e {
			t.Fatalf("network %s: entry %d is %+v, %v", n.Key, e.Position, got, ok)
		}
	}
	for _, p := range []uint64{0, m.m.least(n.Key), n.Next} {
		if e, ok := n.Entry(p); ok {
			t.Fatalf("network %s: entry %d is %+v, expected none", n.Key, p, e)
		}
	}
}

// checkReplay: from Base, over the entries kept, every branch and everything due
// is as the whole history says.
func (m *machine) checkReplay(t *rapid.T, n *Network, want *modelNet) {
	b := n.Base
	for _, e := range n.Entries {
		next := b.Step(e, KeepRefs)
		for d := range uint64(depths) {
			if due := b.Due(next, d); !slices.Equal(due, want.due[e.Position][d]) {
				t.Fatalf("network %s position %d (%v %v) at depth %d: due %v, want %v", n.Key, e.Position, e.Kind, e.Ref, d, due, want.due[e.Position][d])
			}
		}
		b = next
	}
	if !slices.Equal(b.Plateaus, n.Branch.Plateaus) {
		t.Fatalf("network %s: replayed to plateaus %v, want %v", n.Key, b.Plateaus, n.Branch.Plateaus)
	}
	if !slices.Equal(b.Refs, n.Branch.Refs) {
		t.Fatalf("network %s: replayed from base to %v, want %v", n.Key, b.Refs, n.Branch.Refs)
	}
}

// checkRuns: the short form of the sequence tells the height of every position.
func (m *machine) checkRuns(t *rapid.T, n *Network, want *modelNet) {
	next := uint64(1)
	var ends []int
	for r := range n.Runs() {
		if r.Position != next || (r.Count == 0) != (r.Kind == Ended) {
			t.Fatalf("network %s: run %+v, want position %d", n.Key, r, next)
		}
		if r.Kind == Ended {
			ends = append(ends, int(next-1))
		}
		next += r.Count
	}
	if !slices.Equal(ends, want.ends) {
		t.Fatalf("network %s: ended after positions %v, want %v", n.Key, ends, want.ends)
	}
	if next != want.next() {
		t.Fatalf("network %s: runs end before %d, want %d", n.Key, next, want.next())
	}
	for _, e := range want.log {
		height := e.Ref.Height
		if e.Kind == Skip {
			height = e.From
		}
		if got, ok := n.HeightAt(e.Position); !ok || got != height {
			t.Fatalf("network %s: height %d at position %d (%v), want %d", n.Key, got, e.Position, ok, height)
		}
	}
	for _, p := range []uint64{0, next} {
		if h, ok := n.HeightAt(p); ok {
			t.Fatalf("network %s: height %d at position %d, which there is not", n.Key, h, p)
		}
	}
}

// checkFired: what is not final, or not judged by all, is kept, and as recorded.
func (m *machine) checkFired(t *rapid.T, v *View, network string, want *modelNet) {
	got := map[string]*Fired{}
	for f := range v.FiredOn(network) {
		got[firedKey(f.Network, f.Block, f.Alert)] = f
	}
	for _, key := range slices.Sorted(maps.Keys(m.m.fired)) {
		f := m.m.fired[key]
		if f.Network != network {
			continue
		}
		kept, ok := got[key]
		if !ok {
			if !f.releasable {
				tip, _ := want.tip()
				t.Fatalf("network %s: fired %+v is gone; tip %v, window %d, least cursor %d", network, f.Fired, tip, want.window(), m.m.least(network))
			}
			t.Fatalf("network %s: fired %+v is gone, and the model does not know", network, f.Fired)
		}
		if !reflect.DeepEqual(*kept, f.Fired) {
			t.Fatalf("network %s: fired %+v, want %+v", network, *kept, f.Fired)
		}
		if found, ok := v.FindFired(network, f.Block, f.Alert, f.Born); !ok || found != kept {
			t.Fatalf("network %s: fired %+v is not found", network, f.Fired)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Fatalf("network %s: fired %v was never recorded", network, got)
	}
}

// checkDeaths: every dead letter is listed once by its tenant and time, and
// nothing else is.
func checkDeaths(t *rapid.T, v *View) {
	n := 0
	for index := range values(v.deaths) {
		n += index.Len()
	}
	for d := range v.DeadLetters() {
		index, _ := get(v.deaths, d.Tenant)
		if index == nil {
			t.Fatalf("no dead letter of tenant %q is listed", d.Tenant)
		}
		if _, ok := get(index, deathKey(d)); !ok {
			t.Fatalf("dead letter %+v is not listed", d)
		}
	}
	if n != v.DeadLen() {
		t.Fatalf("%d dead letters are listed, there are %d", n, v.DeadLen())
	}
}

// announcedRows is a tenant's coverage without the heights that were never
// announced, because nobody wanted the network then.
func announcedRows(v *View, t *Tenant, network string) []CoverageRow {
	return slices.DeleteFunc(v.Coverage(t, network, 0, 0), func(r CoverageRow) bool {
		return r.FromPosition == 0 && r.Status == NotWanted
	})
}
