package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// flights are the rounds under way on this node: they have begun to deliver, and
// what came of it is not recorded yet.
type flights struct {
	mu  sync.Mutex
	all map[*flight]struct{}
}

// flight is one round under way.
type flight struct {
	cohort string
	landed chan struct{} // closed when nothing of it is left to record
}

// begin notes a round. Whoever begins one looks only afterwards at who owns the
// tenants: see handOver.
func (f *flights) begin(cohort string) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[*flight]struct{}{}
	}
	one := &flight{cohort: cohort, landed: make(chan struct{})}
	f.all[one] = struct{}{}
	return one
}

func (f *flights) land(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, one)
	close(one.landed)
}

// of lists the rounds of a cohort.
func (f *flights) of(cohort string) []*flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(f.all)), func(one *flight) bool { return one.cohort != cohort })
}

// parkAfter is how long a hand-over waits for attempts from the outbox.
const parkAfter = 2 * time.Second

// handOver releases a cohort that leaves this node once nothing of its tenants is
// under way here. No more comes to be: the move is in the state already, and
// whoever begins anything makes himself known first and then looks into the state.
func (w *Worker) handOver(ctx context.Context, c *fsm.Cohort) {
	began := time.Now()
	log := w.log.With("cohort", c.ID, "epoch", c.Epoch, "from", c.From, "to", c.To)
	for _, one := range w.flights.of(c.From) {
		select {
		case <-one.landed:
		case <-ctx.Done():
			return
		}
	}
	tenants := map[string]bool{}
	for t := range w.opts.Log.View().TenantsOf(c.ID) {
		tenants[t.ID] = true
	}
	if c.To != w.opts.Node { // otherwise the same outbox goes on with them
		if err := w.opts.Outbox.Park(ctx, func(id string) bool { return tenants[id] }, parkAfter); err != nil {
			if ctx.Err() == nil {
				log.Error("a cohort that is to leave this node is not released", "error", err)
			}
			return
		}
	}
	if w.release(ctx, c) {
		w.metrics.handOvers.Observe(time.Since(began).Seconds())
		log.Info("cohort handed over", "tenants", len(tenants), "reason", c.Reason.String(), "took", time.Since(began))
	}
}

// release proposes until the cohort is not this node's any more, by this command
// or another, and tells whether it was this one.
func (w *Worker) release(ctx context.Context, c *fsm.Cohort) bool {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := w.opts.Log.Propose(ctx, &fsm.Release{Cohort: c.ID, Epoch: c.Epoch})
		if err == nil {
			return true
		}
		now, ok := w.opts.Log.View().Cohort(c.ID)
		if errors.Is(err, fsm.ErrStaleEpoch) || errors.Is(err, fsm.ErrNotFound) || !ok || now.Epoch != c.Epoch {
			return false
		}
		w.log.Warn("a cohort cannot be released; trying again", "cohort", c.ID, "to", c.To, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}
