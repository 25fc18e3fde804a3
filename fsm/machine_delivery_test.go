package fsm

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

func (m *machine) drawFired(t *rapid.T, network string, n *modelNet) Fired {
	e := rapid.SampledFrom(n.log[max(0, len(n.log)-12):]).Draw(t, "entry")
	at := rapid.SampledFrom(n.log[max(0, len(n.log)-12):]).Draw(t, "told at")
	alert := rapid.SampledFrom([]string{"a1", "a2"}).Draw(t, "alert")
	f := Fired{Network: network, Block: e.Ref, Alert: alert, Tenant: map[string]string{"a1": "acme", "a2": "bolt"}[alert], Position: at.Position, At: m.clock}
	f.Born = m.birth(t, f.Tenant)
	f.State = AlertState(rapid.IntRange(1, 4).Draw(t, "state"))
	if rapid.Bool().Draw(t, "content") {
		f.Content = []byte{byte(m.clock)}
	}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"d1", "d2", "d3"}), 1, 2, rapid.ID[string]).Draw(t, "deliveries") {
		f.Deliveries = append(f.Deliveries, Delivered{
			Key: key, State: f.State, Position: rapid.SampledFrom([]uint64{0, at.Position}).Draw(t, "counts"), Occurrence: 1,
			Outcome: rapid.SampledFrom([]Outcome{Sent, HandedOver, Refused}).Draw(t, "outcome"),
		})
	}
	return f
}

func (m *machine) outgoing(t *rapid.T) Outgoing {
	tenant := rapid.SampledFrom(tenantIDs).Draw(t, "tenant")
	return Outgoing{
		Key: m.delivery(t), Tenant: tenant, Born: m.birth(t, tenant), At: m.clock,
		Delivery: []byte(rapid.SampledFrom([]string{"{}", "0123456789", ""}).Draw(t, "content")),
		Attempts: rapid.Uint32Range(0, 3).Draw(t, "attempts"), After: rapid.SampledFrom([]string{"", "k0"}).Draw(t, "after"),
	}
}

// birth is mostly that of the tenant of a name there is, and sometimes an earlier one's.
func (m *machine) birth(t *rapid.T, tenant string) uint64 {
	now, ok := m.m.tenants[tenant]
	if !ok || rapid.IntRange(0, 4).Draw(t, "earlier") == 0 {
		return 1
	}
	return now.born
}

func (m *machine) delivery(t *rapid.T) string {
	return fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key"))
}

// letter is mostly a delivery that there is.
func (m *machine) letter(t *rapid.T) (tenant, key string) {
	var known []Outgoing
	for o := range m.s.View().Outbox() {
		known = append(known, *o)
	}
	for d := range m.s.View().DeadLetters() {
		known = append(known, d.Outgoing)
	}
	if len(known) == 0 || rapid.IntRange(0, 4).Draw(t, "any") == 0 {
		return rapid.SampledFrom(tenantIDs).Draw(t, "tenant"), m.delivery(t)
	}
	o := rapid.SampledFrom(known).Draw(t, "letter")
	return o.Tenant, o.Key
}

func (m *machine) settle(t *rapid.T) {
	c := &Settle{At: m.clock}
	for range rapid.IntRange(1, 3).Draw(t, "settled") {
		tenant, key := m.letter(t)
		c.Settled = append(c.Settled, Settled{
			Tenant: tenant, Key: key, Outcome: rapid.SampledFrom([]Outcome{Sent, HandedOver, Refused}).Draw(t, "outcome"),
			Attempts: rapid.Uint32Range(1, 4).Draw(t, "attempts"), Reason: "why", Status: 503, Excerpt: "busy", NotBefore: m.clock + 9,
		})
	}
	m.do(t, c)
}

func (m *machine) purge(t *rapid.T) {
	tenant, key := m.letter(t)
	m.do(t, &Purge{Tenant: tenant, Keys: []string{key, m.delivery(t)}})
}

func (m *machine) redeliver(t *rapid.T) {
	tenant, key := m.letter(t)
	m.do(t, &Redeliver{Tenant: tenant, Keys: []string{key, m.delivery(t)}, At: m.clock})
}

func (m *machine) replay(t *rapid.T) {
	c := &Replay{
		Tenant: rapid.SampledFrom(tenantIDs).Draw(t, "tenant"), Network: rapid.SampledFrom(netKeys).Draw(t, "network"),
		Monitor: fmt.Sprint("monitor-", rapid.IntRange(0, 2).Draw(t, "monitor")), At: m.clock,
	}
	if tenant, ok := m.m.tenants[c.Tenant]; ok && rapid.IntRange(0, 5).Draw(t, "another document") != 0 {
		docs := tenant.current().Manifest.Docs
		if i := slices.IndexFunc(docs, func(d Doc) bool { return d.ID == c.Monitor }); i >= 0 {
			c.Doc = docs[i].Hash
		}
	}
	c.From = rapid.Uint64Range(1, 30).Draw(t, "from")
	c.To = c.From + rapid.Uint64Range(0, 6).Draw(t, "heights") - 1
	for range rapid.IntRange(0, 2).Draw(t, "outbox") {
		c.Outbox = append(c.Outbox, m.outgoing(t))
	}
	m.do(t, c)
}

func (m *machine) secret(t *rapid.T) {
	tenant := rapid.SampledFrom(tenantIDs).Draw(t, "tenant")
	name := rapid.SampledFrom([]string{"hook", "smtp"}).Draw(t, "name")
	if rapid.IntRange(0, 2).Draw(t, "drop") == 0 {
		m.do(t, &DropSecret{Tenant: tenant, Name: name})
		return
	}
	m.do(t, &PutSecret{Tenant: tenant, Name: name, Sealed: []byte{byte(m.clock)}, At: m.clock})
}
