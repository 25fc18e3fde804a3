package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// process judges steps side by side, delivers in order and has all of it recorded
// by one round; by more than one where a block keeps the others waiting. What was
// delivered before a step failed, of that step as well, is recorded, so that it is
// not delivered again each time the step is tried. It returns when all is judged:
// rounds go on by themselves.
func (p *pipeline) process(ctx context.Context, b *book, steps []step) error {
	judging, stop := context.WithCancelCause(ctx)
	defer context.AfterFunc(p.rounds.failed, func() { stop(context.Cause(p.rounds.failed)) })()
	results := make([]chan judged, len(steps))
	for i := range steps {
		results[i] = make(chan judged, 1)
	}
	parallel := parallelBlocks
	if p.alone() {
		parallel = 1
	}
	ahead := make(chan struct{}, parallel) // steps that are begun and not delivered
	var judges errgroup.Group
	judges.SetLimit(parallel)
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		for i := range steps {
			select {
			case ahead <- struct{}{}:
			case <-judging.Done():
				results[i] <- judged{err: context.Cause(judging)}
				continue
			}
			judges.Go(func() error {
				results[i] <- p.judgeStep(judging, b, &steps[i])
				return nil
			})
		}
	}()
	var apart sync.WaitGroup
	defer func() { // nothing reads the book any more when the next batch changes it
		stop(nil)
		<-begun
		_ = judges.Wait() // never fails: errors are among the results
		apart.Wait()
	}()
	r, first := p.newRound(), 0
	defer func() { r.land(false) }() // what was not handed in
	record := func(next int) {
		if next == first && len(r.fired) == 0 {
			return
		}
		p.handIn(ctx, r, steps[first:next])
		r, first = p.newRound(), next
	}
	// wait waits for a result; what was fired before is recorded meanwhile.
	wait := func(result <-chan judged, next int) (judged, error) {
		select {
		case j := <-result:
			return j, j.err
		case <-time.After(p.opts.Patience):
		}
		record(next)
		j := <-result
		return j, j.err
	}
	fire := func(i int, j judged) (err error) {
		j.order()
		for further := false; !further || len(j.hits) > 0; further = true {
			if further || len(r.fired) >= maxPart {
				record(i)
			}
			if err := p.breathe(ctx, steps[i].entry.Position, j, further); err != nil {
				return err
			}
			if j, err = r.fire(ctx, &steps[i], j); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range steps {
		j, err := wait(results[i], i)
		if err == nil {
			err = fire(i, j)
		}
		for _, l := range j.late {
			for _, tenant := range l.tenants {
				if err != nil {
					break
				}
				if l.crowded {
					p.part(ctx, tenant)
				}
				result := make(chan judged, 1)
				apart.Go(func() { result <- p.judgeLate(&steps[i], l, tenant) })
				var late judged
				if late, err = wait(result, i); err == nil {
					if len(late.hits) > maxAmong && p.opts.Log.View().TenantCount(p.cohort) > 1 {
						p.metrics.crowded.WithLabelValues(p.network).Inc()
						p.part(ctx, tenant)
					}
					err = fire(i, late)
				}
			}
		}
		if err != nil {
			record(i)
			return err
		}
		p.noteLate(j)
		<-ahead
	}
	record(len(steps))
	return nil
}

// judged is what a step's blocks gave.
type judged struct {
	hits   []hitAt
	blocks []fsm.BlockRef // that were judged
	late   []late
	apart  bool // of one tenant that exceeded its budget
	err    error
}

// late is the part of a judgement that is left for after everybody else: the
// tenants that it costs more than their budget.
type late struct {
	judgement
	block   timedBlock
	tenants []string
	crowded bool // with alerts, rather than evaluations
}

type hitAt struct {
	hit
	ref  fsm.BlockRef
	time time.Time // the block's own
}

// contain turns a panic while judging a step into its error.
func (p *pipeline) contain(s *step, j *judged) {
	if r := recover(); r != nil {
		p.metrics.panics.Inc()
		p.log.Error("panic while judging a block", "position", s.entry.Position, "panic", r, "stack", string(debug.Stack()))
		*j = judged{err: fmt.Errorf("position %d: panic: %v", s.entry.Position, r)}
	}
}

// judgeLate judges, without a budget, for a tenant that exceeded its own.
func (p *pipeline) judgeLate(s *step, l late, tenant string) (j judged) {
	defer p.contain(s, &j)
	j.apart = true
	if t, ok := p.opts.Log.View().Tenant(tenant); !ok || t.Cohort != p.cohort {
		return j // whoever has it now judges it
	}
	start := time.Now()
	hits := l.engine.judge(l.block.block, s.entry.Position, nil, func(t string) bool { return t == tenant }).hits
	took := time.Since(start)
	p.activity.late(took, tenant)
	p.opts.Meter.Evaluated(tenant, took)
	if took > laggardTime {
		p.split(tenant, fmt.Sprintf("one block took %v", took))
	}
	j.add(hits, l.judgement, l.block)
	return j
}

// noteLate counts a step's blocks, and has those judged apart who were late often.
func (p *pipeline) noteLate(j judged) {
	over := map[fsm.BlockRef][]string{}
	for _, l := range j.late {
		over[l.ref] = append(over[l.ref], l.tenants...)
	}
	for _, ref := range j.blocks {
		late := over[ref]
		slices.Sort(late)
		for _, tenant := range p.lateness.note(slices.Compact(late)) {
			p.split(tenant, fmt.Sprintf("over its quota of evaluation a block in %d of %d blocks", laggardBlocks, laggardWindow))
		}
	}
}

// add keeps those hits of a judgement that it asks for.
func (j *judged) add(hits []hit, task judgement, blk timedBlock) {
	for _, h := range hits {
		if task.only == nil || task.only[owner{h.Tenant, occasionOf(h.Monitor, h.about.watch)}] {
			j.hits = append(j.hits, hitAt{h, task.ref, blk.time})
		}
	}
}

// judgeStep judges every block of a step, and notes in it that one was rolled back
// meanwhile. Tenants that a block costs more than their budget are left for judgeLate.
func (p *pipeline) judgeStep(ctx context.Context, b *book, s *step) (j judged) {
	defer p.contain(s, &j)
	if p.opts.Log.View().IsPassedOver(p.network, p.cohort, s.entry.Position) {
		return j // left out for the cohort's tenant; only what is rolled back is met
	}
	decoded := map[fsm.BlockRef]timedBlock{}
	for _, task := range s.judgements {
		blk, ok := decoded[task.ref]
		if !ok {
			var superseded bool
			var err error
			if blk, superseded, err = p.fetch(ctx, s.entry, task.ref, b.chain); err != nil {
				return judged{err: err}
			}
			if superseded {
				s.superseded = true
				continue
			}
			decoded[task.ref] = blk
			j.blocks = append(j.blocks, task.ref)
		}
		start := time.Now()
		f := task.engine.judge(blk.block, s.entry.Position, p.budget(), nil)
		took := time.Since(start)
		if len(f.over) > 0 {
			p.metrics.overBudget.WithLabelValues(p.network).Add(float64(len(f.over)))
			j.late = append(j.late, late{task, blk, f.over, false})
		}
		var crowded []string
		if f.hits, crowded = p.crowded(f.hits); len(crowded) > 0 {
			p.metrics.crowded.WithLabelValues(p.network).Add(float64(len(crowded)))
			j.late = append(j.late, late{task, blk, crowded, true})
		}
		p.rest(ctx, start)
		p.activity.judged(took, f.hits)
		p.attribute(took, f.spent)
		p.metrics.judging.WithLabelValues(p.network).Observe(took.Seconds())
		p.metrics.blocks.WithLabelValues(p.network).Inc()
		j.add(f.hits, task, blk)
	}
	return j
}

// attribute tells what a judgement took of whom, by the work that it was. Tenants of
// which nothing was evaluated are not in it, however many there are.
func (p *pipeline) attribute(took time.Duration, spent []evm.Spent) {
	all := 0
	for _, s := range spent {
		all += s.Work
	}
	for _, s := range spent {
		p.opts.Meter.Evaluated(s.Tenant, time.Duration(float64(took)*float64(s.Work)/float64(all)))
	}
}
