package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	server "github.com/ozmo-dev/ozmo/testcluster/postgres"
	"github.com/ozmo-dev/ozmo/worker/store"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// cluster is a state, and whoever changes it.
type cluster struct {
	t     rapid.TB
	state *fsm.State
	index uint64
	out   store.Outside
}

func newCluster(t rapid.TB, s *postgres.Store) *cluster {
	c := &cluster{t: t, state: fsm.New()}
	if s != nil {
		c.out = s
		c.state.ReadOutside(s)
		c.do(&fsm.RegisterNode{Name: "n", Reaches: true})
		c.do(&fsm.SetStore{Kind: fsm.StorePostgres})
	}
	return c
}

func (c *cluster) try(cmd fsm.Command) (any, error) {
	entry, err := fsm.Encode(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	c.index++
	return c.state.Apply(c.index, entry)
}

func (c *cluster) do(cmd fsm.Command) any {
	c.t.Helper()
	result, err := c.try(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	return result
}

// put makes a version of a tenant of contents by id.
func (c *cluster) put(tenant string, contents map[string]string) error {
	c.t.Helper()
	var m fsm.Manifest
	var blobs [][]byte
	for id, text := range contents {
		m.Docs = append(m.Docs, fsm.Doc{Kind: fsm.DocTrigger, ID: id, Hash: fsm.HashBlob([]byte(text))})
		blobs = append(blobs, []byte(text))
	}
	m.Normalize()
	v := c.state.View()
	placed, err := store.Placing{Outside: c.out, Put: func(_ context.Context, blobs [][]byte) error {
		c.do(&fsm.PutBlobs{Blobs: blobs})
		return nil
	}}.Place(context.Background(), v, tenant, m, blobs)
	if err != nil {
		return err
	}
	cmd := &fsm.SetTenantVersion{Tenant: tenant, Manifest: placed, Source: fsm.SourceAPI}
	if t, ok := v.Tenant(tenant); ok {
		cmd.Expect = t.Current.Number
	}
	audited, err := fsm.NewAudited(fsm.Audit{Tenant: tenant, Actor: "test", Action: "put", At: int64(c.index)}, 0, cmd)
	if err == nil {
		_, err = c.try(audited)
	}
	return err
}

// documents are those in force, with what they say.
func documents(t rapid.TB, v *fsm.View, tenant string) string {
	held, ok := v.Tenant(tenant)
	if !ok {
		return ""
	}
	var lines []string
	for _, d := range held.Current.Manifest.Docs {
		data, err := v.Content(d.Hash)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, d.ID+"|"+string(data))
	}
	return strings.Join(lines, "\n")
}

// The same changes in both stores come to the same, and so does what people see.
func TestPostgresIsAsGoodAsEmbedded(t *testing.T) {
	db := server.Start(t)
	s, _ := open(t, db.URL(), "test", 0)
	fresh := 0
	rapid.Check(t, func(rt *rapid.T) {
		fresh++
		if fresh > 15 {
			return // each look at the tables is a process
		}
		in, out := newCluster(rt, nil), newCluster(rt, s)
		tenants := []string{fmt.Sprint("a", fresh), fmt.Sprint("b", fresh)}
		out.index += uint64(fresh) * 1000 // no log of one cluster goes back
		entries := 0
		for range rapid.IntRange(1, 12).Draw(rt, "changes") {
			tenant := rapid.SampledFrom(tenants).Draw(rt, "tenant")
			docs := rapid.MapOfN(rapid.SampledFrom([]string{"x", "y", "z"}), rapid.SampledFrom([]string{`{"a": 1}`, `{"b": "é"}`, "no JSON"}), 0, 3).Draw(rt, "documents")
			for _, c := range []*cluster{in, out} {
				if err := c.put(tenant, docs); err != nil {
					rt.Fatal(err)
				}
			}
			entries++
			if rapid.Bool().Draw(rt, "copied now") {
				if _, err := s.Mirror(rt.Context(), out.state.View()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for range 2 { // again is as good as once
			if lost, err := s.Mirror(rt.Context(), out.state.View()); err != nil || lost != 0 {
				rt.Fatalf("%d entries lost, %v", lost, err)
			}
		}
		for _, tenant := range tenants {
			want := documents(rt, in.state.View(), tenant)
			if got := documents(rt, out.state.View(), tenant); got != want {
				rt.Fatalf("tenant %s has\n%s\nin PostgreSQL, want\n%s", tenant, got, want)
			}
			got := db.Query(fmt.Sprintf(`select d.id, convert_from(c.data, 'UTF8') from ozmo.documents d join ozmo.contents c using (hash)
				where tenant = '%s' and to_version is null order by id`, tenant))
			if got != want {
				rt.Fatalf("tenant %s is shown as\n%s\nwant\n%s", tenant, got, want)
			}
		}
		if got := db.Query(fmt.Sprintf("select count(*) from ozmo.audit where tenant in ('%s', '%s')", tenants[0], tenants[1])); got != fmt.Sprint(entries) {
			rt.Fatalf("%s entries of audit logs, want %d", got, entries)
		}
	})
}

// Several who take themselves for the leader copy at once: each entry is there once.
func TestPostgresAuditIsCompleteAndOnce(t *testing.T) {
	db := server.Start(t)
	s, _ := open(t, db.URL(), "test", 0)
	other, _ := open(t, db.URL(), "test", 0)
	c := newCluster(t, s)
	const entries = fsm.KeepAudit + 500 // more than the state keeps
	for i := range entries {
		if err := c.put("acme", map[string]string{"x": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		if i%400 == 0 {
			var both sync.WaitGroup
			for _, one := range []*postgres.Store{s, other} {
				both.Go(func() {
					if _, err := one.Mirror(t.Context(), c.state.View()); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
		}
	}
	born := func() uint64 { held, _ := c.state.View().Tenant("acme"); return held.Born }()
	// The last ones are copied after the tenant is gone, and its log with it.
	c.do(&fsm.DeleteTenant{Tenant: "acme", Expect: entries, Source: fsm.SourceAPI})
	if lost, err := other.Mirror(t.Context(), c.state.View()); err != nil || lost != 0 {
		t.Fatalf("%d lost, %v", lost, err)
	}
	var got []*fsm.Audit
	for before := uint64(0); ; before = got[len(got)-1].Index {
		page, err := s.AuditOf(t.Context(), "acme", born, before, 400)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, page...); len(page) < 400 {
			break
		}
	}
	if len(got) != entries {
		t.Fatalf("%d entries, want %d", len(got), entries)
	}
	for i, a := range got {
		if want := uint64(entries - i); a.Version != want || a.Action != "put" {
			t.Fatalf("entry %d is of version %d, want %d", i, a.Version, want)
		}
	}
	if gone := db.Query("select count(*) from ozmo.tenants where deleted_at is not null"); gone != "1" {
		t.Errorf("%s tenants are shown as deleted", gone)
	}
	// A later tenant of the name learns nothing of it.
	if page, err := s.AuditOf(t.Context(), "acme", c.index+1, 0, 10); err != nil || len(page) != 0 {
		t.Errorf("the next one sees %d entries, %v", len(page), err)
	}
}

func TestPostgresAuditTellsWhatIsLost(t *testing.T) {
	db := server.Start(t)
	s, _ := open(t, db.URL(), "test", 0)
	c := newCluster(t, s)
	const entries = fsm.KeepAudit + 7
	for i := range entries {
		if err := c.put("acme", map[string]string{"x": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	// A node that has only a snapshot knows what the audit logs keep.
	var snapshot strings.Builder
	if _, err := c.state.View().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	if err := c.state.Restore(strings.NewReader(snapshot.String())); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{7, 0} {
		if lost, err := s.Mirror(t.Context(), c.state.View()); err != nil || lost != want {
			t.Errorf("%d lost, want %d, %v", lost, want, err)
		}
	}
	if got := db.Query("select audit_lost from ozmo.progress"); got != "7" {
		t.Errorf("the database tells of %s", got)
	}
	db.Kill()
	if _, err := s.Mirror(t.Context(), c.state.View()); !errors.Is(err, fsm.ErrUnreachable) {
		t.Errorf("without a database: %v", err)
	}
}

// After a restore people see what the cluster has, and not what was undone.
func TestPostgresShowsWhatWasRestored(t *testing.T) {
	db := server.Start(t)
	s, _ := open(t, db.URL(), "test", 0)
	c := newCluster(t, s)
	put := func(tenant, text string) {
		t.Helper()
		if err := c.put(tenant, map[string]string{"x": text}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Mirror(t.Context(), c.state.View()); err != nil {
			t.Fatal(err)
		}
	}
	put("acme", "1")
	put("acme", "2")
	var archive bytes.Buffer
	if _, err := c.state.View().WriteTo(&archive); err != nil {
		t.Fatal(err)
	}
	put("acme", "undone")
	put("acme", "undone again")
	put("bolt", "undone")
	restored, err := fsm.ReadSnapshot(&archive)
	if err != nil {
		t.Fatal(err)
	}
	var next bytes.Buffer
	if _, err := fsm.Rebase(restored, c.state.View()).WriteTo(&next); err != nil {
		t.Fatal(err)
	}
	if err := c.state.Restore(&next); err != nil {
		t.Fatal(err)
	}
	shown := func(want string) {
		t.Helper()
		if got := db.Query(`select d.tenant, from_version, to_version, convert_from(c.data, 'UTF8') from ozmo.documents d join ozmo.contents c using (hash)
			join ozmo.tenants t on t.id = d.tenant and t.born = d.born and t.deleted_at is null order by d.tenant, from_version`); got != want {
			t.Errorf("shown is\n%s\nwant\n%s", got, want)
		}
		if got := db.Query("select count(*) from ozmo.versions where tenant = 'acme'"); got != fmt.Sprint(strings.Count(want, "acme")) {
			t.Errorf("%s versions are shown", got)
		}
	}
	if _, err := s.Mirror(t.Context(), c.state.View()); err != nil {
		t.Fatal(err)
	}
	shown("acme|1|2|1\nacme|2||2")
	put("acme", "3")
	shown("acme|1|2|1\nacme|2|3|2\nacme|3||3")
	if got := db.Query("select count(*) from ozmo.audit"); got != "6" {
		t.Errorf("%s entries of audit logs, want 6: those of what was undone stay", got)
	}
}
