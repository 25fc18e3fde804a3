package blockcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ozmo-dev/ozmo/fsm"
)

// loadTimeout bounds a load, which does not end with the first of its callers.
const loadTimeout = time.Minute

// Loader gets a payload that the cache does not have: from the lease holder's
// cache, or on the lease holder itself from the chain.
type Loader func(ctx context.Context, network string, hash fsm.Hash) ([]byte, error)

// Fetcher is how workers get payloads.
type Fetcher struct {
	cache   Cache
	load    Loader
	metrics *Metrics
	group   singleflight.Group
}

// NewFetcher makes a Fetcher. Metrics may be nil.
func NewFetcher(cache Cache, load Loader, metrics *Metrics) *Fetcher {
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	return &Fetcher{cache: cache, load: load, metrics: metrics}
}

// Fetch returns the payload of a block. Those who ask for the same block at the
// same time share one load, which goes on when some of them leave. The error is
// the loader's, or that of ctx.
func (f *Fetcher) Fetch(ctx context.Context, network string, hash fsm.Hash) ([]byte, error) {
	if payload, ok := f.cache.Get(ctx, network, hash); ok {
		return payload, nil
	}
	result := f.group.DoChan(network+" "+hash.String(), func() (_ any, err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("loading block %s of network %s: panic: %v", hash.Short(), network, v)
			}
		}()
		loading, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		payload, err := f.load(loading, network, hash)
		if err == nil && payload == nil {
			err = errors.New("nothing was loaded")
		}
		if err != nil {
			f.metrics.loads.WithLabelValues(network, "failed").Inc()
			return nil, fmt.Errorf("loading block %s of network %s: %w", hash.Short(), network, err)
		}
		f.metrics.loads.WithLabelValues(network, "ok").Inc()
		f.cache.Put(loading, network, hash, payload)
		return payload, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		payload, _ := r.Val.([]byte)
		return payload, nil
	}
}
