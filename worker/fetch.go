package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// errUnreadable: a payload is to be had, but it is no block of its chain.
var errUnreadable = errors.New("the payload cannot be decoded")

// fetch gets a decoded block, however long that takes: a block is given up
// only when a later announcement has rolled it back, or when nobody wants it
// any more.
func (p *pipeline) fetch(ctx context.Context, e fsm.Entry, ref fsm.BlockRef, chain chainEngines) (b timedBlock, superseded bool, err error) {
	for pause, waited := 50*time.Millisecond, false; ; pause = min(2*pause, 5*time.Second) {
		b, err := p.decoded.get(ctx, blockKey{p.network, ref}, func() (b timedBlock, size int, err error) {
			payload, err := p.opts.Blocks.Block(ctx, p.network, ref)
			if err != nil {
				return b, 0, err
			}
			if b.block, b.time, err = chain.decode(payload); err != nil {
				err = fmt.Errorf("block %v: %w: %w", ref, errUnreadable, err)
			}
			return b, len(payload), err
		})
		if err == nil {
			if waited {
				p.metrics.stalled.set(p.network, p.cohort, 0)
			}
			return b, false, nil
		}
		if errors.Is(err, errUnreadable) {
			return b, false, err
		}
		if ctx.Err() != nil {
			return b, false, context.Cause(ctx)
		}
		v := p.opts.Log.View()
		switch _, c, err := p.cursor(v); {
		case err != nil:
			return b, false, err
		case c.Position >= e.Position:
			return b, false, fmt.Errorf("%w: to %d from before %d", errMoved, c.Position, e.Position)
		}
		if p.rolledBack(v, e, ref) {
			p.metrics.stalled.set(p.network, p.cohort, 0)
			return b, true, nil
		}
		waited = true
		p.metrics.stalled.set(p.network, p.cohort, 1)
		p.log.Warn("a block to judge is not to be had; judging waits for it", "block", ref.String(), "error", err)
		select {
		case <-ctx.Done():
			return b, false, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func (p *pipeline) rolledBack(v *fsm.View, e fsm.Entry, ref fsm.BlockRef) bool {
	n, ok := v.Network(p.network)
	if !ok {
		return false
	}
	return slices.ContainsFunc(n.Entries, func(later fsm.Entry) bool {
		return later.Position > e.Position && later.Kind == fsm.Rollback && later.Ref.Height < ref.Height
	})
}
