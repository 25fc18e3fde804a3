package watcher

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// prefetcher fetches a range of blocks several at a time and hands them over in
// order. No more than prefetchWidth blocks, or about prefetchBytes, are
// outstanding.
type prefetcher struct {
	w      *Watcher
	ctx    context.Context
	cancel context.CancelFunc

	height, last uint64           // next to be started, last of the range
	started      bool             // height overflowed past last
	queue        []chan fetchDone // oldest first

	running sync.WaitGroup
	waiting atomic.Int64 // bytes fetched and not handed over
	average int64        // bytes of a block, as far as seen
}

type fetchDone struct {
	block *chain.Block
	err   error
}

func (w *Watcher) prefetch(ctx context.Context, from, to uint64) *prefetcher {
	p := &prefetcher{w: w, height: from, last: to}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.fill()
	return p
}

// stop ends fetches under way and waits for them.
func (p *prefetcher) stop() {
	p.cancel()
	p.running.Wait()
}

// ready reports whether next would return at once.
func (p *prefetcher) ready() bool { return len(p.queue) > 0 && len(p.queue[0]) > 0 }

// next returns the next block of the range. The error ends the prefetcher.
func (p *prefetcher) next() (*chain.Block, error) {
	p.fill()
	done := <-p.queue[0]
	p.queue = p.queue[1:]
	if done.err != nil {
		return nil, done.err
	}
	size := int64(len(done.block.Payload))
	p.waiting.Add(-size)
	p.average = (3*p.average + size) / 4
	p.fill()
	return done.block, nil
}

// fill starts fetches while there is room. One is always under way.
func (p *prefetcher) fill() {
	for !p.started && len(p.queue) < prefetchWidth {
		expected := p.waiting.Load() + int64(len(p.queue))*p.average
		if len(p.queue) > 0 && expected >= prefetchBytes {
			return
		}
		p.start(p.height)
		p.started = p.height == p.last
		p.height++
	}
}

func (p *prefetcher) start(height uint64) {
	ctx := p.ctx
	if height < p.w.asked {
		ctx = chain.Refetch(ctx)
	}
	p.w.asked = max(p.w.asked, height+1)
	out := make(chan fetchDone, 1)
	p.queue = append(p.queue, out)
	p.running.Go(func() {
		block, err := guarded(func() (*chain.Block, error) { return p.w.opts.Client.Block(ctx, height) })
		if err == nil {
			p.waiting.Add(int64(len(block.Payload)))
		}
		out <- fetchDone{block, err}
	})
}
