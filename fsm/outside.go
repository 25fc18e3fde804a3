package fsm

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// StoreKind says where the contents of documents are kept.
type StoreKind uint8

// The kinds of stores.
const (
	StoreEmbedded StoreKind = 0 // blobs of the state
	StorePostgres StoreKind = 1
)

// String is the kind's name in settings and messages.
func (k StoreKind) String() string {
	switch k {
	case StoreEmbedded:
		return "embedded"
	case StorePostgres:
		return "postgres"
	default:
		return fmt.Sprintf("store %d", uint8(k))
	}
}

// Store says where the contents of new versions go. Where those of a version are,
// its manifest says.
type Store struct {
	Kind  StoreKind `codec:"k"`
	Index uint64    `codec:"i"` // log index at which it was said

	Audits uint64 `codec:"a,omitempty"` // entries of audit logs since it was first said: the last one's Audit.Seq
}

// Store is where the contents of new versions go; its Index is 0 while nobody has
// said, which means StoreEmbedded.
func (v *View) Store() Store {
	if v.store == nil {
		return Store{}
	}
	return *v.store
}

// NeedsOutside reports whether a node must read what is outside of the state.
func (v *View) NeedsOutside() bool {
	return v.Store().Kind != StoreEmbedded || v.outside.Len() > 0
}

// BelongsOutside reports where the next version of a tenant's contents go: where
// those of the one in force are, and where Store says for one that has none yet. The
// shared networks are always in the state: who watches them must not depend on more.
func (v *View) BelongsOutside(tenant string) bool {
	if tenant == Shared {
		return false
	}
	if t, ok := v.Tenant(tenant); ok && len(t.Current.Manifest.Docs) > 0 {
		return t.Current.Manifest.Outside
	}
	return v.Store().Kind != StoreEmbedded
}

// ErrUnreachable: contents are outside of the state, in a store that does not
// answer at the moment.
var ErrUnreachable = errors.New("the tenant store cannot be reached at the moment: what runs goes on with what it has; try again")

// Contents reads what is kept outside of the state. Contents never change under
// their hash, so an answer never depends on when it was asked for. No command asks
// it: what is decided follows from the state alone.
type Contents interface {
	// Content answers with an error that wraps ErrNotFound, or ErrUnreachable.
	Content(hash Hash) ([]byte, error)
	// Prefetch has Content answer at once for as many as possible.
	Prefetch(hashes []Hash) error
}

// ReadOutside has views read from there what the state does not hold. It is for
// before anybody uses them.
func (s *State) ReadOutside(c Contents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.View()
	next.reader = c
	s.view.Store(&next)
}

// Content reads what a document's hash stands for, wherever it is. Errors wrap
// ErrNotFound or ErrUnreachable. The bytes are shared: do not change them.
func (v *View) Content(hash Hash) ([]byte, error) {
	if data, ok := v.Blob(hash); ok {
		return data, nil
	}
	if v.OutsideUses(hash) == 0 {
		return nil, fmt.Errorf("content %s: %w", hash.Short(), ErrNotFound)
	}
	if v.reader == nil {
		return nil, fmt.Errorf("content %s: %w", hash.Short(), ErrUnreachable)
	}
	return v.reader.Content(hash)
}

// Prefetch has Content answer at once for all that versions point to. Its error
// wraps ErrUnreachable.
func (v *View) Prefetch(versions ...*Manifest) error {
	if v.reader == nil {
		return nil
	}
	var want []Hash
	for _, m := range versions {
		if !m.Outside {
			continue
		}
		for hash := range m.hashes() {
			want = append(want, hash)
		}
	}
	if len(want) == 0 {
		return nil
	}
	return v.reader.Prefetch(want)
}

// OutsideUses is how many pointers the versions kept have to a content outside.
func (v *View) OutsideUses(hash Hash) uint64 {
	n, _ := get(v.outside, string(hash[:]))
	return n
}

// hashes yields what the documents point to, with its size where that is told.
// What several point to comes several times.
func (m *Manifest) hashes() iter.Seq2[Hash, int64] {
	return func(yield func(Hash, int64) bool) {
		for _, d := range m.Docs {
			if !yield(d.Hash, d.size(0)) {
				return
			}
			for i, hash := range d.Refs {
				if !yield(hash, d.size(i+1)) {
					return
				}
			}
		}
	}
}

// Hashes are what the documents of a version point to, each once.
func (m *Manifest) Hashes() []Hash {
	seen := map[Hash]bool{}
	var out []Hash
	for hash := range m.hashes() {
		if !seen[hash] {
			seen[hash] = true
			out = append(out, hash)
		}
	}
	return out
}

// Placed is a copy of a manifest with its contents in the state, or outside, where
// sizes tell how many bytes they have.
func (m *Manifest) Placed(outside bool, sizes map[Hash]int64) Manifest {
	out := Manifest{Docs: slices.Clone(m.Docs), Wanted: m.Wanted, Outside: outside}
	for i := range out.Docs {
		d := &out.Docs[i]
		d.Sizes = nil
		if !outside {
			continue
		}
		d.Sizes = append(d.Sizes, sizes[d.Hash])
		for _, hash := range d.Refs {
			d.Sizes = append(d.Sizes, sizes[hash])
		}
	}
	return out
}

