package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// A tree is a map in key order, whatever edits do to it. What a view has of it stays
// as it was, an edit makes one copy of it however many keys it changes, and a walk
// yields what was there when it began.
func TestTree(t *testing.T) {
	type taken struct {
		tree *tree[int]
		want map[string]int
	}
	rapid.Check(t, func(t *rapid.T) {
		var at *tree[int]
		want := map[string]int{}
		kept := []taken{{at, maps.Clone(want)}}
		next := 0 // of keys that come in order
		key := func() string {
			return strings.Repeat("k", rapid.IntRange(0, 2).Draw(t, "length")) + fmt.Sprint(rapid.IntRange(0, 900).Draw(t, "key"))
		}
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			before := rapid.SampledFrom(kept).Draw(t, "before")
			e := &edit{open: true}
			at, want = before.tree, maps.Clone(before.want)
			own := at
			change := func(k string, insert bool) {
				old, known := want[k]
				if had, ok := get(at, k); had != old || ok != known {
					t.Fatalf("%q: %d, %v, want %d, %v", k, had, ok, old, known)
				}
				if insert {
					v := rapid.Int().Draw(t, "value")
					if had, ok := put(e, &at, k, v); had != old || ok != known {
						t.Fatalf("%q had %d, %v, want %d, %v", k, had, ok, old, known)
					}
					want[k] = v
				} else {
					del(e, &at, k)
					delete(want, k)
				}
				if own == before.tree && (insert || known) {
					if own = at; own == before.tree {
						t.Fatal("an edit has changed a tree that is not its own")
					}
				}
				if at != own {
					t.Fatal("an edit has made another copy than its first")
				}
			}
			for range rapid.IntRange(1, 5).Draw(t, "steps") {
				many := rapid.IntRange(1, 150).Draw(t, "many")
				switch rapid.IntRange(0, 4).Draw(t, "what") {
				case 0, 1:
					for range many {
						change(key(), true)
					}
				case 2:
					for range many {
						change(fmt.Sprintf("n%09d", next), true)
						next++
					}
				case 3:
					for range many {
						change(key(), false)
					}
				case 4: // while it is walked
					was, seen := maps.Clone(want), map[string]int{}
					for k, v := range walk(at, "") {
						seen[k] = v
						change(k, rapid.Bool().Draw(t, "keep"))
						change(key(), true)
						if many--; many == 0 {
							was = nil
							break
						}
					}
					if was != nil && !maps.Equal(seen, was) {
						t.Fatalf("a walk saw %v, want %v", seen, was)
					}
				}
				checkTree(t, at, want, key())
			}
			e.open = false
			kept = append(kept, taken{at, maps.Clone(want)})
		}
		for _, k := range kept {
			checkTree(t, k.tree, k.want, key())
		}
	})
}

func checkTree(t *rapid.T, at *tree[int], want map[string]int, from string) {
	t.Helper()
	all := slices.Sorted(maps.Keys(want))
	if at.Len() != len(all) {
		t.Fatalf("%d keys, want %d", at.Len(), len(all))
	}
	var got []string
	for k, v := range walk(at, "") {
		if got = append(got, k); want[k] != v {
			t.Fatalf("%q: %d, want %d", k, v, want[k])
		}
	}
	if !slices.Equal(got, all) {
		t.Fatalf("keys %q, want %q", got, all)
	}
	first, _, some := at.first()
	last, _, _ := at.last()
	if some != (len(all) > 0) || some && (first != all[0] || last != all[len(all)-1]) {
		t.Fatalf("first %q, last %q of %q", first, last, all)
	}
	var above, below []string
	for _, k := range all {
		if k >= from {
			above = append(above, k)
		}
		if strings.HasPrefix(k, from) {
			below = append(below, k)
		}
	}
	got = nil
	for k := range at.from(from) {
		got = append(got, k)
	}
	if !slices.Equal(got, above) {
		t.Fatalf("from %q: %q, want %q", from, got, above)
	}
	got = nil
	for k := range walk(at, from) {
		got = append(got, k)
	}
	if !slices.Equal(got, below) {
		t.Fatalf("below %q: %q, want %q", from, got, below)
	}
}

// Views are read, and other views are made of them, while commands change the state.
// The race detector tells whether any of them touches what another one has.
func TestViewsAreReadWhileTheStateChanges(t *testing.T) {
	const tenants, commands, readers = 200, 300, 4
	s := New()
	index := uint64(0)
	apply := func(c Command) {
		index++
		if _, err := s.Apply(index, mustEncode(t, c)); err != nil {
			t.Error(err)
		}
	}
	apply(&RegisterNode{Name: "a"})
	for i := range tenants {
		apply(&SetTenantVersion{Tenant: benchTenant(i), Manifest: Manifest{Wanted: []string{"base"}}})
	}
	held := s.View()
	was := snapshot(t, held)

	done := make(chan struct{})
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for {
				v := s.View()
				n := 0
				for tenant := range v.TenantsOf("") {
					if _, ok := v.Tenant(tenant.ID); ok {
						n++
					}
				}
				if n != v.TenantCount("") {
					t.Errorf("%d tenants in the cohort, it counts %d", n, v.TenantCount(""))
				}
				for range v.TenantsSince(v.Index() / 2) {
					n++
				}
				Rebase(held, v)
				next := *v
				tx := begin(&next)
				if _, err := (&SetTenantVersion{Tenant: "of this reader alone"}).apply(tx); err != nil {
					t.Error(err)
				}
				tx.end()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range commands {
		id := benchTenant(i * 7 % tenants)
		tenant, _ := s.View().Tenant(id)
		switch i % 3 {
		case 0:
			apply(&SetTenantVersion{Tenant: id, Expect: tenant.Current.Number, Manifest: Manifest{Wanted: []string{"base", fmt.Sprint("n", i)}}})
		case 1:
			apply(&Move{Moves: []Moved{{Tenant: id, Cohort: tenant.Cohort, To: "a", Reason: ReasonInitial}}})
		case 2:
			apply(&DeleteTenant{Tenant: id, Expect: tenant.Current.Number})
			apply(&SetTenantVersion{Tenant: id, Manifest: Manifest{Wanted: []string{"base"}}})
		}
	}
	close(done)
	reading.Wait()
	if !bytes.Equal(snapshot(t, held), was) {
		t.Error("a view that was held has changed")
	}
}
