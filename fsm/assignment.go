package fsm

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Cohort is a set of tenants on one node that share a cursor per network. A node
// has a main cohort under its own name; those made by moves are called
// @index.k after the move. Tenants that were never assigned are in the cohort
// "", which has cursors and no record, and which nobody judges.
type Cohort struct {
	ID     string `codec:"id"`
	Node   string `codec:"n"`           // who judges it; empty: nobody
	Epoch  uint64 `codec:"e"`           // log index of the assignment: progress under another is refused
	To     string `codec:"t,omitempty"` // it is being handed over to this node; nobody judges it meanwhile
	From   string `codec:"f,omitempty"` // while it is being handed over: the cohort it was split from
	Reason Reason `codec:"r,omitempty"` // of the move that made it; that of a laggard stays through further moves
}

// Reason is why a tenant is where it is.
type Reason uint8

// The reasons.
const (
	ReasonInitial        Reason = 1
	ReasonLoadRebalance  Reason = 2
	ReasonNodeFailure    Reason = 3
	ReasonManual         Reason = 4
	ReasonScaling        Reason = 5
	ReasonPriorityChange Reason = 6
	ReasonLaggard        Reason = 7 // it held the others of its cohort back
)

// String is the reason's name in tables, metrics and messages.
func (r Reason) String() string {
	switch r {
	case ReasonInitial:
		return "initial"
	case ReasonLoadRebalance:
		return "load-rebalance"
	case ReasonNodeFailure:
		return "node-failure"
	case ReasonManual:
		return "manual"
	case ReasonScaling:
		return "scaling"
	case ReasonPriorityChange:
		return "priority-change"
	case ReasonLaggard:
		return "laggard"
	default:
		return "unknown"
	}
}

// Assignment is a tenant's last move. It is zero while the tenant was never
// assigned.
type Assignment struct {
	Index   uint64 `codec:"i"` // log index of its last step: the move, its release, or a merge of cohorts
	Version uint64 `codec:"v"` // 1, 2, 3 … per tenant; a move makes the next
	Reason  Reason `codec:"r"`
	At      int64  `codec:"t"` // when it was moved, Unix milliseconds
}

// members are the ids of a cohort's tenants.
type members = tree[struct{}]

// Cohort finds a cohort. The cohort "" of those never assigned has no record.
func (v *View) Cohort(id string) (*Cohort, bool) { return get(v.cohorts, id) }

// Cohorts yields every cohort by id.
func (v *View) Cohorts() iter.Seq[*Cohort] { return values(v.cohorts) }

// TenantsOf yields the tenants of a cohort by id. Shared is in none.
func (v *View) TenantsOf(cohort string) iter.Seq[*Tenant] {
	index, _ := get(v.members, cohort)
	return func(yield func(*Tenant) bool) {
		for id := range walk(index, "") {
			if t, ok := get(v.tenants, id); ok && !yield(t) {
				return
			}
		}
	}
}

// TenantCount is the number of tenants in a cohort.
func (v *View) TenantCount(cohort string) int {
	index, _ := get(v.members, cohort)
	return index.Len()
}

// Owner is the node that judges a tenant now; empty while nobody does, because
// it is not assigned or being handed over.
func (v *View) Owner(tenant *Tenant) string {
	c, ok := v.Cohort(tenant.Cohort)
	if !ok || c.To != "" {
		return ""
	}
	return c.Node
}

// Move assigns tenants to nodes. What moves together from one cohort to one node
// becomes one new cohort, which begins where the old one's cursors stand. It
// answers with the number of tenants moved.
//
// A tenant that nobody judges, or whose node was removed, is judged by the new
// node at once. Any other is handed over: nobody judges it until its node has
// finished what is under way and proposes Release. Force does not wait for that:
// it is for nodes that are known to send no more, or for an operator who would
// rather have an alert twice than late.
type Move struct {
	Moves []Moved `codec:"m"`
	Force bool    `codec:"f"`
	At    int64   `codec:"t"` // Unix milliseconds
}

// Moved is one tenant's move. It is left out when the tenant is in another
// cohort by now, when it is being handed over already (unless forced), and when it
// is with the node already. A laggard alone moves to its own node as well: into a
// cohort of its own, so that it does not hold the others back. Its cohort stays that of
// a laggard, whatever it is moved for later, until it is merged.
type Moved struct {
	Tenant string `codec:"i"`
	Cohort string `codec:"c"` // in which it was seen
	To     string `codec:"n"` // node
	Reason Reason `codec:"r"`
}

