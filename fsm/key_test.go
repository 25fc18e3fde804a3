package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (p *pausing) keys(tenant string) string {
	var ids []string
	for k := range p.View().KeysOf(tenant) {
		ids = append(ids, k.ID)
	}
	return strings.Join(ids, " ")
}

func (p *pausing) restart() {
	p.Helper()
	if err := p.Restore(strings.NewReader(string(snapshot(p, p.View())))); err != nil {
		p.Fatal(err)
	}
}

// woken reports whether a command wakes those who wait for a topic.
func (p *pausing) woken(topic Topic, c Command) bool {
	p.Helper()
	changed := p.Changed(topic)
	p.do(c)
	select {
	case <-changed:
		return true
	default:
		return false
	}
}

func TestKeys(t *testing.T) {
	p := newPausing(t)
	key := Key{ID: "one", Hash: Hash{1}, Tenant: "acme", Role: RoleAdmin, Name: "ci", Expires: 90, By: "socket", At: 7}
	p.refused(&PutKey{Key: key}, ErrNotFound)
	p.fresh("acme", "acme2")
	if !p.woken(TopicKeys, &PutKey{Key: key}) {
		t.Error("a new key wakes nobody")
	}
	want := key
	want.Born, want.Index = p.tenant("acme").Born, p.index
	if got, ok := p.View().Key("one"); !ok || *got != want {
		t.Errorf("key %+v, want %+v", got, want)
	}
	// The same again, by whoever did not get the answer, changes nothing.
	if p.woken(TopicKeys, &PutKey{Key: key}) || p.do(&PutKey{Key: key}) != want.Index {
		t.Error("the same key again is another")
	}
	for _, change := range []func(*Key){
		func(k *Key) { k.Hash = Hash{2} }, func(k *Key) { k.Tenant = "" }, func(k *Key) { k.Tenant = "acme2" },
		func(k *Key) { k.Role = RoleOwner }, func(k *Key) { k.Expires = 0 },
	} {
		other := key
		change(&other)
		p.refused(&PutKey{Key: other}, ErrConflict)
	}
	p.do(&PutKey{Key: Key{ID: "root", Role: RoleOperator}})
	p.do(&PutKey{Key: Key{ID: "two", Tenant: "acme2", Role: RoleViewer}})
	p.do(&PutKey{Key: Key{ID: "three", Tenant: "acme", Role: RoleViewer}})
	lists := func(want string) {
		t.Helper()
		for range 2 {
			if got := fmt.Sprint(p.keys("acme"), " | ", p.keys("acme2"), " | ", p.keys(""), " | ", p.keys("none")); got != want {
				t.Errorf("keys %s, want %s", got, want)
			}
			p.restart()
		}
	}
	lists("one three | two | root | ")
	for _, c := range []DropKey{{ID: "two", Tenant: "acme"}, {ID: "root", Tenant: "acme"}, {ID: "one"}, {ID: "none", Tenant: "acme"}} {
		p.refused(&c, ErrNotFound)
	}
	if !p.woken(TopicKeys, &DropKey{ID: "three", Tenant: "acme"}) {
		t.Error("a key that is dropped wakes nobody")
	}
	p.refused(&DropKey{ID: "three", Tenant: "acme"}, ErrNotFound)
	lists("one | two | root | ")
	if !p.woken(TopicKeys, &DeleteTenant{Tenant: "acme", Expect: 1}) {
		t.Error("the keys that go with a tenant wake nobody")
	}
	lists(" | two | root | ")
	p.do(&SetTenantVersion{Tenant: Shared})
	p.do(&DeleteTenant{Tenant: Shared, Expect: 1})
	p.do(&DropKey{ID: "two", Tenant: "acme2"})
	lists(" |  | root | ") // nobody's tenant is the operators'
}

// A key goes with its tenant, and opens nothing of the next one of that name.
func TestKeyOfANameGivenAgain(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme")
	p.do(&PutKey{Key: Key{ID: "old", Tenant: "acme", Role: RoleOwner}})
	old, _ := p.View().Key("old")
	p.do(&DeleteTenant{Tenant: "acme", Expect: 1})
	check := func() {
		t.Helper()
		if k, ok := p.View().Key("old"); ok {
			t.Errorf("the key %+v is still there", k)
		}
		if got := p.keys("acme"); got != "" {
			t.Errorf("keys %s", got)
		}
	}
	check()
	p.fresh("acme")
	check()
	// Even where it was left behind.
	v := *p.View()
	left := begin(&v)
	left.putKey(old)
	left.end()
	p.view.Store(&v)
	check()
	p.restart()
	check()
	p.do(&DeleteTenant{Tenant: "acme", Expect: 1})
	if n := p.View().keys.Len() + p.View().ownKeys.Len(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestKeysAreBounded(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme", "bolt")
	put := func(tenant, id string, expires, at int64) *PutKey {
		return &PutKey{Key: Key{ID: id, Tenant: tenant, Role: RoleViewer, Expires: expires, At: at}}
	}
	for _, tenant := range []string{"acme", ""} {
		for i := range int64(MaxKeys) {
			expires := int64(0)
			if i < 3 {
				expires = 50 + i
			}
			p.do(put(tenant, fmt.Sprint(tenant, "-", i), expires, 10))
		}
		p.index++
		_, err := p.Apply(p.index, mustEncode(t, put(tenant, "more", 0, 49)))
		if !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), "100") {
			t.Errorf("tenant %q: a key too many: %v", tenant, err)
		}
		p.do(put(tenant, tenant+"-7", 0, 10)) // the same again
		p.do(put(tenant, tenant+"-more", 0, 51))
		for i, want := range []bool{false, false, true} {
			if _, ok := p.View().Key(fmt.Sprint(tenant, "-", i)); ok != want {
				t.Errorf("tenant %q: key %d, which expires at %d, is there at 51: %t", tenant, i, 50+i, ok)
			}
		}
		p.do(put(tenant, tenant+"-more still", 0, 51))
		p.refused(put(tenant, "more", 0, 51), ErrTooMany)
	}
	p.do(put("bolt", "bolt's", 0, 10))

	long := strings.Repeat("ä", MaxLabel)
	wordy := &PutKey{Key: Key{ID: "wordy", Tenant: "bolt", Name: long, By: "x" + long}}
	p.do(wordy)
	p.do(wordy)
	if k, _ := p.View().Key("wordy"); k.Name != long[:MaxLabel] || k.By != "x"+long[:MaxLabel-2] {
		t.Errorf("key %+v", k)
	}
}

func TestNamesOfRoles(t *testing.T) {
	want := []string{"viewer", "member", "admin", "owner", "operator"}
	var got []string
	for r := RoleViewer; r <= RoleOperator; r++ {
		got = append(got, r.String())
		if back, err := ParseRole(r.String()); err != nil || back != r {
			t.Errorf("%q is read as %v, %v", r.String(), back, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("roles %q, want %q", got, want)
	}
	for _, wrong := range []string{"", "Owner", "role 0", Role(0).String(), Role(6).String()} {
		if r, err := ParseRole(wrong); err == nil {
			t.Errorf("%q is read as %v", wrong, r)
		}
	}
	if diff := cmp.Diff([]string{"folder", "API", "tables", "source 3"}, []string{SourceFolder.String(), SourceAPI.String(), SourceTables.String(), Source(3).String()}); diff != "" {
		t.Error(diff)
	}
}
