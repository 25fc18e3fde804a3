package fsm

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

func (m *model) passOver(c *PassOver) error {
	t, ok := m.tenants[c.Tenant]
	if !ok || t.born != c.Born {
		return ErrNotFound
	}
	n, cursor := m.nets[c.Network], m.cursors[[2]string{c.Network, t.cohort}]
	if n == nil || cursor == nil || !cursor.active() {
		return ErrConflict
	}
	var left []uint64
	for _, e := range n.log {
		if e.Position > cursor.position && t.owed(c.Network, e) && !t.behind[c.Network][e.Position] {
			left = append(left, e.Position)
		}
	}
	others := m.wanted(c.Network)
	if t.wants(c.Network) {
		others--
	}
	if m.cohorts[t.cohort].Reason != ReasonLaggard || len(m.in(t.cohort)) != 1 || others == 0 || len(left) == 0 || uint64(len(left)) < c.Least {
		return ErrConflict
	}
	if t.behind[c.Network] == nil {
		t.behind[c.Network] = map[uint64]bool{}
	}
	for _, p := range left {
		t.behind[c.Network][p] = true
	}
	height := func(position uint64) uint64 {
		if e := n.log[position-1]; e.Kind != Skip {
			return e.Ref.Height
		}
		return n.log[position-1].From
	}
	m.audits[c.Tenant] = slices.Insert(slices.Clone(m.audits[c.Tenant]), 0, Audit{
		Index: m.index, At: c.At, Tenant: c.Tenant, Actor: "ozmo", Action: "coverage.behind", Object: c.Network,
		After: fmt.Sprintf("blocks %d to %d, positions %d to %d, are not judged: the tenant was too far behind",
			height(cursor.position+1), height(n.next()-1), cursor.position+1, n.next()-1),
	})
	return nil
}

// passOver leaves out what a laggard has not judged, mostly of one that holds others up.
func (m *machine) passOver(t *rapid.T) {
	c := &PassOver{
		Tenant: rapid.SampledFrom(tenantIDs[1:]).Draw(t, "tenant"), Network: rapid.SampledFrom(netKeys).Draw(t, "network"),
		Least: rapid.Uint64Range(0, 4).Draw(t, "least"), At: m.clock,
	}
	type late struct{ tenant, network string }
	var lates []late
	v := m.s.View()
	for tenant := range v.Tenants() {
		for _, key := range netKeys {
			if owed, delays := v.Delays(tenant, key); delays && owed > 0 {
				lates = append(lates, late{tenant.ID, key})
			}
		}
	}
	if len(lates) > 0 && rapid.IntRange(0, 9).Draw(t, "any") != 0 {
		one := rapid.SampledFrom(lates).Draw(t, "late")
		c.Tenant, c.Network = one.tenant, one.network
	}
	c.Born = m.birth(t, c.Tenant)
	m.do(t, c)
}

// fallBehind gives a tenant a cohort of its own and announces what it does not judge.
func (m *machine) fallBehind(t *rapid.T) {
	id := rapid.SampledFrom(tenantIDs[1:]).Draw(t, "tenant")
	tenant, ok := m.m.tenants[id]
	if !ok {
		return
	}
	m.do(t, &Move{Moves: []Moved{{Tenant: id, Cohort: tenant.cohort, To: m.node(t), Reason: ReasonLaggard}}, Force: true, At: m.clock})
	for range rapid.IntRange(1, 3).Draw(t, "rounds") {
		rapid.SampledFrom([]func(*rapid.T){m.announce, m.announce, m.setTenant, m.move, m.passOver}).Draw(t, "step")(t)
	}
	m.passOver(t)
}

// checkBehind: what was passed over for a tenant, and nothing else, is told as such; and
// whoever judges its cohort is told of what is still before the cursor.
func checkBehind(t *rapid.T, v *View, got *Tenant, want *modelTenant, key string, n *modelNet) {
	cursor, ok := v.Cursor(key, got.Cohort)
	for _, e := range n.log {
		behind := want.behind[key][e.Position]
		if got.Behind(key, e.Position) != behind {
			t.Fatalf("tenant %q on %s: position %d passed over: %v, want %v: %v", got.ID, key, e.Position, !behind, behind, got.Coverage[key])
		}
		if ahead := ok && e.Position > cursor.Position; ahead && v.IsPassedOver(key, got.Cohort, e.Position) != behind && (behind || v.TenantCount(got.Cohort) == 1) {
			t.Fatalf("tenant %q on %s: cohort %q passes over position %d: %v, want %v", got.ID, key, got.Cohort, e.Position, !behind, behind)
		}
	}
}
