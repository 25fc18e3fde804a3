package node

import (
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// peersInput is what the planner of the Raft group's members decides on.
func peersInput(nodes map[string]*member, peers []consensus.Peer, self string, target int, ttl time.Duration, commit uint64) consensus.PeersInput {
	in := consensus.PeersInput{
		Peers: peers, Self: self, Target: target,
		Members: map[string]consensus.Health{}, DeadFor: map[string]time.Duration{},
	}
	member := map[string]bool{}
	for _, p := range peers {
		member[p.ID] = true
	}
	for _, m := range byName(nodes) {
		alive := m.Gossip == gossipAlive || m.Heard && !m.lost(ttl)
		if !alive {
			in.DeadFor[m.Server] = m.Silent
			continue
		}
		if !member[m.Server] {
			in.Known = append(in.Known, consensus.Server{ID: m.Server, Address: m.Address})
		}
		h := consensus.Health{Alive: true, Leaving: m.Drain == fsm.DrainOperator}
		if m.Heard && !m.lost(ttl) && m.Behind < ttl {
			h.Stable = m.Steady
			h.Behind = commit - min(commit, m.Said.Applied)
		}
		in.Members[m.Server] = h
	}
	return in
}