// Type is TypeMove.
func (*Move) Type() Type { return TypeMove }

func (c *Move) apply(t *tx) (any, error) {
	m := mover{tx: t, group: map[groupKey]int{}, shares: map[place]*share{}, taken: map[string]bool{}, slow: map[string]bool{}}
	for _, item := range c.Moves {
		m.take(item, c.Force, c.At)
	}
	if len(m.taken) == 0 {
		return 0, nil
	}
	for _, g := range m.groups {
		put(t.edit, &t.cohorts, g.cohort.ID, &g.cohort)
	}
	m.divide()
	for _, g := range m.groups {
		t.vacate(g.source)
	}
	t.touch(TopicLeases)
	return len(m.taken), nil
}

// mover collects one Move.
type mover struct {
	*tx
	groups []*group
	group  map[groupKey]int // index in groups
	shares map[place]*share
	taken  map[string]bool // tenants
	slow   map[string]bool // by source: it is that of one slow tenant
}

// group is what moves together.
type group struct {
	source string
	cohort Cohort // the new one
}

type groupKey struct{ source, to, laggard string }

// place is a network, and the group that has a share of its cursor.
type place struct {
	network string
	group   int
}

func (m *mover) take(item Moved, force bool, at int64) {
	old, ok := m.Tenant(item.Tenant)
	if !ok || old.ID == Shared || old.Cohort != item.Cohort || item.To == "" || m.taken[item.Tenant] {
		return
	}
	var source Cohort
	if record, ok := m.Cohort(item.Cohort); ok {
		source = *record
	}
	switch {
	case source.To != "":
		if !force {
			return
		}
	case source.Node == item.To && item.Reason != ReasonLaggard:
		return
	}
	slow, known := m.slow[item.Cohort]
	if !known {
		_, slow = m.SlowTenant(item.Cohort)
		m.slow[item.Cohort] = slow
	}
	key := groupKey{source: item.Cohort, to: item.To}
	if item.Reason == ReasonLaggard {
		key.laggard = item.Tenant
	}
	i, ok := m.group[key]
	if !ok {
		i = len(m.groups)
		m.group[key] = i
		next := Cohort{ID: fmt.Sprintf("@%d.%d", m.index, i), Node: item.To, Epoch: m.index, Reason: item.Reason}
		if slow {
			next.Reason = ReasonLaggard // it is none the faster for being elsewhere
		}
		if _, known := m.Node(source.Node); known && !force {
			next.Node, next.To, next.From = source.Node, item.To, item.Cohort
		}
		m.groups = append(m.groups, &group{source: item.Cohort, cohort: next})
	}
	m.taken[item.Tenant] = true
	for network, runs := range old.Coverage {
		s, ok := m.shares[place{network, i}]
		if !ok {
			s = new(share)
			m.shares[place{network, i}] = s
		}
		s.add(runs, m.retractables(network, item.Tenant, old.Born) > 0)
	}
	m.place(old, m.groups[i].cohort.ID, Assignment{
		Index: m.index, Version: old.Assigned.Version + 1, Reason: item.Reason, At: at,
	})
}

// divide gives each new cohort its share of the cursors. A network, and a cursor
// that is divided, is written once, however many have a share.
func (m *mover) divide() {
	places := slices.SortedFunc(maps.Keys(m.shares), func(a, b place) int {
		return cmp.Or(strings.Compare(a.network, b.network), a.group-b.group)
	})
	for i := 0; i < len(places); {
		n := m.network(places[i].network)
		left := map[string]tally{} // by source
		for ; i < len(places) && places[i].network == n.Key; i++ {
			g, s := m.groups[places[i].group], *m.shares[places[i]]
			m.split(n.Key, g.source, g.cohort.ID, s)
			by := left[g.source]
			left[g.source] = tally{by.tenants - s.tenants, by.members - s.members}
		}
		for _, source := range slices.Sorted(maps.Keys(left)) {
			m.recount(&n, source, left[source])
		}
		m.settleCursors(&n)
	}
}

