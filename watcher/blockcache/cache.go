package blockcache

import (
	"context"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Cache stores payloads by network and block hash. It may forget any of them
// at any time, and it never fails: what it cannot store or read is absent.
// Payloads must not be changed after Put or after Get.
type Cache interface {
	Get(ctx context.Context, network string, hash fsm.Hash) ([]byte, bool)
	Put(ctx context.Context, network string, hash fsm.Hash, payload []byte)
}
