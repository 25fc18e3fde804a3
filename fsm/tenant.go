package fsm

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Shared is the pseudo tenant that owns the shared networks. It has no monitors.
const Shared = ""

// Version is a manifest with the point in the log from which it is in force: an
// announcement is judged with the last version whose Index is not above its own.
type Version struct {
	Number   uint64    `codec:"n"` // 1, 2, 3 … per tenant
	Index    uint64    `codec:"i"` // log index of the change
	At       int64     `codec:"t"` // Unix milliseconds, from the proposer
	Manifest *Manifest `codec:"m"`
}

// Tenant is an isolated customer as the cluster knows it.
type Tenant struct {
	ID       string                   `codec:"id"`
	Born     uint64                   `codec:"b"` // log index of its creation: one of the same name that was deleted had another
	Cohort   string                   `codec:"c"` // which cohort it is in; empty while it was never assigned, and for Shared
	Assigned Assignment               `codec:"a"`
	Pin      string                   `codec:"n,omitempty"` // node that an operator wants it on
	Weight   uint32                   `codec:"w,omitempty"` // its share of a node's load; 0: by strategy
	Priority int32                    `codec:"r,omitempty"`
	Placed   uint64                   `codec:"l,omitempty"` // log index at which an operator last said where it belongs
	Source   Source                   `codec:"s,omitempty"` // who says what its documents are
	Quota    Quota                    `codec:"q,omitempty"` // as an operator has set it; see Quota.OrDefault
	Current  Version                  `codec:"v"`
	Previous []Version                `codec:"p,omitempty"`  // older versions, oldest first, while somebody may need them
	Coverage map[string][]CoverageRun `codec:"cv,omitempty"` // by network key

	QuotaIndex uint64 `codec:"x,omitempty"` // log index at which the quota was last set
	Mark       string `codec:"k,omitempty"` // as the version's source has called it
}

// InForce is the version an announcement with this log index is judged with;
// ok is false where the tenant did not exist yet or the version was let go.
func (t *Tenant) InForce(index uint64) (Version, bool) {
	if t.Current.Index <= index {
		return t.Current, true
	}
	for _, v := range slices.Backward(t.Previous) {
		if v.Index <= index {
			return v, true
		}
	}
	return Version{}, false
}

// Number finds a version by its number among those still kept.
func (t *Tenant) Number(n uint64) (Version, bool) {
	if t.Current.Number == n {
		return t.Current, true
	}
	i := slices.IndexFunc(t.Previous, func(v Version) bool { return v.Number == n })
	if i < 0 {
		return Version{}, false
	}
	return t.Previous[i], true
}

// How much of a tenant's past is kept for coverage verify once no cursor needs it.
const (
	keepVersions = 32
	keepDocs     = 20_000
)

// Tenant finds a tenant.
func (v *View) Tenant(id string) (*Tenant, bool) { return get(v.tenants, id) }

// Tenants yields every tenant by id, Shared first.
func (v *View) Tenants() iter.Seq[*Tenant] { return values(v.tenants) }

// succeeded reports whether the tenant that was born at that index was deleted and
// another has its name: what was the one's is none of the other's business.
func (v *View) succeeded(tenant string, born uint64) bool {
	t, ok := v.Tenant(tenant)
	return ok && t.Born != born
}

// TenantsSince yields the tenants whose configuration, placement or assignment
// changed after a log index, or that were deleted after it; one of which several
// changed, or that was deleted and came back, comes more than once. A tenant that has changed again later is yielded all the same: ask its
// InForce. Whether it is still the same tenant, its Born tells.
func (v *View) TenantsSince(index uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, id := range v.changes.from(be64(index + 1)) {
			if !yield(id) {
				return
			}
		}
	}
}

// mark notes that a tenant has changed, in place of its older marks.
func (t *tx) mark(tenant string, older ...uint64) {
	for _, index := range older {
		del(t.edit, &t.changes, changeKey(index, tenant))
	}
	put(t.edit, &t.changes, changeKey(t.index, tenant), tenant)
}

// SetTenantVersion switches a tenant to a new manifest, all at once. A new tenant
// is in the cohort "" until it is moved. It is refused with ErrConflict where the
// version is another, or the tenant of another source, with ErrQuota where a tenant
// of the API would have too much. It answers with the new Version.
type SetTenantVersion struct {
	Tenant   string   `codec:"i"`
	Expect   uint64   `codec:"e"` // number of the version it replaces; 0 for a new tenant
	Manifest Manifest `codec:"m"`
	At       int64    `codec:"t"`
	Source   Source   `codec:"s,omitempty"` // stays that of the first version

	// Mark is what the source calls that of which the version was made.
	Mark string `codec:"k,omitempty"`
	// Quota is set together with the version, which has to be within it; nil: it stays.
	Quota       *Quota `codec:"q,omitempty"`
	QuotaExpect uint64 `codec:"x,omitempty"` // Tenant.QuotaIndex as it was seen, where Quota is set
}

