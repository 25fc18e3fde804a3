package fsm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// applyCluster is apply for the commands about nodes, cohorts and the cluster.
func (m *model) applyCluster(c Command) error {
	switch c := c.(type) {
	case *RegisterNode:
		if slices.Contains(m.cluster.Removed, c.Server) {
			return ErrRemoved
		}
		m.register(c)
	case *DrainNode:
		n, ok := m.nodes[c.Name]
		if !ok {
			return ErrNotFound
		}
		if n.Drain != DrainOperator || c.Drain != DrainLeaving {
			n.Drain = c.Drain
		}
		m.nodes[c.Name] = n
	case *RemoveNode:
		return m.removeNode(c)
	case *SetCluster:
		if c.Expect != m.cluster.Index {
			return ErrConflict
		}
		removed := m.cluster.Removed
		m.cluster = c.Cluster
		m.cluster.Index, m.cluster.Removed = m.index, removed
	case *PutToken:
		if old, ok := m.tokens[c.ID]; ok {
			if old.Hash != c.Hash {
				return ErrConflict
			}
			return nil
		}
		maps.DeleteFunc(m.tokens, func(_ string, t Token) bool { return t.Expires < c.At })
		m.tokens[c.ID] = Token{ID: c.ID, Hash: c.Hash, Expires: c.Expires, At: c.At}
	case *UseToken:
		t, ok := m.tokens[c.ID]
		switch {
		case !ok || t.Hash != c.Hash:
			return ErrTokenUnknown
		case t.UsedBy != "" && (t.UsedBy != c.Node || t.Request != c.Request || c.Request.IsZero()):
			return ErrTokenUsed
		case c.At >= t.Expires:
			return ErrTokenExpired
		}
		if t.UsedBy == "" {
			t.UsedBy, t.UsedAt, t.Request = c.Node, c.At, c.Request
		}
		m.tokens[c.ID] = t
	case *SetPlacement:
		t, ok := m.tenants[c.Tenant]
		if !ok || c.Tenant == Shared {
			return ErrNotFound
		}
		if c.Expect != t.placedAt {
			return ErrConflict
		}
		t.placed, t.placedAt = *c, m.index
	case *Move:
		m.move(c)
	case *Release:
		cohort, ok := m.cohorts[c.Cohort]
		if !ok || cohort.To == "" || cohort.Epoch != c.Epoch {
			return ErrStaleEpoch
		}
		m.release(cohort)
	case *Merge:
		return m.merge(c)
	case *PassOver:
		return m.passOver(c)
	default:
		return errors.New("the model does not know this command")
	}
	return nil
}

