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
// bytes. It keeps them compressed; see Packed.
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
	key    key
	packed Packed
}

func (e *entry) cost() int64 { return int64(len(e.packed.Bytes)) + entryOverhead }

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
	e, ok := m.find(key{network, hash})
	if ok {
		payload, err := e.packed.Unpack()
		if err == nil {
			m.metrics.hits.WithLabelValues(network).Inc()
			return payload, true
		}
		// Broken memory, or a bug: either way it is not there.
	}
	m.metrics.misses.WithLabelValues(network).Inc()
	return nil, false
}

func (m *Memory) find(k key) (*entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.entries[k]
	if !ok {
		return nil, false
	}
	m.recent.MoveToFront(el)
	return el.Value.(*entry), true
}

// Put implements Cache. A payload larger than the whole cache is not kept.
func (m *Memory) Put(_ context.Context, network string, hash fsm.Hash, payload []byte) {
	k := key{network, hash}
	if _, ok := m.find(k); ok {
		return // the same block: entries are immutable
	}
	m.put(k, Pack(payload))
}

func (m *Memory) put(k key, packed Packed) {
	e := &entry{k, packed}
	if e.cost() > m.limit {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.entries[k]; ok {
		return // another Put was faster
	}
	m.entries[k] = m.recent.PushFront(e)
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
