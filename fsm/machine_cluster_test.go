package fsm

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// cohort is one that there is, now and then none.
func (m *machine) cohort(t *rapid.T) string {
	ids := slices.Sorted(maps.Keys(m.m.cohorts))
	if len(ids) == 0 || rapid.IntRange(0, 19).Draw(t, "no cohort") == 0 {
		return rapid.SampledFrom([]string{"", "@1.7"}).Draw(t, "cohort")
	}
	return rapid.SampledFrom(ids).Draw(t, "cohort")
}

func (m *machine) node(t *rapid.T) string { return rapid.SampledFrom(nodeNames).Draw(t, "node") }

func (m *machine) registerNode(t *rapid.T) {
	name := m.node(t)
	m.do(t, &RegisterNode{
		Name: name, Server: fmt.Sprintf("%s@%d", name, rapid.IntRange(1, 6).Draw(t, "disk")), Address: name + ":7000", Version: "1.0",
		Roles: AllRoles, Weight: rapid.Uint32Range(0, 200).Draw(t, "weight"),
	})
}

func (m *machine) drainNode(t *rapid.T) {
	m.do(t, &DrainNode{Name: m.node(t), Drain: rapid.SampledFrom([]Drain{DrainNone, DrainLeaving, DrainOperator}).Draw(t, "drain")})
}

func (m *machine) removeNode(t *rapid.T) {
	c := &RemoveNode{Name: m.node(t)}
	c.Server = m.m.nodes[c.Name].Server
	if rapid.IntRange(0, 4).Draw(t, "another server") == 0 {
		c.Server = "n9@1"
	}
	m.do(t, c)
}

func (m *machine) setCluster(t *rapid.T) {
	c := &SetCluster{Expect: m.m.cluster.Index, Cluster: Cluster{Name: "test", CA: []byte("pem"), Keys: [][]byte{{byte(m.clock)}}, Index: 7}}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		c.Expect++
	}
	m.do(t, c)
}

func (m *machine) token(t *rapid.T) {
	id := rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "token")
	hash := Hash{rapid.SampledFrom([]byte{1, 1, 1, 2}).Draw(t, "secret")}
	if rapid.Bool().Draw(t, "put") {
		m.do(t, &PutToken{ID: id, Hash: hash, Expires: m.clock + rapid.Int64Range(0, 40).Draw(t, "life"), At: m.clock})
		return
	}
	m.do(t, &UseToken{ID: id, Hash: hash, Node: m.node(t), Request: Hash{rapid.SampledFrom([]byte{0, 1, 2}).Draw(t, "request")}, At: m.clock + 1})
}

func (m *machine) place(t *rapid.T) {
	tenant := rapid.SampledFrom(tenantIDs).Draw(t, "tenant")
	var expect uint64
	if known, ok := m.m.tenants[tenant]; ok {
		expect = known.placedAt
	}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		expect++
	}
	m.do(t, &SetPlacement{
		Tenant: tenant, Expect: expect, Pin: rapid.SampledFrom([]string{"", "n1"}).Draw(t, "pin"),
		Weight: rapid.Uint32Range(0, 9).Draw(t, "weight"), Priority: rapid.Int32Range(-3, 3).Draw(t, "priority"),
	})
}

func (m *machine) move(t *rapid.T) {
	c := &Move{Force: rapid.IntRange(0, 2).Draw(t, "force") == 0, At: m.clock}
	for range rapid.IntRange(1, 5).Draw(t, "moves") {
		item := Moved{Tenant: rapid.SampledFrom(tenantIDs).Draw(t, "tenant"), To: m.node(t)}
		if tenant, ok := m.m.tenants[item.Tenant]; ok {
			item.Cohort = tenant.cohort
		}
		if rapid.IntRange(0, 9).Draw(t, "seen elsewhere") == 0 {
			item.Cohort = m.cohort(t)
		}
		item.Reason = rapid.SampledFrom([]Reason{ReasonLoadRebalance, ReasonNodeFailure, ReasonManual, ReasonLaggard}).Draw(t, "reason")
		c.Moves = append(c.Moves, item)
	}
	m.do(t, c)
}

func (m *machine) release(t *rapid.T) {
	var handing []string
	for id, c := range m.m.cohorts {
		if c.To != "" {
			handing = append(handing, id)
		}
	}
	slices.Sort(handing)
	id := m.cohort(t)
	if len(handing) > 0 && rapid.IntRange(0, 4).Draw(t, "any") != 0 {
		id = rapid.SampledFrom(handing).Draw(t, "handed over")
	}
	c := &Release{Cohort: id, Epoch: m.m.cohorts[id].Epoch}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		c.Epoch--
	}
	m.do(t, c)
}

