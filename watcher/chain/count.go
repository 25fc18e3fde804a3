package chain

import (
	"context"
	"sync/atomic"
)

type countKey struct{}

// Counting has the calls that a fetch makes of endpoints added up, beside the
// client's own counters: it tells what this one has cost.
func Counting(ctx context.Context, calls *atomic.Uint64) context.Context {
	return context.WithValue(ctx, countKey{}, calls)
}

// Count is what clients call for every call they send.
func Count(ctx context.Context, calls int) {
	if c, ok := ctx.Value(countKey{}).(*atomic.Uint64); ok {
		c.Add(uint64(calls)) //nolint:gosec // not negative
	}
}