// vacate lets go of a cohort that nobody judges and that has no tenant left. If it
// bears the name of a node, it becomes that node's main cohort again. One that
// somebody judges stays: its node's other tenants may join it.
func (t *tx) vacate(id string) {
	c, ok := t.Cohort(id)
	if !ok || c.Node != "" && c.To == "" || t.TenantCount(id) > 0 {
		return
	}
	if _, ok := t.Node(id); ok {
		t.putMain(id)
		return
	}
	del(t.edit, &t.cohorts, id)
}

// Release ends a hand-over: the old node has nothing of the cohort under way any
// more, and the new one judges it from now on. It answers with the new epoch.
type Release struct {
	Cohort string `codec:"c"`
	Epoch  uint64 `codec:"e"`
}

// Type is TypeRelease.
func (*Release) Type() Type { return TypeRelease }

func (c *Release) apply(t *tx) (any, error) {
	cohort, ok := t.Cohort(c.Cohort)
	if !ok || cohort.Epoch != c.Epoch || cohort.To == "" {
		return nil, fmt.Errorf("cohort %q: release under epoch %d: %w", c.Cohort, c.Epoch, ErrStaleEpoch)
	}
	t.release(cohort)
	t.touch(TopicLeases)
	return t.index, nil
}

func (t *tx) release(c *Cohort) {
	put(t.edit, &t.cohorts, c.ID, &Cohort{ID: c.ID, Node: c.To, Epoch: t.index, Reason: c.Reason})
	for tenant := range t.TenantsOf(c.ID) {
		a := tenant.Assigned
		a.Index = t.index
		t.place(tenant, c.ID, a)
	}
}

// Merge puts the tenants of one cohort into another of the same node. It is
// refused with ErrConflict unless both are as they were seen, none is being
// handed over, and both have judged all that is announced of the networks of
// From: then nothing is under way that would be judged twice or not at all. A From
// without tenants just goes away. It answers with the number of tenants.
type Merge struct {
	From      string `codec:"f"`
	Into      string `codec:"i"`
	FromEpoch uint64 `codec:"x"`
	IntoEpoch uint64 `codec:"y"`
}

// Type is TypeMerge.
func (*Merge) Type() Type { return TypeMerge }

func (c *Merge) apply(t *tx) (any, error) {
	from, ok := t.Cohort(c.From)
	if !ok || from.Epoch != c.FromEpoch {
		return nil, fmt.Errorf("cohort %q has changed: %w", c.From, ErrConflict)
	}
	into, ok := t.Cohort(c.Into)
	if t.TenantCount(c.From) > 0 && (!ok || into.Epoch != c.IntoEpoch) {
		return nil, fmt.Errorf("cohort %q has changed: %w", c.Into, ErrConflict)
	}
	keys, ok := t.mergeable(c.From, c.Into)
	if !ok {
		return nil, fmt.Errorf("cohorts %q and %q are not with one node, or not equally far: %w", c.From, c.Into, ErrConflict)
	}
	tenants := t.TenantsOf(c.From)
	del(t.edit, &t.members, c.From) // at once: all of them are placed elsewhere
	taken := 0
	for tenant := range tenants {
		a := tenant.Assigned
		a.Index = t.index
		t.place(tenant, c.Into, a)
		taken++
	}
	for _, key := range keys {
		// Nobody waits for a cursor that has come to the end: nothing to trim.
		t.unite(key, c.From, c.Into)
		t.touch(TopicNetwork(key))
	}
	del(t.edit, &t.cohorts, c.From)
	t.touch(TopicLeases)
	return taken, nil
}

// CanMerge reports whether a Merge of two cohorts is accepted now.
func (v *View) CanMerge(from, into string) bool {
	_, ok := v.mergeable(from, into)
	return ok
}

// mergeable lists the networks that the tenants of From have coverage of, if it
// may be merged.
func (v *View) mergeable(from, into string) (networks []string, ok bool) {
	f, ok := v.Cohort(from)
	if ok && v.TenantCount(from) == 0 {
		return nil, true
	}
	i, exists := v.Cohort(into)
	if !ok || !exists || from == into || f.Node != i.Node || f.To != "" || i.To != "" {
		return nil, false
	}
	seen := map[string]bool{}
	for tenant := range v.TenantsOf(from) {
		for network := range tenant.Coverage {
			if seen[network] {
				continue
			}
			if !v.atEnd(network, from) || !v.atEnd(network, into) {
				return nil, false
			}
			seen[network] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), true
}
