package watcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

var (
	// ErrForkBelowWindow: the chain's branch leaves the announced one at a
	// block older than the window. The network is held back until the chain
	// comes round or an operator steps in: going on would leave blocks judged
	// that are not on the chain, without a trace.
	ErrForkBelowWindow = errors.New("fork below the window")

	errBranchMoved = errors.New("the branch changed while it was followed back")
)

// replaceTip deals with a head of the height of our tip. Which block is
// canonical is what the endpoint that serves blocks says, not the one that
// pushed the head: otherwise two nodes on different branches would make us go
// back and forth. A block that was replaced at this height does not come back
// before its branch is longer.
func (w *Watcher) replaceTip(ctx context.Context, tip fsm.BlockRef, head chain.Head) error {
	now := time.Now()
	if head.Hash.IsZero() || head.Hash == tip.Hash || w.abandoned[head.Hash] || w.looked.recently(head.Hash, now, 2*w.opts.Spec.BlockTime) {
		return nil
	}
	block, err := guarded(func() (*chain.Block, error) { return w.opts.Client.Block(ctx, tip.Height) })
	if err != nil {
		return err
	}
	if block.Ref == tip || w.abandoned[block.Ref.Hash] {
		w.looked = look{head.Hash, now}
		return nil
	}
	if err := w.switchTo(ctx, block); err != nil {
		return err
	}
	w.abandoned[tip.Hash] = true
	return nil
}

// look is a question for the canonical block at the tip's height. It is not
// asked again at every poll while two nodes disagree.
type look struct {
	hash fsm.Hash // of the head that gave reason to
	at   time.Time
}

func (l look) recently(hash fsm.Hash, now time.Time, within time.Duration) bool {
	return l.hash == hash && now.Sub(l.at) < within
}

// switchTo announces the roll-back to the common ancestor of the announced
// branch and block's, and then block's branch up to it. Block is at least as
// high as the tip.
func (w *Watcher) switchTo(ctx context.Context, block *chain.Block) error {
	if len(w.side) > 4*w.opts.Window {
		clear(w.side)
	}
	lowest := w.store(ctx, block)
	branch := []link{lowest} // newest first
	for {
		if lowest.ref.Height == 0 {
			return fmt.Errorf("%w: block 0 is another one than announced: the endpoints serve another chain", ErrForkBelowWindow)
		}
		parent := fsm.BlockRef{Height: lowest.ref.Height - 1, Hash: lowest.parent}
		below := parent.Height < w.branch.lowest()
		if below && !w.branch.whole() {
			return fmt.Errorf("%w: the branch of block %s is another one down to height %d, and only %d blocks are kept",
				ErrForkBelowWindow, block.Ref, lowest.ref.Height, w.opts.Window)
		}
		if below || w.branch.contains(parent) {
			entries := []Announcement{{Kind: Rollback, Ref: parent}}
			for _, l := range slices.Backward(branch) {
				entries = append(entries, l.extend())
			}
			return w.announce(ctx, entries)
		}
		var err error
		if lowest, err = w.parentBlock(ctx, parent); err != nil {
			return fmt.Errorf("following the new branch back from block %s: %w", block.Ref, err)
		}
		branch = append(branch, lowest)
	}
}

// parentBlock finds a block of a branch that is followed back. It is asked for
// by hash, which says exactly which block is meant; where nodes do not find it
// so, by height.
func (w *Watcher) parentBlock(ctx context.Context, ref fsm.BlockRef) (link, error) {
	if l, ok := w.side[ref.Hash]; ok {
		return l, nil
	}
	block, err := guarded(func() (*chain.Block, error) { return w.opts.Client.BlockByHash(ctx, ref.Hash) })
	if err != nil && ctx.Err() == nil {
		byHeight, heightErr := guarded(func() (*chain.Block, error) { return w.opts.Client.Block(ctx, ref.Height) })
		if heightErr != nil {
			return link{}, err
		}
		block, err = byHeight, nil
	}
	if err != nil {
		return link{}, err
	}
	if block.Ref != ref {
		return link{}, fmt.Errorf("%w: block %s wanted, %s found", errBranchMoved, ref, block.Ref)
	}
	l := w.store(ctx, block)
	w.side[ref.Hash] = l
	return l, nil
}
