package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster/postgres"
)

// Targets of the full size, which `make load-tenants` prints the figures of.
const (
	loadTarget    = 60 * time.Second
	restartTarget = 15 * time.Second
	activeTarget  = 250 * time.Millisecond
)

// TestLoadTenants has a node take over many tenants through its API, restarts it, and
// prints what that takes. Figures are no reason to fail: what is lost is.
//
// OZMO_LOAD_TENANTS and OZMO_LOAD_MONITORS say how many; without them, few.
func TestLoadTenants(t *testing.T) { loadTenants(t, nil) }

// TestPostgresLoadTenants is the same with the documents in PostgreSQL.
func TestPostgresLoadTenants(t *testing.T) { loadTenants(t, postgres.Start(t)) }

func loadTenants(t *testing.T, db *postgres.Server) {
	tenants := int(setting(t, "OZMO_LOAD_TENANTS", 50))
	monitors := int(setting(t, "OZMO_LOAD_MONITORS", 500))
	full := os.Getenv("OZMO_LOAD_TENANTS") != ""
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "1s", "--rate", "4")
	n := NewNode(t, dir)
	n.Folder = Folder{}
	var more []string
	if db != nil {
		url := filepath.Join(dir, "postgres.url")
		if err := os.WriteFile(url, []byte(db.URL()), 0o600); err != nil {
			t.Fatal(err)
		}
		more = []string{"--tenant-store", "postgres", "--postgres-url-file", url}
	}
	start := func() time.Duration {
		began := time.Now()
		n.Start(t, more...)
		within(t, Patience+time.Duration(tenants)*importPatience, "the node's readiness", n.Ready)
		return time.Since(began)
	}
	start()
	api := operatorOf(t, n)
	api.must(t, "PUT", "/v1/configuration", Doc{"networks": Doc{benchNetwork: Network(benchNetwork, chain.ChainID, 1, chain.RPC, chain.WS)}}, nil)

	began, busy := time.Now(), processorTime(t, n)
	work, ctx := errgroup.WithContext(t.Context())
	work.SetLimit(16)
	for i := range tenants {
		work.Go(func() error {
			own := monitors*(i+1)/tenants - monitors*i/tenants
			var c v1.Configured
			err := api.do(ctx, "PUT", fmt.Sprintf("/v1/tenants/t%05d/configuration?create=true", i), loadDoc(chain, i, own, 0), &c)
			if err == nil && (c.Version != 1 || len(c.Changes) != own+1) {
				err = fmt.Errorf("tenant %d: %+v", i, c)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	applied, busy := time.Since(began), processorTime(t, n)-busy
	n.AwaitReady(t)
	check := func() {
		t.Helper()
		var got v1.Tenant
		for _, i := range []int{0, tenants / 2, tenants - 1} {
			api.must(t, "GET", fmt.Sprintf("/v1/tenants/t%05d", i), nil, &got)
			if want := monitors*(i+1)/tenants - monitors*i/tenants; got.Version == 0 || got.Monitors != want {
				t.Errorf("%+v, want %d monitors", got, want)
			}
		}
		if count := countTenants(t, api); count != tenants {
			t.Errorf("%d tenants, want %d", count, tenants)
		}
	}
	check()
	changes, active := changeSome(t, api, n, chain, tenants, monitors)
	memory := residentBytes(t, n.Pid())
	log := bytesUnder(t, n.Data, "raft.db")
	var snapshot counting
	if err := n.Client().Backup(t.Context(), &snapshot, false); err != nil {
		t.Fatal(err)
	}
	n.Terminate(t, time.Minute)
	restarted := start()
	check()
	Eventually(t, "judging after the restart", func(ctx context.Context) error {
		s, err := n.Client().Status(ctx)
		if err != nil {
			return err
		}
		network, err := networkOf(s, benchNetwork)
		if err == nil && (network.Judged == 0 || network.Judged+2 < network.Position) {
			err = fmt.Errorf("judged to %d of %d", network.Judged, network.Position)
		}
		return err
	})
	where := ""
	if db != nil {
		where = ", documents in PostgreSQL"
	}
	fmt.Printf("\n%d tenants with %d monitors over the API, 16 requests at a time, one node%s:\n", tenants, monitors, where)
	row := func(name string, took, target time.Duration) {
		met := "met"
		if took > target {
			met = "MISSED"
		}
		if !full {
			met = "of the full size"
		}
		fmt.Printf("  %-58s %10v  target <= %v: %s\n", name, took.Round(time.Millisecond), target, met)
	}
	row("bulk apply", applied, loadTarget)
	row("cold restart to ready", restarted, restartTarget)
	if len(changes) > 0 {
		row(fmt.Sprintf("change to active, p99 of %d (ozmo_worker_change_seconds)", len(changes)), active, activeTarget)
		fmt.Printf("  %-58s %10v  p50 %v\n", "a change's answer, p99", quantile(changes, 0.99), quantile(changes, 0.5))
	}
	fmt.Printf("  the apply took %v of the node's processor time\n", busy.Round(100*time.Millisecond))
	fmt.Printf("  resident memory: %d MB after the apply, %d MB after the restart; Raft log %d MB; snapshot (a backup's) %.1f MB\n",
		memory>>20, residentBytes(t, n.Pid())>>20, log>>20, float64(snapshot)/(1<<20))
	if db != nil {
		page, err := n.get(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		var s samples
		for line := range strings.Lines(page) {
			s.add(strings.TrimSpace(line))
		}
		fmt.Printf("  contents read since the restart: %.0f of %s in PostgreSQL (%s); cache %.0f MB\n", s.sum(`ozmo_postgres_reads_total{from="database"}`),
			db.Query("select count(*) from ozmo.contents"), db.Query("select pg_size_pretty(pg_database_size(current_database()))"), s.sum("ozmo_postgres_cache_bytes")/(1<<20))
	}
	n.Terminate(t, time.Minute)
}

func quantile(list []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(100 * time.Microsecond)
}

// changeSome changes monitors one after the other and returns how long each answer
// took, and by when 99 in 100 were active on the node that has them.
func changeSome(t *testing.T, api *apiUser, n *Node, chain *Chain, tenants, monitors int) (answers []time.Duration, active time.Duration) {
	t.Helper()
	read := func() histogram {
		page, err := n.get(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		var s samples
		for line := range strings.Lines(page) {
			s.add(strings.TrimSpace(line))
		}
		return s.histogram("ozmo_worker_change_seconds")
	}
	before := read()
	const some = 200
	var last uint64
	for i := range some {
		tenant := i % tenants
		own := monitors*(tenant+1)/tenants - monitors*tenant/tenants
		doc := loadDoc(chain, tenant, own, 0)["monitors"].(Doc)["m000"].(Doc)
		doc["name"] = fmt.Sprint("changed ", i)
		began := time.Now()
		var w v1.Written
		api.must(t, "PUT", fmt.Sprintf("/v1/tenants/t%05d/monitors/m000", tenant), doc, &w)
		answers = append(answers, time.Since(began))
		if len(w.Effect) != 1 || w.Effect[0].Position == 0 || !w.Changed {
			t.Fatalf("%+v", w)
		}
		last = w.Effect[0].Position
	}
	// Of changes of one tenant that come between two looks, the last alone is told.
	var told histogram
	Eventually(t, "the changes to be active", func(ctx context.Context) error {
		s, err := n.Client().Status(ctx)
		if err != nil {
			return err
		}
		network, err := networkOf(s, benchNetwork)
		if err == nil && network.Judged < last {
			err = fmt.Errorf("judged to %d of %d", network.Judged, last)
		}
		if told = read().minus(before); err == nil && told.count() == 0 {
			err = errors.New("the metric tells of none")
		}
		return err
	})
	return answers, told.quantile(0.99)
}

// loadDoc is what a tenant is configured with: monitors of a token that never match.
func loadDoc(chain *Chain, tenant, monitors, salt int) Doc {
	own := Doc{}
	for i := range monitors {
		own[fmt.Sprintf("m%03d", i)] = Monitor(fmt.Sprintf("monitor %d", i), benchNetwork, chain.Token, "receiver",
			Event(fmt.Sprintf("value > 1000000000000000000000000000%d AND value != %d", tenant, i+salt)))
	}
	return Doc{"triggers": Webhooks("receiver", "http://127.0.0.1:9/", fmt.Sprint("the secret of ", tenant)), "monitors": own}
}

// apiUser asks a node's HTTP port.
type apiUser struct {
	base, key string
	http      *http.Client
}

// operatorOf is an operator's way to a node over HTTP.
func operatorOf(t *testing.T, n *Node) *apiUser {
	t.Helper()
	made, err := n.Client().CreateKey(t.Context(), "", v1.KeyRequest{Name: "load"})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &apiUser{base: "http://" + n.Listen, key: made.Text, http: &http.Client{Transport: transport}}
}

// do sends a document and reads the answer into out, if that is not nil.
func (u *apiUser) do(ctx context.Context, method, path string, doc, out any) error {
	var body io.Reader
	if doc != nil {
		data, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+u.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := u.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, data)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(data, out)
	}
	return err
}

func (u *apiUser) must(t *testing.T, method, path string, doc, out any) {
	t.Helper()
	if err := u.do(t.Context(), method, path, doc, out); err != nil {
		t.Fatal(err)
	}
}

func countTenants(t *testing.T, u *apiUser) (n int) {
	t.Helper()
	for cursor := ""; ; {
		var page v1.Page[v1.Tenant]
		u.must(t, "GET", "/v1/tenants?limit=500&cursor="+cursor, nil, &page)
		n += len(page.Items)
		if cursor = page.Next; cursor == "" {
			return n
		}
	}
}

// counting takes bytes and keeps their number.
type counting int64

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}

// processorTime is what the node's process has had of the processors.
func processorTime(t *testing.T, n *Node) time.Duration {
	t.Helper()
	page, err := n.get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	var s samples
	for line := range strings.Lines(page) {
		s.add(strings.TrimSpace(line))
	}
	return time.Duration(s.sum("process_cpu_seconds_total") * float64(time.Second))
}

// bytesUnder is the size of the newest file of a name in a folder.
func bytesUnder(t *testing.T, dir, name string) (size int64) {
	t.Helper()
	var newest time.Time
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != name {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(newest) {
			newest, size = info.ModTime(), info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