// catchUp lets a cohort judge everything, so that it may be merged.
func (m *machine) catchUp(t *rapid.T) {
	id := m.cohort(t)
	for c := range m.s.View().AllCursors() {
		n := m.m.nets[c.Network]
		if to := n.next() - 1; (c.Cohort == id || rapid.Bool().Draw(t, "another")) && to > c.Position {
			m.do(t, &Progress{Network: c.Network, Cohort: c.Cohort, Epoch: m.m.cohorts[c.Cohort].Epoch, To: to})
		}
	}
}

func (m *machine) merge(t *rapid.T) {
	c := &Merge{From: m.cohort(t), Into: m.cohort(t)}
	var pairs []Merge
	for from, a := range m.m.cohorts {
		for into, b := range m.m.cohorts {
			if from != into && a.Node == b.Node && a.To == "" && b.To == "" {
				pairs = append(pairs, Merge{From: from, Into: into})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b Merge) int { return slices.Compare([]string{a.From, a.Into}, []string{b.From, b.Into}) })
	if len(pairs) > 0 && rapid.IntRange(0, 4).Draw(t, "any") != 0 {
		*c = rapid.SampledFrom(pairs).Draw(t, "pair")
	}
	if got, want := m.s.View().CanMerge(c.From, c.Into), m.m.mergeable(c.From, c.Into); got != want {
		t.Fatalf("cohort %q into %q: can be merged: %v, want %v", c.From, c.Into, got, want)
	}
	c.FromEpoch, c.IntoEpoch = m.m.cohorts[c.From].Epoch, m.m.cohorts[c.Into].Epoch
	switch rapid.IntRange(0, 9).Draw(t, "stale") {
	case 0:
		c.FromEpoch--
	case 1:
		c.IntoEpoch--
	default:
	}
	m.do(t, c)
}

// unite gives two tenants cohorts of their own on one node, lets them judge to the
// end, with something between, and merges them.
func (m *machine) unite(t *rapid.T) {
	name := m.node(t)
	m.do(t, &RegisterNode{Name: name, Server: name + "@1"})
	pair := rapid.SliceOfNDistinct(rapid.SampledFrom(tenantIDs[1:]), 2, 2, rapid.ID[string]).Draw(t, "pair")
	var ids []string
	for i, id := range pair {
		tenant, ok := m.m.tenants[id]
		if !ok {
			return
		}
		m.do(t, &Move{Moves: []Moved{{Tenant: id, Cohort: tenant.cohort, To: name, Reason: ReasonLaggard}}, Force: true, At: m.clock})
		ids = append(ids, tenant.cohort)
		for range rapid.IntRange(0, 2).Draw(t, "between") {
			rapid.SampledFrom([]func(*rapid.T){m.announce, m.announce, m.pause, m.setTenant}).Draw(t, "step")(t)
		}
		m.judgeAll(t, ids[i])
	}
	for _, id := range ids {
		m.judgeAll(t, id)
	}
	c := &Merge{From: ids[0], Into: ids[1], FromEpoch: m.m.cohorts[ids[0]].Epoch, IntoEpoch: m.m.cohorts[ids[1]].Epoch}
	m.do(t, c)
}

// judgeAll lets one cohort judge to the end, in two steps.
func (m *machine) judgeAll(t *rapid.T, cohort string) {
	for c := range m.s.View().AllCursors() {
		last := m.m.nets[c.Network].next() - 1
		if c.Cohort != cohort || last <= c.Position {
			continue
		}
		p := &Progress{Network: c.Network, Cohort: cohort, Epoch: m.m.cohorts[cohort].Epoch, To: last}
		from := rapid.Uint64Range(c.Position+1, last).Draw(t, "from")
		p.Superseded = []Span{{From: from, To: rapid.Uint64Range(from, last).Draw(t, "until")}}
		m.do(t, p)
	}
}

// settleAll gives every tenant a node that judges it.
func (m *machine) settleAll(t *rapid.T) {
	m.do(t, &RegisterNode{Name: "n1", Server: "n1@1"})
	v := m.s.View()
	c := &Move{Force: true}
	for tenant := range v.Tenants() {
		if v.Owner(tenant) == "" {
			c.Moves = append(c.Moves, Moved{Tenant: tenant.ID, Cohort: tenant.Cohort, To: "n1", Reason: ReasonNodeFailure})
		}
	}
	m.do(t, c)
	m.check(t)
	for tenant := range m.s.View().Tenants() {
		if owner := m.s.View().Owner(tenant); tenant.ID != Shared && owner == "" {
			t.Fatalf("nobody judges tenant %q after it was moved: %+v", tenant.ID, tenant)
		}
	}
}
