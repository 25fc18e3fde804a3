package blockcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func hash(n int) (h fsm.Hash) {
	h[0], h[1] = byte(n>>8), byte(n)
	return h
}

// noise is a payload that does not become smaller by compressing it.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

func TestMemoryCompresses(t *testing.T) {
	m := blockcache.NewMemory(0, nil)
	want := []byte(strings.Repeat(`{"hash":"0x00","logsBloom":"0x0000000000000000"},`, 10_000))
	m.Put(t.Context(), "n", hash(1), want)
	if _, size := m.Len(); size > int64(len(want)/4) {
		t.Errorf("%d bytes are kept as %d", len(want), size)
	}
	for range 2 {
		if got, ok := m.Get(t.Context(), "n", hash(1)); !ok || !bytes.Equal(got, want) {
			t.Fatal("the payload is not what was put")
		}
	}
	m.Put(t.Context(), "n", hash(2), nil)
	if got, ok := m.Get(t.Context(), "n", hash(2)); !ok || len(got) != 0 {
		t.Errorf("an empty payload: %q, %v", got, ok)
	}
}

func BenchmarkMemory(b *testing.B) {
	payload := []byte(strings.Repeat(`{"hash":"0x00","logsBloom":"0x0000000000000000"},`, 20_000))
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	m := blockcache.NewMemory(0, nil)
	for i := 0; b.Loop(); i++ {
		m.Put(b.Context(), "n", hash(i), payload)
		m.Get(b.Context(), "n", hash(i))
	}
}

func TestMemoryKeepsWhatWasUsedLast(t *testing.T) {
	ctx := t.Context()
	m := blockcache.NewMemory(3*(1000+256), nil)
	for i := range 3 {
		m.Put(ctx, "n", hash(i), noise(i, 1000))
	}
	m.Get(ctx, "n", hash(0))
	m.Put(ctx, "n", hash(3), noise(3, 1000))
	for i, want := range []bool{true, false, true, true} {
		if _, got := m.Get(ctx, "n", hash(i)); got != want {
			t.Errorf("entry %d present: %v, want %v", i, got, want)
		}
	}
	if _, ok := m.Get(ctx, "other", hash(0)); ok {
		t.Error("an entry of one network was found under another")
	}
	m.Put(ctx, "n", hash(9), noise(9, 1<<20))
	if n, _ := m.Len(); n != 3 {
		t.Errorf("a payload larger than the cache left %d entries, want the 3 from before", n)
	}
}

func TestMemoryMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(300, 5000).Draw(t, "limit")
		m := blockcache.NewMemory(limit, nil)
		var order []int // used last at the end
		size := map[int]int64{}
		touch := func(k int) {
			for i, o := range order {
				if o == k {
					order = append(order[:i:i], order[i+1:]...)
				}
			}
			order = append(order, k)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := rapid.IntRange(0, 9).Draw(t, "key")
			if rapid.Bool().Draw(t, "put") {
				n := rapid.IntRange(0, 2000).Draw(t, "size")
				m.Put(t.Context(), "n", hash(k), noise(k, n))
				if _, ok := size[k]; ok {
					touch(k)
					continue
				}
				if int64(n)+256 > limit {
					continue
				}
				size[k] = int64(n) + 256
				touch(k)
				for total(size) > limit {
					delete(size, order[0])
					order = order[1:]
				}
				continue
			}
			payload, got := m.Get(t.Context(), "n", hash(k))
			n, want := size[k]
			if want && !bytes.Equal(payload, noise(k, int(n-256))) {
				t.Fatalf("key %d has another payload", k)
			}
			if got != want {
				t.Fatalf("key %d present: %v, want %v", k, got, want)
			}
			if want {
				touch(k)
			}
		}
		n, bytes := m.Len()
		if n != len(size) || bytes != total(size) || bytes > limit {
			t.Fatalf("%d entries of %d bytes, want %d of %d, limit %d", n, bytes, len(size), total(size), limit)
		}
	})
}

func total(m map[int]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func TestMemoryMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := blockcache.NewMemory(2000, blockcache.NewMetrics(reg))
	m.Put(t.Context(), "n", hash(1), noise(1, 1000))
	m.Put(t.Context(), "n", hash(2), noise(2, 1000))
	m.Get(t.Context(), "n", hash(1))
	m.Get(t.Context(), "n", hash(2))
	want := `
# HELP ozmo_blockcache_evictions_total Payloads dropped to make room.
# TYPE ozmo_blockcache_evictions_total counter
ozmo_blockcache_evictions_total 1
# HELP ozmo_blockcache_hits_total Payloads found in the cache.
# TYPE ozmo_blockcache_hits_total counter
ozmo_blockcache_hits_total{network="n"} 1
# HELP ozmo_blockcache_misses_total Payloads not found in the cache.
# TYPE ozmo_blockcache_misses_total counter
ozmo_blockcache_misses_total{network="n"} 1
# HELP ozmo_blockcache_size_bytes Bytes of the payloads in memory, bookkeeping included.
# TYPE ozmo_blockcache_size_bytes gauge
ozmo_blockcache_size_bytes 1256
`
	if err := testutil.GatherAndCompare(reg, bytes.NewReader([]byte(want))); err != nil {
		t.Error(err)
	}
}

func TestFetcherSharesOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int32
		gate := make(chan struct{})
		cache := blockcache.NewMemory(0, nil)
		f := blockcache.NewFetcher(cache, func(context.Context, string, fsm.Hash) ([]byte, error) {
			loads.Add(1)
			<-gate
			return []byte("payload"), nil
		}, nil)
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var left error
		all.Go(func() { _, left = f.Fetch(leaving, "n", hash(1)) })
		got := make([]string, 20)
		for i := range got {
			all.Go(func() {
				payload, err := f.Fetch(t.Context(), "n", hash(1))
				got[i] = fmt.Sprint(string(payload), err)
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Errorf("who left got %v", left)
		}
		close(gate)
		all.Wait()
		for _, g := range got {
			if g != "payload<nil>" {
				t.Errorf("got %s", g)
			}
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if _, ok := cache.Get(t.Context(), "n", hash(1)); !ok {
			t.Error("what was loaded is not in the cache")
		}
	})
}

func TestFetcherPassesErrorsOn(t *testing.T) {
	boom := errors.New("boom")
	for name, load := range map[string]blockcache.Loader{
		"error":   func(context.Context, string, fsm.Hash) ([]byte, error) { return nil, boom },
		"panic":   func(context.Context, string, fsm.Hash) ([]byte, error) { panic("boom") },
		"nothing": func(context.Context, string, fsm.Hash) ([]byte, error) { return nil, nil },
	} {
		cache := blockcache.NewMemory(0, nil)
		f := blockcache.NewFetcher(cache, load, nil)
		if _, err := f.Fetch(t.Context(), "n", hash(1)); err == nil || name == "error" && !errors.Is(err, boom) {
			t.Errorf("%s: got %v", name, err)
		}
		if n, _ := cache.Len(); n != 0 {
			t.Errorf("%s: a failed load was cached", name)
		}
	}
}
