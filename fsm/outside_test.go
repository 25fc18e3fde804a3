package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// far are contents outside of a state.
type far map[Hash][]byte

func (f far) Content(hash Hash) ([]byte, error) {
	if data, ok := f[hash]; ok {
		return data, nil
	}
	return nil, ErrUnreachable
}

func (f far) Prefetch(hashes []Hash) error {
	for _, h := range hashes {
		if _, err := f.Content(h); err != nil {
			return err
		}
	}
	return nil
}

// Whatever is done to tenants, it is the same to them wherever their contents are.
func TestContentsOutsideAreAsGoodAsInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out, f := New(), New(), far{}
		out.ReadOutside(f)
		var index uint64
		both := func(a, b Command) {
			index++
			got, err := out.Apply(index, mustEncode(t, b))
			want, wantErr := in.Apply(index, mustEncode(t, a))
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%T: %v outside, %v inside", a, err, wantErr)
			}
			if v, ok := want.(Version); ok && v.Number != got.(Version).Number {
				t.Fatalf("version %d outside, %d inside", got.(Version).Number, v.Number)
			}
		}
		sizes := map[Hash]int64{}
		for i := range 6 {
			data := []byte(strings.Repeat("x", i*100))
			f[HashBlob(data)], sizes[HashBlob(data)] = data, int64(len(data))
			both(&PutBlobs{Blobs: [][]byte{data}}, &CollectBlobs{})
		}
		hashes := make([]Hash, 0, len(f))
		for h := range sizes {
			hashes = append(hashes, h)
		}
		slices.SortFunc(hashes, func(a, b Hash) int { return strings.Compare(a.String(), b.String()) })
		numbers := map[string]uint64{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			tenant := rapid.SampledFrom([]string{"acme", "bolt"}).Draw(t, "tenant")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				both(&DeleteTenant{Tenant: tenant, Expect: numbers[tenant], Source: SourceAPI}, &DeleteTenant{Tenant: tenant, Expect: numbers[tenant], Source: SourceAPI})
				delete(numbers, tenant)
			case 1:
				// Between them, and back: the one inside stays.
				v := out.View()
				if held, ok := v.Tenant(tenant); ok {
					to := !held.Current.Manifest.Outside
					c := &MoveContents{Tenant: tenant, Born: held.Born, Expect: held.Current.Number, Outside: to}
					for h, n := range sizes {
						c.Sizes = append(c.Sizes, ContentSize{h, n})
					}
					index++
					for _, one := range []Command{&PutBlobs{Blobs: blobsOf(f)}, c} {
						if _, err := out.Apply(index, mustEncode(t, one)); err != nil {
							t.Fatal(err)
						}
						index++
					}
				}
			default:
				m := Manifest{}
				for i := range rapid.IntRange(0, 4).Draw(t, "docs") {
					d := Doc{Kind: DocMonitor, ID: fmt.Sprint(i), Hash: rapid.SampledFrom(hashes).Draw(t, "content")}
					if rapid.Bool().Draw(t, "points further") {
						d.Refs = []Hash{rapid.SampledFrom(hashes).Draw(t, "ref")}
					}
					m.Docs = append(m.Docs, d)
				}
				m.Normalize()
				a := &SetTenantVersion{Tenant: tenant, Expect: numbers[tenant], Source: SourceAPI, Manifest: m}
				b := *a
				b.Manifest = m.Placed(true, sizes)
				both(a, &b)
				if held, ok := in.View().Tenant(tenant); ok {
					numbers[tenant] = held.Current.Number
				}
			}
			compare(t, in.View(), out.View(), f)
		}
	})
}

func blobsOf(f far) (out [][]byte) {
	for _, data := range f {
		out = append(out, data)
	}
	slices.SortFunc(out, func(a, b []byte) int { return len(a) - len(b) })
	return out
}

