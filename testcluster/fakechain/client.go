package fakechain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// callsPerBlock is what the EVM client sends for a block: one call for it, one
// for its receipts.
const callsPerBlock = 2

// Client reads the chain without a socket, in place of the EVM client. It
// counts what that one would have sent.
type Client struct {
	site  *Site
	kinds [rpc.Refetch + 1]atomic.Uint64

	closing sync.Once
	closed  chan struct{}
}

var _ chain.Client = (*Client)(nil)

var errClosed = errors.New("the client is closed")

// Client makes a client for a host. Faults are the host's; see Site.
func (c *Chain) Client(host string) *Client {
	return &Client{site: c.Site(host), closed: make(chan struct{})}
}

// Counters tells how many calls were sent, by kind.
func (c *Client) Counters() rpc.Counters {
	return rpc.Counters{
		BlockFetch: c.kinds[rpc.BlockFetch].Load(), HeadPoll: c.kinds[rpc.HeadPoll].Load(),
		Connect: c.kinds[rpc.Connect].Load(), Hedge: c.kinds[rpc.Hedge].Load(), Refetch: c.kinds[rpc.Refetch].Load(),
	}
}

// Close implements chain.Client.
func (c *Client) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return nil
}

// call goes to the chain: it is counted, meets the host's faults, and returns
// what the chain looks like once it arrives.
func (c *Client) call(ctx context.Context, kind rpc.Kind, calls int) (view, error) {
	c.kinds[kind].Add(uint64(calls)) //nolint:gosec // one or two
	c.site.count(kind, calls)
	chain.Count(ctx, calls)
	if err := c.site.pass(ctx, c.closed); err != nil {
		return view{}, err
	}
	return c.site.chain.now(), nil
}

// Head implements chain.Client.
func (c *Client) Head(ctx context.Context) (chain.Head, error) {
	v, err := c.call(ctx, rpc.HeadPoll, 1)
	if err != nil {
		return chain.Head{}, err
	}
	return headOf(v.at(v.head)), nil
}

func headOf(b *Block) chain.Head {
	return chain.Head{Height: b.Number, Hash: b.Hash, Parent: b.Parent, Seen: time.Now()}
}

// Block implements chain.Client.
func (c *Client) Block(ctx context.Context, height uint64) (*chain.Block, error) {
	return c.fetch(ctx, fmt.Sprintf("block %d", height), func(v view) *Block { return v.at(height) })
}

// BlockByHash implements chain.Client.
func (c *Client) BlockByHash(ctx context.Context, hash fsm.Hash) (*chain.Block, error) {
	return c.fetch(ctx, "block "+hash.Short(), func(v view) *Block { return v.byHash(hash) })
}

func (c *Client) fetch(ctx context.Context, what string, find func(view) *Block) (*chain.Block, error) {
	kind := rpc.BlockFetch
	if chain.IsRefetch(ctx) {
		kind = rpc.Refetch
	}
	v, err := c.call(ctx, kind, callsPerBlock)
	if err != nil {
		return nil, err
	}
	b := find(v)
	if b == nil {
		return nil, fmt.Errorf("%s: %w", what, chain.ErrNotFound)
	}
	return &chain.Block{
		Ref: b.Ref(), Parent: b.Parent, Time: time.Unix(int64(b.Time), 0).UTC(), Payload: b.payload, //nolint:gosec // a year of this century
	}, nil
}

// Heads implements chain.Client. What comes while the host is cut off or
// stalled is lost, as with a subscription; then the newest head is delivered.
func (c *Client) Heads(ctx context.Context) (<-chan chain.Head, error) {
	if !c.site.pushes() {
		return nil, chain.ErrNoHeadSource
	}
	c.kinds[rpc.Connect].Add(1)
	c.site.count(rpc.Connect, 1)
	f := &feed{wake: make(chan struct{}, 1)}
	out := make(chan chain.Head)
	c.site.chain.listen(f, true)
	go func() {
		defer close(out)
		defer c.site.chain.listen(f, false)
		for {
			healthy, changed := c.site.healthy()
			var next *Block
			var to chan chain.Head
			var head chain.Head
			if !healthy {
				f.lost()
			} else if next = f.next(c.site.chain); next != nil {
				to, head = out, headOf(next)
			}
			select {
			case <-ctx.Done():
				return
			case <-c.closed:
				return
			case <-changed:
				if next != nil {
					f.again(next)
				}
			case <-f.wake:
				if next != nil {
					f.again(next)
				}
			case to <- head:
			}
		}
	}()
	return out, nil
}

// feed is the blocks that one subscriber has not been told of yet.
type feed struct {
	wake chan struct{}

	mu     sync.Mutex
	queue  []*Block
	missed bool
}

func (f *feed) push(b *Block) {
	f.mu.Lock()
	f.queue = append(f.queue, b)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// lost forgets what is queued.
func (f *feed) lost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue, f.missed = nil, true
}

// next takes the oldest block of the queue, or the newest of the chain after
// some were lost.
func (f *feed) next(c *Chain) *Block {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missed {
		f.missed, f.queue = false, nil
		return c.Head()
	}
	if len(f.queue) == 0 {
		return nil
	}
	b := f.queue[0]
	f.queue = f.queue[1:]
	return b
}

// again puts a block back that nobody took.
func (f *feed) again(b *Block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append([]*Block{b}, f.queue...)
}
