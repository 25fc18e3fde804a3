package worker

import (
	"context"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

// supervisor keeps a runner for each cohort of this node, and hands over those
// that leave it. It compares what runs with what the state says, so that nothing
// depends on having seen every change.
type supervisor struct {
	*Worker
	ctx, work context.Context //nolint:containedctx // those of Run
	busy      sync.WaitGroup
	ended     chan struct{} // something may have to begin that could not before

	mu      sync.Mutex
	runners map[string]*runner // by cohort
	leaving map[leaving]bool   // being handed over
}

// leaving is a cohort that leaves this node.
type leaving struct {
	cohort string
	epoch  uint64
}

// follow brings what runs in line with the state.
func (s *supervisor) follow(v *fsm.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := map[string]*fsm.Cohort{}
	for c := range v.Cohorts() {
		switch {
		case c.Node != s.opts.Node:
		case c.To != "":
			s.letGo(c)
		default:
			mine[c.ID] = c
		}
	}
	for id, r := range s.runners {
		if c := mine[id]; c == nil || c.Epoch != r.epoch {
			r.end()
		}
		s.bury(r)
	}
	for id, c := range mine {
		if s.runners[id] == nil { // otherwise an earlier epoch's is about to end
			s.takeUp(v, c)
		}
	}
	for c := range v.AllCursors() {
		r := s.runners[c.Cohort]
		if r == nil || r.ctx.Err() != nil || r.networks[c.Network] {
			continue
		}
		r.networks[c.Network] = true
		s.busy.Go(func() {
			r.follow(c.Network)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(r.networks, c.Network)
			s.bury(r)
			s.poke() // the network may be wanted again already
		})
	}
	s.decoded.share(len(s.runners) > 1)
	s.metrics.cohorts.Set(float64(len(s.runners)))
}

func (s *supervisor) poke() {
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// takeUp begins a cohort's runner. The caller holds mu.
func (s *supervisor) takeUp(v *fsm.View, c *fsm.Cohort) {
	s.runners[c.ID] = s.newRunner(s.ctx, s.work, c.ID, c.Epoch)
	s.log.Info("cohort taken up", "cohort", c.ID, "epoch", c.Epoch, "tenants", v.TenantCount(c.ID), "reason", c.Reason.String())
}

// bury forgets a runner that was told to end and has. The caller holds mu.
func (s *supervisor) bury(r *runner) {
	if r.ctx.Err() == nil || len(r.networks) > 0 || s.runners[r.cohort] != r {
		return
	}
	delete(s.runners, r.cohort)
}

// letGo begins the hand-over of a cohort. The caller holds mu.
func (s *supervisor) letGo(c *fsm.Cohort) {
	id := leaving{c.ID, c.Epoch}
	if s.leaving[id] {
		return
	}
	s.leaving[id] = true
	s.busy.Go(func() {
		s.handOver(s.work, c)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.leaving, id)
	})
}
