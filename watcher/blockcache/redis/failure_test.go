package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	server "github.com/ozmo-dev/ozmo/testcluster/redis"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
)

// works puts and gets through a Redis that is used.
func (r *rig) works(n int) {
	r.t.Helper()
	want := block(n, 3000)
	eventually.Nil(r.t, func() error {
		if _, ok := r.Get(r.t.Context(), "n", hash(n)); ok {
			return nil
		}
		r.Put(r.t.Context(), "n", hash(n), want)
		return fmt.Errorf("payload %d is not there: up %v", n, r.value("ozmo_blockcache_redis_up"))
	})
	r.has(n, want)
}

func TestAbsentAtStart(t *testing.T) {
	for name, opts := range map[string]server.Options{"socket": {}, "tcp": {TCP: true}} {
		t.Run(name, func(t *testing.T) {
			s := server.New(t, opts)
			r := open(t, redis.Options{URL: s.URL()})
			r.misses(1)
			r.Put(t.Context(), "n", hash(1), block(1, 100))
			eventually.Nil(t, func() error {
				if r.logged("not used") == 0 {
					return fmt.Errorf("nothing is logged: %s", r.log)
				}
				return nil
			})
			s.Start()
			r.up().works(2)
			if n, m := r.logged("level=WARN"), r.logged("is used"); n != 1 || m != 1 {
				t.Errorf("%d warnings and %d lines of its use, want one each:\n%s", n, m, r.log)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	for name, end := range map[string]func(*server.Server){"stopped": (*server.Server).Stop, "killed": (*server.Server).Kill} {
		t.Run(name, func(t *testing.T) {
			s := server.Start(t, server.Options{})
			r := open(t, redis.Options{URL: s.URL()}).up()
			r.works(1)
			// Back before anybody noticed: connections are replaced as they are used.
			end(s)
			s.Start()
			r.misses(1)
			r.works(2)
			// Gone for a while: the first to ask finds out.
			end(s)
			r.misses(2)
			r.down()
			asked := r.requests("get", "error")
			for range 100 {
				r.misses(2)
				r.Put(t.Context(), "n", hash(2), block(2, 100))
			}
			if got := r.requests("get", "error"); got != asked {
				t.Errorf("Redis was asked %d times after it was lost", got-asked)
			}
			s.Start()
			r.up().works(3)
			if n, m := r.logged("level=WARN"), r.logged("is used"); n+1 != m || n > 2 {
				t.Errorf("%d warnings and %d lines of its use:\n%s", n, m, r.log)
			}
		})
	}
}

func TestFlush(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	r.works(1)
	s.Flush()
	r.misses(1)
	r.works(1)
	if n := r.logged("level=WARN"); n != 0 {
		t.Errorf("a flush was taken for a failure:\n%s", r.log)
	}
}

func TestFrozen(t *testing.T) {
	s := server.Start(t, server.Options{TCP: true})
	r := open(t, redis.Options{URL: s.URL(), Timeout: 50 * time.Millisecond, DialTimeout: 50 * time.Millisecond}).up()
	memory := blockcache.NewMemory(0, nil)
	loads := 0
	fetcher := blockcache.NewFetcher(blockcache.NewLayered(memory, r), func(_ context.Context, _ string, hash fsm.Hash) ([]byte, error) {
		loads++
		return hash[:], nil
	}, nil)
	r.works(1)
	eventually.Nil(t, func() error { return r.is("ozmo_blockcache_redis_up", 1) })
	s.Pause()
	failed, skipped := r.requests("get", "error"), r.requests("get", "skipped")
	const blocks = 300
	for i := range blocks {
		if _, err := fetcher.Fetch(t.Context(), "n", hash(1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	if loads != blocks {
		t.Errorf("%d loads, want %d", loads, blocks)
	}
	// The latency that a frozen Redis adds is that of one Get, whatever follows.
	if got := r.requests("get", "error") - failed; got > 1 {
		t.Errorf("Redis was asked %d times while it was frozen, want once", got)
	}
	if got := r.requests("get", "skipped") - skipped; got < blocks-1 {
		t.Errorf("%d blocks were fetched without asking Redis, want %d", got, blocks-1)
	}
	s.Resume()
	r.works(2)
}

// Nobody has to ask for a loss to be noticed: those who store notice too.
func TestFrozenForWriters(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL(), WriteTimeout: 50 * time.Millisecond}).up()
	s.Pause()
	r.Put(t.Context(), "n", hash(1), block(1, 1000))
	r.down()
	if got := r.requests("set", "error"); got != 1 {
		t.Errorf("%d payloads failed, want 1", got)
	}
	s.Resume()
	r.works(2)
}

func TestFull(t *testing.T) {
	s := server.Start(t, server.Options{Args: []string{"--maxmemory-policy", "noeviction"}})
	r := open(t, redis.Options{URL: s.URL()}).up()
	want := block(1, 10_000)
	r.Put(t.Context(), "n", hash(1), want)
	r.stored(1)
	s.MustDo("CONFIG", "SET", "maxmemory", "1") // less than it has: nothing more goes in
	for i := range 200 {
		r.Put(t.Context(), "n", hash(2+i), block(i, 1000))
	}
	eventually.Nil(t, func() error {
		return r.is("ozmo_blockcache_redis_requests_total", 200, "set", "refused")
	})
	r.has(1, want) // it still answers
	r.misses(2)
	if err := r.is("ozmo_blockcache_redis_up", 1); err != nil {
		t.Error(err)
	}
	s.MustDo("CONFIG", "SET", "maxmemory", "0")
	r.works(3)
	if n, m := r.logged("level=WARN"), r.logged("payloads again"); n != 1 || m != 1 {
		t.Errorf("%d warnings and %d lines of its end, want one each:\n%s", n, m, r.log)
	}
}

func TestWrongPassword(t *testing.T) {
	s := server.Start(t, server.Options{Password: "another"})
	r := open(t, redis.Options{URL: strings.Replace(s.URL(), "another", secret, 1)})
	eventually.Nil(t, func() error {
		if r.logged("WRONGPASS") == 0 {
			return fmt.Errorf("the log does not say what is wrong: %s", r.log)
		}
		return nil
	})
	r.misses(1)
	s.MustDo("ACL", "SETUSER", "default", ">"+secret)
	r.up().works(1)
	// Changed again: connections that are open stay, new ones fail.
	s.MustDo("ACL", "SETUSER", "default", "<"+secret)
	r.works(1)
	s.MustDo("CLIENT", "KILL", "TYPE", "normal")
	r.misses(1)
	r.down()
	if r.logged(secret) != 0 {
		t.Errorf("the log tells the password:\n%s", r.log)
	}
}

func TestForbidden(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	r.works(1)
	s.MustDo("ACL", "SETUSER", "default", "-set")
	r.Put(t.Context(), "n", hash(2), block(2, 100))
	eventually.Nil(t, func() error {
		return r.is("ozmo_blockcache_redis_requests_total", 1, "set", "refused")
	})
	r.works(1) // reads go on
	s.MustDo("ACL", "SETUSER", "default", "-get")
	r.misses(1)
	r.down()
	s.MustDo("ACL", "SETUSER", "default", "+@all")
	r.up().works(3)
}

func TestUntrusted(t *testing.T) {
	s := server.Start(t, server.Options{TLS: true})
	r := open(t, redis.Options{URL: s.URL()}) // the system does not know its certificate
	eventually.Nil(t, func() error {
		if r.logged("certificate") == 0 {
			return fmt.Errorf("the log does not say what is wrong: %s", r.log)
		}
		return nil
	})
	r.misses(1)
	open(t, redis.Options{URL: s.URL() + "?skip_verify=true"}).up().works(1)
}

// A Redis that answers the question whether it is there, and little else, is
// left alone for a while after each loss, though it seems to be back.
func TestHalfDead(t *testing.T) {
	s := server.Start(t, server.Options{})
	s.MustDo("ACL", "SETUSER", "default", "resetkeys", "~*:probe")
	r := open(t, redis.Options{URL: s.URL(), Connections: 4}).up()
	const losses = 4
	for i := range losses {
		eventually.Nil(t, func() error {
			r.misses(1)
			return r.is("ozmo_blockcache_redis_requests_total", float64(i+1), "get", "error")
		})
	}
	// Connections are made when it is first used, and twice after a loss: to see
	// that it answers, and to use it.
	conns := 0
	_, stats, _ := strings.Cut(s.MustDo("INFO", "commandstats"), "cmdstat_hello:calls=")
	if _, err := fmt.Sscanf(stats, "%d", &conns); err != nil {
		t.Fatal(err)
	}
	if want := (1 + 2*(losses-1)) * (4 + 1); conns < want {
		t.Errorf("%d connections were made, want at least %d", conns, want)
	}
	s.MustDo("ACL", "SETUSER", "default", "~*")
	r.works(2)
}
