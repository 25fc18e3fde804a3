package fsm

import (
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// checker is a *testing.T or a *rapid.T.
type checker interface {
	failer
	Fatalf(format string, args ...any)
}

// checkCohorts recomputes from the tenants alone what is kept count of: who is in
// which cohort, whom each cursor is for, and who has changed when. gone are the
// deletions.
func checkCohorts(t checker, v *View, gone map[changeRecord]bool) {
	t.Helper()
	retractable := map[string]int{}
	for f := range values(v.fired) {
		if len(f.Content) > 0 {
			retractable[retractableKey(f.Network, f.Tenant, f.Born)]++
		}
	}
	if held := maps.Collect(walk(v.retractable, "")); !maps.Equal(held, retractable) {
		t.Fatalf("alerts that may be retracted: %v, want %v", held, retractable)
	}
	members, networks := map[string][]string{}, map[string]int{}
	counts := map[[2]string]tally{}
	marks := maps.Clone(gone)
	for tenant := range v.Tenants() {
		for _, index := range []uint64{tenant.Current.Index, tenant.Assigned.Index, tenant.Placed} {
			if index != 0 {
				marks[changeRecord{Index: index, Tenant: tenant.ID}] = true
			}
		}
		for _, key := range tenant.Current.Manifest.Wanted {
			networks[key]++
		}
		for key, runs := range tenant.Coverage {
			if len(runs) == 0 {
				t.Fatalf("tenant %q has an empty list of runs on %s", tenant.ID, key)
			}
			c := counts[[2]string{key, tenant.Cohort}]
			c.members++
			if slices.Contains(tenant.Current.Manifest.Wanted, key) || retractable[retractableKey(key, tenant.ID, tenant.Born)] > 0 {
				c.tenants++
			}
			counts[[2]string{key, tenant.Cohort}] = c
		}
		if tenant.ID == Shared {
			continue
		}
		members[tenant.Cohort] = append(members[tenant.Cohort], tenant.ID)
		if _, ok := v.Cohort(tenant.Cohort); ok == (tenant.Cohort == "") {
			t.Fatalf("tenant %q is in cohort %q, recorded: %v", tenant.ID, tenant.Cohort, ok)
		}
	}
	for n := range v.Networks() {
		if n.Wanted != networks[n.Key] {
			t.Fatalf("network %s is wanted by %d, want %d", n.Key, n.Wanted, networks[n.Key])
		}
	}
	got := map[[2]string]tally{}
	for c := range values(v.cursors) {
		got[[2]string{c.Network, c.Cohort}] = tally{c.Tenants, c.Members}
	}
	if !maps.Equal(got, counts) {
		t.Fatalf("cursors count %v, want %v", got, counts)
	}
	if v.members.Len() != len(members) {
		t.Fatalf("%d cohorts list members, want %v", v.members.Len(), members)
	}
	cohorts := append(slices.Collect(maps.Keys(members)), "", "none")
	for c := range v.Cohorts() {
		cohorts = append(cohorts, c.ID)
	}
	for _, id := range cohorts {
		var in []string
		for tenant := range v.TenantsOf(id) {
			in = append(in, tenant.ID)
		}
		if !slices.Equal(in, members[id]) || v.TenantCount(id) != len(members[id]) {
			t.Fatalf("cohort %q lists %v, counts %d, want %v", id, in, v.TenantCount(id), members[id])
		}
	}
	changes := map[changeRecord]bool{}
	for key, id := range walk(v.changes, "") {
		record := changeRecord{Index: be([]byte(key[:8])), Tenant: key[8:]}
		if record.Tenant != id {
			t.Fatalf("mark %v names %q", record, id)
		}
		changes[record] = true
	}
	if !maps.Equal(changes, marks) {
		t.Fatalf("marks of change differ (-want +got):\n%s", cmp.Diff(marks, changes, cmpopts.EquateEmpty()))
	}
}

// be is the reverse of be64.
func be(b []byte) (n uint64) {
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

// checkCluster compares what the state says of nodes, cohorts and the cluster.
func (m *machine) checkCluster(t checker, v *View) {
	t.Helper()
	checkCohorts(t, v, m.m.gone)
	if diff := cmp.Diff(m.m.cluster, v.Cluster()); diff != "" {
		t.Fatalf("cluster record differs (-want +got):\n%s", diff)
	}
	for id, want := range m.m.tenants {
		got, _ := v.Tenant(id)
		p := SetPlacement{Tenant: want.placed.Tenant, Pin: got.Pin, Weight: got.Weight, Priority: got.Priority, Expect: want.placed.Expect}
		if got.Born != want.born || got.Assigned != want.assigned || p != want.placed || got.Placed != want.placedAt {
			t.Fatalf("tenant %+v, want born at %d, assigned %+v, placed %+v at %d", got, want.born, want.assigned, want.placed, want.placedAt)
		}
		owner := ""
		if c, ok := m.m.cohorts[want.cohort]; ok && c.To == "" {
			owner = c.Node
		}
		if v.Owner(got) != owner {
			t.Fatalf("tenant %q is judged by %q, want %q", id, v.Owner(got), owner)
		}
	}
	since := map[string]bool{}
	for id := range v.TenantsSince(m.before.index) {
		since[id] = true
	}
	for _, view := range []*View{m.before, v} {
		for tenant := range view.Tenants() {
			a, _ := m.before.Tenant(tenant.ID)
			b, _ := v.Tenant(tenant.ID)
			changed := a == nil || b == nil || a.Born != b.Born || a.Current.Index != b.Current.Index || a.Cohort != b.Cohort || m.before.Owner(a) != v.Owner(b)
			if changed && !since[tenant.ID] {
				// A command that fences a node moves nobody.
				t.Fatalf("tenant %q has changed and is not told of: %+v, %+v", tenant.ID, a, b)
			}
		}
	}
	judged := map[judgedKey]uint64{}
	for tenant := range v.Tenants() {
		for network := range tenant.Coverage {
			c, ok := v.Cursor(network, tenant.Cohort)
			if !ok {
				t.Fatalf("tenant %q has no cursor on %s", tenant.ID, network)
			}
			key := judgedKey{tenant.ID, tenant.Born, network}
			if c.Position < m.judged[key] {
				t.Fatalf("tenant %q on %s went back from %d to %d", tenant.ID, network, m.judged[key], c.Position)
			}
			judged[key] = c.Position
		}
	}
	m.judged = judged
}
