package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// TestBenchAPI measures the API of three nodes under a steady load, and how soon a
// change is in force; `make bench-api` runs it. Figures are no reason to fail: requests
// that are refused, and changes that never come into force, are.
//
// OZMO_API_BENCH says how many seconds each part lasts; without it, one.
func TestBenchAPI(t *testing.T) {
	b := newAPIBench(t)
	lasts := time.Duration(setting(t, "OZMO_API_BENCH", 1)) * time.Second
	meter := lateTimers(t)
	fmt.Printf("\nAPI of three nodes, %d tenants with %d monitors each, %d requests/s for %v each:\n", benchTenants, benchMonitors, benchLoad, lasts)
	b.row("reads alone", b.load(lasts, b.read), 5*time.Millisecond)
	b.row("writes alone", b.load(lasts, b.write), 50*time.Millisecond)
	var reads, writes []time.Duration
	for i, d := range b.load(lasts, func(ctx context.Context, i int) error {
		if i%benchShare == 0 {
			return b.write(ctx, i)
		}
		return b.read(ctx, i)
	}) {
		if i%benchShare == 0 {
			writes = append(writes, d)
		} else {
			reads = append(reads, d)
		}
	}
	b.row(fmt.Sprintf("together: reads, %d in %d", benchShare-1, benchShare), reads, 5*time.Millisecond)
	b.row("together: writes", writes, 50*time.Millisecond)
	b.row("written -> told by an alert of the new version", b.active(lasts), 250*time.Millisecond)
	late := meter.stop()
	fmt.Printf("  timers of this process came late by p99 %v, at most %v\n", ms(farm.Quantile(late, 0.99)), ms(farm.Quantile(late, 1)))
	b.client.CloseIdleConnections()
	b.cluster.Terminate(t)
}

const (
	benchTenants  = 10
	benchMonitors = 20
	benchLoad     = 200 // requests a second
	benchShare    = 10  // one in so many is a write
	benchBlocks   = 50 * time.Millisecond
)

// apiBench is three nodes with tenants made over their API.
type apiBench struct {
	t       *testing.T
	mint    *Mint
	cluster *Cluster
	client  *http.Client
	nodes   []string // addresses
	keys    []string // of the tenants
	hook    *httptest.Server

	mu   sync.Mutex
	told map[string]time.Time // when the first alert of a monitor of this name came
}

func newAPIBench(t *testing.T) *apiBench {
	t.Helper()
	dir := Dir(t)
	b := &apiBench{t: t, mint: NewMint(t), cluster: NewCluster(t, dir, ClusterOptions{Nodes: 3}), told: map[string]time.Time{}}
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: Patience}
	t.Cleanup(b.client.CloseIdleConnections)
	b.hook = httptest.NewServer(http.HandlerFunc(b.receive))
	t.Cleanup(b.hook.Close)
	f := b.cluster.Folder
	f.Write(t, "networks/minted.json", Network("minted", 1, 1, b.mint.URL(), b.mint.WS()))
	f.Write(t, "tenants/folder/triggers/hook.json", Webhooks("hook", b.hook.URL, "s"))
	f.Write(t, "tenants/folder/monitors/m.json", Monitor("of the folder", "minted", b.mint.Token(), "hook", Event("value > 1000000000")))
	b.mint.Block(0)
	for _, m := range b.cluster.Members {
		b.nodes = append(b.nodes, FreeAddress(t))
		m.Start(t, "--listen", b.nodes[len(b.nodes)-1], "--http-rate-key", "0", "--http-rate-address", "0")
	}
	b.cluster.AwaitHealthy(t)
	b.furnish()
	return b
}

// furnish makes the tenants through one node, and waits until all know them.
func (b *apiBench) furnish() {
	b.t.Helper()
	key, err := b.cluster.Members[0].Client().CreateKey(b.t.Context(), "", v1.KeyRequest{Name: "bench"})
	if err != nil {
		b.t.Fatal(err)
	}
	index := ""
	must := func(method, path string, body any) []byte {
		b.t.Helper()
		answer, header, err := b.ask(b.t.Context(), 0, key.Text, method, path, body)
		if err != nil {
			b.t.Fatal(err)
		}
		index = header.Get("X-Ozmo-Index")
		return answer
	}
	for i := range benchTenants {
		base := benchBase(i)
		must("PUT", base, nil)
		must("PUT", base+"/triggers/hook", Webhooks("hook", b.hook.URL, "s")["hook"])
		for m := range benchMonitors {
			must("PUT", fmt.Sprintf("%s/monitors/m%d", base, m), b.monitor(fmt.Sprint("m", m), "value > 1000000000"))
		}
		var k v1.NewKey
		if err := json.Unmarshal(must("POST", base+"/keys", map[string]string{"role": "admin"}), &k); err != nil {
			b.t.Fatal(err)
		}
		b.keys = append(b.keys, k.Text)
	}
	Eventually(b.t, "the tenants on all nodes", func(ctx context.Context) error {
		for n := range b.nodes {
			if _, _, err := b.ask(ctx, n, b.keys[benchTenants-1], "GET", benchBase(benchTenants-1)+"?index="+index, nil); err != nil {
				return err
			}
		}
		return nil
	})
	b.cluster.AwaitHealthy(b.t)
}

