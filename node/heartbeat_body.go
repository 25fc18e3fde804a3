package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// Heartbeat is what a node tells its operator, as JSON. All of it is this node's
// own view: without a quorum, what the cluster has decided since is not in it.
type Heartbeat struct {
	Type     string    `json:"type"` // "heartbeat"
	Cluster  string    `json:"cluster"`
	Node     string    `json:"node"`
	Version  string    `json:"version"`
	Time     time.Time `json:"time"`
	Sequence uint64    `json:"sequence"`         // counts from 1 in each run of the node
	Interval float64   `json:"interval_seconds"` // until the next one
	Started  bool      `json:"started"`          // false: it waits for a cluster, or catches up
	Draining bool      `json:"draining"`         // it gives its work away, or stops

	Quorum   HeartbeatQuorum    `json:"quorum"`
	Networks []HeartbeatNetwork `json:"networks"` // the most troubled first
	Cohorts  []HeartbeatCohort  `json:"cohorts"`  // of this node, that are behind; the furthest first
	Outbox   HeartbeatOutbox    `json:"outbox"`
	// Omitted is how many networks and cohorts beyond maxHeartbeatList are left out.
	Omitted int `json:"omitted"`
}

// HeartbeatQuorum is whether the cluster can decide anything, and whether this
// node may act.
type HeartbeatQuorum struct {
	Leader     string `json:"leader"` // node; empty: none
	Term       uint64 `json:"term"`
	HasContact bool   `json:"has_contact"` // false: nothing is sent by this node
	Voters     int    `json:"voters"`
	Alive      int    `json:"alive"` // of the voters, as gossip sees them from here
}

// HeartbeatNetwork is one watched network.
type HeartbeatNetwork struct {
	Network string `json:"network"`
	Holder  string `json:"holder"` // node that watches it; empty: none
	Epoch   uint64 `json:"epoch"`
	Head    uint64 `json:"head"`                  // height announced last
	SeenAge *int64 `json:"seen_age_ms,omitempty"` // since that was announced; missing: not known
	Lag     uint64 `json:"lag"`                   // announcements that the slowest cohort has not judged
	Stalled string `json:"stalled,omitempty"`     // why it stands still, as far as this node knows
}

// HeartbeatCohort is tenants of this node that are behind on a network.
type HeartbeatCohort struct {
	Cohort  string `json:"cohort"`
	Network string `json:"network"`
	Behind  uint64 `json:"behind"` // announcements not judged
}

// HeartbeatOutbox is what is still to be delivered by the whole cluster.
type HeartbeatOutbox struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Dead    int   `json:"dead"` // letters
}

// maxHeartbeatList bounds each list of a heartbeat: receivers bound bodies.
const maxHeartbeatList = 200

// lifeSign is the node as it is now.
func (n *Node) lifeSign() Heartbeat {
	v := n.state.View()
	h := Heartbeat{
		Type: "heartbeat", Cluster: n.clusterName(), Node: n.opts.Name, Version: n.opts.Version,
		Started: n.health.started.Load(), Draining: n.health.draining.Load(),
		Quorum: n.quorumNow(),
		Outbox: HeartbeatOutbox{Entries: v.OutboxLen(), Bytes: v.OutboxBytes(), Dead: v.DeadLen()},
	}
	if self, ok := v.Node(n.opts.Name); ok && self.Drain != fsm.DrainNone {
		h.Draining = true
	}
	lag := map[string]uint64{}
	for c := range v.AllCursors() {
		network, ok := v.Network(c.Network)
		if !ok {
			continue
		}
		behind := network.Next - 1 - min(network.Next-1, c.Position)
		lag[c.Network] = max(lag[c.Network], behind)
		if cohort, ok := v.Cohort(c.Cohort); ok && cohort.Node == n.opts.Name && behind > 0 {
			h.Cohorts = append(h.Cohorts, HeartbeatCohort{Cohort: c.Cohort, Network: c.Network, Behind: behind})
		}
	}
	now := time.Now()
	for network := range v.Networks() {
		if network.Wanted > 0 {
			h.Networks = append(h.Networks, n.networkSign(network, lag[network.Key], now))
		}
	}
	h.bound()
	return h
}

func (n *Node) networkSign(network *fsm.Network, lag uint64, now time.Time) HeartbeatNetwork {
	tip, begun := network.Branch.Tip()
	s := HeartbeatNetwork{
		Network: network.Key, Holder: network.Lease.Holder, Epoch: network.Lease.Epoch, Head: tip.Height, Lag: lag,
	}
	if network.Seen > 0 {
		s.SeenAge = age(now, network.Seen)
	}
	reason, _, watched := n.watch.metrics.Stalled(network.Key)
	switch {
	case s.Holder == "":
		s.Stalled = "nobody watches it"
	case watched && reason != "":
		s.Stalled = reason
	case !begun:
		s.Stalled = "no block announced yet"
	}
	return s
}

// bound puts the worst first and cuts what is too long.
func (h *Heartbeat) bound() {
	trouble := func(n HeartbeatNetwork) int {
		if n.Stalled != "" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(h.Networks, func(a, b HeartbeatNetwork) int {
		return cmp.Or(cmp.Compare(trouble(a), trouble(b)), cmp.Compare(b.Lag, a.Lag), cmp.Compare(a.Network, b.Network))
	})
	slices.SortStableFunc(h.Cohorts, func(a, b HeartbeatCohort) int {
		return cmp.Or(cmp.Compare(b.Behind, a.Behind), cmp.Compare(a.Network, b.Network), cmp.Compare(a.Cohort, b.Cohort))
	})
	h.Omitted = max(len(h.Networks)-maxHeartbeatList, 0) + max(len(h.Cohorts)-maxHeartbeatList, 0)
	h.Networks = h.Networks[:min(len(h.Networks), maxHeartbeatList)]
	h.Cohorts = h.Cohorts[:min(len(h.Cohorts), maxHeartbeatList)]
	if h.Networks == nil {
		h.Networks = []HeartbeatNetwork{}
	}
	if h.Cohorts == nil {
		h.Cohorts = []HeartbeatCohort{}
	}
}

// quorumNow is what this node knows of the group.
func (n *Node) quorumNow() HeartbeatQuorum {
	var q HeartbeatQuorum
	group := n.groupNow()
	if group == nil {
		return q
	}
	if leader, ok := group.Leader(); ok {
		q.Leader = consensus.NameOf(leader.ID)
	}
	q.Term, q.HasContact = group.Term(), n.contact.Held()
	alive := map[string]bool{}
	for _, m := range n.gossip.Members() {
		alive[m.Name] = m.State == gossipAlive
	}
	peers, err := group.Peers()
	if err != nil {
		return q // the group is closing
	}
	for _, p := range peers {
		if !p.Voter {
			continue
		}
		q.Voters++
		if name := consensus.NameOf(p.ID); name == n.opts.Name || alive[name] {
			q.Alive++
		}
	}
	return q
}
