package testcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// otherTables are those of the program whose tenants are taken over.
const otherTables = `
create table tenants (id uuid primary key default gen_random_uuid(), name text, slug text unique, is_active boolean default true,
	max_monitors int, max_networks int, max_triggers_per_monitor int, max_rpc_requests_per_minute int, max_storage_mb int,
	created_at timestamptz default now(), updated_at timestamptz default now());
create table tenant_networks (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, network_id text, name text, blockchain text,
	configuration jsonb, is_active boolean default true, created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, network_id));
create table tenant_monitors (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, monitor_id text, name text,
	network_id uuid references tenant_networks, configuration jsonb, is_active boolean default true, trigger_script_ids uuid[],
	created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, monitor_id));
create table tenant_triggers (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, trigger_id text,
	monitor_id uuid references tenant_monitors, name text, type text, configuration jsonb, is_active boolean default true, script_id uuid,
	created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, trigger_id));
create table trigger_scripts (id uuid primary key default gen_random_uuid(), tenant_id uuid references tenants, name text, description text,
	language text, content text, is_active boolean default true, created_at timestamptz default now(), updated_at timestamptz default now(), unique (tenant_id, name));
`

// documentsOf are the files that a cluster's own tenant is made of, as SQL texts.
func documentsOf(t *testing.T, c *Cluster, tenant string) (monitor, triggers string) {
	t.Helper()
	c.WriteTenant(tenant)
	read := func(dir string) string {
		files, err := filepath.Glob(filepath.Join(c.Folder(), "tenants", tenant, dir, "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", dir, files, err)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(data), "'", "''")
	}
	monitor, triggers = read("monitors"), read("triggers")
	if err := os.RemoveAll(filepath.Join(c.Folder(), "tenants", tenant)); err != nil {
		t.Fatal(err)
	}
	return monitor, triggers
}

// Tenants of another program's tables are taken over and followed: by looking, and,
// where the tables tell, at once.
func TestPostgresSourceIsFollowed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		interval time.Duration
		notifies bool
	}{
		"polling": {interval: 200 * time.Millisecond},
		"told":    {interval: time.Hour, notifies: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := postgres.Start(t)
			db.Query(otherTables)
			if tc.notifies {
				db.Query(node.SourceSQL)
				db.Query(node.SourceSQL) // again does no harm
			}
			c := New(t, Options{Nodes: 1, Voters: 1, Tenants: 1, Adjust: func(_ string, o *node.Options) {
				o.PostgresSourceURL, o.SourceInterval = db.URL(), tc.interval
			}})
			n := c.Leader().Node()
			tenant := func(want string) {
				t.Helper()
				c.Eventually(time.Minute, func() error {
					if got := describe(n.View(), "other"); got != want {
						return fmt.Errorf("the tenant is %q, want %q; problems: %q", got, want, n.Status().Problems)
					}
					return nil
				})
			}
			monitor, triggers := documentsOf(t, c, "other")
			db.Query(fmt.Sprintf(`begin; insert into tenants (slug, name, max_monitors, max_storage_mb, max_rpc_requests_per_minute) values ('other', 'Other', 2, 3, 600);
				insert into tenant_monitors (tenant_id, monitor_id, configuration) select id, 'm-1', '%s' from tenants;
				insert into tenant_triggers (tenant_id, trigger_id, configuration) select id, key, value from tenants, jsonb_each('%s'); commit`, monitor, triggers))
			tenant("tables 1 monitor m-1 watches net, quota 2/3 MiB/600 rpc")
			c.Extend("net", 1)
			c.Extend("net", 1) // it is judged
			c.Eventually(time.Minute, func() error {
				for _, d := range c.Receiver.Deliveries() {
					if d.Tenant == "other" {
						return nil
					}
				}
				return errors.New("the tenant has heard of nothing")
			})
			// What is wrong changes nothing, and is told.
			db.Query(`update tenant_monitors set configuration = configuration || '{"networks": ["nowhere"]}'`)
			c.Eventually(time.Minute, func() error {
				if told := strings.Join(n.Status().Problems, "\n"); !strings.Contains(told, "other") {
					return fmt.Errorf("the status says %q", told)
				}
				return nil
			})
			tenant("tables 1 monitor m-1 watches net, quota 2/3 MiB/600 rpc")
			db.Query(`update tenant_monitors set configuration = configuration || '{"networks": ["net"]}'; update tenants set max_monitors = 5`)
			tenant("tables 1 monitor m-1 watches net, quota 5/3 MiB/600 rpc")
			c.Eventually(time.Minute, func() error {
				if told := n.Status().Problems; len(told) > 0 {
					return fmt.Errorf("the status still says %q", told)
				}
				return nil
			})
			db.Query("update tenants set is_active = false")
			tenant("tables 1 monitor m-1 watches nothing, quota 5/3 MiB/600 rpc")
			db.Query("update tenants set is_active = true; update tenant_triggers set is_active = false")
			tenant("tables 1 monitor m-1 watches net, quota 5/3 MiB/600 rpc")
			// A table without anybody is rather a mistake than the wish that all end.
			db.Query("insert into tenants (slug) values ('second')")
			c.Eventually(time.Minute, func() error {
				if _, ok := n.View().Tenant("second"); !ok {
					return errors.New("a tenant without documents is not there")
				}
				return nil
			})
			db.Query("delete from tenant_triggers; delete from tenant_monitors; delete from tenants where slug = 'other'")
			tenant("gone")
			if got := describe(n.View(), TenantName(0)); !strings.HasPrefix(got, "folder 1 monitor") {
				t.Errorf("the folder's tenant is %q", got)
			}
		})
	}
}

func describe(v *fsm.View, id string) string {
	tenant, ok := v.Tenant(id)
	if !ok {
		return "gone"
	}
	used, quota := v.Used(tenant.Current.Manifest), tenant.Quota
	watches := "nothing"
	if len(tenant.Current.Manifest.Wanted) > 0 {
		watches = strings.Join(tenant.Current.Manifest.Wanted, ",")
	}
	name := ""
	for _, d := range tenant.Current.Manifest.Docs {
		if d.Kind == fsm.DocMonitor {
			name = d.ID
		}
	}
	return fmt.Sprintf("%s %d monitor %s watches %s, quota %d/%d MiB/%d rpc", tenant.Source, used.Monitors, name, watches, quota.Monitors, quota.Bytes>>20, quota.RPCPerMinute)
}