func compare(t *rapid.T, in, out *View, f far) {
	uses := map[Hash]uint64{}
	for want := range in.Tenants() {
		got, ok := out.Tenant(want.ID)
		if !ok || len(got.Previous) != len(want.Previous) {
			t.Fatalf("tenant %s: %+v outside, %+v inside", want.ID, got, want)
		}
		for i, w := range append(slices.Clone(want.Previous), want.Current) {
			g := append(slices.Clone(got.Previous), got.Current)[i]
			if !g.Manifest.Same(w.Manifest) || g.Number != w.Number {
				t.Fatalf("tenant %s: version %+v outside, %+v inside", want.ID, g, w)
			}
			if q, r := out.Used(g.Manifest), in.Used(w.Manifest); q != r {
				t.Fatalf("tenant %s: %+v is used outside, %+v inside", want.ID, q, r)
			}
			for h := range w.Manifest.hashes() {
				if g.Manifest.Outside {
					uses[h]++
				}
				data, err := out.Content(h)
				if err != nil || HashBlob(data) != h {
					t.Fatalf("content %s: %v", h.Short(), err)
				}
			}
		}
	}
	for h := range f {
		if n := out.OutsideUses(h); n != uses[h] {
			t.Fatalf("content %s is used %d times outside, want %d", h.Short(), n, uses[h])
		}
	}
}

func newReaching(t *testing.T) *pausing {
	p := newPausing(t)
	p.do(&RegisterNode{Name: "n1", Reaches: true})
	return p
}

// by is a command with an entry of a name.
func by(action string, c Command) Command {
	return audited(Audit{Action: action, Tenant: "acme"}, 0, c)
}

func TestStoreIsSetWhereAllNodesReachIt(t *testing.T) {
	p := newReaching(t)
	p.do(&RegisterNode{Name: "b", Server: "b@1"})
	p.refused(&SetStore{Kind: StorePostgres}, ErrConflict)
	p.do(&RegisterNode{Name: "b", Server: "b@1", Reaches: true})
	p.do(&SetStore{Kind: StorePostgres, Fresh: true})
	p.refused(&SetStore{Kind: StoreEmbedded}, ErrConflict)
	p.do(&SetTenantVersion{Tenant: "acme"})
	v := p.View()
	if !v.NeedsOutside() || !v.BelongsOutside("acme") || !v.BelongsOutside("new") || v.BelongsOutside(Shared) {
		t.Error("the contents of new versions do not go where it was said")
	}
	p.refused(&SetStore{Kind: StoreEmbedded, Expect: v.Store().Index, Fresh: true}, ErrConflict)
	p.do(&SetStore{Kind: StoreEmbedded, Expect: v.Store().Index})
	if v := p.View(); v.NeedsOutside() || v.BelongsOutside("acme") {
		t.Error("the contents of new versions still go outside")
	}
}

func TestMoveContentsIsRefused(t *testing.T) {
	p := newReaching(t)
	p.do(&PutBlobs{Blobs: [][]byte{[]byte("in")}})
	m := Manifest{Docs: []Doc{{Kind: DocTrigger, ID: "t", Hash: HashBlob([]byte("in"))}}}
	p.do(&SetTenantVersion{Tenant: "acme", Manifest: m})
	born := p.tenant("acme").Born
	p.refused(&MoveContents{Tenant: "none"}, ErrNotFound)
	p.refused(&MoveContents{Tenant: "acme", Born: born, Expect: 2, Outside: true}, ErrConflict)
	p.refused(&MoveContents{Tenant: "acme", Born: born + 1, Expect: 1, Outside: true}, ErrConflict)
	p.do(&MoveContents{Tenant: "acme", Born: born, Expect: 1, Outside: true, Sizes: []ContentSize{{HashBlob([]byte("in")), 2}}})
	p.do(&CollectBlobs{Before: 1})
	p.refused(&MoveContents{Tenant: "acme", Born: born, Expect: 1}, ErrNotFound) // before they were put back
	if _, err := p.View().Content(HashBlob([]byte("in"))); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a content that nobody reads from outside: %v", err)
	}
	if _, err := p.View().Content(HashBlob([]byte("none"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("a content that is nowhere: %v", err)
	}
}

func TestAuditLineHasAllInOrder(t *testing.T) {
	p := newReaching(t)
	p.do(by("before", &SetTenantVersion{Tenant: "acme"}))
	p.do(&SetStore{Kind: StorePostgres})
	p.do(by("first", &SetTenantVersion{Tenant: "acme", Expect: 1}))
	p.do(by("second", &DeleteTenant{Tenant: "acme", Expect: 2})) // with it, its log goes
	var got []string
	for a := range p.View().AuditSince(0) {
		got = append(got, fmt.Sprint(a.Seq, a.Action))
	}
	if want := []string{"1first", "2second"}; !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
	for a := range p.View().AuditSince(1) {
		if a.Action != "second" {
			t.Errorf("after the first comes %q", a.Action)
		}
	}
	if n := p.View().Store().Audits; n != 2 {
		t.Errorf("%d entries are counted", n)
	}
}
