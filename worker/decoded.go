package worker

import (
	"context"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Bounds of the decoded blocks that are kept for the other runners of the node.
const (
	keepDecoded      = 32
	keepDecodedBytes = 64 << 20 // of their payloads
)

// timedBlock is a decoded block with its own time. Judging does not change it.
type timedBlock struct {
	block block
	time  time.Time
}

// decoded has each block fetched and decoded once, whichever runners ask for it:
// at the tip they all ask at about the same time.
type decoded struct {
	mu     sync.Mutex
	shared bool // several runners ask
	loads  map[blockKey]*load
	kept   []*load // the oldest first
	bytes  int
}

type blockKey struct {
	network string
	ref     fsm.BlockRef
}

// load is one block being fetched and decoded, or the outcome.
type load struct {
	key       blockKey
	done      chan struct{}
	block     timedBlock
	size      int
	err       error
	abandoned bool // the loader's own end, not the block's: others try themselves
}

// share says whether blocks are worth keeping.
func (d *decoded) share(several bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shared = several; !several {
		d.evict(0, 0)
	}
}

// get gives a block. Of several callers one fetches; the others take what it got.
func (d *decoded) get(ctx context.Context, key blockKey, fetch func() (timedBlock, int, error)) (timedBlock, error) {
	for {
		d.mu.Lock()
		l := d.loads[key]
		if l == nil {
			l = &load{key: key, done: make(chan struct{})}
			if d.loads == nil {
				d.loads = map[blockKey]*load{}
			}
			d.loads[key] = l
			d.mu.Unlock()
			d.run(ctx, l, fetch)
			return l.block, l.err
		}
		d.mu.Unlock()
		select {
		case <-l.done:
			if !l.abandoned {
				return l.block, l.err
			}
		case <-ctx.Done():
			return timedBlock{}, context.Cause(ctx)
		}
	}
}

// run fetches a block. A panic goes on to the caller; others then try themselves.
func (d *decoded) run(ctx context.Context, l *load, fetch func() (timedBlock, int, error)) {
	l.abandoned = true
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if l.abandoned || l.err != nil || !d.shared {
			delete(d.loads, l.key)
		} else {
			d.kept = append(d.kept, l)
			d.bytes += l.size
			d.evict(keepDecoded, keepDecodedBytes)
		}
		close(l.done)
	}()
	l.block, l.size, l.err = fetch()
	l.abandoned = l.err != nil && ctx.Err() != nil
}

// evict forgets the oldest blocks. The caller holds mu.
func (d *decoded) evict(number, bytes int) {
	for len(d.kept) > number || d.bytes > bytes {
		delete(d.loads, d.kept[0].key)
		d.bytes -= d.kept[0].size
		d.kept[0] = nil
		d.kept = d.kept[1:]
	}
}
