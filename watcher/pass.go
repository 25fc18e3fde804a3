package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

var errJournal = errors.New("journal")

// pass brings the journal up to a head.
func (w *Watcher) pass(ctx context.Context, head chain.Head) error {
	if w.stale {
		h, known := w.opts.Journal.Head(w.opts.Network)
		w.branch = newBranch(h, known, w.opts.Window)
		w.stale = false
	}
	for {
		done, err := w.step(ctx, head)
		if done || err != nil {
			return err
		}
	}
}

// step is part of a pass, up to a point where the plan is to be made anew.
func (w *Watcher) step(ctx context.Context, head chain.Head) (done bool, err error) {
	tip, started := w.branch.tip()
	next := tip.Height + 1
	if !started {
		next = w.firstHeight(head)
	}
	w.seen = head.Seen
	w.noteBehind(started && head.Height < tip.Height, head, tip)
	switch {
	case started && head.Height == tip.Height:
		return true, w.replaceTip(ctx, tip, head)
	case next > head.Height:
		// Our tip is still on the chain for all we know. A branch that is
		// shorter than what was announced may win in the end or may not: it is
		// announced once it has reached our height.
		return true, nil
	}
	var skip *Announcement
	if to, ok := w.skipTo(next, head.Height, started); ok {
		skip = &Announcement{Kind: Skip, From: next, To: to - 1}
		next = to
	}
	to := head.Height
	if w.failing {
		// The first block is in the way: fetching more would be wasted.
		to, w.failing = next, false
	}
	if err := w.catchUp(ctx, next, to, head, skip); err != nil {
		return false, err
	}
	return to == head.Height, nil
}

func (w *Watcher) firstHeight(head chain.Head) uint64 {
	if w.opts.Start != nil {
		return *w.opts.Start
	}
	return head.Height
}

func (w *Watcher) skipTo(next, head uint64, started bool) (uint64, bool) {
	limit := w.opts.Spec.MaxPastBlocks
	if limit == nil || limit.Unlimited || !started && w.opts.Start == nil {
		return next, false
	}
	return skipTo(next, head, limit.N, w.opts.Spec.ConfirmationBlocks)
}

func (w *Watcher) noteBehind(behind bool, head chain.Head, tip fsm.BlockRef) {
	if behind != w.behind {
		if w.behind = behind; behind {
			w.log.Info("the node's head is below the tip, nothing to announce", "head", head.Height, "tip", tip.Height)
		}
	}
}

// catchUp announces the blocks from next to last, in order. What is ready is
// announced together; nothing that is ready waits for what is not.
func (w *Watcher) catchUp(ctx context.Context, next, last uint64, head chain.Head, skip *Announcement) error {
	fetch := w.prefetch(ctx, next, last)
	defer fetch.stop()
	var pending []Announcement
	before, linked := w.branch.tip()
	if skip != nil {
		pending, linked = append(pending, *skip), false
	}
	flush := func() error {
		err := w.announce(ctx, pending)
		pending = nil
		return err
	}
	for height := next; height <= last; height++ {
		if len(pending) > 0 && pending[len(pending)-1].Kind == Extend && !fetch.ready() {
			if err := flush(); err != nil {
				return err
			}
		}
		block, err := fetch.next()
		if err != nil {
			if len(pending) > 0 && pending[len(pending)-1].Kind == Extend {
				err = errors.Join(err, flush())
			}
			return err
		}
		if block.Ref.Height != height {
			return fmt.Errorf("block %d asked for, %s answered", height, block.Ref)
		}
		if linked && block.Parent != before.Hash {
			if err := flush(); err != nil {
				return err
			}
			if err := w.switchTo(ctx, block); err != nil {
				return err
			}
		} else {
			pending = append(pending, w.store(ctx, block).extend())
		}
		before, linked = block.Ref, true
		if len(pending) >= maxBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if last == head.Height {
		w.metrics.latency.WithLabelValues(w.opts.Network).Observe(time.Since(head.Seen).Seconds())
	}
	return nil
}

// store puts a block's payload where the workers find it, before they hear of
// the block.
func (w *Watcher) store(ctx context.Context, b *chain.Block) link {
	w.opts.Cache.Put(ctx, w.opts.Network, b.Ref.Hash, b.Payload)
	return link{ref: b.Ref, parent: b.Parent, time: b.Time}
}

// announce commits entries, as many at a time as the journal has room for.
func (w *Watcher) announce(ctx context.Context, entries []Announcement) error {
	for len(entries) > 0 {
		room, err := w.room(ctx, together(entries))
		if err != nil {
			return err
		}
		n := min(len(entries), room, maxBatch)
		for i := range entries[:n] {
			entries[i].Seen = w.seen
		}
		if err := w.opts.Journal.Announce(ctx, w.opts.Network, w.opts.Epoch, entries[:n]); err != nil {
			w.stale = true // it may have taken effect
			if errors.Is(err, ErrFenced) {
				return err
			}
			return fmt.Errorf("%w: %w", errJournal, err)
		}
		for _, a := range entries[:n] {
			w.apply(a)
		}
		entries = entries[n:]
	}
	return nil
}

// together is how many of the entries must not be parted: a skip or a
// roll-back would leave the network without a newest block of its own.
func together(entries []Announcement) int {
	if entries[0].Kind != Extend {
		return min(2, len(entries))
	}
	return 1
}

// room waits until the journal takes at least so many entries.
func (w *Watcher) room(ctx context.Context, least int) (int, error) {
	if w.opts.Room == nil {
		return maxBatch, nil
	}
	began := time.Now()
	for {
		n := w.opts.Room()
		if n >= least {
			if waited := time.Since(began); waited > 0 {
				w.metrics.waited.WithLabelValues(w.opts.Network).Add(waited.Seconds())
			}
			return n, nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}

// apply follows an announcement that is part of the sequence now.
func (w *Watcher) apply(a Announcement) {
	before, _ := w.branch.tip()
	w.branch.apply(a)
	network := w.opts.Network
	switch a.Kind {
	case Extend:
		w.metrics.blocks.WithLabelValues(network).Inc()
		w.metrics.tip.WithLabelValues(network).Set(float64(a.Ref.Height))
		if a.Ref.Height > w.top {
			w.top = a.Ref.Height
			clear(w.abandoned)
		}
	case Rollback:
		depth := before.Height - a.Ref.Height
		w.metrics.reorgs.WithLabelValues(network).Inc()
		w.metrics.undone.WithLabelValues(network).Add(float64(depth))
		w.log.Info("chain reorganised", "depth", depth, "from", before.String(), "ancestor", a.Ref.String())
	case Skip:
		n := a.To - a.From + 1
		w.metrics.skipped.WithLabelValues(network).Add(float64(n))
		w.log.Warn("blocks skipped, as max_past_blocks says", "from", a.From, "to", a.To, "blocks", n)
	}
}
