package fsm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// docs is a manifest of so many documents of each kind. Monitors have a blob each,
// the others share one.
func (p *pausing) docs(monitors, networks, triggers int) Manifest {
	p.Helper()
	put := &PutBlobs{Blobs: [][]byte{[]byte("common")}}
	var m Manifest
	for i := range monitors {
		content := fmt.Appendf(nil, "%08d", i)
		put.Blobs = append(put.Blobs, content)
		m.Docs = append(m.Docs, Doc{Kind: DocMonitor, ID: fmt.Sprintf("m%05d", i), Hash: HashBlob(content), Refs: []Hash{HashBlob([]byte("common"))}})
	}
	for kind, n := range map[DocKind]int{DocNetwork: networks, DocTrigger: triggers} {
		for i := range n {
			m.Docs = append(m.Docs, Doc{Kind: kind, ID: fmt.Sprintf("d%05d", i), Hash: HashBlob([]byte("common"))})
		}
	}
	p.do(put)
	m.Normalize()
	return m
}

func TestQuota(t *testing.T) {
	p := newPausing(t)
	version := func(tenant string, source Source, m Manifest) *SetTenantVersion {
		c := &SetTenantVersion{Tenant: tenant, Source: source, Manifest: m}
		if old := p.tenant(tenant); old != nil {
			c.Expect = old.Current.Number
		}
		return c
	}
	over := func(c Command, says ...string) {
		t.Helper()
		before := p.View().tenants
		p.index++
		_, err := p.Apply(p.index, mustEncode(t, c))
		for _, s := range append(says, `"acme"`) {
			if !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), s) {
				t.Errorf("error %v, want one that says %s", err, s)
			}
		}
		if p.View().tenants != before {
			t.Error("it has changed the tenants")
		}
	}
	p.do(version("acme", SourceAPI, p.docs(2, 1, 1)))
	if used := p.View().Used(p.tenant("acme").Current.Manifest); used != (Quota{Monitors: 2, Networks: 1, Triggers: 1, Bytes: 2*8 + 6}) {
		t.Errorf("used %+v", used)
	}
	quota := Quota{
		Monitors: 3, Networks: 2, Triggers: 2, TriggersPerMonitor: 1, Bytes: 3*8 + 6, Scripts: 9, BacktestBlocks: 8,
		RPCPerMinute: 60, NotificationsPerHour: 10, EvaluationMillis: 5,
	}
	if got := p.View().QuotaOf("acme"); got != DefaultQuota || p.View().QuotaOf("none") != DefaultQuota {
		t.Errorf("quota %+v before any is set", got)
	}
	first := p.do(&SetQuota{Tenant: "acme", Quota: quota}).(uint64)
	if got := p.tenant("acme"); got.Quota != quota || got.QuotaIndex != first || first != p.index || p.View().QuotaOf("acme") != quota {
		t.Errorf("tenant %+v", got)
	}
	p.do(version("acme", SourceAPI, p.docs(3, 2, 2)))
	over(version("acme", SourceAPI, p.docs(4, 2, 2)), "4 monitors, allowed are 3", "38 bytes of documents, allowed are 30")
	over(version("acme", SourceAPI, p.docs(3, 3, 2)), "3 networks, allowed are 2")
	over(version("acme", SourceAPI, p.docs(3, 2, 3)), "3 triggers, allowed are 2")
	over(version("acme", SourceAPI, p.docs(9, 9, 9)), "9 monitors", "9 networks", "9 triggers")

	// Where it is lowered, what there is stays, may be changed, and may become less.
	quota.Monitors, quota.Bytes = 1, 1
	p.refused(&SetQuota{Tenant: "acme", Quota: quota}, ErrConflict)
	p.do(&SetQuota{Tenant: "acme", Quota: quota, Expect: first})
	p.refused(&SetQuota{Tenant: "acme", Quota: quota, Expect: first}, ErrConflict) // told again
	over(version("acme", SourceAPI, p.docs(4, 2, 2)), "4 monitors, allowed are 1")
	p.do(version("acme", SourceAPI, p.docs(3, 1, 2)))
	p.do(version("acme", SourceAPI, p.docs(2, 1, 2)))
	over(version("acme", SourceAPI, p.docs(3, 1, 2)), "3 monitors, allowed are 1")
	p.restart()
	over(version("acme", SourceAPI, p.docs(3, 1, 2)), "3 monitors, allowed are 1")

	// A tenant that was deleted takes its quota along.
	p.do(&DeleteTenant{Tenant: "acme", Expect: p.tenant("acme").Current.Number, Source: SourceAPI})
	p.do(version("acme", SourceAPI, p.docs(9, 9, 9)))
	if got := p.tenant("acme"); got.Quota != (Quota{}) || got.QuotaIndex != 0 {
		t.Errorf("tenant %+v", got)
	}
	// Others' are no matter of it, and neither is what comes from the folder.
	p.do(version("fold", SourceFolder, p.docs(0, 101, 1001)))
	p.do(version(Shared, SourceAPI, p.docs(0, 101, 0)))
	over(version("acme", SourceAPI, p.docs(0, 101, 1001)), "101 networks, allowed are 100", "1001 triggers, allowed are 1000")
	p.refused(&SetQuota{Tenant: "fold", Quota: quota}, ErrConflict)
	p.refused(&SetQuota{Tenant: "none", Quota: quota}, ErrNotFound)
	p.refused(&SetQuota{Tenant: Shared, Quota: quota}, ErrNotFound)
}

