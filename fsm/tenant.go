package fsm

import (
	"fmt"
	"iter"
	"slices"
)

// Shared is the pseudo tenant that owns the shared networks. It has no monitors.
const Shared = ""

// DocKind tells what a document describes.
type DocKind uint8

// The kinds of documents a tenant has.
const (
	DocNetwork DocKind = 1
	DocMonitor DocKind = 2
	DocTrigger DocKind = 3
	DocScript  DocKind = 4
)

// String is the kind's name in messages.
func (k DocKind) String() string {
	switch k {
	case DocNetwork:
		return "network"
	case DocMonitor:
		return "monitor"
	case DocTrigger:
		return "trigger"
	case DocScript:
		return "script"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Doc points to one document: its identity within the tenant and its content.
type Doc struct {
	Kind DocKind `codec:"k"`
	ID   string  `codec:"i"`           // given at creation; in a folder the name (monitor), slug (network) or id (trigger)
	Hash Hash    `codec:"h"`           // blob with the document, secrets sealed
	Refs []Hash  `codec:"r,omitempty"` // blobs the document points to (contract specifications)

	Watches []Watch `codec:"w,omitempty"` // an unpaused monitor's networks
	Depth   uint64  `codec:"p,omitempty"` // a network's confirmation_blocks
}

// Watch says that a monitor judges the blocks of a network.
type Watch struct {
	Network string `codec:"n"`           // key of the watched network
	Slug    string `codec:"s"`           // how the monitor's document calls it
	Depth   uint64 `codec:"d,omitempty"` // blocks a block must lie deep; 0: as the shared network's document says
}

// DepthOr is the watch's depth, or that of the network.
func (w Watch) DepthOr(network uint64) uint64 {
	if w.Depth != 0 {
		return w.Depth
	}
	return network
}

// Manifest is one version of everything a tenant has configured.
type Manifest struct {
	Docs   []Doc    `codec:"d"`           // sorted by kind, then id
	Wanted []string `codec:"w,omitempty"` // keys of the networks its monitors watch, sorted
}

// Find is the document of a kind with an id.
func (m *Manifest) Find(kind DocKind, id string) (Doc, bool) {
	i, ok := slices.BinarySearchFunc(m.Docs, Doc{Kind: kind, ID: id}, compareDocs)
	if !ok {
		return Doc{}, false
	}
	return m.Docs[i], true
}

// Normalize puts the documents in order and derives what is wanted from what
// the monitors watch.
func (m *Manifest) Normalize() {
	slices.SortFunc(m.Docs, compareDocs)
	m.Wanted = nil
	for _, d := range m.Docs {
		for _, w := range d.Watches {
			m.Wanted = append(m.Wanted, w.Network)
		}
	}
	slices.Sort(m.Wanted)
	m.Wanted = slices.Compact(m.Wanted)
}

func compareDocs(a, b Doc) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

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
	Cohort   string                   `codec:"c"` // who judges it; empty for Shared
	Current  Version                  `codec:"v"`
	Previous []Version                `codec:"p,omitempty"`  // older versions, oldest first, while somebody may need them
	Coverage map[string][]CoverageRun `codec:"cv,omitempty"` // by network key
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
func (v *View) Tenant(id string) (*Tenant, bool) { return get(v.tenants, []byte(id)) }

// Tenants yields every tenant by id, Shared first.
func (v *View) Tenants() iter.Seq[*Tenant] { return values(v.tenants) }

// TenantsSince yields the tenants whose configuration changed after a log
// index, or that were deleted after it. A tenant that has changed again later
// is yielded all the same: ask its InForce.
func (v *View) TenantsSince(index uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		it := v.changes.Root().Iterator()
		it.SeekLowerBound(be64(index + 1))
		for _, id, ok := it.Next(); ok; _, id, ok = it.Next() {
			if !yield(id) {
				return
			}
		}
	}
}

// SetTenantVersion switches a tenant to a new manifest, all at once. It answers
// with the new Version.
type SetTenantVersion struct {
	Tenant   string   `codec:"i"`
	Expect   uint64   `codec:"e"` // number of the version it replaces; 0 for a new tenant
	Manifest Manifest `codec:"m"`
	Cohort   string   `codec:"c"` // where a new tenant is judged at first
	At       int64    `codec:"t"`
}

// Type is TypeSetTenantVersion.
func (*SetTenantVersion) Type() Type { return TypeSetTenantVersion }

func (c *SetTenantVersion) apply(t *tx) (any, error) {
	old, exists := t.Tenant(c.Tenant)
	if !exists {
		old = &Tenant{ID: c.Tenant, Cohort: c.Cohort}
	}
	if old.Current.Number != c.Expect {
		return nil, fmt.Errorf("tenant %q: version %d expected, %d found: %w", c.Tenant, c.Expect, old.Current.Number, ErrConflict)
	}
	if err := t.count(&c.Manifest, +1); err != nil {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, err)
	}
	next := *old
	next.Current = Version{Number: c.Expect + 1, Index: t.index, At: c.At, Manifest: &c.Manifest}
	if exists {
		next.Previous = append(slices.Clone(old.Previous), old.Current)
	}
	t.setCoverage(&next, old)
	if err := t.letGo(&next); err != nil {
		return nil, err
	}
	put(&t.tenants, []byte(c.Tenant), &next)
	del(&t.changes, be64(old.Current.Index))
	put(&t.changes, be64(t.index), c.Tenant)
	t.touch(TopicTenants)
	t.touch(TopicLeases)
	return next.Current, nil
}

// DeleteTenant ends a tenant: the shared networks are no longer wanted by it,
// its own are forgotten, nothing is owed to it any more, and what its outbox
// held becomes dead letters, as far as KeepDead allows.
type DeleteTenant struct {
	Tenant string `codec:"i"`
	Expect uint64 `codec:"e"`
	At     int64  `codec:"t"`
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
	gone := *old
	gone.Current.Manifest = &Manifest{}
	t.setCoverage(&gone, old)
	for _, v := range append(slices.Clone(old.Previous), old.Current) {
		if err := t.count(v.Manifest, -1); err != nil {
			return nil, err
		}
	}
	del(&t.tenants, []byte(c.Tenant))
	t.release(&gone)
	t.drop(c.Tenant)
	del(&t.changes, be64(old.Current.Index))
	put(&t.changes, be64(t.index), c.Tenant)
	for o := range values(t.outbox) {
		if o.Tenant == c.Tenant {
			t.bury(o, "the tenant was deleted", c.At)
		}
	}
	t.touch(TopicTenants)
	t.touch(TopicLeases)
	return nil, nil
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
// monitors, or at the depth that one of its networks gives.
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
		for c := range t.Cursors(networkKey(tenant.ID, d.ID)) {
			if behind(c) {
				return true
			}
		}
	}
	return false
}

// networkKey is the key of a network by the tenant that owns it and its slug.
func networkKey(owner, slug string) string {
	if owner == Shared {
		return slug
	}
	return owner + "/" + slug
}
