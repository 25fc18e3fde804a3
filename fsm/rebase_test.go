package fsm

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// TestRebase: whatever is restored over whatever else, no position is given out
// twice, nothing that was under way counts, and all the rest is as it was. Then
// the restored state goes on.
func TestRebase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var backup, current *View
		m := newMachine()
		m.prelude(t)
		m.some(t)
		backup = m.s.View()
		if rapid.Bool().Draw(t, "of another cluster") {
			other := newMachine()
			other.index = rapid.Uint64Range(0, 500).Draw(t, "other log")
			other.prelude(t)
			m = other
		}
		m.some(t)
		current = m.s.View()
		before := [][]byte{snapshot(t, backup), snapshot(t, current)}

		got := Rebase(backup, current)
		checkRebased(t, backup, current, got)
		if !bytes.Equal(before[0], snapshot(t, backup)) || !bytes.Equal(before[1], snapshot(t, current)) {
			t.Fatal("a view has changed")
		}
		goOn(t, got)
	})
}

// A backup with something in every field, restored where more was announced.
func TestRebaseOfEveryField(t *testing.T) {
	backup, err := ReadSnapshot(bytes.NewReader(goldenSnapshot(t)))
	if err != nil {
		t.Fatal(err)
	}
	p := moving(t)
	for i := range uint64(40) {
		p.do(&PutToken{ID: "k", Hash: Hash{1}, Expires: 1 << 60, At: int64(i)})
	}
	for _, key := range []string{"ethereum_mainnet", "acme/anvil"} {
		p.do(&SetTenantVersion{Tenant: "acme" + key, Manifest: Manifest{Wanted: []string{key}}})
		p.height = 0
		p.announce(key, 50)
	}
	checkRebased(t, backup, p.View(), Rebase(backup, p.View()))
	got := Rebase(backup, p.View())
	n, _ := got.Network("ethereum_mainnet")
	if n.Next != 51 || n.Depths[0].From != 38 || n.Entries[0].Position != 41 || n.Last.Position != 50 {
		t.Errorf("network %+v", n)
	}
	if c, _ := got.Cursor("ethereum_mainnet", "@24.0"); c.Position != 40 || c.Superseded[0] != (Span{39, 39}) || c.Until != 0 {
		t.Errorf("cursor %+v", c)
	}
	if c, _ := got.Cursor("ethereum_mainnet", ""); c.Until != 51 {
		t.Errorf("cursor %+v", c)
	}
	if c, _ := got.Cohort("@24.0"); *c != (Cohort{ID: "@24.0", Epoch: 24, Reason: ReasonLoadRebalance}) {
		t.Errorf("cohort %+v", c)
	}
	if tenant, _ := got.Tenant("acme"); got.Owner(tenant) != "" {
		t.Errorf("tenant %+v has an owner", tenant)
	}
	// The same again changes nothing more, and neither does an older cluster.
	for _, current := range []*View{New().View(), backup} {
		if n, _ := Rebase(backup, current).Network("ethereum_mainnet"); n.Next != 14 || n.Depths[0].From != 1 {
			t.Errorf("network %+v", n)
		}
	}
}

// some applies commands that mostly succeed.
func (m *machine) some(t *rapid.T) {
	for range rapid.IntRange(0, 25).Draw(t, "commands") {
		switch rapid.IntRange(0, 12).Draw(t, "command") {
		case 0:
			m.setTenant(t)
		case 1:
			m.pause(t)
		case 2:
			m.deleteTenant(t)
		case 3:
			m.move(t)
		case 4:
			m.release(t)
		case 5:
			m.catchUp(t)
			m.merge(t)
		case 6:
			m.grantLease(t)
		case 7:
			m.token(t)
		case 8, 9:
			m.progress(t)
		case 10:
			m.replay(t)
			m.secret(t)
			m.key(t)
			m.quota(t)
		default:
			m.announce(t)
		}
	}
}

