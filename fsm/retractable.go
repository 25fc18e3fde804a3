package fsm

// A tenant that does not want a network any more, because its monitors were paused
// or deleted, may still have to be told that an alert is retracted, as long as the
// block of one that has content is not final. Until then it counts among those
// that its cohort's cursor goes on for, and nothing is judged for it.

// retractables is how many alerts of a tenant, by its birth, may be retracted on a
// network.
func (v *View) retractables(network, tenant string, born uint64) int {
	n, _ := get(v.retractable, retractableKey(network, tenant, born))
	return n
}

func retractableKey(network, tenant string, born uint64) string {
	return join(network, tenant, "") + be64(born)
}

// indexRetractable counts what the ledger has.
func (t *tx) indexRetractable() {
	for f := range values(t.fired) {
		t.countRetractable(f, +1)
	}
}

// countRetractable counts an alert in or out, and tells how many there are now.
func (t *tx) countRetractable(f *Fired, by int) int {
	if len(f.Content) == 0 {
		return t.retractables(f.Network, f.Tenant, f.Born)
	}
	key := retractableKey(f.Network, f.Tenant, f.Born)
	n := t.retractables(f.Network, f.Tenant, f.Born) + by
	if n == 0 {
		del(t.edit, &t.retractable, key)
	} else {
		put(t.edit, &t.retractable, key, n)
	}
	return n
}

// hold counts an alert that has got its content. The first one of a tenant keeps
// its cursor going.
func (t *tx) hold(f *Fired) {
	if t.countRetractable(f, +1) == 1 {
		n := t.network(f.Network)
		t.owe(&n, f, +1)
	}
}

// lapse lets the cursors go that went on for nothing but alerts that are forgotten
// now.
func (t *tx) lapse(n *Network, gone []*Fired) {
	next := *n
	type birth struct {
		tenant string
		born   uint64
	}
	done := map[birth]bool{}
	for _, f := range gone {
		who := birth{f.Tenant, f.Born}
		if len(f.Content) > 0 && !done[who] && t.retractables(n.Key, f.Tenant, f.Born) == 0 {
			done[who] = true
			t.owe(&next, f, -1)
		}
	}
}

// owe counts the tenant of an alert in or out of its cohort's cursor, unless it wants
// the network anyway, or never did, or is no more.
func (t *tx) owe(n *Network, f *Fired, by int) {
	who, ok := t.Tenant(f.Tenant)
	if !ok || who.Born != f.Born {
		return
	}
	var s share
	if s.add(who.Coverage[n.Key], false); s.members == 0 || s.tenants > 0 {
		return
	}
	t.recount(n, who.Cohort, tally{tenants: by})
	t.settleCursors(n)
	t.touch(TopicLeases)
}
