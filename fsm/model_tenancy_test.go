package fsm

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// tenancy is the part of the model that is about who may do what, and has done.
type tenancy struct {
	keys   map[string]Key
	audits map[string][]Audit // newest first

	backtests map[string]*modelBacktest
}

func newModelTenancy() tenancy {
	return tenancy{keys: map[string]Key{}, audits: map[string][]Audit{}, backtests: map[string]*modelBacktest{}}
}

// applyTenancy is apply for the commands about keys, quotas and the audit log.
func (m *model) applyTenancy(c Command, view *View) (known bool, err error) {
	switch c := c.(type) {
	case *PutKey:
		k := c.Key
		k.Born, k.Index = 0, m.index
		if k.Tenant != "" {
			t, ok := m.tenants[k.Tenant]
			if !ok {
				return true, ErrNotFound
			}
			k.Born = t.born
		}
		old, ok := m.keys[k.ID]
		if !ok {
			m.keys[k.ID] = k
			return true, nil
		}
		if k.Index = old.Index; k != old {
			return true, ErrConflict
		}
	case *DropKey:
		if k, ok := m.keys[c.ID]; !ok || k.Tenant != c.Tenant {
			return true, ErrNotFound
		}
		delete(m.keys, c.ID)
	case *SetQuota:
		t, ok := m.tenants[c.Tenant]
		switch {
		case !ok || c.Tenant == Shared:
			return true, ErrNotFound
		case t.source != SourceAPI || t.quotaAt != c.Expect:
			return true, ErrConflict
		}
		t.quota, t.quotaAt = c.Quota, m.index
	case *Audited:
		return true, m.audited(c, view)
	default:
		return false, nil
	}
	return true, nil
}

func (m *model) audited(c *Audited, view *View) error {
	inner, err := Decode(c.Command)
	if err != nil {
		return err
	}
	tenant := c.Entry.Tenant
	if t, ok := m.tenants[tenant]; c.Born != 0 && (!ok || t.born != c.Born) {
		return ErrConflict
	}
	again := false
	if put, ok := inner.(*PutBacktest); ok {
		_, again = m.backtests[letter(put.Job.Tenant, put.Job.ID)]
	}
	if put, ok := inner.(*PutKey); ok {
		_, again = m.keys[put.Key.ID]
	}
	if err := m.apply(m.index, inner, view); err != nil || again {
		return err
	}
	entry := c.Entry
	entry.Index = m.index
	if version, ok := inner.(*SetTenantVersion); ok {
		entry.Version = version.Expect + 1
	}
	if _, ok := m.tenants[tenant]; !ok && tenant != "" {
		entry.Tenant = ""
	}
	m.audits[entry.Tenant] = slices.Insert(slices.Clone(m.audits[entry.Tenant]), 0, entry)
	return nil
}

// dropTenancy forgets who could do what with a tenant that is gone, and has done.
func (m *model) dropTenancy(tenant string) {
	if tenant == Shared {
		return
	}
	delete(m.audits, tenant)
	maps.DeleteFunc(m.backtests, func(key string, _ *modelBacktest) bool { return strings.HasPrefix(key, letter(tenant, "")) })
	maps.DeleteFunc(m.keys, func(_ string, k Key) bool { return k.Tenant == tenant })
}

// over reports whether a tenant would have more than it may, and than it has.
func (t *modelTenant) over(next *Manifest) bool {
	count := func(m *Manifest) (docs, bytes int) {
		blobs := map[Hash]bool{}
		for _, d := range m.Docs {
			blobs[d.Hash] = true
			for _, h := range d.Refs {
				blobs[h] = true
			}
		}
		return len(m.Docs), len(blobs) * len(blob(0))
	}
	docs, size := count(next)
	hadDocs, hadSize := count(t.current().Manifest)
	more := func(n, had, allowed int) bool { return allowed > 0 && n > allowed && n > had }
	return t.source == SourceAPI && (more(docs, hadDocs, t.quota.Monitors) || more(size, hadSize, int(t.quota.Bytes)))
}

// source is mostly the tenant's own.
func (m *machine) source(t *rapid.T, tenant string) Source {
	known, ok := m.m.tenants[tenant]
	if !ok || rapid.IntRange(0, 9).Draw(t, "another source") == 0 {
		return Source(rapid.IntRange(0, 1).Draw(t, "source"))
	}
	return known.source
}

func (m *machine) key(t *rapid.T) {
	id := rapid.SampledFrom([]string{"k1", "k2", "k3", "k4"}).Draw(t, "key")
	tenant := rapid.SampledFrom(tenantIDs).Draw(t, "tenant")
	old, known := m.m.keys[id]
	if known && rapid.Bool().Draw(t, "drop") {
		if rapid.IntRange(0, 3).Draw(t, "its owner") != 0 {
			tenant = old.Tenant
		}
		m.do(t, &DropKey{ID: id, Tenant: tenant})
		return
	}
	if known && rapid.Bool().Draw(t, "again") {
		m.do(t, &PutKey{Key: old})
		return
	}
	m.do(t, &PutKey{Key: Key{
		ID: id, Tenant: tenant, Hash: Hash{byte(m.clock)}, Role: Role(rapid.IntRange(1, 5).Draw(t, "role")), Name: "ci", By: "socket",
		Expires: rapid.SampledFrom([]int64{0, m.clock, m.clock + 9}).Draw(t, "expires"), At: m.clock, Born: 7, Index: 7,
	}})
}

