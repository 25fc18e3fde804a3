package redis_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	server "github.com/ozmo-dev/ozmo/testcluster/redis"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
)

func TestPipelining(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	s.Pause() // everything waits behind the first
	const blocks = 200
	for i := range blocks {
		r.Put(t.Context(), "n", hash(i), noise(i, 1000))
	}
	s.Resume()
	r.stored(blocks)
	if n := r.value("ozmo_blockcache_redis_seconds", "set"); n > 5 {
		t.Errorf("%v round trips for %d payloads, want at most 5", n, blocks)
	}
	for i := range blocks {
		r.has(i, noise(i, 1000))
	}
}

func TestLoad(t *testing.T) {
	s := server.Start(t, server.Options{})
	o := redis.Options{URL: s.URL(), QueueEntries: 1000, QueueBytes: 1 << 30}
	one, two := open(t, o).up(), open(t, o).up()
	writer := blockcache.NewLayered(blockcache.NewMemory(0, nil), one)
	reader := blockcache.NewLayered(blockcache.NewMemory(0, nil), two)
	const blocks, size, workers = 1000, 30_000, 8
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < blocks; i += workers {
				writer.Put(t.Context(), "n", hash(i), noise(i, size))
				for {
					if payload, ok := reader.Get(t.Context(), "n", hash(i)); ok {
						if len(payload) != size {
							t.Errorf("payload %d has %d bytes", i, len(payload))
						}
						break
					}
					if t.Context().Err() != nil {
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
	one.stored(blocks)
	if n := one.value("ozmo_blockcache_redis_queue_dropped_total"); n != 0 {
		t.Errorf("%v payloads were dropped", n)
	}
	if hits := two.requests("get", "hit"); hits != blocks {
		t.Errorf("%d hits, want %d", hits, blocks)
	}
}

func TestQueueIsBounded(t *testing.T) {
	for name, o := range map[string]redis.Options{
		"entries": {QueueEntries: 4},
		"bytes":   {QueueBytes: 4000},
	} {
		t.Run(name, func(t *testing.T) {
			s := server.Start(t, server.Options{})
			o.URL = s.URL()
			r := open(t, o).up()
			s.Pause()
			const puts, batch, room = 500, 64, 5
			for i := range puts {
				r.Put(t.Context(), "n", hash(i), noise(i, 1000))
			}
			dropped := int(r.value("ozmo_blockcache_redis_queue_dropped_total"))
			// One batch at most is in flight, and the queue is full behind it.
			if dropped < puts-batch-room {
				t.Errorf("%d of %d were dropped, want at least %d", dropped, puts, puts-batch-room)
			}
			s.Resume()
			r.stored(puts - dropped)
			r.works(puts)
		})
	}
}

func TestLargePayloadsStayOut(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	r.Put(t.Context(), "n", hash(1), noise(1, 5<<20))
	if n := r.requests("set", "too_large"); n != 1 {
		t.Errorf("%d payloads were too large, want 1", n)
	}
	want := block(2, 5<<20) // packed, it is not
	r.Put(t.Context(), "n", hash(2), want)
	r.stored(1)
	r.has(2, want)
}

func BenchmarkGet(b *testing.B) {
	benchmark(b, func(r *rig, i int) { r.Get(b.Context(), "n", hash(i%64)) })
}

// What is measured includes the way to Redis: packing, and waiting for room in
// the queue.
func BenchmarkPut(b *testing.B) {
	payload := block(1, 300_000)
	benchmark(b, func(r *rig, i int) {
		for redis.Queued(r.Cache) > 64 {
			runtime.Gosched()
		}
		r.Put(b.Context(), "n", hash(1000+i), payload)
	})
}

// BenchmarkPutAbsent is what a Redis that is not there costs.
func BenchmarkPutAbsent(b *testing.B) {
	r := open(b, redis.Options{URL: server.New(b, server.Options{}).URL()})
	payload := block(1, 300_000)
	for i := 0; b.Loop(); i++ {
		r.Put(b.Context(), "n", hash(i), payload)
	}
}

func benchmark(b *testing.B, f func(r *rig, i int)) {
	s := server.Start(b, server.Options{Args: []string{"--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"}})
	r := open(b, redis.Options{URL: s.URL()}).up()
	for i := range 64 {
		r.Put(b.Context(), "n", hash(i), block(i, 300_000))
	}
	eventually.Nil(b, func() error {
		if n := r.requests("set", "ok"); n != 64 {
			return fmt.Errorf("%d payloads are stored, want 64", n)
		}
		return nil
	})
	b.SetBytes(300_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f(r, i)
	}
	if err := r.is("ozmo_blockcache_redis_up", 1); err != nil {
		b.Fatal(err)
	}
}
