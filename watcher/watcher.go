package watcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Run follows the network until ctx ends (nil) or the lease passes to another
// node (ErrFenced). Whatever else happens is retried for as long as it takes:
// endpoints that are down, blocks that cannot be had, even a panic.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	end := w.metrics.begin(w.opts.Network, w.health)
	defer end()
	var sources sync.WaitGroup
	defer sources.Wait()
	defer cancel()
	sources.Go(func() { w.poll(ctx) })
	sources.Go(func() { w.subscribe(ctx) })
	w.log.Info("watching")
	err := w.loop(ctx)
	log := w.log
	if err != nil {
		log = log.With("error", err)
	}
	log.Info("watching ended")
	return err
}

// loop works on the newest head whenever there is one, and repeats what failed
// after a while that grows.
func (w *Watcher) loop(ctx context.Context) error {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	wait := newBackOff(w.opts.Spec.BlockTime)
	backingOff := false
	for {
		timedOut := false
		select {
		case <-ctx.Done():
			return nil
		case <-w.heads.wake:
		case <-retry.C:
			timedOut = true
		}
		head, known, revived := w.heads.latest()
		if !known || backingOff && !timedOut && !revived {
			continue
		}
		again, err := w.work(ctx, head, wait)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if backingOff = again > 0; backingOff {
			retry.Reset(again)
		}
	}
}

// work does one pass and draws the conclusions. It returns how long to wait
// before the next one, 0 when all is done.
func (w *Watcher) work(ctx context.Context, head chain.Head, wait *backoff.ExponentialBackOff) (time.Duration, error) {
	_, err := guarded(func() (struct{}, error) { return struct{}{}, w.pass(ctx, head) })
	switch {
	case ctx.Err() != nil:
		return 0, nil
	case errors.Is(err, ErrFenced):
		w.log.Warn("lease lost, another node watches this network now")
		return 0, err
	}
	w.failing = err != nil
	forked := 0.0
	if errors.Is(err, ErrForkBelowWindow) {
		forked = 1
	}
	w.metrics.forked.WithLabelValues(w.opts.Network).Set(forked)
	if err == nil {
		wait.Reset()
		w.health.blockDone(time.Now())
		return 0, nil
	}
	w.metrics.retries.WithLabelValues(w.opts.Network, reasonOf(err)).Inc()
	var next uint64
	if tip, ok := w.branch.tip(); ok {
		next = tip.Height + 1
	} else {
		next = w.firstHeight(head)
	}
	w.health.blockFailed(next, err, time.Now())
	return wait.NextBackOff(), nil
}
