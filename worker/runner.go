package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// runner judges for one cohort under one epoch.
type runner struct {
	*Worker
	cohort string
	epoch  uint64
	log    *slog.Logger
	// ctx ends with the epoch: nothing new begins then. What was begun goes on, under
	// work, until it is recorded or refused.
	ctx, work context.Context //nolint:containedctx // a runner is as long as its epoch
	end       context.CancelFunc

	networks  map[string]bool // that are being judged; guarded by supervisor.mu
	splitting sync.Map        // tenants that are about to get a cohort of their own
}

// newRunner makes a runner that judges nothing yet.
func (w *Worker) newRunner(ctx, work context.Context, cohort string, epoch uint64) *runner {
	r := &runner{Worker: w, cohort: cohort, epoch: epoch, log: w.log.With("cohort", cohort, "epoch", epoch), work: work, networks: map[string]bool{}}
	r.ctx, r.end = context.WithCancel(ctx)
	return r
}

// fenced reports whether the cohort is not this runner's any more: whatever it
// would still send, another one sends as well.
func (r *runner) fenced(v *fsm.View) bool {
	c, ok := v.Cohort(r.cohort)
	return !ok || c.Epoch != r.epoch || c.Node != r.opts.Node || c.To != ""
}

// owns reports whether a tenant, and not a later one of its name, is this
// runner's to send for.
func (r *runner) owns(v *fsm.View, tenant string, born uint64) bool {
	t, ok := v.Tenant(tenant)
	return ok && t.Cohort == r.cohort && t.Born == born && !r.fenced(v)
}

// How long follow waits after a failure: longer after each, from the beginning
// again after a pipeline that ran for a while.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	longRun    = time.Minute
	storePause = time.Second // at most, where documents cannot be read: asking costs next to nothing
)

// follow judges one network, beginning anew after a failure, until the cohort
// does not want it or is not this runner's any more.
func (r *runner) follow(network string) {
	log := r.log.With("network", network)
	defer r.metrics.leave(network, r.cohort)
	waits := false // for documents: told once
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := newPipeline(r, network, log).run(r.ctx, r.work)
		switch {
		case errors.Is(err, errMoved), errors.Is(err, errPassedOver):
			pause = firstPause / 2 // which makes the next one the first
			continue
		case errors.Is(err, fsm.ErrStaleEpoch):
			r.end()
			return
		case r.ctx.Err() != nil, errors.Is(err, errUnwanted):
			return
		}
		if time.Since(began) > longRun {
			pause, waits = firstPause, false
		}
		r.metrics.restarts.WithLabelValues(network).Inc()
		level := slog.LevelError
		if errors.Is(err, fsm.ErrConflict) {
			level = slog.LevelInfo // the cursor went on without it: after a pause, say
		}
		if errors.Is(err, fsm.ErrUnreachable) {
			if pause = min(pause, storePause); waits {
				level = slog.LevelDebug
			}
			waits = true
		}
		log.Log(r.ctx, level, "judging stopped and begins again at the cursor", "error", err, "pause", pause)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
