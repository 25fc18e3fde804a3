package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// TestPostgresLoadTables has a node take over many tenants from another program's
// tables, leaves them alone, changes some, starts again, and prints what that takes.
// Figures are no reason to fail: what is lost is.
//
// OZMO_LOAD_TENANTS and OZMO_LOAD_MONITORS say how many; without them, few.
func TestPostgresLoadTables(t *testing.T) {
	tenants := int(setting(t, "OZMO_LOAD_TENANTS", 50))
	monitors := int(setting(t, "OZMO_LOAD_MONITORS", 500))
	rest, changes := 2*time.Second, 3
	if os.Getenv("OZMO_LOAD_TENANTS") != "" {
		rest, changes = 30*time.Second, 30
	}
	db := postgres.Start(t)
	db.Query(postgres.SourceTables)
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "1s", "--rate", "4")
	n := NewNode(t, dir)
	n.Folder = Folder{}
	url := filepath.Join(dir, "source.url")
	if err := os.WriteFile(url, []byte(db.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() {
		n.Start(t, "--postgres-source-url-file", url)
		within(t, Patience+time.Duration(tenants)*importPatience, "the node's readiness", n.Ready)
	}
	start()
	api := operatorOf(t, n)
	api.must(t, "PUT", "/v1/configuration", Doc{"networks": Doc{benchNetwork: Network(benchNetwork, chain.ChainID, 1, chain.RPC, chain.WS)}}, nil)
	n.Terminate(t, time.Minute)
	db.Query(rowsOf(t, chain, tenants, monitors/tenants))

	start()
	began, busy, served := time.Now(), processorTime(t, n), db.ProcessorTime()
	within(t, Patience+time.Duration(tenants)*importPatience, "the tenants", func(context.Context) error {
		if got := countTenants(t, api); got != tenants {
			<-time.After(time.Second) // counting them is work, too
			return fmt.Errorf("%d of %d are there", got, tenants)
		}
		return nil
	})
	first, busy, served := time.Since(began), processorTime(t, n)-busy, db.ProcessorTime()-served
	fmt.Printf("\n%d tenants with %d monitors in tables, looked at every 5 s, one node, a block a second:\n", tenants, monitors)
	fmt.Printf("  first read, from the node's readiness on: %v; %v of its processor time, %v of PostgreSQL's\n",
		first.Round(time.Millisecond), busy.Round(10*time.Millisecond), served.Round(10*time.Millisecond))

	idle := func(what string) {
		busy, served := processorTime(t, n), db.ProcessorTime()
		for until := time.Now().Add(rest); time.Now().Before(until); {
			if what != "nothing" {
				db.Query("insert into elsewhere default values")
			}
			<-time.After(time.Second)
		}
		busy, served = processorTime(t, n)-busy, db.ProcessorTime()-served
		fmt.Printf("  while %s is committed: %.2f %% of a core of the node's, with judging, %.2f %% of PostgreSQL's\n", what, percent(busy, rest), percent(served, rest))
	}
	db.Query("create table elsewhere (n serial)")
	<-time.After(rest) // until what is new is compiled
	idle("nothing")
	idle("something else every second")

	db.Query(node.SourceSQL)
	<-time.After(6 * time.Second) // it listens from the next look on
	var took []time.Duration
	for i := range changes {
		name := fmt.Sprintf("t%05d", i%tenants)
		var was, now v1.Tenant
		api.must(t, "GET", "/v1/tenants/"+name, nil, &was)
		db.Query(fmt.Sprintf(`update tenant_monitors set configuration = configuration || '{"name": "changed %d"}'
			where monitor_id = 'm000' and tenant_id = (select id from tenants where slug = '%s')`, i, name))
		began := time.Now()
		for now.Version <= was.Version {
			if time.Since(began) > Patience {
				t.Fatalf("tenant %s is still %+v", name, now)
			}
			api.must(t, "GET", "/v1/tenants/"+name, nil, &now)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	fmt.Printf("  a change, told by a trigger, until its version is in force: p50 %v, at most %v of %d\n", quantile(took, 0.5), took[len(took)-1].Round(time.Millisecond), changes)
	fmt.Printf("  resident memory: %d MB", residentBytes(t, n.Pid())>>20)
	n.Terminate(t, time.Minute)
	began, served = time.Now(), db.ProcessorTime()
	start()
	again := time.Since(began)
	if got := countTenants(t, api); got != tenants {
		t.Errorf("%d tenants after a restart, want %d", got, tenants)
	}
	<-time.After(rest)
	fmt.Printf("; restart to ready: %v, with %v of PostgreSQL's processor time until %v later\n", again.Round(time.Millisecond), (db.ProcessorTime() - served).Round(10*time.Millisecond), rest)
	n.Terminate(t, time.Minute)
}

func percent(d, of time.Duration) float64 { return 100 * float64(d) / float64(of) }

// rowsOf fills the tables with tenants that have the documents of loadDoc.
func rowsOf(t *testing.T, chain *Chain, tenants, monitors int) string {
	t.Helper()
	text := func(doc any) string {
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return "'" + strings.ReplaceAll(string(data), "'", "''") + "'"
	}
	monitor := Monitor("monitor @M@", benchNetwork, chain.Token, "receiver", Event("value > 1000000000000000000000000000@T@ AND value != @M@"))
	return fmt.Sprintf(`begin;
		insert into tenants (slug) select 't' || lpad(i::text, 5, '0') from generate_series(0, %d) i;
		insert into tenant_monitors (tenant_id, monitor_id, configuration)
			select id, 'm' || lpad(m::text, 3, '0'), replace(replace(%s, '@T@', substr(slug, 2)), '@M@', m::text)::jsonb from tenants, generate_series(0, %d) m;
		insert into tenant_triggers (tenant_id, trigger_id, configuration) select id, 'receiver', replace(%s, '@T@', slug)::jsonb from tenants;
		commit; analyze`, tenants-1, text(monitor), monitors-1, text(Webhooks("receiver", "http://127.0.0.1:9/", "the secret of @T@")))
}