// Type is TypeSetTenantVersion.
func (*SetTenantVersion) Type() Type { return TypeSetTenantVersion }

func (c *SetTenantVersion) apply(t *tx) (any, error) {
	old, exists := t.Tenant(c.Tenant)
	if !exists {
		old = &Tenant{ID: c.Tenant, Born: t.index, Source: c.Source}
	}
	if old.Current.Number != c.Expect {
		return nil, fmt.Errorf("tenant %q: version %d expected, %d found: %w", c.Tenant, c.Expect, old.Current.Number, ErrConflict)
	}
	if err := old.from(c.Source); err != nil {
		return nil, err
	}
	if err := t.count(&c.Manifest, +1); err != nil {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, err)
	}
	next := *old
	next.Current = Version{Number: c.Expect + 1, Index: t.index, At: c.At, Manifest: &c.Manifest}
	next.Mark = c.Mark
	if c.Quota != nil {
		if old.QuotaIndex != c.QuotaExpect {
			return nil, fmt.Errorf("tenant %q: its quota was set at %d, %d expected: %w", c.Tenant, old.QuotaIndex, c.QuotaExpect, ErrConflict)
		}
		next.Quota, next.QuotaIndex = *c.Quota, t.index
	}
	if err := t.checkQuota(&next, old.Current.Manifest); err != nil {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, err)
	}
	if exists {
		next.Previous = append(slices.Clone(old.Previous), old.Current)
	}
	t.setCoverage(&next, old)
	if err := t.letGo(&next); err != nil {
		return nil, err
	}
	put(t.edit, &t.tenants, c.Tenant, &next)
	if !exists && c.Tenant != Shared {
		t.enrol(&next)
	}
	if !exists {
		t.editBox(c.Tenant, func(*Box) {}) // which one of the same name may have left
	}
	t.keepReplayed(c.Tenant, &c.Manifest)
	t.mark(c.Tenant, old.Current.Index)
	t.touch(TopicTenants)
	t.touch(TopicLeases)
	return next.Current, nil
}

// from refuses what comes from another source than the tenant.
func (t *Tenant) from(s Source) error {
	if t.Source != s {
		return fmt.Errorf("tenant %q comes from the %s, and cannot be changed from the %s: %w", t.ID, t.Source, s, ErrConflict)
	}
	return nil
}

// SetPlacement says where an operator wants a tenant, and how much it counts.
type SetPlacement struct {
	Tenant   string `codec:"i"`
	Pin      string `codec:"n"` // node; empty: wherever it is placed
	Weight   uint32 `codec:"w"` // 0: by strategy
	Priority int32  `codec:"p"`
	Expect   uint64 `codec:"e"` // Placed as it was seen: what another operator said since is not undone
}

// Type is TypeSetPlacement.
func (*SetPlacement) Type() Type { return TypeSetPlacement }

