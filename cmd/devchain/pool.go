package main

import (
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/core/txpool"
)

// syncedPool is the node's transaction pool with a Sync that several may call:
// the pool itself remembers one waiter only, and an earlier one would wait for good.
type syncedPool struct {
	*txpool.TxPool
	mu sync.Mutex
}

// Sync waits until the pool has caught up with the head and with everything
// added before the call.
func (p *syncedPool) Sync() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.TxPool.Sync(); err != nil {
		return fmt.Errorf("wait for the transaction pool: %w", err)
	}
	return nil
}
