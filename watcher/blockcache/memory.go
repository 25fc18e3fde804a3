package blockcache

import (
	"container/list"
	"context"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

const (
	defaultMemory = 256 << 20 // bytes
	entryOverhead = 256       // bytes of bookkeeping counted for each entry
)

// Memory is a Cache in this process: the payloads used last, up to a number of
// bytes.
//
// Payloads are kept as they are. Compressing them (zstd at its fastest) would
// hold about three times as many, but it would delay every announcement by the
// compression and every judgement by the decompression of a block, which is
// more than all the rest of the watcher's work at the tip; and what does not
// fit is needed only by those who lag, and can be loaded again.
type Memory struct {
	limit   int64
	metrics *Metrics

	mu      sync.Mutex
	bytes   int64
	entries map[key]*list.Element
	recent  *list.List // of *entry, used last at the front
}

type key struct {
	network string
	hash    fsm.Hash
}

type entry struct {
	key     key
	payload []byte
}

func (e *entry) cost() int64 { return int64(len(e.payload)) + entryOverhead }

// NewMemory makes a cache that keeps at most limit bytes, 256 MiB when limit is
// 0. Metrics may be nil.
func NewMemory(limit int64, metrics *Metrics) *Memory {
	if limit <= 0 {
		limit = defaultMemory
	}
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	return &Memory{limit: limit, metrics: metrics, entries: map[key]*list.Element{}, recent: list.New()}
}

// Get implements Cache.
func (m *Memory) Get(_ context.Context, network string, hash fsm.Hash) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.entries[key{network, hash}]
	if !ok {
		m.metrics.misses.WithLabelValues(network).Inc()
		return nil, false
	}
	m.metrics.hits.WithLabelValues(network).Inc()
	m.recent.MoveToFront(el)
	return el.Value.(*entry).payload, true
}

// Put implements Cache. A payload larger than the whole cache is not kept.
func (m *Memory) Put(_ context.Context, network string, hash fsm.Hash, payload []byte) {
	e := &entry{key{network, hash}, payload}
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.entries[e.key]; ok {
		m.recent.MoveToFront(el)
		return // the same block: entries are immutable
	}
	if e.cost() > m.limit {
		return
	}
	m.entries[e.key] = m.recent.PushFront(e)
	m.bytes += e.cost()
	for m.bytes > m.limit {
		m.drop(m.recent.Back())
		m.metrics.evictions.Inc()
	}
	m.metrics.bytes.Set(float64(m.bytes))
}

// Len is the number of payloads, and the bytes they count for.
func (m *Memory) Len() (entries int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries), m.bytes
}

func (m *Memory) drop(el *list.Element) {
	e := m.recent.Remove(el).(*entry)
	delete(m.entries, e.key)
	m.bytes -= e.cost()
}