func benchBase(tenant int) string { return fmt.Sprintf("/v1/tenants/bench%d", tenant) }

func (b *apiBench) monitor(name, expression string) Doc {
	m := Monitor(name, "minted", b.mint.Token(), "hook", Event(expression))
	m["mode"] = "instant"
	return m
}

// ask sends a request to a node; whatever is no success is an error.
func (b *apiBench) ask(ctx context.Context, node int, key, method, path string, body any) ([]byte, http.Header, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+b.nodes[node%len(b.nodes)]+path, bytes.NewReader(data))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, resp.Header, err
}

// read is the i-th read: seven monitors, two lists of them and a tenant in ten.
func (b *apiBench) read(ctx context.Context, i int) error {
	tenant := i % benchTenants
	path := benchBase(tenant)
	switch i / benchTenants % 10 {
	case 0:
	case 1, 2:
		path += "/monitors?limit=100"
	default:
		path += fmt.Sprintf("/monitors/m%d", i%benchMonitors)
	}
	_, _, err := b.ask(ctx, i, b.keys[tenant], "GET", path, nil)
	return err
}

// write is the i-th write: another name for a monitor.
func (b *apiBench) write(ctx context.Context, i int) error {
	tenant := i % benchTenants
	_, _, err := b.ask(ctx, i/benchTenants, b.keys[tenant], "PUT", fmt.Sprintf("%s/monitors/m%d", benchBase(tenant), i/benchTenants%benchMonitors),
		b.monitor(fmt.Sprint("renamed ", i), "value > 1000000000"))
	return err
}

// load does something at a steady rate, whether or not what came before has ended, and
// returns how long after its time each had ended, in that order.
func (b *apiBench) load(lasts time.Duration, do func(ctx context.Context, i int) error) []time.Duration {
	b.t.Helper()
	n := int(lasts.Seconds() * benchLoad)
	out := make([]time.Duration, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	began := time.Now().Add(100 * time.Millisecond)
	for i := range n {
		at := began.Add(time.Duration(i) * time.Second / benchLoad)
		<-time.After(time.Until(at))
		all.Go(func() {
			errs[i] = do(b.t.Context(), i)
			out[i] = time.Since(at)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *apiBench) receive(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		EVM struct {
			Monitor struct{ Name string }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return // the alert is missing then
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if name := m.EVM.Monitor.Name; b.told[name].IsZero() {
		b.told[name] = time.Now()
	}
}

// active has a block with a transfer come every 50 ms and gives monitors that match it
// new names, under the load of reads: how long after the answer to the change the first
// alert with the new name came. The block's way and the alert's are in that.
func (b *apiBench) active(lasts time.Duration) (out []time.Duration) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	var blocks sync.WaitGroup
	blocks.Go(func() {
		ticker := time.NewTicker(benchBlocks)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				b.mint.Block(1)
			}
		}
	})
	defer blocks.Wait()
	defer stop()
	const pause = 250 * time.Millisecond
	answered := map[string]time.Time{}
	var mu sync.Mutex
	b.load(lasts, func(ctx context.Context, i int) error {
		if i%int(pause.Seconds()*benchLoad) != 0 {
			return b.read(ctx, i)
		}
		change := i / int(pause.Seconds()*benchLoad)
		name, tenant := fmt.Sprint("change ", change), change%benchTenants
		_, _, err := b.ask(ctx, change, b.keys[tenant], "PUT", benchBase(tenant)+"/monitors/m0", b.monitor(name, "value > 0"))
		mu.Lock()
		defer mu.Unlock()
		answered[name] = time.Now()
		return err
	})
	Eventually(b.t, "alerts of all changes", func(context.Context) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		out = out[:0]
		for name, at := range answered {
			told, ok := b.told[name]
			if !ok {
				return fmt.Errorf("none of %q", name)
			}
			out = append(out, max(0, told.Sub(at)))
		}
		return nil
	})
	return out
}

func (b *apiBench) row(name string, list []time.Duration, target time.Duration) {
	met := "met"
	if farm.Quantile(list, 0.99) > target {
		met = "MISSED"
	}
	fmt.Printf("  %-48s p50 %8v  p99 %8v  max %8v  (%d); target p99 <= %v: %s\n",
		name, ms(farm.Quantile(list, 0.5)), ms(farm.Quantile(list, 0.99)), ms(farm.Quantile(list, 1)), len(list), target, met)
}
