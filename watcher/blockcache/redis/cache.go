package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

// Cache implements blockcache.Cache and blockcache.Shared.
type Cache struct {
	opts    Options
	name    string // of the Redis, for the log
	client  *goredis.Options
	metrics *metrics

	// link is nil while Redis is not to be asked. It is the circuit breaker.
	link atomic.Pointer[goredis.Client]
	lost chan struct{} // of one: link was set to nil

	slots  chan struct{} // taken by those who ask Redis
	queue  chan item     // what was put
	queued atomic.Int64  // bytes in queue

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool // then nothing more is added to running
	calls  map[string]*call
}

var (
	_ blockcache.Cache  = (*Cache)(nil)
	_ blockcache.Shared = (*Cache)(nil)
)

// call is a question to Redis, shared by all who ask the same.
type call struct {
	done   chan struct{}
	packed blockcache.Packed
	ok     bool
}

// New makes a Cache and begins to connect. It fails with ErrOptions when the
// options cannot be used, never because of Redis.
func New(opts Options) (*Cache, error) {
	opts = opts.withDefaults()
	client, err := opts.parse()
	if err != nil {
		return nil, err
	}
	// The client's own log is one for the whole process, and has nothing to say
	// that is not said here.
	logging.Disable()
	c := &Cache{
		opts: opts, name: opts.String(), metrics: newMetrics(opts.Registerer),
		lost: make(chan struct{}, 1), slots: make(chan struct{}, opts.Connections),
		queue: make(chan item, opts.QueueEntries), calls: map[string]*call{},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	client.Dialer = c.dialer(client.TLSConfig)
	c.client = client
	c.running.Go(c.connect)
	c.running.Go(c.write)
	return c, nil
}

// String names the Redis without its password.
func (c *Cache) String() string { return c.name }

// Close ends all goroutines and connections; what was put and is not stored yet
// is dropped. From then on everything is absent.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	if client := c.link.Swap(nil); client != nil {
		_ = client.Close() // nothing of it is needed any more
		c.metrics.up.Set(0)
	}
	c.running.Wait()
	return nil
}

// enter makes Close wait for leave. It is refused once the cache is closed.
func (c *Cache) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Add(1)
	}
	return !c.closed
}

func (c *Cache) leave() { c.running.Done() }

// Get implements blockcache.Cache. It ends with ctx, and within Options.Timeout.
func (c *Cache) Get(ctx context.Context, network string, hash fsm.Hash) ([]byte, bool) {
	packed, ok := c.GetPacked(ctx, network, hash)
	if !ok {
		return nil, false
	}
	payload, err := packed.Unpack()
	return payload, err == nil
}

// GetPacked implements blockcache.Shared. It ends with ctx, and within
// Options.Timeout.
func (c *Cache) GetPacked(ctx context.Context, network string, hash fsm.Hash) (blockcache.Packed, bool) {
	if ctx.Err() != nil {
		return blockcache.Packed{}, false
	}
	if c.link.Load() == nil {
		c.metrics.get(resultSkipped)
		return blockcache.Packed{}, false
	}
	call := c.ask(blockKey(c.opts.Cluster, network, hash))
	if call == nil {
		return blockcache.Packed{}, false
	}
	select {
	case <-call.done:
		return call.packed, call.ok
	case <-ctx.Done():
		return blockcache.Packed{}, false
	}
}

// ask begins to ask Redis for a key, or joins those who do. What Redis is judged
// by is the time it has, not that of a caller who may have little left.
func (c *Cache) ask(key string) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if a, ok := c.calls[key]; ok {
		return a
	}
	a := &call{done: make(chan struct{})}
	c.calls[key] = a
	c.running.Go(func() {
		var result string
		a.packed, result = c.read(key)
		a.ok = result == resultHit
		c.metrics.get(result)
		c.mu.Lock()
		delete(c.calls, key)
		c.mu.Unlock()
		close(a.done)
	})
	return a
}

func (c *Cache) read(key string) (p blockcache.Packed, result string) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.Timeout)
	defer cancel()
	// At least half of the time is for the answer: a Redis that was asked late is
	// not slow.
	queueing, cancelQueueing := context.WithTimeout(ctx, c.opts.Timeout/2)
	defer cancelQueueing()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-queueing.Done():
		return p, resultBusy
	}
	client := c.link.Load()
	if client == nil {
		return p, resultSkipped // lost while waiting
	}
	begin := time.Now()
	value, err := client.Get(ctx, key).Bytes()
	c.metrics.seconds.WithLabelValues("get").Observe(time.Since(begin).Seconds())
	switch {
	case err == nil:
		p, ok := decode(key, value)
		if !ok {
			return p, resultCorrupt
		}
		return p, resultHit
	case errors.Is(err, goredis.Nil):
		return p, resultMiss
	case isReply(err) && strings.HasPrefix(err.Error(), "WRONGTYPE"):
		return p, resultCorrupt
	default:
		c.lose(client, err)
		return p, resultError
	}
}

// isReply reports whether Redis answered, though with an error.
func isReply(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply)
}
