package ring

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Lease is a network and the node that watches it.
type Lease struct {
	Network string // its key; unique
	Holder  string // "": nobody
	Pinned  bool   // stays with its holder while that is listed
}

// SpreadOptions are how to spread networks. The zero value is usable.
type SpreadOptions struct {
	Rebalance bool // networks may leave living nodes for balance alone
	// MoveLimit bounds the networks that do so in this plan. 0: 5 % of them, at
	// least 1; negative: none.
	MoveLimit int
	// Leaving names nodes that go by intention, as in Options.
	Leaving map[string]bool
}

// Grant gives a network to a node.
type Grant struct {
	Network string
	From    string // "" where nobody had it
	To      string // never ""
	Reason  Reason
}

// Spread says who is to watch the networks, each of which counts the same. A
// network stays with its holder while that is listed; otherwise it goes to the
// node with the fewest for its capacity. If Rebalance, networks move from the
// node with the most to the one with the fewest while that has at least two
// fewer (relative to capacity: while it would have fewer afterwards).
//
// It returns the changes, by network; without nodes, none. Spreading again from
// the result changes nothing, unless MoveLimit cut it short. Of a Node,
// MaxTenants does not matter here.
func Spread(nodes []Node, leases []Lease, o SpreadOptions) []Grant {
	if o.MoveLimit == 0 {
		o.MoveLimit = max(1, len(leases)/moveLimitDivisor)
	}
	s := &spread{at: make([]int32, len(leases)), was: make([]int32, len(leases))}
	s.leases = slices.SortedFunc(slices.Values(leases), func(a, b Lease) int { return strings.Compare(a.Network, b.Network) })
	s.nodes, _, _ = eligible(nodes, o.Leaving)
	if len(s.nodes) == 0 {
		return nil
	}
	s.settle()
	if o.Rebalance {
		s.rebalance(o.MoveLimit)
	}
	var grants []Grant
	for i, l := range s.leases {
		if s.at[i] == s.was[i] {
			continue
		}
		g := Grant{Network: l.Network, From: l.Holder, To: s.nodes[s.at[i]].name, Reason: ReasonLoadRebalance}
		switch {
		case l.Holder == "":
			g.Reason = ReasonInitial
		case o.Leaving[l.Holder]:
			g.Reason = ReasonScaling
		case s.was[i] == nowhere:
			g.Reason = ReasonNodeFailure
		}
		grants = append(grants, g)
	}
	return grants
}

// spread is a spreading in the making; a node's load is its number of networks.
type spread struct {
	nodes   []node
	leases  []Lease // by network
	was, at []int32
}

func (s *spread) settle() {
	index := make(map[string]int32, len(s.nodes))
	for n := range s.nodes {
		index[s.nodes[n].name] = int32(n)
	}
	for i, l := range s.leases {
		n, ok := index[l.Holder]
		if !ok {
			n = nowhere
		} else {
			s.nodes[n].load++
		}
		s.was[i], s.at[i] = n, n
	}
	for i := range s.leases {
		if s.at[i] == nowhere {
			n := s.fewest(xxhash.Sum64String(s.leases[i].Network))
			s.at[i] = n
			s.nodes[n].load++
		}
	}
}

// fewest is the node that has the fewest networks with one more, for its
// capacity; of several, the network's first in rendezvous order.
func (s *spread) fewest(hash uint64) int32 {
	best := int32(0)
	for n := range s.nodes {
		a, b := &s.nodes[n], &s.nodes[best]
		if cmp.Or(cmp.Compare(a.with(1), b.with(1)), cmp.Compare(s.score(hash, best), s.score(hash, int32(n)))) < 0 {
			best = int32(n)
		}
	}
	return best
}

func (s *spread) score(hash uint64, n int32) float64 {
	return score(hash, s.nodes[n].hash, s.nodes[n].capacity)
}

func (s *spread) rebalance(limit int) {
	out := make([]bool, len(s.nodes)) // has only pinned ones
	for limit > 0 {
		from := nowhere
		for n := range s.nodes {
			if !out[n] && (from == nowhere || s.nodes[n].level() > s.nodes[from].level()) {
				from = int32(n)
			}
		}
		if from == nowhere {
			return
		}
		to := s.fewest(s.nodes[from].hash)
		if !(s.nodes[to].with(1) < s.nodes[from].level()) {
			return
		}
		i := s.bestFor(from, to)
		if i < 0 {
			out[from] = true
			continue
		}
		if s.at[i] == s.was[i] {
			limit--
		}
		s.at[i] = to
		s.nodes[from].load--
		s.nodes[to].load++
	}
}

// bestFor is the network of from that ranks to highest, or -1 if all are pinned.
func (s *spread) bestFor(from, to int32) int {
	best, most := -1, math.Inf(-1)
	for i := range s.leases {
		if s.at[i] != from || s.leases[i].Pinned && s.was[i] == from {
			continue
		}
		if v := s.score(xxhash.Sum64String(s.leases[i].Network), to); v > most {
			best, most = i, v
		}
	}
	return best
}
