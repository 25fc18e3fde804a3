package rpc

import "sync/atomic"

// Kind is the purpose of a call. Calls are counted by kind, because the budget
// of two calls per announced block is for first fetches of blocks only.
type Kind uint8

// The kinds of calls.
const (
	BlockFetch Kind = iota // first fetch of a block and its receipts
	HeadPoll               // question for the newest height
	Connect                // verification of an endpoint, subscription
	Hedge                  // second endpoint asked because the first is slow
	Refetch                // fetch repeated: other endpoint, later try
	kinds
)

// String is the kind as metrics spell it.
func (k Kind) String() string {
	switch k {
	case BlockFetch:
		return "block-fetch"
	case HeadPoll:
		return "head-poll"
	case Connect:
		return "connect"
	case Hedge:
		return "hedge"
	case Refetch:
		return "refetch"
	}
	return "unknown"
}

// Counters tells how many calls were sent, by kind. Each element of a batch
// counts as one.
type Counters struct {
	BlockFetch, HeadPoll, Connect, Hedge, Refetch uint64
}

type counters [kinds]atomic.Uint64

func (c *counters) add(k Kind, n int) { c[k].Add(uint64(n)) }

func (c *counters) snapshot() Counters {
	return Counters{
		BlockFetch: c[BlockFetch].Load(),
		HeadPoll:   c[HeadPoll].Load(),
		Connect:    c[Connect].Load(),
		Hedge:      c[Hedge].Load(),
		Refetch:    c[Refetch].Load(),
	}
}