func checkRebased(t checker, backup, current, got *View) {
	if got.Index() < backup.Index() || got.Index() < current.Index() {
		t.Fatalf("index %d after %d and %d", got.Index(), backup.Index(), current.Index())
	}
	for n := range current.Networks() {
		if after, ok := got.Network(n.Key); !ok || after.Next < n.Next {
			t.Fatalf("network %s: %+v, was at position %d", n.Key, after, n.Next)
		}
	}
	for n := range got.Networks() {
		if n.Lease.Holder != "" || n.Lease.Pinned || n.Lease.Epoch > got.Index() {
			t.Fatalf("network %s: lease %+v", n.Key, n.Lease)
		}
		old, ok := backup.Network(n.Key)
		if !ok {
			if n.Wanted != 0 || len(n.Entries) > 0 || len(n.Branch.Refs) > 0 || n.Last.Count > 0 {
				t.Fatalf("network %+v was not in the backup", n)
			}
			continue
		}
		checkShifted(t, backup, old, n)
		for f := range backup.FiredOn(n.Key) {
			want := *f
			want.Position += n.Next - old.Next
			want.Deliveries = slices.Clone(f.Deliveries)
			for i := range want.Deliveries {
				if want.Deliveries[i].Position != 0 {
					want.Deliveries[i].Position += n.Next - old.Next
				}
			}
			if kept, ok := got.FindFired(n.Key, f.Block, f.Alert, f.Born); !ok || !cmp.Equal(*kept, want) {
				t.Fatalf("fired %+v, want %+v", kept, want)
			}
			was, gone := backup.Retracted(n.Key, f.Alert, f.Born)
			was.Position += n.Next - old.Next
			if now, ok := got.Retracted(n.Key, f.Alert, f.Born); ok != gone || ok && now != was {
				t.Fatalf("alert %s retracted: %+v %v, want %+v %v", f.Alert, now, ok, was, gone)
			}
		}
		for p := uint64(1); p <= old.Next; p++ {
			if now := n.FinalityAt(p + n.Next - old.Next); now != old.FinalityAt(p) {
				t.Fatalf("network %s: finality depth %d where it was %d", n.Key, now, old.FinalityAt(p))
			}
		}
	}
	b, c, g := dump(backup), dump(current), dump(got)
	for what, pair := range map[string][2]any{
		"nodes": {c.Nodes, g.Nodes}, "tokens": {c.Tokens, g.Tokens}, "cluster record": {c.Cluster, g.Cluster},
		"blobs": {b.Blobs, g.Blobs}, "outbox": {b.Outbox, g.Outbox}, "dead letters": {b.Dead, g.Dead}, "changes": {b.Changes, g.Changes},
		"boxes": {b.Boxes, g.Boxes}, "bytes": {b.Bytes, g.Bytes}, "replays": {b.Replays, g.Replays}, "secrets": {b.Secrets, g.Secrets},
		"keys": {b.Keys, g.Keys}, "audit logs": {b.Audits, g.Audits}, "bytes of audit logs": {b.Audited, g.Audited},
	} {
		if diff := cmp.Diff(pair[0], pair[1], cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s differ:\n%s", what, diff)
		}
	}
	if len(b.Fired) != len(g.Fired) || len(b.Cursors) != len(g.Cursors) || len(b.Tenants) != len(g.Tenants) {
		t.Fatal("more or less than in the backup")
	}
	for cohort := range got.Cohorts() {
		main := cohort.Node == cohort.ID && got.TenantCount(cohort.ID) == 0
		if !main && cohort.Node != "" || cohort.To != "" || cohort.From != "" || cohort.Epoch > got.Index() {
			t.Fatalf("cohort %+v of %d tenants", cohort, got.TenantCount(cohort.ID))
		}
	}
	for tenant := range backup.Tenants() {
		after, _ := got.Tenant(tenant.ID)
		if diff := cmp.Diff(tenant, after, cmpopts.IgnoreFields(Tenant{}, "Coverage")); diff != "" {
			t.Fatalf("tenant %q differs:\n%s", tenant.ID, diff)
		}
		for n := range backup.Networks() {
			now, _ := got.Network(n.Key)
			want := backup.Coverage(tenant, n.Key, 0, 0)
			for i := range want {
				if want[i].FromPosition != 0 {
					want[i].FromPosition += now.Next - n.Next
					want[i].ToPosition += now.Next - n.Next
				}
			}
			if rows := got.Coverage(after, n.Key, 0, 0); !slices.Equal(rows, want) {
				t.Fatalf("tenant %q on %s: coverage %+v, want %+v", tenant.ID, n.Key, rows, want)
			}
		}
	}
	gone := map[changeRecord]bool{}
	for record := range marksOf(backup) {
		if tenant, ok := backup.Tenant(record.Tenant); !ok || record.Index < tenant.Born {
			gone[record] = true
		}
	}
	checkCohorts(t, got, gone)

	written := snapshot(t, got)
	again, err := ReadSnapshot(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, snapshot(t, again)) {
		t.Fatal("restored from its snapshot, it writes another")
	}
}

func marksOf(v *View) map[changeRecord]bool {
	marks := map[changeRecord]bool{}
	for key := range walk(v.changes, "") {
		marks[changeRecord{Index: be([]byte(key[:8])), Tenant: key[8:]}] = true
	}
	return marks
}