// in lists the tenants of a cohort.
func (m *model) in(cohort string) []string {
	var ids []string
	for id, t := range m.tenants {
		if id != Shared && t.cohort == cohort {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (m *model) register(c *RegisterNode) {
	drain := m.nodes[c.Name].Drain
	if drain == DrainLeaving {
		drain = DrainNone
	}
	m.nodes[c.Name] = Node{
		Name: c.Name, Server: c.Server, Address: c.Address, Boot: m.index, Roles: c.Roles, Weight: c.Weight, Drain: drain, Version: c.Version,
	}
	for _, n := range m.nets {
		if n.lease.Holder == c.Name {
			n.lease.Holder, n.lease.Pinned = "", false
		}
	}
	for id, cohort := range m.cohorts {
		if cohort.Node == c.Name {
			cohort.Epoch = m.index
			m.cohorts[id] = cohort
			if cohort.To != "" {
				m.release(cohort)
			}
		}
	}
	if _, ok := m.cohorts[c.Name]; !ok {
		m.cohorts[c.Name] = Cohort{ID: c.Name, Node: c.Name, Epoch: m.index, Reason: ReasonInitial}
	}
}

func (m *model) release(c Cohort) {
	c.Node, c.To, c.From, c.Epoch = c.To, "", "", m.index
	m.cohorts[c.ID] = c
	for _, id := range m.in(c.ID) {
		m.tenants[id].assigned.Index = m.index
	}
}

func (m *model) removeNode(c *RemoveNode) error {
	n, ok := m.nodes[c.Name]
	if !ok {
		return ErrNotFound
	}
	if n.Server != c.Server {
		return ErrConflict
	}
	for _, n := range m.nets {
		if n.lease.Holder == c.Name {
			return ErrConflict
		}
	}
	has := func(id string, cohort Cohort) bool { return cohort.Node == c.Name || cohort.To == c.Name }
	for id, cohort := range m.cohorts {
		if has(id, cohort) && len(m.in(id)) > 0 {
			return ErrConflict
		}
	}
	maps.DeleteFunc(m.cohorts, has)
	delete(m.nodes, c.Name)
	m.cluster.Removed = append(slices.Clone(m.cluster.Removed), c.Server)
	m.cluster.Index = m.index
	return nil
}

func (m *model) vacate(id string) {
	if c, ok := m.cohorts[id]; !ok || c.Node != "" && c.To == "" || len(m.in(id)) > 0 {
		return
	}
	delete(m.cohorts, id)
	if _, ok := m.nodes[id]; ok {
		m.cohorts[id] = Cohort{ID: id, Node: id, Epoch: m.index, Reason: ReasonInitial}
	}
}

func (m *model) move(c *Move) {
	touched := map[string]bool{}
	type groupKey struct{ source, to, laggard string }
	var order []groupKey
	groups := map[groupKey][]Moved{}
	seen := map[string]bool{}
	for _, item := range c.Moves {
		t, ok := m.tenants[item.Tenant]
		if !ok || item.Tenant == Shared || t.cohort != item.Cohort || seen[item.Tenant] || item.To == "" {
			continue
		}
		source := m.cohorts[item.Cohort]
		if source.To != "" && !c.Force {
			continue
		}
		if source.To == "" && source.Node == item.To && item.Reason != ReasonLaggard {
			continue
		}
		key := groupKey{item.Cohort, item.To, ""}
		if item.Reason == ReasonLaggard {
			key.laggard = item.Tenant
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		seen[item.Tenant] = true
		groups[key] = append(groups[key], item)
	}
	slow := map[string]bool{}
	for _, key := range order {
		slow[key.source] = m.cohorts[key.source].Reason == ReasonLaggard && len(m.in(key.source)) == 1
	}
	for k, key := range order {
		source := m.cohorts[key.source]
		next := Cohort{ID: fmt.Sprintf("@%d.%d", m.index, k), Node: key.to, Epoch: m.index, Reason: groups[key][0].Reason}
		if slow[key.source] {
			next.Reason = ReasonLaggard
		}
		if _, known := m.nodes[source.Node]; known && !c.Force {
			next.Node, next.To, next.From = source.Node, key.to, key.source
		}
		m.cohorts[next.ID] = next
		for _, item := range groups[key] {
			t := m.tenants[item.Tenant]
			t.cohort = next.ID
			t.assigned = Assignment{Index: m.index, Version: t.assigned.Version + 1, Reason: item.Reason, At: c.At}
		}
		for network, n := range m.nets {
			old := m.cursors[[2]string{network, key.source}]
			if old == nil {
				continue
			}
			touched[network] = true
			var until uint64
			for _, item := range groups[key] {
				if last, some := m.last(m.tenants[item.Tenant], network); some {
					until = max(until, last+1)
				}
			}
			if m.cohortNeeds(network, next.ID) > 0 {
				until = 0
			}
			m.cursors[[2]string{network, next.ID}] = &modelCursor{position: old.position, until: until, told: maps.Clone(old.told)}
			m.abandon(network, next.ID)
			if old.until == 0 && m.cohortNeeds(network, key.source) == 0 {
				old.until = n.next()
			}
			m.abandon(network, key.source)
		}
	}
	for network := range m.nets {
		if touched[network] {
			m.retire(network)
		}
	}
	for _, key := range order {
		m.vacate(key.source)
	}
}

// moved lists the tenants that were moved at a log index.
func (m *model) moved(index uint64) []string {
	var ids []string
	for id, t := range m.tenants {
		if t.assigned.Index == index {
			ids = append(ids, id)
		}
	}
	return ids
}

// mergeable reports whether a cohort may join another.
func (m *model) mergeable(from, into string) bool {
	a, ok := m.cohorts[from]
	if !ok {
		return false
	}
	if len(m.in(from)) == 0 {
		return true
	}
	b, ok := m.cohorts[into]
	if !ok || from == into || a.Node != b.Node || a.To != "" || b.To != "" {
		return false
	}
	for network, n := range m.nets {
		if m.members(network, from) == 0 {
			continue
		}
		for _, cohort := range []string{from, into} {
			if c := m.cursors[[2]string{network, cohort}]; c != nil && c.active() && c.position+1 != n.next() {
				return false
			}
		}
	}
	return true
}

func (m *model) merge(c *Merge) error {
	if !m.mergeable(c.From, c.Into) || m.cohorts[c.From].Epoch != c.FromEpoch {
		return ErrConflict
	}
	ids := m.in(c.From)
	if len(ids) == 0 {
		delete(m.cohorts, c.From)
		return nil
	}
	if m.cohorts[c.Into].Epoch != c.IntoEpoch {
		return ErrConflict
	}
	for _, id := range ids {
		m.tenants[id].cohort = c.Into
		m.tenants[id].assigned.Index = m.index
	}
	for network := range m.nets {
		from, into := [2]string{network, c.From}, [2]string{network, c.Into}
		a, b := m.cursors[from], m.cursors[into]
		if a == nil {
			continue
		}
		delete(m.cursors, from)
		if b == nil {
			m.cursors[into] = a
			continue
		}
		b.position, b.until = max(a.position, b.position), max(a.until, b.until)
		if m.cohortNeeds(network, c.Into) > 0 {
			b.until = 0
		}
		for p, superseded := range a.told {
			b.told[p] = b.told[p] || superseded
		}
	}
	delete(m.cohorts, c.From)
	return nil
}
