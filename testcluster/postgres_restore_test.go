package testcluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// heard waits until the receiver has more for a tenant.
func heard(c *Cluster, tenant string) {
	c.t.Helper()
	since := time.Now()
	c.Eventually(time.Minute, func() error {
		for _, d := range c.Receiver.Deliveries() {
			if d.Tenant == tenant && d.At.After(since) {
				return nil
			}
		}
		return fmt.Errorf("tenant %s hears of nothing; problems: %q", tenant, c.Status().Problems)
	})
}

// A cluster that was lost is built anew, with the database as it was dumped. It is
// refused what another one of its name has, until that is handed over; an archive
// that is younger than the dump is refused, with whose documents are missing; and
// restored all the same, who misses nothing goes on, and the others as soon as their
// documents are there.
func TestPostgresRestoreIntoANewCluster(t *testing.T) {
	t.Parallel()
	db := postgres.Start(t)
	url := db.URL()
	c := New(t, Options{Nodes: 1, Voters: 1, Tenants: 2, Adjust: func(_ string, o *node.Options) { o.TenantStore, o.PostgresURL = "postgres", url }})
	older := db.Dump()
	c.WriteTenant("late")
	c.Import()
	c.Traffic()
	heard(c, "late")
	m := c.Members()[0]
	var archive bytes.Buffer
	if err := m.Node().Backup(t.Context(), &archive, false); err != nil {
		t.Fatal(err)
	}
	newer := db.Dump()
	heard(c, "late") // which is not in the archive
	c.StopTraffic()
	m.Stop()
	m.WipeDisk()

	foreign := func() {
		t.Helper()
		n, err := node.New(m.options())
		if err != nil {
			t.Fatal(err)
		}
		if err = n.Start(t.Context()); err == nil {
			err = <-n.Failed()
		}
		if err == nil || !strings.Contains(err.Error(), "delete from ozmo.cluster") {
			t.Errorf("a cluster of the same name, and the same keys, was refused with %v", err)
		}
		if err := n.Kill(); err != nil {
			t.Error(err)
		}
		m.WipeDisk()
	}
	foreign()
	second := postgres.Start(t)
	url = second.URL()
	second.Query(older)
	foreign() // the dump is of the cluster that is gone
	second.Query("delete from ozmo.cluster")
	m.Restart()
	m.AwaitReady()

	restore := func(incomplete bool) (api.Restored, error) {
		return m.Node().Restore(t.Context(), bytes.NewReader(archive.Bytes()), incomplete)
	}
	second.Kill()
	var err error
	c.Eventually(time.Minute, func() error {
		if _, err = restore(false); err == nil || !strings.Contains(err.Error(), "cannot be told") {
			return fmt.Errorf("restored without the database: %v", err)
		}
		return nil
	})
	second.Start()
	c.Eventually(time.Minute, func() error {
		if _, err = restore(false); !errors.Is(err, api.ErrRefused) {
			return fmt.Errorf("restored with an older dump: %v", err)
		}
		return nil
	})
	if !strings.Contains(err.Error(), "of late (1)") || strings.Contains(err.Error(), "t000") {
		t.Errorf("refused with %v", err)
	}
	done, err := restore(true)
	if want := []api.MissingDocuments{{Tenant: "late", InForce: 1}}; err != nil || done.Tenants != 3 || !slices.Equal(done.Missing, want) {
		t.Fatalf("%+v, %v", done, err)
	}
	c.Traffic()
	since := time.Now()
	heard(c, TenantName(0))
	heard(c, TenantName(1))
	for _, d := range c.Receiver.Deliveries() {
		if d.Tenant == "late" && d.At.After(since) {
			t.Fatal("a tenant was told without its documents")
		}
	}
	// As docs/postgres.md has it: what is missing comes from a newer dump.
	scratch := postgres.Start(t)
	scratch.Query(newer)
	rows := scratch.Query("copy (select hash, data from ozmo.contents) to stdout")
	second.Query("create temp table dumped (hash bytea, data bytea);\ncopy dumped from stdin;\n" + rows + "\n\\.\n" +
		"insert into ozmo.contents (hash, data) select hash, data from dumped on conflict (hash) do update set put_at = now();")
	heard(c, "late")
	c.StopTraffic()
	c.Rest()
	// Now nothing is missing any more.
	if done, err := restore(false); err != nil || done.Missing != nil {
		t.Errorf("%+v, %v", done, err)
	}
	c.Eventually(time.Minute, func() error {
		if got := second.Query("select string_agg(id, ' ' order by id) from ozmo.tenants where deleted_at is null"); got != "late t000 t001" {
			return fmt.Errorf("people see the tenants %q", got)
		}
		return nil
	})
}
