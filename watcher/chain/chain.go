package chain

import (
	"context"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Block is one complete block: everything the workers need to judge it.
// It is immutable once a Client has returned it.
type Block struct {
	Ref     fsm.BlockRef
	Parent  fsm.Hash
	Time    time.Time
	Payload []byte // in the form of its chain; what the block cache stores
}

// Head is the newest block a node claims to have.
type Head struct {
	Height uint64
	Hash   fsm.Hash  // zero when only the height is known
	Parent fsm.Hash  // zero when only the height is known
	Seen   time.Time // when this process learned of it
}

// Client reads one network. Implementations are safe for concurrent use,
// never return a partial block, and never put an endpoint's path, query or
// credentials into an error.
type Client interface {
	// Head asks once for the newest block.
	Head(ctx context.Context) (Head, error)

	// Heads delivers heads as the node pushes them, reconnecting by itself.
	// The channel is closed when ctx or the client ends. The error is
	// ErrNoHeadSource when the network has no endpoint that can push.
	Heads(ctx context.Context) (<-chan Head, error)

	// Block fetches the block that the node holds canonical at a height. It is
	// complete or an error: ErrNotFound, ErrIncomplete, or one of the endpoints'.
	Block(ctx context.Context, height uint64) (*Block, error)

	// BlockByHash fetches a block on whatever branch it lies. The error is
	// ErrNotFound when no endpoint has it (any longer).
	BlockByHash(ctx context.Context, hash fsm.Hash) (*Block, error)

	// Close releases connections. Calls in flight fail.
	Close() error
}
