package postgres_test

import (
	"fmt"
	"maps"
	"testing"

	server "github.com/ozmo-dev/ozmo/testcluster/postgres"
	"github.com/ozmo-dev/ozmo/worker/store/postgres"
)

// Every change of a tenant's rows changes its mark, and no other one's; where nothing
// was committed, nothing is read.
func TestPostgresSourceMarksWhatChanges(t *testing.T) {
	db := server.Start(t)
	db.Query(server.SourceTables)
	db.Query("insert into tenants (slug) values ('acme'), ('bolt')")
	s, err := postgres.NewSource(db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	look := func(last *postgres.Seen) *postgres.Seen {
		t.Helper()
		seen, err := s.Look(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	last := look(nil)
	if len(last.Marks) != 2 || last.Marks["acme"] == last.Marks["bolt"] {
		t.Errorf("marks %v", last.Marks)
	}
	if again := look(last); again != last {
		t.Errorf("nothing was committed, and %+v seen", again)
	}
	db.Query("create table elsewhere (n int)")
	if now := look(last); now == last || !maps.Equal(now.Marks, last.Marks) {
		t.Errorf("a change elsewhere was taken for %+v", now)
	}
	acme := "(select id from tenants where slug = 'acme')"
	for _, change := range []string{
		"update tenants set name = 'Acme' where slug = 'acme'",
		"insert into tenant_networks (tenant_id, network_id, configuration) values (" + acme + ", 'n', '{}')",
		"insert into tenant_monitors (tenant_id, monitor_id, configuration) values (" + acme + ", 'm', '{}'), (" + acme + ", 'm2', '{}')",
		"insert into tenant_triggers (tenant_id, trigger_id, configuration) values (" + acme + ", 't', '{}')",
		"insert into trigger_scripts (tenant_id, name, content) values (" + acme + ", 's', 'x')",
		"update tenant_monitors set configuration = configuration where monitor_id = 'm'",
		"delete from tenant_monitors where monitor_id = 'm'",
		"update trigger_scripts set content = 'y'",
		"delete from trigger_scripts",
	} {
		last = look(last)
		db.Query(change)
		if now := look(last); now.Marks["acme"] == last.Marks["acme"] || now.Marks["bolt"] != last.Marks["bolt"] {
			t.Errorf("%s: from %v to %v", change, last.Marks, now.Marks)
		}
	}
	db.Query("delete from tenant_networks; delete from tenant_monitors; delete from tenant_triggers; delete from tenants where slug = 'acme'")
	if now := look(last); len(now.Marks) != 1 {
		t.Errorf("marks %v", now.Marks)
	}
	if rows, err := s.Tenant(t.Context(), "acme"); rows != nil || err != nil {
		t.Errorf("of a tenant that is gone: %v, %v", rows, err)
	}
	// What is not committed yet is not missed later.
	db.Query(fmt.Sprintf("begin; insert into tenants (slug) values ('%s'); rollback", "never"))
	if now := look(last); len(now.Marks) != 1 {
		t.Errorf("marks %v", now.Marks)
	}
}
