package node

import (
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/blockcache/redis"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// openCache opens the block cache: in memory, and in front of Redis where there
// is one.
func (n *Node) openCache() error {
	metrics := blockcache.NewMetrics(n.opts.Registry)
	memory := blockcache.NewMemory(n.opts.CacheBytes, metrics)
	n.cache = memory
	if n.opts.RedisURL != "" {
		if err := n.shareCache(memory); err != nil {
			return err
		}
	}
	n.fetcher = blockcache.NewFetcher(n.cache, n.watch.load, metrics)
	n.held = blockcache.NewFetcher(n.cache, n.watch.refetch, nil)
	return nil
}

func (n *Node) shareCache(memory *blockcache.Memory) error {
	shared, err := redis.New(redis.Options{
		URL: n.opts.RedisURL, Cluster: n.membership.Cluster, TTL: n.cacheTTL, Logger: n.log, Registerer: n.opts.Registry,
	})
	if err != nil {
		return err
	}
	n.clean.push(shared.Close)
	n.cache = blockcache.NewLayered(memory, shared)
	return nil
}

const (
	leastCacheTTL   = 10 * time.Minute
	defaultInterval = 12 * time.Second // between blocks, where a network does not say
)

// cacheTTL is how long a network's blocks are of use: until they are final, and
// somewhat longer for those who are late.
func (n *Node) cacheTTL(network string) time.Duration {
	v := n.state.View()
	interval, window := defaultInterval, uint32(fsm.DefaultWindow)
	if net, ok := v.Network(network); ok {
		window = max(window, net.Lease.Window)
	}
	if doc, _, err := store.FindNetwork(v, network); err == nil && doc.BlockTime > 0 {
		interval = doc.BlockTime
	}
	return max(leastCacheTTL, 2*time.Duration(window)*interval)
}
