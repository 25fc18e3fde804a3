package testcluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

func withPostgres(db *postgres.Server, o Options) Options {
	o.Adjust = func(_ string, o *node.Options) { o.TenantStore, o.PostgresURL = "postgres", db.URL() }
	return o
}

// What a cluster does is the same with its documents in PostgreSQL, and they are
// there, and nowhere else.
func TestPostgresHoldsTheDocuments(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	c := New(t, withPostgres(db, Options{Tenants: 4}))
	for range 10 {
		c.Extend("net", 2)
	}
	c.Rest()
	c.CheckOnce()
	for tenant := range c.View().Tenants() {
		for _, d := range tenant.Current.Manifest.Docs {
			_, embedded := c.View().Blob(d.Hash)
			if shared := tenant.ID == fsm.Shared; embedded != shared || tenant.Current.Manifest.Outside == shared {
				t.Errorf("tenant %q, %s %q: in the state: %v", tenant.ID, d.Kind, d.ID, embedded)
			}
		}
	}
	if got := db.Query("select count(*) from ozmo.contents"); got == "0" {
		t.Error("PostgreSQL has no documents")
	}
	// People find in it what they have written.
	c.Eventually(time.Minute, func() error {
		const sql = "select tenant, kind, content->>'name' from ozmo.current_documents where tenant = '%s' order by 1, 2"
		name := TenantName(0)
		if got, want := db.Query(fmt.Sprintf(sql, name)), name+"|monitor|transfers\n"+name+"|trigger|hook"; got != want {
			return fmt.Errorf("documents are %q, want %q", got, want)
		}
		return nil
	})
}

// While the database is away, nodes fail: who runs goes on, who moves waits, and
// when it is back nothing was skipped, and nothing restarted.
func TestPostgresDownWhileANodeFails(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*postgres.Server) (back func()){
		"killed": func(db *postgres.Server) func() { db.Kill(); return db.Start },
		"frozen": func(db *postgres.Server) func() { db.Pause(); return db.Resume },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgres.Start(t)
			o := withPostgres(db, Options{Tenants: 9})
			with, metrics := o.Adjust, map[string]*prometheus.Registry{}
			o.Adjust = func(name string, o *node.Options) {
				with(name, o)
				metrics[name] = prometheus.NewRegistry()
				o.Registry = metrics[name]
			}
			c := New(t, o)
			c.Traffic()
			c.Sleep(time.Second)
			// The leader has read the folder: nobody else has what its tenants need.
			victim := c.Leader()
			lost := c.Owned(c.View(), victim.Name)
			if len(lost) == 0 {
				t.Fatal("the node has no tenants to lose")
			}
			back := harm(db)
			unreached := func(m *Member) error {
				told := strings.Join(m.Node().Status().Problems, "\n")
				for _, check := range m.Node().Ready() {
					if check.Name == "tenant store" && check.Err != nil && check.Minor && strings.Contains(told, "tenant store in PostgreSQL does not answer") {
						if strings.Contains(check.Err.Error(), "user=") {
							t.Errorf("everybody may read %v", check.Err)
						}
						return nil
					}
				}
				return fmt.Errorf("node %s does not say that the tenant store is away", m.Name)
			}
			c.Eventually(time.Minute, func() error {
				var errs []error
				for _, m := range c.Running() {
					errs = append(errs, unreached(m))
				}
				return errors.Join(errs...)
			})
			victim.Kill()
			c.Eventually(time.Minute, func() error {
				for _, id := range lost {
					if on := c.Owners()[id]; on == victim.Name || on == "" {
						return fmt.Errorf("tenant %s is still with %q", id, on)
					}
				}
				return nil
			})
			// Everybody else hears of blocks that come now.
			since := time.Now()
			c.Eventually(time.Minute, func() error {
				heard := map[string]bool{}
				for _, d := range c.Receiver.Deliveries() {
					if d.At.After(since.Add(time.Second)) {
						heard[d.Tenant] = true
					}
				}
				for i := range 9 {
					id := TenantName(i)
					if slices.Contains(lost, id) && heard[id] {
						t.Fatalf("tenant %s was judged without its documents", id)
					}
					if !slices.Contains(lost, id) && !heard[id] {
						return fmt.Errorf("tenant %s is held up", id)
					}
				}
				return nil
			})
			// Who waits counts as behind.
			c.Eventually(time.Minute, func() error {
				for _, id := range lost {
					if owner := c.Owners()[id]; behind(t, metrics[owner]) < 2 {
						return fmt.Errorf("node %s, where %s waits, is not behind", owner, id)
					}
				}
				return nil
			})
			// A change is refused, and says that it may be tried again.
			c.WriteTenant("late")
			if _, err := c.Leader().Node().Import(t.Context(), c.Folder()); !errors.Is(err, fsm.ErrUnreachable) {
				t.Errorf("a change was answered with %v", err)
			}
			back()
			c.StopTraffic()
			c.Rest()
			c.Check()
		})
	}
}

