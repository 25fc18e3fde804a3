package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
)

const (
	// maxValue is the largest packed payload that is stored, in bytes: a larger one
	// could not be read within the time of a Get.
	maxValue = 4 << 20
	// What goes in one round trip. Those who read wait for as long as Redis takes
	// for it.
	batchEntries = 64
	batchBytes   = 2 << 20
)

// item is a payload on its way to Redis.
type item struct {
	key    string
	ttl    time.Duration
	packed blockcache.Packed
}

// Put implements blockcache.Cache. It returns at once; see PutPacked.
func (c *Cache) Put(_ context.Context, network string, hash fsm.Hash, payload []byte) {
	if c.link.Load() == nil {
		c.metrics.set(resultSkipped, 1)
		return
	}
	c.PutPacked(network, hash, blockcache.Pack(payload))
}

// PutPacked implements blockcache.Shared. What finds no room in the queue is
// dropped and counted.
func (c *Cache) PutPacked(network string, hash fsm.Hash, packed blockcache.Packed) {
	size := int64(len(packed.Bytes))
	switch {
	case c.link.Load() == nil:
		c.metrics.set(resultSkipped, 1)
		return
	case size > maxValue:
		c.metrics.set(resultLarge, 1)
		return
	case c.queued.Add(size) > c.opts.QueueBytes:
		c.queued.Add(-size)
		c.metrics.dropped.Inc()
		return
	}
	select {
	case c.queue <- item{blockKey(c.opts.Cluster, network, hash), c.ttl(network), packed}:
	default:
		c.queued.Add(-size)
		c.metrics.dropped.Inc()
	}
}

func (c *Cache) ttl(network string) time.Duration {
	var ttl time.Duration
	if c.opts.TTL != nil {
		ttl = c.opts.TTL(network)
	}
	if ttl <= 0 {
		return defaultTTL
	}
	return max(ttl, time.Second)
}

// write stores what was put, until the cache is closed. While Redis refuses, one
// payload in every interval of Options.Probe tries whether it still does.
func (c *Cache) write() {
	var refused error // what Redis said last
	var until time.Time
	for {
		var batch []item
		select {
		case <-c.ctx.Done():
			return
		case first := <-c.queue:
			batch = c.gather(first)
		}
		client := c.link.Load()
		if client == nil {
			c.metrics.set(resultSkipped, len(batch))
			continue
		}
		if refused != nil {
			if time.Now().Before(until) {
				c.metrics.set(resultRefused, len(batch))
				continue
			}
			c.metrics.set(resultRefused, len(batch)-1)
			batch = batch[:1]
		}
		reply, err := c.store(client, batch)
		switch {
		case err != nil:
			c.lose(client, err)
			continue
		case reply != nil && refused == nil:
			c.opts.Logger.Warn("shared block cache takes no payloads", "redis", c.name, "error", reply)
		case reply == nil && refused != nil:
			c.opts.Logger.Info("shared block cache takes payloads again", "redis", c.name)
		}
		refused, until = reply, time.Now().Add(c.opts.Probe)
	}
}

// gather takes what is waiting behind first, as much as goes in one round trip.
func (c *Cache) gather(first item) []item {
	batch, bytes := []item{first}, len(first.packed.Bytes)
	defer func() { c.queued.Add(int64(-bytes)) }()
	for len(batch) < batchEntries && bytes < batchBytes {
		select {
		case next := <-c.queue:
			batch = append(batch, next)
			bytes += len(next.packed.Bytes)
		default:
			return batch
		}
	}
	return batch
}

// store sends a batch. Reply is an error that Redis answered with, err why there
// was no answer.
func (c *Cache) store(client *goredis.Client, batch []item) (reply, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteTimeout)
	defer cancel()
	pipe := client.Pipeline()
	for _, it := range batch {
		pipe.Set(ctx, it.key, encode(it.key, it.packed), it.ttl)
	}
	begin := time.Now()
	answers, _ := pipe.Exec(ctx) // the first error of all: each answer has its own
	c.metrics.seconds.WithLabelValues("set").Observe(time.Since(begin).Seconds())
	for _, answer := range answers {
		switch failure := answer.Err(); {
		case failure == nil:
			c.metrics.set(resultOK, 1)
		case isReply(failure):
			c.metrics.set(resultRefused, 1)
			reply = failure
		default:
			c.metrics.set(resultError, 1)
			err = failure
		}
	}
	return reply, err
}
