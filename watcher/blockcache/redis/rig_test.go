package redis_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cluster = "c"
	// ample is a limit for tests that are not about it: a slow machine must not
	// make Redis look slow.
	ample = time.Minute
)

// rig is a cache whose metrics and log are seen.
type rig struct {
	*redis.Cache
	t   testing.TB
	reg *prometheus.Registry
	log *logs.Buffer
}

// open makes a cache that looks for Redis often, and is patient unless told
// otherwise.
func open(t testing.TB, o redis.Options) *rig {
	t.Helper()
	r := &rig{t: t, reg: prometheus.NewRegistry(), log: &logs.Buffer{}}
	o.Registerer, o.Logger = r.reg, slog.New(slog.NewTextHandler(r.log, nil))
	if o.Cluster == "" {
		o.Cluster = cluster
	}
	for _, d := range []*time.Duration{&o.Timeout, &o.DialTimeout, &o.WriteTimeout} {
		if *d == 0 {
			*d = ample
		}
	}
	if o.Probe == 0 {
		o.Probe = 10 * time.Millisecond
	}
	c, err := redis.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Cache = c
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			t.Logf("the cache logged:\n%s", r.log)
		}
	})
	return r
}

// up waits until Redis is used.
func (r *rig) up() *rig {
	r.t.Helper()
	eventually.Nil(r.t, func() error { return r.is("ozmo_blockcache_redis_up", 1) })
	return r
}

// down waits until it is not.
func (r *rig) down() {
	r.t.Helper()
	eventually.Nil(r.t, func() error { return r.is("ozmo_blockcache_redis_up", 0) })
}

func (r *rig) is(name string, want float64, labels ...string) error {
	if got := r.value(name, labels...); got != want {
		return fmt.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
	return nil
}

func (r *rig) requests(op, result string) int {
	return int(r.value("ozmo_blockcache_redis_requests_total", op, result))
}

// stored waits until Redis has taken n payloads.
func (r *rig) stored(n int) {
	r.t.Helper()
	eventually.Nil(r.t, func() error {
		return r.is("ozmo_blockcache_redis_requests_total", float64(n), "set", "ok")
	})
}

// value is that of a counter or a gauge, or the count of a histogram; 0 when
// there is none with these label values.
func (r *rig) value(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && labelled(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func labelled(m *dto.Metric, values []string) bool {
	for i, l := range m.GetLabel() {
		if i >= len(values) || l.GetValue() != values[i] {
			return false
		}
	}
	return true
}

// has fails the test unless the payload is there. It asks once.
func (r *rig) has(n int, want []byte) {
	r.t.Helper()
	if got, ok := r.Get(r.t.Context(), "n", hash(n)); !ok || !bytes.Equal(got, want) {
		r.t.Errorf("payload %d: %d bytes, %v; want %d bytes", n, len(got), ok, len(want))
	}
}

func (r *rig) misses(n int) {
	r.t.Helper()
	if got, ok := r.Get(r.t.Context(), "n", hash(n)); ok {
		r.t.Errorf("payload %d is there: %d bytes", n, len(got))
	}
}

// logged is how often a text is in the log.
func (r *rig) logged(text string) int { return strings.Count(r.log.String(), text) }

func hash(n int) (h fsm.Hash) {
	h[0], h[1] = byte(n>>8), byte(n)
	return h
}

func key(n int) string { return "ozmo:1:" + cluster + ":block:n:" + hash(n).String() }

// noise is a payload that does not become smaller by compressing it.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// block is a payload like a block's: n bytes of JSON, of which a part differs
// from block to block.
func block(seed, n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"receipts":[`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"transactionHash":"0x%x","status":"0x1","cumulativeGasUsed":"0x%x","logsBloom":"0x%0512d","logs":[]},`,
			noise(seed*1000+i, 32), i*21000, 0)
	}
	b.Truncate(n - 2)
	b.WriteString("]}")
	return b.Bytes()
}
