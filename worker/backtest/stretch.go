package backtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

var (
	// errJudge: trying again does not help.
	errJudge = errors.New("the blocks cannot be judged")
	// errUntold: what was found may be in the state, or not.
	errUntold = errors.New("what was found could not be told")
)

const (
	// reportEvery is how long is judged before the state is told.
	reportEvery = 2 * time.Second
	// blockPatience is how long one block may take to come.
	blockPatience = 30 * time.Second
)

// stretch is heights of a part that are judged and told together, beginning with the
// one that the state says is next.
type stretch struct {
	r     *Runner
	at    place
	job   *fsm.Backtest
	part  *fsm.BacktestPart // as the state has it
	judge judge

	next    uint64
	parent  fsm.Hash
	last    fsm.Hash
	counts  fsm.BacktestCounts
	matches []fsm.BacktestMatch
	misses  []fsm.BacktestMiss
	anew    bool
}

// run judges for a while and tells what it has found. It reports whether the part has
// come further; where it has, and could not go on, with the error.
func (s *stretch) run(ctx context.Context) (moved bool, err error) {
	deadline := time.Now().Add(reportEvery)
	for s.next <= s.part.To && !s.anew && time.Now().Before(deadline) {
		if err = s.block(ctx); err != nil {
			break
		}
	}
	if s.next == s.part.Next && !s.anew {
		return false, err
	}
	c := s.command()
	c.Anew = s.anew
	if !s.anew {
		c.Next, c.Parent, c.Last, c.Counts, c.Matches, c.Misses = s.next, s.parent, s.last, s.counts, s.matches, s.misses
	}
	if _, told := s.r.opts.Log.Propose(ctx, c); told != nil {
		// Whether it was committed, the state tells: it is looked at again.
		return false, fmt.Errorf("%w: %w", errUntold, told)
	}
	s.r.metrics.note(&s.counts)
	return true, err
}

func (s *stretch) command() *fsm.WorkBacktest {
	return &fsm.WorkBacktest{
		Tenant: s.at.tenant, ID: s.at.id, Part: s.at.part, Epoch: s.at.epoch, Seen: s.part.Next, At: time.Now().UnixMilli(),
	}
}

// block judges the next height.
func (s *stretch) block(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, blockPatience)
	payload, calls, err := s.r.opts.Blocks.Past(limited, s.at.tenant, s.job.Watch.Network, s.next)
	cancel()
	if err != nil {
		return fmt.Errorf("network %s, block %d: %w", s.job.Watch.Slug, s.next, err)
	}
	v, took, err := s.r.judgeOne(ctx, s.judge, payload, room{
		matches: fsm.MaxBacktestMatches - len(s.part.Matches) - len(s.matches),
		misses:  fsm.MaxBacktestMisses - len(s.part.Misses) - len(s.misses),
	})
	s.r.opts.Meter.Evaluated(s.at.tenant, took)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%w: network %s, block %d: %w", errJudge, s.job.Watch.Slug, s.next, err)
	case v.ref.Height != s.next:
		return fmt.Errorf("network %s: block %d was served for %d", s.job.Watch.Slug, v.ref.Height, s.next)
	case s.next > s.part.From && v.parent != s.last:
		// What was judged before it is on another branch.
		s.anew = true
		return nil
	}
	if s.next == s.part.From {
		s.parent = v.parent
	}
	s.next, s.last = s.next+1, v.ref.Hash
	s.counts.Blocks++
	s.counts.Calls += calls
	if calls > 0 {
		s.counts.Fetched++
	}
	s.counts.Candidates += v.candidates
	s.counts.Matches += v.count
	s.counts.Misses += v.candidates - v.count
	s.counts.Micros += uint64(took.Microseconds()) //nolint:gosec // not negative
	s.matches = append(s.matches, v.matches...)
	s.misses = append(s.misses, v.misses...)
	return nil
}

// judgeOne judges a block while no other is, and then rests for as long.
func (r *Runner) judgeOne(ctx context.Context, j judge, payload []byte, left room) (*verdict, time.Duration, error) {
	r.judging.Lock()
	defer r.judging.Unlock()
	began := time.Now()
	v, err := j.judge(payload, left)
	took := time.Since(began)
	if took > 0 {
		rest := time.NewTimer(took)
		defer rest.Stop()
		select {
		case <-rest.C:
		case <-ctx.Done():
			return nil, took, context.Cause(ctx)
		}
	}
	return v, took, err
}
