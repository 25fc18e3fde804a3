package fsm

import (
	"slices"
)

// Rebase is what a restore installs: the state of a backup, fit to go on where
// the current one is. Positions, epochs and log indexes that were given out stay
// unused, so what was under way before the restore counts for nothing after it:
//
//   - No network's next position lies below the current one's. Whatever is told
//     by position moves up alike.
//   - No lease has a holder and no cohort a node. Tenants stay in their cohorts,
//     with the cursors: a Move takes them from there at once.
//   - Nodes, join tokens and the cluster's record are the current ones. API keys,
//     quotas and audit logs are the backup's, as the tenants are.
//
// The log must go on above the greater index of both.
func Rebase(restored, current *View) *View {
	v := *restored
	v.index = max(restored.index, current.index)
	v.boxesFrom = v.index + 1
	v.nodes, v.tokens, v.cluster = current.nodes, current.tokens, current.cluster
	t := begin(&v)
	defer t.end()
	up := map[string]uint64{}
	v.networks = rebaseNetworks(t.edit, restored, current, up)
	v.tenants = mapTree(t.edit, restored.tenants, func(t *Tenant) *Tenant { return t.up(up) })
	v.cursors = mapTree(t.edit, restored.cursors, func(c *Cursor) *Cursor { return c.up(up[c.Network]) })
	v.fired = mapTree(t.edit, restored.fired, func(f *Fired) *Fired { return f.up(up[f.Network]) })
	v.retracted = mapTree(t.edit, restored.retracted, func(r *retraction) *retraction { return r.up(up[r.Network]) })
	v.cohorts = mapTree(t.edit, restored.cohorts, func(c *Cohort) *Cohort {
		return &Cohort{ID: c.ID, Epoch: c.Epoch, Reason: c.Reason}
	})
	for c := range restored.Cohorts() {
		t.vacate(c.ID)
	}
	for n := range current.Nodes() {
		if _, ok := v.Cohort(n.Name); !ok {
			t.putMain(n.Name)
		}
	}
	return &v
}

// rebaseNetworks moves the networks up and tells by how much. Of a network that
// the backup does not know, the next position and the lease's epoch are kept.
func rebaseNetworks(e *edit, restored, current *View, up map[string]uint64) *tree[*Network] {
	networks := mapTree(e, restored.networks, func(old *Network) *Network {
		n := *old
		if c, ok := current.Network(n.Key); ok && c.Next > n.Next {
			up[n.Key] = c.Next - n.Next
		}
		n.up(up[n.Key])
		n.Lease.vacate()
		return &n
	})
	for n := range current.Networks() {
		if _, ok := restored.Network(n.Key); !ok {
			put(e, &networks, n.Key, &Network{Key: n.Key, Next: n.Next, Lease: Lease{Epoch: n.Lease.Epoch}})
		}
	}
	return networks
}

// mapTree is a tree with every value replaced.
func mapTree[T any](e *edit, from *tree[*T], change func(*T) *T) (to *tree[*T]) {
	for key, value := range walk(from, "") {
		put(e, &to, key, change(value))
	}
	return to
}

// up moves every position of a network by so many.
func (n *Network) up(by uint64) {
	if by == 0 {
		return
	}
	n.Next += by
	n.Rebased = append(slices.Clone(n.Rebased), Rise{Below: n.Next, By: by})
	n.Rebased = n.Rebased[max(0, len(n.Rebased)-keepRises):]
	n.Depths = slices.Clone(n.Depths)
	for i := range n.Depths {
		n.Depths[i].From += by
	}
	n.Windows = slices.Clone(n.Windows)
	for i := range n.Windows {
		n.Windows[i].From += by
	}
	n.Entries = slices.Clone(n.Entries)
	for i := range n.Entries {
		n.Entries[i].Position += by
	}
	n.History = slices.Clone(n.History)
	for i := range n.History {
		n.History[i].Position += by
	}
	if n.Last.Count > 0 {
		n.Last.Position += by
	}
}

func (c *Cursor) up(by uint64) *Cursor {
	if by == 0 {
		return c
	}
	next := *c
	next.Position += by
	if next.Until != 0 {
		next.Until += by
	}
	next.Superseded = slices.Clone(c.Superseded)
	for i := range next.Superseded {
		next.Superseded[i].From += by
		next.Superseded[i].To += by
	}
	return &next
}

func (f *Fired) up(by uint64) *Fired {
	if by == 0 {
		return f
	}
	next := *f
	next.Position += by
	next.Deliveries = slices.Clone(f.Deliveries)
	for i := range next.Deliveries {
		if next.Deliveries[i].Position != 0 { // where it counts
			next.Deliveries[i].Position += by
		}
	}
	return &next
}

func (r *retraction) up(by uint64) *retraction {
	next := *r
	next.Position += by
	return &next
}

// up moves what a tenant was judged at, by network.
func (t *Tenant) up(by map[string]uint64) *Tenant {
	next := *t
	next.Coverage = make(map[string][]CoverageRun, len(t.Coverage))
	for network, runs := range t.Coverage {
		runs = slices.Clone(runs)
		for i := range runs {
			runs[i].From += by[network]
			if runs[i].To != 0 {
				runs[i].To += by[network]
			}
		}
		next.Coverage[network] = runs
	}
	return &next
}
