package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	server "github.com/ozmo-dev/ozmo/testcluster/redis"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
)

func TestNodesShare(t *testing.T) {
	for name, opts := range map[string]server.Options{
		"socket": {}, "password": {Password: secret}, "tcp": {TCP: true, Password: secret}, "tls": {TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := server.Start(t, opts)
			o := redis.Options{URL: s.URL()}
			if opts.TLS {
				o.TLS = &tls.Config{RootCAs: s.Roots()}
			}
			one, two := open(t, o).up(), open(t, o).up()
			two.misses(1)
			payloads := [][]byte{block(0, 20_000), noise(1, 1000), {}}
			for i, p := range payloads {
				one.Put(t.Context(), "n", hash(i), p)
			}
			one.stored(len(payloads))
			for i, p := range payloads {
				two.has(i, p)
			}
			if hits, misses := two.requests("get", "hit"), two.requests("get", "miss"); hits != 3 || misses != 1 {
				t.Errorf("%d hits and %d misses are counted, want 3 and 1", hits, misses)
			}
			if got, ok := two.Get(t.Context(), "other", hash(0)); ok {
				t.Errorf("a payload of one network is found under another: %d bytes", len(got))
			}
			open(t, redis.Options{URL: o.URL, TLS: o.TLS, Cluster: "other"}).up().misses(0)
			s.MustDo("RENAME", key(0), strings.Replace(key(0), "ozmo:1:", "ozmo:2:", 1))
			two.misses(0)
			for _, r := range []*rig{one, two} {
				if strings.Contains(r.log.String()+r.String(), secret) {
					t.Errorf("the log tells the password:\n%s", r.log)
				}
			}
		})
	}
}

func TestTTL(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL(), TTL: func(network string) time.Duration {
		return map[string]time.Duration{"n": 100 * time.Minute, "short": time.Millisecond}[network]
	}}).up()
	for i, network := range []string{"n", "short", "unknown"} {
		r.Put(t.Context(), network, hash(i), []byte("block"))
	}
	r.stored(3)
	ttl := func(network string, n int) time.Duration {
		ms, err := strconv.Atoi(s.MustDo("PTTL", strings.Replace(key(n), ":n:", ":"+network+":", 1)))
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	if got := ttl("n", 0); got <= 90*time.Minute || got > 100*time.Minute {
		t.Errorf("a payload is kept for %v, want 100 minutes", got)
	}
	if got := ttl("unknown", 2); got <= 50*time.Minute || got > time.Hour {
		t.Errorf("a payload is kept for %v, want an hour", got)
	}
	eventually.Nil(t, func() error {
		if got := ttl("short", 1); got >= 0 {
			return fmt.Errorf("a payload is there for another %v", got)
		}
		return nil
	})
}

func TestForeignValuesAreMisses(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	want := block(1, 5000)
	puts := 0
	put := func(n int, payload []byte) {
		t.Helper()
		r.Put(t.Context(), "n", hash(n), payload)
		puts++
		r.stored(puts)
	}
	put(1, want)
	value := s.MustDo("GET", key(1))
	for name, spoil := range map[string]func(){
		"torn":        func() { s.MustDo("SET", key(1), value[:len(value)-1]) },
		"longer":      func() { s.MustDo("APPEND", key(1), "x") },
		"one byte":    func() { s.MustDo("SETRANGE", key(1), "100", string(value[100]+1)) },
		"size":        func() { s.MustDo("SETRANGE", key(1), "1", "\xff\xff\xff") },
		"empty":       func() { s.MustDo("SET", key(1), "") },
		"foreign":     func() { s.MustDo("SET", key(1), "something else that is longer than a header") },
		"another key": func() { s.MustDo("RENAME", key(2), key(1)) },
		"a list":      func() { s.MustDo("DEL", key(1)); s.MustDo("RPUSH", key(1), "x") },
	} {
		put(2, block(2, 4000))
		corrupt := r.requests("get", "corrupt")
		spoil()
		r.misses(1)
		if got := r.requests("get", "corrupt") - corrupt; got != 1 {
			t.Errorf("%s: %d corrupt values are counted, want 1", name, got)
		}
		put(1, want) // mends it
		r.has(1, want)
	}
	if err := r.is("ozmo_blockcache_redis_up", 1); err != nil {
		t.Error(err)
	}
}

// Commands are counted by the server: what a connection costs, and what it says.
func TestNoChatter(t *testing.T) {
	s := server.Start(t, server.Options{TCP: true, Password: secret})
	r := open(t, redis.Options{URL: s.URL()}).up()
	for i := range 10 {
		r.Put(t.Context(), "n", hash(i), noise(i, 100))
	}
	r.stored(10)
	r.has(3, noise(3, 100))
	for line := range strings.Lines(s.MustDo("INFO", "commandstats")) {
		command, _, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		switch command {
		case "hello", "get", "set":
		case "ping", "info", "auth", "# Commandstats\r\n": // the server's own helper
		default:
			t.Errorf("the cache sends %s", strings.TrimSpace(line))
		}
	}
}

func TestOneQuestionForAll(t *testing.T) {
	s := server.Start(t, server.Options{})
	r := open(t, redis.Options{URL: s.URL()}).up()
	want := block(1, 5000)
	r.Put(t.Context(), "n", hash(1), want)
	r.stored(1)
	s.Pause()
	first := redis.Ask(r.Cache, key(1))
	for range 10 {
		if redis.Ask(r.Cache, key(1)) != first {
			t.Error("the same is asked twice at a time")
		}
	}
	if redis.Ask(r.Cache, key(2)) == first {
		t.Error("another payload is taken for the same")
	}
	leaving, leave := context.WithCancel(t.Context())
	var left sync.WaitGroup
	left.Go(func() {
		if _, ok := r.Get(leaving, "n", hash(1)); ok {
			t.Error("a frozen Redis answers")
		}
	})
	leave()
	left.Wait() // long before the answer
	s.Resume()
	r.has(1, want)
	<-first
	if err := r.is("ozmo_blockcache_redis_up", 1); err != nil {
		t.Errorf("one who left was taken for a failure of Redis: %v", err)
	}
	if _, ok := r.Get(leaving, "n", hash(1)); ok {
		t.Error("a Get whose context has ended found something")
	}
}

func TestClose(t *testing.T) {
	s := server.Start(t, server.Options{})
	absent := server.New(t, server.Options{})
	for name, url := range map[string]string{"used": s.URL(), "absent": absent.URL()} {
		r := open(t, redis.Options{URL: url})
		r.Put(t.Context(), "n", hash(1), block(1, 1000))
		r.Close()
		r.Close()
		r.Put(t.Context(), "n", hash(1), block(1, 1000))
		r.misses(1)
		if err := r.is("ozmo_blockcache_redis_up", 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	frozen := open(t, redis.Options{URL: s.URL()}).up()
	s.Pause()
	var asking sync.WaitGroup
	for i := range 10 {
		frozen.Put(t.Context(), "n", hash(i), block(i, 1000))
		asking.Go(func() { frozen.misses(i) })
	}
	eventually.Nil(t, func() error {
		if n := redis.Asked(frozen.Cache); n != 10 {
			return fmt.Errorf("%d questions, want 10", n)
		}
		return nil
	})
	frozen.Close() // long before what they wait for would end
	asking.Wait()
	if n := frozen.logged("level=WARN"); n != 0 {
		t.Errorf("closing was logged as %d failures", n)
	}
}
