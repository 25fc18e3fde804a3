package blockcache

import (
	"context"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Shared is a cache that several nodes use. Like a Cache it may forget and never
// fails; payloads go in and out packed, so that each is packed once.
type Shared interface {
	// GetPacked waits no longer than ctx, and a short time of its own.
	GetPacked(ctx context.Context, network string, hash fsm.Hash) (Packed, bool)
	// PutPacked returns at once: what is put is there later, or never.
	PutPacked(network string, hash fsm.Hash, packed Packed)
}

// Layered is a Cache of this node's memory before one that is shared: a node
// asks for a block it has not seen, and what one node puts is there for all. Put
// waits for neither.
type Layered struct {
	memory *Memory
	shared Shared
}

// NewLayered makes a cache of both. Hits and misses are counted by the memory;
// what it misses and the shared cache has is counted by the latter.
func NewLayered(memory *Memory, shared Shared) *Layered {
	return &Layered{memory: memory, shared: shared}
}

// Get implements Cache. What comes from the shared cache stays in memory.
func (l *Layered) Get(ctx context.Context, network string, hash fsm.Hash) ([]byte, bool) {
	if payload, ok := l.memory.Get(ctx, network, hash); ok {
		return payload, true
	}
	packed, ok := l.shared.GetPacked(ctx, network, hash)
	if !ok {
		return nil, false
	}
	payload, err := packed.Unpack()
	if err != nil {
		return nil, false // not ours, whatever it is
	}
	l.memory.put(key{network, hash}, packed)
	return payload, true
}

// Put implements Cache: the payload is in memory when it returns, and on its way
// to the shared cache.
func (l *Layered) Put(_ context.Context, network string, hash fsm.Hash, payload []byte) {
	k := key{network, hash}
	if e, ok := l.memory.find(k); ok {
		l.shared.PutPacked(network, hash, e.packed) // it may have lost it
		return
	}
	packed := Pack(payload)
	l.memory.put(k, packed)
	l.shared.PutPacked(network, hash, packed)
}