// Sizes are the bytes of contents outside, as a manifest tells them.
func (m *Manifest) Sizes() map[Hash]int64 {
	out := map[Hash]int64{}
	if m.Outside {
		maps.Insert(out, m.hashes())
	}
	return out
}

// size is that of the document, or of one of its Refs from 1 on; 0 where it is not told.
func (d *Doc) size(i int) int64 {
	if i < len(d.Sizes) {
		return d.Sizes[i]
	}
	return 0
}

func (t *tx) countOutside(m *Manifest, by int) {
	for hash := range m.hashes() {
		n, _ := get(t.outside, string(hash[:]))
		if n += uint64(by); n == 0 { // by is -1 only for what was counted before
			del(t.edit, &t.outside, string(hash[:]))
			continue
		}
		put(t.edit, &t.outside, string(hash[:]), n)
	}
}

// indexOutside counts again after a snapshot was read.
func (t *tx) indexOutside() {
	for tenant := range t.Tenants() {
		for _, v := range append(slices.Clone(tenant.Previous), tenant.Current) {
			if v.Manifest != nil && v.Manifest.Outside {
				t.countOutside(v.Manifest, +1)
			}
		}
	}
}

// SetStore says where the contents of new versions go from now on. With contents
// outside, every node must know where: it is refused with ErrConflict, which names
// those that do not. It answers with its log index.
type SetStore struct {
	Expect uint64    `codec:"e"` // Store.Index as it was seen
	Kind   StoreKind `codec:"k"`
	// Fresh: only while there is no tenant and no shared network yet.
	Fresh bool `codec:"f,omitempty"`
}

// Type is TypeSetStore.
func (*SetStore) Type() Type { return TypeSetStore }

func (c *SetStore) apply(t *tx) (any, error) {
	if at := t.View.Store().Index; at != c.Expect {
		return nil, fmt.Errorf("the tenant store was set at %d, %d expected: %w", at, c.Expect, ErrConflict)
	}
	if c.Fresh {
		for range t.Tenants() {
			return nil, fmt.Errorf("the cluster has tenants already: %w", ErrConflict)
		}
	}
	if c.Kind != StoreEmbedded {
		if err := t.allReach(); err != nil {
			return nil, err
		}
	}
	t.store = &Store{Kind: c.Kind, Index: t.index, Audits: t.View.Store().Audits}
	t.touch(TopicTenants)
	return t.index, nil
}

// allReach refuses what takes that every node reads contents outside.
func (t *tx) allReach() error {
	var not []string
	for n := range t.Nodes() {
		if !n.Reaches {
			not = append(not, n.Name)
		}
	}
	if len(not) == 0 {
		return nil
	}
	return fmt.Errorf("nodes that were not told where the PostgreSQL database is: %s: start them with --postgres-url: %w", strings.Join(not, ", "), ErrConflict)
}

// MoveContents says that the contents of all versions that are kept of a tenant
// are outside now, or in the state, to which they were put before. The versions
// stay what they are: nobody judges anything differently. Where they are there
// already, nothing changes.
type MoveContents struct {
	Tenant  string        `codec:"t"`
	Born    uint64        `codec:"b"`
	Expect  uint64        `codec:"e"` // number of the version in force
	Outside bool          `codec:"o,omitempty"`
	Sizes   []ContentSize `codec:"z,omitempty"` // where they are outside; each content once
}

// ContentSize is how many bytes a content has.
type ContentSize struct {
	Hash Hash  `codec:"h"`
	Size int64 `codec:"s"`
}

// Type is TypeMoveContents.
func (*MoveContents) Type() Type { return TypeMoveContents }

func (c *MoveContents) apply(t *tx) (any, error) {
	old, ok := t.Tenant(c.Tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	if old.Born != c.Born || old.Current.Number != c.Expect {
		return nil, fmt.Errorf("tenant %q: version %d expected, %d found: %w", c.Tenant, c.Expect, old.Current.Number, ErrConflict)
	}
	if c.Outside {
		if err := t.allReach(); err != nil {
			return nil, err
		}
	}
	sizes := make(map[Hash]int64, len(c.Sizes))
	for _, s := range c.Sizes {
		sizes[s.Hash] = s.Size
	}
	next, moved := *old, false
	next.Previous = slices.Clone(old.Previous)
	for i := range len(next.Previous) + 1 {
		v := &next.Current
		if i < len(next.Previous) {
			v = &next.Previous[i]
		}
		if v.Manifest.Outside == c.Outside {
			continue
		}
		m := v.Manifest.Placed(c.Outside, sizes)
		if err := t.count(&m, +1); err != nil {
			return nil, fmt.Errorf("tenant %q, version %d: %w", c.Tenant, v.Number, err)
		}
		if err := t.count(v.Manifest, -1); err != nil {
			return nil, err
		}
		v.Manifest, moved = &m, true
	}
	if !moved {
		return nil, nil
	}
	put(t.edit, &t.tenants, c.Tenant, &next)
	t.touch(TopicTenants)
	return nil, nil
}

// Same reports whether two manifests say the same, wherever their contents are.
func (m *Manifest) Same(other *Manifest) bool {
	return reflect.DeepEqual(m.Placed(false, nil), other.Placed(false, nil))
}
