package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// Changes of one tenant's documents that come to several nodes would race: all but one
// are refused, and checked again. So the leader gives turns. A turn keeps nobody out,
// the version that a change names does; whoever gets none goes on without. Nothing of
// the change itself goes through the leader before it is proposed: who asks, and from
// where, is known where it came in.

const (
	// turnPatience is how long a change waits for its turn before it goes on without.
	turnPatience = 5 * time.Second
	// turnLasts is the longest turn: a whole configuration takes some seconds to check.
	turnLasts = 30 * time.Second
)

// Turn implements v1.Backend.
func (n tenantAPI) Turn(ctx context.Context, tenant string) (release func(), err error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	release, seen := n.turn(ctx, tenant)
	if seen {
		return release, nil
	}
	if err := n.caughtUp(ctx); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// turn gets a turn from the leader. Seen is true where this node has applied what was
// committed before it.
func (n *Node) turn(ctx context.Context, tenant string) (release func(), seen bool) {
	none := func() {}
	limited, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	if leads, _ := n.group.Leads(); leads {
		release, err := n.turns.Take(limited, tenant)
		if err != nil {
			return none, false
		}
		return release, false
	}
	leader, ok := n.group.Leader()
	if !ok {
		return none, false
	}
	index, release, err := n.turnOf(ctx, leader, tenant)
	if err != nil {
		n.log.Debug("a change goes on without a turn", "tenant", tenant, "leader", leader.ID, "error", err)
		return none, false
	}
	return release, n.group.Reach(limited, index) == nil
}

// turnOf asks a leader for a turn, which lasts until it is released, ctx ends or another
// one leads, and tells how far the log was committed when it began.
func (n *Node) turnOf(ctx context.Context, leader consensus.Server, tenant string) (index uint64, release func(), err error) {
	held, end := n.group.WhileLeads(ctx, leader)
	late := time.AfterFunc(turnPatience, end)
	query := url.Values{"tenant": {tenant}, "node": {n.opts.Name}}
	resp, err := n.open(held, n.addressOf(leader), http.MethodPost, "/rpc/turn", query, nil)
	if err != nil {
		late.Stop()
		end()
		return 0, nil, err
	}
	release = func() {
		end()
		_ = resp.Body.Close() // it is over either way
	}
	var answer indexAnswer
	err = json.NewDecoder(resp.Body).Decode(&answer)
	if !late.Stop() && err == nil {
		err = fmt.Errorf("no turn within %v", turnPatience)
	}
	if err != nil {
		release()
		return 0, nil, err
	}
	return answer.Index, release, nil
}

// serveTurn is the leader's end of turnOf: the turn lasts as long as the request.
func (n *Node) serveTurn(w http.ResponseWriter, r *http.Request) {
	group := n.groupNow()
	if group == nil {
		fail(w, consensus.ErrNotLeader)
		return
	}
	if leads, _ := group.Leads(); !leads {
		fail(w, consensus.ErrNotLeader)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), turnPatience)
	defer cancel()
	release, err := n.turns.Take(ctx, r.URL.Query().Get("tenant"))
	if err != nil {
		fail(w, fmt.Errorf("%w: waited for a turn: %w", api.ErrUnavailable, err))
		return
	}
	defer release()
	index, err := group.ReadIndex(ctx)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, indexAnswer{index})
	if err := http.NewResponseController(w).Flush(); err != nil {
		return // the peer is gone
	}
	n.whileWorking(r.Context(), r.URL.Query().Get("node"))
}

// whileWorking waits until ctx ends, or a node has not been heard of for a while: it may
// stand still with a turn of its own.
func (n *Node) whileWorking(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, turnLasts)
	defer cancel()
	look := time.NewTicker(n.ttl())
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-look.C:
			if now.Sub(n.contacts.last(name)) > 2*n.ttl() {
				return
			}
		}
	}
}

// last is when a node was heard of last, or this leadership began.
func (c *contacts) last(name string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.heard[name]; ok {
		return h.at
	}
	return c.since
}
