package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What one command may hold, so that an entry of the log stays of bearable size
// however much a block fires.
const (
	maxRecords     = 1000
	maxRecordBytes = 512 << 10 // of deliveries for the outbox, and of what retractions are made of
)

// split parts a command into several where it is too large. The last one moves
// the cursor; what goes to the outbox comes before the ledger says that it is
// there.
func split(c *fsm.Progress) []*fsm.Progress {
	var parts []*fsm.Progress
	part := func() *fsm.Progress {
		p := &fsm.Progress{Cohort: c.Cohort, Epoch: c.Epoch, Born: c.Born, Network: c.Network}
		parts = append(parts, p)
		return p
	}
	p, size := part(), 0
	room := func(records, bytes int) {
		if records >= maxRecords || size+bytes > maxRecordBytes && size > 0 {
			p, size = part(), 0
		}
		size += bytes
	}
	for _, o := range c.Outbox {
		room(len(p.Outbox), len(o.Delivery))
		p.Outbox = append(p.Outbox, o)
	}
	for _, d := range c.Dead {
		room(len(p.Outbox)+len(p.Dead), len(d.Delivery))
		p.Dead = append(p.Dead, d)
	}
	for _, f := range c.Fired {
		room(len(p.Outbox)+len(p.Dead)+len(p.Fired), len(f.Content))
		p.Fired = append(p.Fired, f)
	}
	p.To, p.Superseded = c.To, c.Superseded
	return parts
}

// progress is an empty command of this round.
func (r *round) progress() *fsm.Progress {
	return &fsm.Progress{Cohort: r.cohort, Epoch: r.epoch, Born: r.born, Network: r.network}
}

// commit records a round, in as many commands as it takes, and tells whether what
// was delivered is recorded. With an error, the cursor has not moved.
func (r *round) commit(ctx context.Context, c *fsm.Progress) (recorded bool, err error) {
	parts := split(c)
	for i, part := range parts {
		err = r.propose(ctx, part)
		if errors.Is(err, fsm.ErrStaleEpoch) || errors.Is(err, fsm.ErrConflict) {
			for _, rest := range parts[i:] {
				if !r.recordApart(ctx, rest) {
					return false, err
				}
			}
			return true, err
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// recordApart records what was delivered under the cohorts in which the tenants
// are by now. It is for a cohort, or a cursor, that went away because all its
// tenants were moved from it while a round was under way: as long as they are
// being handed over, their next node is told what this one has sent.
func (r *round) recordApart(ctx context.Context, c *fsm.Progress) (all bool) {
	v := r.opts.Log.View()
	born := map[string]uint64{}
	for _, f := range r.fired {
		born[f.alert.Tenant] = f.born
	}
	all = true
	apart := map[string]*fsm.Progress{}
	of := func(tenant string) *fsm.Progress {
		t, ok := v.Tenant(tenant)
		if !ok || t.Born != born[tenant] {
			return &fsm.Progress{} // deleted: nobody is left to tell
		}
		now, ok := v.Cohort(t.Cohort)
		if !ok || now.Node != r.opts.Node || now.ID == r.cohort {
			all = false
			return &fsm.Progress{}
		}
		if apart[now.ID] == nil {
			apart[now.ID] = &fsm.Progress{Cohort: now.ID, Epoch: now.Epoch, Network: c.Network}
		}
		return apart[now.ID]
	}
	for _, o := range c.Outbox {
		p := of(o.Tenant)
		p.Outbox = append(p.Outbox, o)
	}
	for _, d := range c.Dead {
		p := of(d.Tenant)
		p.Dead = append(p.Dead, d)
	}
	for _, f := range c.Fired {
		p := of(f.Tenant)
		p.Fired = append(p.Fired, f)
	}
	for _, id := range slices.Sorted(maps.Keys(apart)) {
		all = r.propose(ctx, apart[id]) == nil && all
	}
	return all
}

// refused reports whether the state has refused a command, for good: it would refuse
// whatever follows it from the same round as well.
func refused(err error) bool {
	return errors.Is(err, fsm.ErrStaleEpoch) || errors.Is(err, fsm.ErrConflict) || errors.Is(err, fsm.ErrNotFound)
}

// propose proposes until the outcome is known: a lost leadership leaves it open,
// and the command says the same when it is told twice.
func (r *round) propose(ctx context.Context, c *fsm.Progress) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := r.opts.Log.Propose(ctx, c)
		if err == nil || refused(err) {
			return err
		}
		r.log.Warn("progress cannot be recorded; trying again", "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