func (m *machine) quota(t *rapid.T) {
	c := &SetQuota{Tenant: rapid.SampledFrom(tenantIDs).Draw(t, "tenant")}
	c.Quota = Quota{Monitors: rapid.IntRange(-1, 3).Draw(t, "monitors"), Bytes: rapid.Int64Range(-1, 40).Draw(t, "bytes"), NotificationsPerHour: rapid.IntRange(-1, 2).Draw(t, "notifications")}
	if tenant, ok := m.m.tenants[c.Tenant]; ok {
		c.Expect = tenant.quotaAt
	}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		c.Expect++
	}
	m.do(t, c)
}

// perhapsAudited has an operator's commands audited, some of them on behalf of a
// tenant that is not there any more.
func (m *machine) perhapsAudited(t *rapid.T, c Command) Command {
	var tenant string
	switch c := c.(type) {
	case *SetTenantVersion:
		tenant = c.Tenant
	case *DeleteTenant:
		tenant = c.Tenant
	case *SetPlacement:
		tenant = c.Tenant
	case *PutSecret:
		tenant = c.Tenant
	case *DropSecret:
		tenant = c.Tenant
	case *PutKey:
		tenant = c.Key.Tenant
	case *DropKey:
		tenant = c.Tenant
	case *SetQuota:
		tenant = c.Tenant
	case *PutBacktest:
		tenant = c.Job.Tenant
	case *EndBacktest:
		tenant = c.Tenant
	default:
		return c
	}
	if rapid.IntRange(0, 2).Draw(t, "audited") != 0 {
		return c
	}
	born := uint64(0)
	if rapid.Bool().Draw(t, "born as seen") {
		born = m.birth(t, tenant)
	}
	return audited(Audit{At: m.clock, Tenant: tenant, Actor: "socket", Action: "test", Object: "it"}, born, c)
}

// checkTenancy compares what the state says of keys, quotas and the audit log.
func (m *machine) checkTenancy(t *rapid.T, v *View) {
	d := dump(v)
	same(t, "keys", d.Keys, m.m.keys)
	for _, tenant := range append(slices.Clone(tenantIDs), "none") {
		var keys []Key
		for k := range v.KeysOf(tenant) {
			if found, ok := v.Key(k.ID); !ok || found != k {
				t.Fatalf("key %+v is not found", k)
			}
			keys = append(keys, *k)
		}
		want := slices.SortedFunc(maps.Values(m.m.keys), func(a, b Key) int { return strings.Compare(a.ID, b.ID) })
		want = slices.DeleteFunc(want, func(k Key) bool { return k.Tenant != tenant })
		if !slices.Equal(keys, want) {
			t.Fatalf("tenant %q has keys %+v, want %+v", tenant, keys, want)
		}
		var log []Audit
		for a := range v.AuditOf(tenant) {
			log = append(log, *a)
		}
		if diff := cmp.Diff(m.m.audits[tenant], log, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("audit log of tenant %q differs (-want +got):\n%s", tenant, diff)
		}
	}
	for id, want := range m.m.tenants {
		if got, _ := v.Tenant(id); got.Source != want.source || got.Quota != want.quota || got.QuotaIndex != want.quotaAt {
			t.Fatalf("tenant %q: source %v, quota %+v of %d, want %v, %+v of %d",
				id, got.Source, got.Quota, got.QuotaIndex, want.source, want.quota, want.quotaAt)
		}
	}
	checkAudits(t, v)
	m.checkBacktests(t, v)
}

// checkAudits: what is derived from the audit logs is what they say, and no bound is
// exceeded.
func checkAudits(t failer, v *View) {
	t.Helper()
	var all int64
	sizes := map[string]bool{}
	for tenant, log := range walk(v.audits, "") {
		var size int64
		last := uint64(0)
		for _, a := range log.entries {
			if a.Tenant != tenant || a.Index <= last {
				t.Fatal("entry", *a, "after", last, "in the audit log of", tenant)
			}
			last = a.Index
			size += a.Size()
		}
		if n := len(log.entries); size != log.bytes || n == 0 || n > KeepAudit || size > KeepAuditBytes {
			t.Fatal(n, "entries of", log.bytes, "bytes in the audit log of", tenant, "which are", size)
		}
		sizes[log.sizeKey(tenant)] = true
		all += size
	}
	if all != v.AuditBytes() || all > MaxAudit {
		t.Fatal(v.AuditBytes(), "bytes of audit logs, which are", all)
	}
	for key := range walk(v.auditSizes, "") {
		if !sizes[key] {
			t.Fatal("an audit log is listed that is not there, or has another size")
		}
		delete(sizes, key)
	}
	if len(sizes) > 0 {
		t.Fatal(len(sizes), "audit logs are not listed by size")
	}
}
