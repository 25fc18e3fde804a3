package postgres

import (
	"container/list"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

// cache keeps the contents that were used last, in bounded memory. What it has is
// always right: contents do not change under their hash.
type cache struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	order *list.List // of *cached, the last used first
	items map[fsm.Hash]*list.Element
}

type cached struct {
	hash fsm.Hash
	data []byte
}

// cachedOverhead is what a content takes beside its bytes.
const cachedOverhead = 160

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), items: map[fsm.Hash]*list.Element{}}
}

func (c *cache) get(hash fsm.Hash) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[hash]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).data, true
}

func (c *cache) put(hash fsm.Hash, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[hash]; ok {
		return
	}
	c.items[hash] = c.order.PushFront(&cached{hash, data})
	c.bytes += int64(len(data)) + cachedOverhead
	for c.bytes > c.limit && c.order.Len() > 1 {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached)
		delete(c.items, old.hash)
		c.bytes -= int64(len(old.data)) + cachedOverhead
	}
}

func (c *cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