func (c *SetPlacement) apply(t *tx) (any, error) {
	old, ok := t.Tenant(c.Tenant)
	if !ok || c.Tenant == Shared {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	if old.Placed != c.Expect {
		return nil, fmt.Errorf("tenant %q: its placement was changed at %d, %d expected: %w", c.Tenant, old.Placed, c.Expect, ErrConflict)
	}
	next := *old
	next.Pin, next.Weight, next.Priority, next.Placed = c.Pin, c.Weight, c.Priority, t.index
	put(t.edit, &t.tenants, c.Tenant, &next)
	t.mark(c.Tenant, old.Placed)
	t.touch(TopicTenants)
	t.touch(TopicLeases)
	return nil, nil
}

// DeleteTenant ends a tenant: the shared networks are no longer wanted by it,
// its own are forgotten, with its secrets, backtests and what it had replayed, nothing is owed
// to it any more, and what its outbox held becomes dead letters, as far as KeepDead
// and KeepDeadBytes allow. Its dead letters are the first to make room for others'.
type DeleteTenant struct {
	Tenant string `codec:"i"`
	Expect uint64 `codec:"e"`
	At     int64  `codec:"t"`
	Source Source `codec:"s,omitempty"` // the tenant's: what another deletes is its own
}

// Type is TypeDeleteTenant.
func (*DeleteTenant) Type() Type { return TypeDeleteTenant }

func (c *DeleteTenant) apply(t *tx) (any, error) {
	old, exists := t.Tenant(c.Tenant)
	if !exists {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	if old.Current.Number != c.Expect {
		return nil, fmt.Errorf("tenant %q: version %d expected, %d found: %w", c.Tenant, c.Expect, old.Current.Number, ErrConflict)
	}
	if err := old.from(c.Source); err != nil {
		return nil, err
	}
	gone := *old
	gone.Current.Manifest = &Manifest{}
	t.setCoverage(&gone, old)
	for _, v := range append(slices.Clone(old.Previous), old.Current) {
		if err := t.count(v.Manifest, -1); err != nil {
			return nil, err
		}
	}
	del(t.edit, &t.tenants, c.Tenant)
	t.strike(&gone)
	t.forgive(&gone)
	t.drop(c.Tenant)
	t.vacate(gone.Cohort)
	t.mark(c.Tenant, old.Current.Index, old.Assigned.Index, old.Placed)
	for o := range t.OutboxOf(c.Tenant) {
		t.bury(o, "the tenant was deleted", c.At)
	}
	t.editBox(c.Tenant, func(*Box) {}) // of which nothing may be left, and which goes first from now on
	t.keepReplayed(c.Tenant, &Manifest{})
	t.dropSecrets(c.Tenant)
	t.dropKeys(c.Tenant)
	t.dropAudit(c.Tenant)
	if err := t.dropBacktests(c.Tenant); err != nil {
		return nil, err
	}
	t.touch(TopicTenants)
	t.touch(TopicLeases)
	return nil, nil
}

// forgive lets go of what a deleted tenant had alone: nobody is left to tell, and
// its private networks have no document any more by which they could be judged.
// The tenant is gone already.
func (t *tx) forgive(gone *Tenant) {
	for _, key := range slices.Sorted(maps.Keys(gone.Coverage)) {
		n := t.network(key)
		var s share
		s.add(gone.Coverage[key], t.retractables(key, gone.ID, gone.Born) > 0)
		t.recount(&n, gone.Cohort, tally{-s.tenants, -s.members})
		if old, ok := t.Cursor(key, gone.Cohort); ok && old.Until != 0 && !old.Parked() {
			c := *old
			c.Until = c.Position + 1
			for other := range t.TenantsOf(c.Cohort) {
				if runs := other.Coverage[key]; len(runs) > 0 {
					c.Until = max(c.Until, runs[len(runs)-1].To)
				}
			}
			t.putCursor(&c)
		}
		t.settleCursors(&n)
	}
}

// drop forgets the private networks of a tenant that is gone, with all that was
// known of them: who comes under the same name later begins with nothing. A
// network is kept while anybody else has anything of it, which the documents do
// not allow.
func (t *tx) drop(tenant string) {
	if tenant == Shared {
		return
	}
	var idle []string
	for key, n := range walk(t.networks, networkKey(tenant, "")) {
		shared := false
		for range walk(t.cursors, cursorKey(n.Key, "")) {
			shared = true
		}
		if !shared {
			idle = append(idle, key)
		}
	}
	for _, key := range idle {
		del(t.edit, &t.networks, key)
		t.forget(slices.Collect(t.FiredOn(key)))
		t.touch(TopicNetwork(key))
	}
}

// letGo forgets the oldest versions that no cursor needs, beyond those kept for
// verify.
func (t *tx) letGo(tenant *Tenant) error {
	docs := 0
	for _, v := range tenant.Previous {
		docs += len(v.Manifest.Docs)
	}
	over := len(tenant.Previous) - keepVersions
	var kept []Version
	for i, v := range tenant.Previous {
		successor := tenant.Current
		if i+1 < len(tenant.Previous) {
			successor = tenant.Previous[i+1]
		}
		if over <= 0 && docs <= keepDocs || t.needed(tenant, v, successor.Index) {
			kept = append(kept, v)
			continue
		}
		if err := t.count(v.Manifest, -1); err != nil {
			return err
		}
		docs -= len(v.Manifest.Docs)
		over--
	}
	tenant.Previous = kept
	return nil
}

// needed reports whether some cursor still has an announcement from before the
// one that put the successor in force, and judges it with what v says: with its
// monitors, or at the depth that one of its networks gives. The last version with the
// document of a network is also needed as long as anybody follows the network: it is
// watched for them.
func (t *tx) needed(tenant *Tenant, v Version, successor uint64) bool {
	behind := func(c *Cursor) bool {
		n, ok := t.Network(c.Network)
		if !ok {
			return false
		}
		if e, ok := n.Entry(c.Position + 1); ok && e.Index < successor {
			return true
		}
		// The version that the cursor stands in tells which depths were in force
		// before the next announcement.
		return v.Index <= c.Index && c.Index < successor
	}
	for _, key := range v.Manifest.Wanted {
		if c, ok := t.Cursor(key, tenant.Cohort); ok && !c.Parked() && behind(c) {
			return true
		}
	}
	for _, d := range v.Manifest.Docs {
		if d.Kind != DocNetwork {
			continue
		}
		last := tenant.describes(d.ID) == v.Number
		for c := range t.Cursors(networkKey(tenant.ID, d.ID)) {
			if last || behind(c) {
				return true
			}
		}
	}
	return false
}

// describes is the number of the last version that has the document of a network.
func (t *Tenant) describes(network string) uint64 {
	if _, ok := t.Current.Manifest.Find(DocNetwork, network); ok {
		return t.Current.Number
	}
	for _, v := range slices.Backward(t.Previous) {
		if _, ok := v.Manifest.Find(DocNetwork, network); ok {
			return v.Number
		}
	}
	return 0
}