// A version that brings its quota along has to be within that one, and is refused
// together with it.
func TestQuotaOfAVersion(t *testing.T) {
	p := newPausing(t)
	wide, narrow := Quota{Networks: 200, Triggers: 2000}, Quota{Networks: 1}
	p.do(&SetTenantVersion{Tenant: "acme", Source: SourceTables, Manifest: p.docs(0, 101, 1001), Mark: "first", Quota: &wide})
	first := p.tenant("acme")
	if first.Quota != wide || first.QuotaIndex != p.index || first.Mark != "first" {
		t.Errorf("tenant %+v", first)
	}
	p.refused(&SetTenantVersion{Tenant: "acme", Source: SourceTables, Expect: 1, Manifest: p.docs(0, 2, 0), Quota: &narrow}, ErrConflict)
	next := &SetTenantVersion{Tenant: "acme", Source: SourceTables, Expect: 1, Manifest: p.docs(0, 102, 0), Mark: "second", Quota: &narrow, QuotaExpect: first.QuotaIndex}
	p.refused(next, ErrQuota)
	if now := p.tenant("acme"); now.Quota != wide || now.Mark != "first" || now.Current.Number != 1 {
		t.Errorf("refused, it has changed to %+v", now)
	}
	next.Manifest, next.Quota = p.docs(0, 1, 0), nil
	p.do(next)
	p.restart()
	if now := p.tenant("acme"); now.Quota != wide || now.QuotaIndex != first.QuotaIndex || now.Mark != "second" {
		t.Errorf("tenant %+v", now)
	}
}

func TestQuotaOrDefault(t *testing.T) {
	for _, none := range []Quota{{}, {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1}} {
		if got := none.OrDefault(); got != DefaultQuota {
			t.Errorf("%+v is %+v", none, got)
		}
	}
	if all := (Quota{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}); all.OrDefault() != all {
		t.Errorf("%+v is %+v", all, all.OrDefault())
	}
	if DefaultQuota != (Quota{Monitors: 10_000, Networks: 100, Triggers: 1_000, TriggersPerMonitor: 20, Bytes: 64 << 20, Scripts: 100, BacktestBlocks: 100_000, EvaluationMillis: 20}) {
		t.Errorf("the default is %+v: nodes of other versions refuse other things", DefaultQuota)
	}
}

// Whoever did not make a tenant neither changes nor deletes it.
func TestSourceOfATenant(t *testing.T) {
	p := newPausing(t)
	for id, own := range map[string]Source{"fold": SourceFolder, "acme": SourceAPI} {
		other := SourceAPI - own
		p.do(&SetTenantVersion{Tenant: id, Source: own})
		p.refused(&SetTenantVersion{Tenant: id, Expect: 1, Source: other}, ErrConflict)
		p.refused(&DeleteTenant{Tenant: id, Expect: 1, Source: other}, ErrConflict)
		p.restart()
		p.do(&SetTenantVersion{Tenant: id, Expect: 1, Source: own})
		if got := p.tenant(id).Source; got != own {
			t.Errorf("tenant %s is of the %v", id, got)
		}
		p.do(&DeleteTenant{Tenant: id, Expect: 2, Source: own})
		p.do(&SetTenantVersion{Tenant: id, Source: other})
	}
}
