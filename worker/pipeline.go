package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match"
)

// errUnwanted ends a pipeline whose cohort does not want the network any more.
var errUnwanted = errors.New("the network is no longer wanted")

const (
	// batchSteps bounds how many announcements are judged and recorded together
	// when catching up. At the tip there is one at a time.
	batchSteps = 16
	// parallelBlocks bounds how many decoded blocks a pipeline holds.
	parallelBlocks = 4
)

// pipeline judges one network for one cohort: plan, judge, deliver, record.
type pipeline struct {
	*Worker
	network string
	born    uint64 // the cursor's, once run has it
	log     *slog.Logger
}

func newPipeline(w *Worker, network string, log *slog.Logger) *pipeline {
	return &pipeline{Worker: w, network: network, log: log}
}

// run judges from the cursor on until ctx ends. What is under way then is
// finished, unless work ends too.
func (p *pipeline) run(ctx, work context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p.metrics.panics.Inc()
			p.log.Error("panic while judging", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	v := p.opts.Log.View()
	n, c, err := p.cursor(v)
	if err != nil {
		return err
	}
	at := c.Position
	p.born = c.Born
	branch := n.Base
	for _, e := range n.Entries {
		if e.Position <= at {
			branch = branch.Step(e, fsm.KeepRefs)
		}
	}
	b, err := openBook(v, p.network, p.opts.Cohort, c.Index, at, p.onPanic)
	if err != nil {
		return err
	}
	for {
		changed := p.opts.Log.Changed(fsm.TopicNetwork(p.network))
		v := p.opts.Log.View()
		n, c, err := p.cursor(v)
		if err != nil {
			return err
		}
		if c.Position > at {
			return errMoved
		}
		p.metrics.behind.WithLabelValues(p.network).Set(float64(n.Next - 1 - at))
		pending := n.Entries[len(n.Entries)-int(min(n.Next-1-at, uint64(len(n.Entries)))):]
		if len(pending) == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if pending[0].Position != at+1 {
			return fmt.Errorf("position %d is not kept any more (oldest is %d)", at+1, pending[0].Position)
		}
		if ctx.Err() != nil {
			return nil
		}
		if len(n.Entries) == len(pending) {
			// The same branch, unless the network was not wanted for a while.
			branch = n.Base
		}
		batch := pending[:min(batchSteps, len(pending))]
		var steps []step
		var planErr error
		steps, branch, planErr = plan(v, b, branch, batch, pending[len(batch):], fsm.KeepRefs)
		if len(steps) > 0 {
			if err := p.process(work, b, steps); err != nil {
				return errors.Join(err, planErr)
			}
		}
		if planErr != nil {
			return planErr
		}
		at = batch[len(batch)-1].Position
		b.prune(at + 1)
	}
}

func (p *pipeline) cursor(v *fsm.View) (*fsm.Network, *fsm.Cursor, error) {
	if p.fenced(v) {
		return nil, nil, fsm.ErrStaleEpoch
	}
	n, ok := v.Network(p.network)
	c, wanted := v.Cursor(p.network, p.opts.Cohort)
	if !ok || !wanted || c.Parked() {
		return nil, nil, errUnwanted
	}
	if p.born != 0 && c.Born != p.born {
		return nil, nil, errMoved // the network was forgotten, and begins anew
	}
	return n, c, nil
}

func (p *pipeline) onPanic(key match.Key, value any) {
	p.metrics.panics.Inc()
	p.log.Error("panic while judging a monitor; its condition counts as not met",
		"tenant", key.Tenant, "monitor", key.Monitor, "panic", value)
}

// process judges steps side by side, delivers in order and records all of it
// in one command; in more than one where a block keeps the others waiting. What
// was delivered before a step failed, of that step as well, is recorded, so that
// it is not delivered again each time the step is tried.
func (p *pipeline) process(ctx context.Context, b *book, steps []step) error {
	judging, stop := context.WithCancel(ctx)
	results := make([]chan judged, len(steps))
	for i := range steps {
		results[i] = make(chan judged, 1)
	}
	var judges errgroup.Group
	judges.SetLimit(parallelBlocks)
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		for i := range steps {
			judges.Go(func() error {
				results[i] <- p.judgeStep(judging, b, &steps[i])
				return nil
			})
		}
	}()
	defer func() { // nothing reads the book any more when the next batch changes it
		stop()
		<-begun
		_ = judges.Wait() // never fails: errors are among the results
	}()
	r, first := &round{pipeline: p}, 0
	record := func(next int) error {
		if next == first && len(r.fired) == 0 {
			return nil
		}
		done, passed := r, steps[first:next]
		r, first = &round{pipeline: p}, next
		return done.record(ctx, passed)
	}
	for i := range steps {
		var j judged
		select {
		case j = <-results[i]:
		case <-time.After(p.opts.Patience):
			if err := record(i); err != nil {
				return err
			}
			j = <-results[i]
		}
		err := j.err
		if err == nil {
			err = r.fire(ctx, &steps[i], j)
		}
		for k := 0; err == nil && k < len(j.late); k++ {
			late := p.judgeLate(&steps[i], j.late[k])
			if err = late.err; err == nil {
				err = r.fire(ctx, &steps[i], late)
			}
		}
		if err != nil {
			return errors.Join(err, record(i))
		}
	}
	return record(len(steps))
}

