package node_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/testcluster"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// withDocumentsOutside starts a cluster whose tenants' documents are in PostgreSQL,
// in real time.
func withDocumentsOutside(t *testing.T, nodes int) (*testcluster.Cluster, *postgres.Server) {
	db := postgres.Start(t)
	return testcluster.New(t, testcluster.Options{Nodes: nodes, Voters: nodes, Tenants: 1, Adjust: func(_ string, o *node.Options) {
		o.TenantStore, o.PostgresURL = "postgres", db.URL()
	}}), db
}

// A backtest of documents in PostgreSQL, stored or drafts, finds what live judging has
// found.
func TestPostgresBacktest(t *testing.T) {
	t.Parallel()
	c, _ := withDocumentsOutside(t, 1)
	from, to := longRange(c, 40)
	want := fired(c, from, to)
	body := fmt.Sprintf(`"network":"net","from":%d,"to":%d`, from, to)
	draft, err := os.ReadFile(filepath.Join(c.Folder(), "tenants/t000/monitors/transfers.json"))
	if err != nil {
		t.Fatal(err)
	}
	sent := len(c.Receiver.Deliveries())
	for _, what := range []string{`"monitor":"transfers"`, `"document":` + string(draft)} {
		done := over(t, c, backtest(t, c.Leader(), "{"+what+","+body+"}").ID)
		if got := transactions(done.Matches); done.State != "done" || !slices.Equal(got, want) || len(want) < 5 {
			t.Errorf("%+v\nfound %v\nwant %v", done.Backtest, got, want)
		}
	}
	if n := len(c.Receiver.Deliveries()); n != sent {
		t.Errorf("%d deliveries were made", n-sent)
	}
}

// While the database is away, what was begun goes on to the end, also on a node that
// takes a part over and has read nothing of the tenant: a job's own document is in the
// state. One of a document that cannot be read is refused, and never judged with less.
func TestPostgresBacktestWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	c, db := withDocumentsOutside(t, 3)
	monitor, err := os.ReadFile(filepath.Join(c.Folder(), "tenants/t000/monitors/transfers.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.Write("tenants/t000/monitors/other.json", json.RawMessage(strings.Replace(string(monitor), `"transfers"`, `"other"`, 1)))
	c.Import()
	from, to := longRange(c, 300)
	body := fmt.Sprintf(`{"monitor":"transfers","from":%d,"to":%d}`, from, to)
	want := over(t, c, backtest(t, c.Leader(), body).ID)
	restart := func(m *testcluster.Member) { // nothing is cached any more
		m.Kill()
		m.Restart()
		m.AwaitReady()
	}
	for _, m := range c.Running() {
		restart(m)
	}
	c.AwaitReady()
	for _, m := range c.Members() {
		c.Chain("net").Site(m.Name).Slow(20 * time.Millisecond)
	}
	id := backtest(t, c.AwaitLeader(nil), body).ID
	c.Eventually(time.Minute, func() error {
		if b := backtestNow(t, c, id); b.Progress.Done == 0 {
			return fmt.Errorf("%+v", b.Progress)
		}
		return nil
	})
	db.Kill()
	var victim *testcluster.Member
	c.Eventually(time.Minute, func() (err error) {
		victim, err = workerOf(c, id)
		return err
	})
	if b := backtestNow(t, c, id); !b.Ended.IsZero() {
		t.Fatalf("it was over before anything happened to it: %+v", b.Backtest)
	}
	restart(victim)
	w := asked(t, victim, "", "POST", "/v1/tenants/t000/backtests", strings.Replace(body, "transfers", "other", 1), 503)
	if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "tenant store") {
		t.Errorf("refused with %s", w.Body)
	}
	got := over(t, c, id)
	if got.State != "done" || got.Counts != want.Counts || !reflect.DeepEqual(got.Matches, want.Matches) || len(want.Matches) == 0 {
		t.Errorf("with the database %+v\nwithout it %+v", want.Backtest, got.Backtest)
	}
	db.Start()
	c.Eventually(time.Minute, func() error {
		for _, check := range victim.Node().Ready() {
			if check.Name == "tenant store" && check.Err != nil {
				return check.Err
			}
		}
		return nil
	})
	again := over(t, c, backtest(t, victim, body).ID)
	if again.State != "done" || !reflect.DeepEqual(again.Matches, want.Matches) {
		t.Errorf("after it is back: %+v", again.Backtest)
	}
}
