package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

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

// pipeline judges one network for one cohort: plan, judge, deliver, record. While
// the first attempts of some announcements are awaited, it judges the next.
type pipeline struct {
	*runner
	network    string
	born       uint64 // the cursor's, once run has it
	log        *slog.Logger
	lateness   lateness
	rounds     *rounds
	lastIntent *intent // the ledger takes intents in their order
}

func newPipeline(r *runner, network string, log *slog.Logger) *pipeline {
	return &pipeline{runner: r, network: network, log: log, rounds: newRounds()}
}

// run judges from the cursor on until ctx ends. What is under way then is
// finished, unless work ends too.
func (p *pipeline) run(ctx, work context.Context) (err error) {
	defer func() { err = errors.Join(err, p.rounds.drain()) }()
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
	p.metrics.behind.set(p.network, p.cohort, float64(n.Next-1-at)) // also of who waits for documents
	branch := n.Base
	for _, e := range n.Entries {
		if e.Position <= at {
			branch = branch.Step(e, fsm.KeepRefs)
		}
	}
	b, err := openBook(v, p.network, p.cohort, c.Index, at, p.onPanic)
	if err != nil {
		return err
	}
	b.changed = func(at time.Time) { p.metrics.changes.Observe(time.Since(at).Seconds()) }
	for {
		changed, configured := p.opts.Log.Changed(fsm.TopicNetwork(p.network)), p.opts.Log.Changed(fsm.TopicTenants)
		v := p.opts.Log.View()
		n, c, err := p.cursor(v)
		if err != nil {
			return err
		}
		if c.Position > at {
			return errMoved
		}
		p.metrics.behind.set(p.network, p.cohort, float64(n.Next-1-at))
		b.prepare(v)
		pending := n.Entries[len(n.Entries)-int(min(n.Next-1-at, uint64(len(n.Entries)))):]
		if len(pending) == 0 {
			select {
			case <-changed:
				continue
			case <-configured:
				continue
			case <-p.rounds.failed.Done():
				return nil
			case <-ctx.Done():
				return nil
			}
		}
		if pending[0].Position != at+1 {
			return fmt.Errorf("position %d is not kept any more (oldest is %d)", at+1, pending[0].Position)
		}
		if p.rounds.room(ctx); pending[0].Kind == fsm.Rollback {
			p.intended(ctx) // what is to be retracted is in the ledger then
		}
		if ctx.Err() != nil || p.rounds.failed.Err() != nil {
			return nil
		}
		if len(n.Entries) == len(pending) {
			// The same branch, unless the network was not wanted for a while.
			branch = n.Base
		}
		batch := pending[:batchOf(pending)]
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

// batchOf is how many announcements are judged and recorded together. A roll-back
// comes first in its batch: it retracts what the ledger has.
func batchOf(pending []fsm.Entry) int {
	n := min(batchSteps, len(pending))
	for i := 1; i < n; i++ {
		if pending[i].Kind == fsm.Rollback {
			return i
		}
	}
	return n
}

func (p *pipeline) cursor(v *fsm.View) (*fsm.Network, *fsm.Cursor, error) {
	if p.fenced(v) {
		return nil, nil, fsm.ErrStaleEpoch
	}
	n, ok := v.Network(p.network)
	c, wanted := v.Cursor(p.network, p.cohort)
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

// errMoved means that the cursor is not where this pipeline is: the network was
// not wanted for a while, and begins anew.
var errMoved = errors.New("the cursor has moved on")