// checkShifted: the sequence is the same, further up, without a gap.
func checkShifted(t checker, backup *View, old, n *Network) {
	by := n.Next - old.Next
	want := *old
	want.Lease.Holder, want.Lease.Pinned = "", false
	want.Next += by
	next := uint64(0)
	runs := slices.Collect(n.Runs())
	for i, r := range slices.Collect(old.Runs()) {
		r.Position += by
		if runs[i] != r || i > 0 && r.Position != next {
			t.Fatalf("network %s: run %+v, want %+v at %d", n.Key, runs[i], r, next)
		}
		next = r.Position + r.Count
	}
	if len(runs) > 0 && next != n.Next {
		t.Fatalf("network %s: runs end before %d, want %d", n.Key, next, n.Next)
	}
	for i, e := range n.Entries {
		was := old.Entries[i]
		was.Position += by
		if e != was || e.Position != n.Next-uint64(len(n.Entries)-i) {
			t.Fatalf("network %s: entry %+v, want %+v", n.Key, e, was)
		}
	}
	for position := uint64(1); position < old.Next; position++ {
		a, aok := old.HeightAt(position)
		b, bok := n.HeightAt(position + by)
		if a != b || aok != bok || old.DepthAt(position) != n.DepthAt(position+by) {
			t.Fatalf("network %s: height %d (%v) at position %d, want %d (%v)", n.Key, b, bok, position+by, a, aok)
		}
	}
	for position := uint64(1); position < old.Next; position++ {
		if was, now := old.Origin(position), n.Origin(position+by); was != now {
			t.Fatalf("network %s: position %d comes from %d, want %d", n.Key, position+by, now, was)
		}
	}
	if got := n.Origin(n.Next); got != n.Next {
		t.Fatalf("network %s: what is announced next, at %d, comes from %d", n.Key, n.Next, got)
	}
	for c := range values(backup.cursors) {
		if c.Network != n.Key || c.Parked() {
			continue
		}
		if _, ok := n.Entry(c.Position + by + 1); !ok && c.Position+1 < old.Next {
			t.Fatalf("network %s: what cursor %+v has next is not kept", n.Key, c)
		}
	}
	ignore := cmpopts.IgnoreFields(Network{}, "Entries", "History", "Last", "Depths", "Windows", "Rebased")
	if diff := cmp.Diff(&want, n, ignore, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("network %s differs (-want +got):\n%s", n.Key, diff)
	}
}

// goOn: after a restore every tenant is moved at once and judged to the end of
// what is announced before and after, while nothing from before is accepted.
func goOn(t *rapid.T, v *View) {
	s := New()
	s.view.Store(v)
	index := v.Index()
	do := func(c Command) (any, error) {
		index++
		return s.Apply(index, mustEncode(t, c))
	}
	for c := range v.AllCursors() {
		if cohort, ok := v.Cohort(c.Cohort); ok {
			if _, err := do(&Progress{Cohort: c.Cohort, Epoch: cohort.Epoch, Network: c.Network, To: c.Position + 1}); err == nil {
				t.Fatalf("progress of cursor %+v from before the restore", c)
			}
		}
	}
	boot, err := do(&RegisterNode{Name: "n1", Server: "n1@2"})
	if err != nil {
		t.Fatal(err)
	}
	move := &Move{}
	for tenant := range v.Tenants() {
		if tenant.ID != Shared {
			move.Moves = append(move.Moves, Moved{Tenant: tenant.ID, Cohort: tenant.Cohort, To: "n1", Reason: ReasonNodeFailure})
		}
	}
	if n, err := do(move); err != nil || n != len(move.Moves) {
		t.Fatalf("moved %v, %v, want %d", n, err, len(move.Moves))
	}
	for n := range s.View().Networks() {
		if n.Wanted == 0 {
			continue
		}
		epoch, err := do(&GrantLease{Network: n.Key, Holder: "n1", IfEpoch: n.Lease.Epoch})
		if err != nil {
			t.Fatal(err)
		}
		tip, begun := n.Branch.Tip()
		e := Entry{Kind: Extend, Ref: ref(max(tip.Height, n.Gap)+1, "after"), Parent: tip.Hash}
		if !begun && n.Gap == 0 {
			e.Ref, e.Parent = ref(7, "after"), Hash{}
		}
		at, err := do(&Announce{Network: n.Key, Epoch: epoch.(uint64), Entries: []Entry{e}})
		if err != nil || at != n.Next {
			t.Fatalf("network %s: announced at %v, %v, want %d", n.Key, at, err, n.Next)
		}
	}
	for c := range s.View().AllCursors() {
		cohort, _ := s.View().Cohort(c.Cohort)
		n, _ := s.View().Network(c.Network)
		if _, err := do(&Progress{Cohort: c.Cohort, Epoch: cohort.Epoch, Network: c.Network, To: n.Next - 1}); err != nil {
			t.Fatalf("cursor %+v of cohort %+v: %v", c, cohort, err)
		}
	}
	for _, tenant := range slices.Collect(s.View().Tenants()) {
		for _, key := range slices.Sorted(maps.Keys(tenant.Coverage)) {
			for _, r := range announcedRows(s.View(), tenant, key) {
				if r.Status == Pending {
					t.Fatalf("tenant %q on %s: %+v after all was judged", tenant.ID, key, r)
				}
			}
		}
	}
	for cohort := range s.View().Cohorts() {
		if cohort.Node == "" {
			t.Fatalf("cohort %+v is left behind", cohort)
		}
	}
	if main, ok := s.View().Cohort("n1"); !ok || main.Node != "n1" || main.Epoch < boot.(uint64) {
		t.Fatalf("main cohort %+v", main)
	}
	checkSnapshots(t, s)
}

func checkSnapshots(t *rapid.T, s *State) {
	written := snapshot(t, s.View())
	twin := New()
	if err := twin.Restore(bytes.NewReader(written)); err != nil || !bytes.Equal(written, snapshot(t, twin.View())) {
		t.Fatalf("restored differently: %v", err)
	}
}
