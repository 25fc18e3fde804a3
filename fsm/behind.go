package fsm

import (
	"fmt"
	"maps"
	"slices"
)

// PassOver leaves out what a tenant that is judged apart is to judge on a network and
// has not yet, since it is so far behind that all others who want the network would
// soon wait for it. Its coverage names what is left out as Behind, and its audit log
// says so. The cursor stays where it is, and passes over that without judging: so what
// is rolled back there is still retracted. What is announced next is judged as ever.
//
// It is refused with ErrConflict where the tenant is not, or no longer, so far behind
// on its own, and nobody else would wait. It answers with the number of announcements
// left out.
type PassOver struct {
	Tenant  string `codec:"i"`
	Born    uint64 `codec:"b"` // the tenant's
	Network string `codec:"n"`
	Least   uint64 `codec:"l"` // announcements that it has still to judge, at least
	At      int64  `codec:"t"` // Unix milliseconds
}

// Type is TypePassOver.
func (*PassOver) Type() Type { return TypePassOver }

// PassedOver is the actor of the audit log where the cluster itself has left something
// out for a tenant.
const PassedOver = "ozmo"

func (c *PassOver) apply(t *tx) (any, error) {
	old, ok := t.Tenant(c.Tenant)
	if !ok || old.Born != c.Born {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	owed, delays := t.Delays(old, c.Network)
	if !delays || owed == 0 || owed < c.Least {
		return nil, fmt.Errorf("tenant %q owes network %q %d announcements, and others wait for it: %v; %d expected: %w",
			c.Tenant, c.Network, owed, delays, c.Least, ErrConflict)
	}
	n := t.network(c.Network)
	cursor, _ := t.Cursor(c.Network, old.Cohort)
	next := *old
	next.Coverage = maps.Clone(old.Coverage)
	runs := passOver(old.Coverage[c.Network], cursor.Position+1, n.Next)
	next.Coverage[c.Network] = runs[max(0, len(runs)-keepRuns):]
	put(t.edit, &t.tenants, c.Tenant, &next)
	first, _ := n.HeightAt(cursor.Position + 1)
	last, _ := n.HeightAt(n.Next - 1)
	t.enter(&Audit{
		Index: t.index, At: c.At, Tenant: c.Tenant, Actor: PassedOver, Action: "coverage.behind", Object: c.Network,
		After: fmt.Sprintf("blocks %d to %d, positions %d to %d, are not judged: the tenant was too far behind", first, last, cursor.Position+1, n.Next-1),
	})
	t.touch(TopicNetwork(c.Network))
	t.touch(TopicTenants)
	return owed, nil
}

// Delays counts the announcements of a network that a tenant has still to judge, and
// tells whether others that want the network would wait for that: for a tenant judged
// apart since it is slow, that is.
func (v *View) Delays(t *Tenant, network string) (owed uint64, delays bool) {
	n, ok := v.Network(network)
	if !ok {
		return 0, false
	}
	c, ok := v.Cursor(network, t.Cohort)
	if !ok || c.Parked() {
		return 0, false
	}
	for _, r := range t.Coverage[network] {
		to := n.Next
		if r.To != 0 {
			to = r.To
		}
		if from := max(r.From, c.Position+1); !r.Behind && from < to {
			owed += to - from
		}
	}
	_, slow := v.SlowTenant(t.Cohort)
	return owed, slow && n.WantedByOthers(t)
}

// SlowTenant is the tenant of a cohort that is judged apart, since it kept others
// waiting; ok is false for any other cohort.
func (v *View) SlowTenant(cohort string) (t *Tenant, ok bool) {
	if c, known := v.Cohort(cohort); !known || c.Reason != ReasonLaggard {
		return nil, false
	}
	return v.only(cohort)
}

// only is the tenant of a cohort that has no other.
func (v *View) only(cohort string) (t *Tenant, ok bool) {
	index, _ := get(v.members, cohort)
	if index.Len() != 1 {
		return nil, false
	}
	id, _, _ := index.first()
	return v.Tenant(id)
}

// LeftOut lists the networks of which something was left out for a tenant since it was
// too far behind, as far as its coverage goes back.
func (t *Tenant) LeftOut() (networks []string) {
	for network, runs := range t.Coverage {
		if slices.ContainsFunc(runs, func(r CoverageRun) bool { return r.Behind }) {
			networks = append(networks, network)
		}
	}
	slices.Sort(networks)
	return networks
}

// WantedByOthers reports whether anybody but a tenant wants the network.
func (n *Network) WantedByOthers(t *Tenant) bool {
	others := n.Wanted
	if _, wants := slices.BinarySearch(t.Current.Manifest.Wanted, n.Key); wants {
		others--
	}
	return others > 0
}

// IsPassedOver reports whether a cohort is not to judge a position, but to pass over it.
// Only a cohort of one has such a position before it: it joins no other until it has
// come to the end.
func (v *View) IsPassedOver(network, cohort string, position uint64) bool {
	t, ok := v.only(cohort)
	return ok && t.Behind(network, position)
}

// Behind reports whether a position was left out for the tenant since it was too far
// behind.
func (t *Tenant) Behind(network string, position uint64) bool {
	for _, r := range slices.Backward(t.Coverage[network]) {
		if r.From <= position {
			return r.Behind && position < r.To
		}
	}
	return false
}

// passOver marks what runs cover from a position up to, and without, another.
func passOver(runs []CoverageRun, from, to uint64) (out []CoverageRun) {
	for _, r := range runs {
		if r.Behind || r.To != 0 && r.To <= from || r.From >= to {
			out = append(out, r)
			continue
		}
		if r.From < from {
			out = append(out, CoverageRun{From: r.From, To: from, Version: r.Version})
		}
		open := r.To == 0 || r.To > to
		end := r.To
		if open {
			end = to
		}
		out = append(out, CoverageRun{From: max(r.From, from), To: end, Version: r.Version, Behind: true})
		if open {
			out = append(out, CoverageRun{From: to, To: r.To, Version: r.Version})
		}
	}
	return out
}
