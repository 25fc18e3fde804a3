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
			db.Query(postgres.SourceTables)
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

// A tenant whose rows are of no use keeps nobody else waiting, is told of as long as it
// is there, and is taken over once what was in its way has gone.
func TestPostgresSourceWithATenantThatIsRefused(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	db.Query(postgres.SourceTables)
	c := New(t, Options{Nodes: 1, Voters: 1, Tenants: 2, Adjust: func(_ string, o *node.Options) {
		o.PostgresSourceURL, o.SourceInterval = db.URL(), 200*time.Millisecond
	}})
	n := c.Leader().Node()
	monitor, triggers := documentsOf(t, c, "other")
	for _, slug := range []string{"a-first", "good", "z-last", TenantName(0)} {
		db.Query(fmt.Sprintf(`begin; insert into tenants (slug) values ('%[1]s');
			insert into tenant_monitors (tenant_id, monitor_id, configuration) select id, 'm', '%[2]s' from tenants where slug = '%[1]s';
			insert into tenant_triggers (tenant_id, trigger_id, configuration) select id, key, value from tenants, jsonb_each('%[3]s') where slug = '%[1]s'; commit`,
			slug, monitor, triggers))
	}
	db.Query(`update tenant_monitors set monitor_id = null where tenant_id = (select id from tenants where slug = 'a-first');
		update tenant_monitors set configuration = null, trigger_script_ids = '{null}' where tenant_id = (select id from tenants where slug = 'z-last');
		insert into tenants (slug) values (null)`)
	until := func(slug, want string, told ...string) {
		t.Helper()
		c.Eventually(time.Minute, func() error {
			if got := describe(n.View(), slug); !strings.HasPrefix(got, want) {
				return fmt.Errorf("tenant %s is %q, want %q", slug, got, want)
			}
			got := n.Status().Problems
			if len(got) != len(told) {
				return fmt.Errorf("told is %q", got)
			}
			for i := range told {
				if !strings.Contains(got[i], told[i]) {
					return fmt.Errorf("told is %q, want %q", got[i], told[i])
				}
			}
			return nil
		})
	}
	taken := "tenant " + TenantName(0) + " keeps what it had"
	until("good", "tables 1 monitor", "a-first", taken, "z-last")
	db.Query("update tenant_monitors set is_active = false where tenant_id = (select id from tenants where slug = 'good')")
	until("good", "tables 1 monitor m watches nothing", "monitor_id is empty", taken, "monitors/m.json: is empty")
	db.Query(`delete from tenant_triggers where tenant_id in (select id from tenants where slug ~ '-'); delete from tenant_monitors where tenant_id in (select id from tenants where slug ~ '-');
		delete from tenants where slug in ('a-first', 'z-last')`)
	until("a-first", "gone", taken)
	// The name becomes free, and nothing changes in the tables.
	if err := os.RemoveAll(filepath.Join(c.Folder(), "tenants", TenantName(0))); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Import(t.Context(), c.Folder()); err != nil {
		t.Fatal(err)
	}
	until(TenantName(0), "tables 1 monitor m")
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

// What the tables bound themselves is bounded by what they say from the first version
// on, and what they have no column for does not keep a tenant out. A node that is
// started again takes up what it had.
func TestPostgresSourceQuotas(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	db.Query(postgres.SourceTables)
	c := New(t, Options{Nodes: 1, Voters: 1, Tenants: 1, Adjust: func(_ string, o *node.Options) {
		o.PostgresSourceURL, o.SourceInterval = db.URL(), 200*time.Millisecond
	}})
	triggers := func(n int, more string) {
		db.Query(fmt.Sprintf(`begin; delete from tenant_triggers; delete from trigger_scripts;
			insert into trigger_scripts (tenant_id, name, content) select id, 's' || i, 'echo ' || i from tenants, generate_series(1, %d) i;
			insert into tenant_triggers (tenant_id, trigger_id, configuration) select id, 'r' || i,
				jsonb_build_object('name', 'Run ' || i, 'trigger_type', 'script', 'config', jsonb_build_object('script_path', 's' || i || '.sh', 'language', 'Bash', 'timeout_ms', 1000))
				from tenants, generate_series(1, %d) i; %s; commit`, n, n, more))
	}
	has := func(scripts int, quota int64, told string) {
		t.Helper()
		c.Eventually(time.Minute, func() error {
			v, problems := c.Leader().Node().View(), strings.Join(c.Leader().Node().Status().Problems, "\n")
			tenant, ok := v.Tenant("many")
			if !ok {
				return fmt.Errorf("the tenant is not there: %q", problems)
			}
			if used := v.Used(tenant.Current.Manifest); used.Scripts != scripts || used.Triggers != scripts || tenant.Quota.Bytes != quota<<20 || tenant.Mark == "" || !strings.Contains(problems, told) || told == "" && problems != "" {
				return fmt.Errorf("it has %+v, quota %+v, mark %q; problems: %q", used, tenant.Quota, tenant.Mark, problems)
			}
			return nil
		})
	}
	db.Query("insert into tenants (slug, max_storage_mb) values ('many', 1)")
	triggers(1200, "")
	has(1200, 1, "")
	// A quota that grows together with what it is for, and one that shrinks too far.
	content := "update trigger_scripts set content = repeat(md5(name), 1800)"
	triggers(20, "")
	has(20, 1, "")
	triggers(20, content)
	has(20, 1, "bytes of documents")
	triggers(20, content+"; update tenants set max_storage_mb = 2")
	has(20, 2, "")
	m := c.Members()[0]
	m.Stop()
	m.Restart()
	m.AwaitReady()
	has(20, 2, "")
	triggers(3, "")
	has(3, 2, "")
}