// judged is what a step's blocks gave.
type judged struct {
	hits       []hitAt
	superseded bool
	late       []late
	err        error
}

// late is the part of a judgement that is left for after everybody else: the
// tenants that it costs more than their budget.
type late struct {
	judgement
	block   timedBlock
	tenants []string
}

type hitAt struct {
	hit
	ref  fsm.BlockRef
	time time.Time // the block's own
}

type timedBlock struct {
	block block
	time  time.Time
}

// contain turns a panic while judging a step into its error.
func (p *pipeline) contain(s *step, j *judged) {
	if r := recover(); r != nil {
		p.metrics.panics.Inc()
		p.log.Error("panic while judging a block", "position", s.entry.Position, "panic", r, "stack", string(debug.Stack()))
		*j = judged{err: fmt.Errorf("position %d: panic: %v", s.entry.Position, r)}
	}
}

// judgeLate judges, without a budget, for tenants that exceeded theirs.
func (p *pipeline) judgeLate(s *step, l late) (j judged) {
	defer p.contain(s, &j)
	hits, _ := l.engine.judge(l.block.block, s.entry.Position, 0, func(t string) bool { return slices.Contains(l.tenants, t) })
	j.add(hits, l.judgement, l.block)
	return j
}

// add keeps those hits of a judgement that it asks for.
func (j *judged) add(hits []hit, task judgement, blk timedBlock) {
	for _, h := range hits {
		if task.only == nil || task.only[h.Key] {
			j.hits = append(j.hits, hitAt{h, task.ref, blk.time})
		}
	}
}

// judgeStep judges every block of a step. Tenants that a block costs more than
// their budget are left for judgeLate.
func (p *pipeline) judgeStep(ctx context.Context, b *book, s *step) (j judged) {
	defer p.contain(s, &j)
	j.superseded = s.superseded
	decoded := map[fsm.BlockRef]timedBlock{}
	for _, task := range s.judgements {
		blk, ok := decoded[task.ref]
		if !ok {
			payload, superseded, err := p.fetch(ctx, s.entry, task.ref)
			if err != nil {
				return judged{err: err}
			}
			if superseded {
				j.superseded = true
				continue
			}
			if blk.block, blk.time, err = b.chain.decode(payload); err != nil {
				return judged{err: fmt.Errorf("block %v: %w", task.ref, err)}
			}
			decoded[task.ref] = blk
		}
		start := time.Now()
		hits, over := task.engine.judge(blk.block, s.entry.Position, p.opts.Budget, nil)
		if len(over) > 0 {
			p.metrics.overBudget.WithLabelValues(p.network).Add(float64(len(over)))
			j.late = append(j.late, late{task, blk, over})
		}
		p.metrics.judging.WithLabelValues(p.network).Observe(time.Since(start).Seconds())
		p.metrics.blocks.WithLabelValues(p.network).Inc()
		j.add(hits, task, blk)
	}
	return j
}

// errMoved means that the cursor is not where this pipeline is: the network was
// not wanted for a while, and begins anew.
var errMoved = errors.New("the cursor has moved on")

// fetch gets a block's payload, however long that takes: a block is given up
// only when a later announcement has rolled it back, or when nobody wants it
// any more.
func (p *pipeline) fetch(ctx context.Context, e fsm.Entry, ref fsm.BlockRef) (payload []byte, superseded bool, err error) {
	for pause, waited := 50*time.Millisecond, false; ; pause = min(2*pause, 5*time.Second) {
		payload, err := p.opts.Blocks.Block(ctx, p.network, ref)
		if err == nil {
			if waited {
				p.metrics.stalled.WithLabelValues(p.network).Set(0)
			}
			return payload, false, nil
		}
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		v := p.opts.Log.View()
		switch _, c, err := p.cursor(v); {
		case err != nil:
			return nil, false, err
		case c.Position >= e.Position:
			return nil, false, fmt.Errorf("%w: to %d from before %d", errMoved, c.Position, e.Position)
		}
		if p.rolledBack(v, e, ref) {
			p.metrics.stalled.WithLabelValues(p.network).Set(0)
			return nil, true, nil
		}
		waited = true
		p.metrics.stalled.WithLabelValues(p.network).Set(1)
		p.log.Warn("a block to judge is not to be had; judging waits for it", "block", ref.String(), "error", err)
		select {
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
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
