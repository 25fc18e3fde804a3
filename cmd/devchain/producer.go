package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// giveUpAfter is how many blocks in a row may fail before devchain stops: a chain
// that stands still silently is worse than none.
const giveUpAfter = 5

// producer makes a block every interval, and now and then a reorganisation.
type producer struct {
	chain *chain
	opts  options
	rng   *rand.Rand
	log   *slog.Logger
}

func newProducer(c *chain, opts options, log *slog.Logger) *producer {
	return &producer{chain: c, opts: opts, log: log, rng: rand.New(rand.NewPCG(opts.seed, 0x72656f7267616e21))}
}

// run produces until ctx ends or blocks keep failing.
func (p *producer) run(ctx context.Context) error {
	if p.opts.blockTime == 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(p.opts.blockTime)
	defer ticker.Stop()
	var failed, blocks int
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := p.chain.commit(); err != nil {
			failed++
			p.log.Error("a block could not be made", "error", err, "in_a_row", failed)
			if failed == giveUpAfter {
				return fmt.Errorf("%d blocks in a row could not be made, the last one: %w", failed, err)
			}
			continue
		}
		failed = 0
		blocks++
		if p.opts.reorgEvery > 0 && blocks%p.opts.reorgEvery == 0 {
			p.reorg()
		}
	}
}

func (p *producer) reorg() {
	depth := 1 + p.rng.IntN(p.opts.reorgDepth)
	p.chain.mu.RLock()
	depth = min(depth, p.chain.deepestReorg())
	p.chain.mu.RUnlock()
	if depth == 0 {
		return // the chain is too young
	}
	result, err := p.chain.reorg(depth, 1, p.opts.reorgMode)
	if err != nil {
		p.log.Error("a reorganisation failed", "depth", depth, "error", err)
		return
	}
	p.log.Info("reorganised", "depth", depth, "fork", result.Fork.Number, "kept", len(result.Kept), "dropped", len(result.Dropped))
}
