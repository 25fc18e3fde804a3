package consensus

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// watchLeadership keeps track of who leads.
func (g *Group) watchLeadership(leaders <-chan raft.Observation) {
	for {
		select {
		case <-g.closed:
			return
		case leads := <-g.notify:
			g.leads.Store(leads)
			g.metrics.leader.Set(map[bool]float64{true: 1}[leads])
			g.leadsChange.fire()
			g.leader.fire()
		case <-leaders:
			g.leader.fire()
		}
	}
}

// Leads reports whether this node leads, and a channel closed when that changes.
func (g *Group) Leads() (bool, <-chan struct{}) {
	change := g.leadsChange.next()
	return g.leads.Load(), change
}

// Leader is the server that leads as far as this node knows, and where it is
// now; false when it knows of none.
func (g *Group) Leader() (Server, bool) {
	address, id := g.raft.LeaderWithID()
	if id == "" {
		return Server{}, false
	}
	s := Server{ID: string(id), Address: string(address)}
	if g.opts.Locate != nil && s.ID != g.opts.Server {
		if now, ok := g.opts.Locate(s.ID); ok && now != "" {
			s.Address = now
		}
	}
	return s, true
}

// LeaderChanged is closed when another server leads, or none. Take it before
// asking for the Leader.
func (g *Group) LeaderChanged() <-chan struct{} { return g.leader.next() }

// AwaitLeader waits until this node knows a leader.
func (g *Group) AwaitLeader(ctx context.Context) (Server, error) {
	for {
		change := g.leader.next()
		if s, ok := g.Leader(); ok {
			return s, nil
		}
		select {
		case <-change:
		case <-g.closed:
			return Server{}, ErrNoLeader
		case <-ctx.Done():
			return Server{}, fmt.Errorf("%w: %w", ErrNoLeader, context.Cause(ctx))
		}
	}
}

// Term is the current election term.
func (g *Group) Term() uint64 { return g.raft.CurrentTerm() }

func (g *Group) isLeader() bool { return g.raft.State() == raft.Leader }