// behind is how many positions a node is behind on the network.
func behind(t *testing.T, metrics *prometheus.Registry) (most float64) {
	t.Helper()
	all, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "ozmo_worker_behind_positions" {
			continue
		}
		for _, m := range family.GetMetric() {
			most = max(most, m.GetGauge().GetValue())
		}
	}
	return most
}

// A node that was not told where the documents are is told so, and does no harm.
func TestPostgresNodeWithoutURLIsRefused(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	c := New(t, Options{Nodes: 1, Voters: 1, Tenants: 1, Adjust: func(_ string, o *node.Options) {
		o.TenantStore, o.PostgresURL = "postgres", db.URL()
	}})
	m := c.Members()[0]
	m.Stop()
	for _, o := range []node.Options{{}, {TenantStore: "embedded", PostgresURL: db.URL()}} {
		opts := m.options()
		opts.TenantStore, opts.PostgresURL = o.TenantStore, o.PostgresURL
		n, err := node.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		err = n.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "--postgres-url") {
			t.Errorf("started with %q and URL %v: %v", o.TenantStore, o.PostgresURL != "", err)
		}
		if err := n.Kill(); err != nil {
			t.Error(err)
		}
	}
}

// Documents move to PostgreSQL and back while blocks are judged: versions and their
// contents are the same, and nothing is skipped nor sent twice.
func TestPostgresMigratesThereAndBack(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	c := New(t, Options{Tenants: 4, Adjust: func(_ string, o *node.Options) { o.PostgresURL = db.URL() }})
	before := versions(t, c.View())
	c.Traffic()
	for _, to := range []string{"postgres", "embedded", "postgres"} {
		m := c.Follower("net").Node()
		moved := 0
		for _, tenant := range append([]string{fsm.Shared}, tenantNames(4)...) {
			for range 2 { // again is as good as once
				done, err := m.Migrate(t.Context(), api.Migration{Tenant: tenant, To: to})
				if err != nil {
					t.Fatal(err)
				}
				moved += done.Versions
			}
		}
		v := m.View()
		if got := versions(t, v); moved < 4 || !maps.Equal(got, before) {
			t.Errorf("to %s: %d versions moved, %v, want %v", to, moved, got, before)
		}
		outside := to == "postgres"
		if v.BelongsOutside("new") != outside || v.NeedsOutside() != outside {
			t.Errorf("to %s: new tenants begin outside: %v", to, v.BelongsOutside("new"))
		}
		c.Sleep(time.Second)
	}
	c.StopTraffic()
	c.Rest()
	c.CheckOnce()
}

func tenantNames(n int) (out []string) {
	for i := range n {
		out = append(out, TenantName(i))
	}
	return out
}

// versions are the versions of all tenants, with all that they say.
func versions(t *testing.T, v *fsm.View) map[string]string {
	out := map[string]string{}
	for tenant := range v.Tenants() {
		for _, version := range append(slices.Clone(tenant.Previous), tenant.Current) {
			text := ""
			for _, hash := range version.Manifest.Hashes() {
				data, err := v.Content(hash)
				if err != nil || fsm.HashBlob(data) != hash {
					t.Fatalf("tenant %q: %v", tenant.ID, err)
				}
				text += hash.String()
			}
			out[fmt.Sprint(tenant.ID, version.Number, version.Index)] = text
		}
	}
	return out
}
