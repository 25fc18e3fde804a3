package consensus

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// When the planner acts.
const (
	promoteAfter    = 10 * time.Second // stable before a server gets a vote
	promoteWithin   = 250              // entries behind at most
	replaceAfter    = 5 * time.Minute  // a voter is dead before its seat is given away
	forgetAfter     = time.Hour        // a server without a vote is dead before it is removed
	forgetSeatAfter = 24 * time.Hour   // the same, when it had a vote
)

// Health is what the leader knows of a server.
type Health struct {
	Alive   bool          // gossip or the leader hears it
	Stable  time.Duration // how long it has been alive and caught up
	Behind  uint64        // entries that it has not applied
	Leaving bool          // the operator drains its node
}

// PeersInput is what PlanPeers decides on. Times are durations, so that the
// plan depends on no clock.
type PeersInput struct {
	Peers    []Peer                     // the group's configuration
	Self     string                     // id of the leader, which plans
	Target   int                        // voters wanted: 3 or 5
	Members  map[string]Health          // by server id; one that is not here is dead
	DeadFor  map[string]time.Duration   // by server id
	Known    []Server                   // alive nodes' servers that are not in the configuration
	Remove   []string                   // names of nodes that are to be removed
	Replaced map[string]bool            // servers that were demoted while dead; may be forgotten with the leader
	Names    func(server string) string // node name of a server id; nil: NameOf
}

// ChangeKind is what happens to a server.
type ChangeKind uint8

// The changes of a group.
const (
	AddPeer      ChangeKind = iota + 1 // joins without a vote
	PromotePeer                        // gets a vote
	DemotePeer                         // loses its vote
	RemovePeer                         // leaves the configuration
	TransferLead                       // takes over leadership
)

// String is a verb.
func (k ChangeKind) String() string {
	switch k {
	case AddPeer:
		return "add"
	case PromotePeer:
		return "promote"
	case DemotePeer:
		return "demote"
	case RemovePeer:
		return "remove"
	case TransferLead:
		return "transfer leadership to"
	default:
		return fmt.Sprintf("change(%d)", uint8(k))
	}
}

// PeerChange is one change of the group and why it is made.
type PeerChange struct {
	Kind   ChangeKind
	Server Server
	Reason string
}

// String says what happens to which server.
func (c PeerChange) String() string { return c.Kind.String() + " " + c.Server.ID }

// PlanPeers decides on the next change of the group: at most one, since each
// must be seen to work before the next is chosen. No plan leaves fewer live
// voters than a majority of the voters, and none takes the vote or the place of
// the leader itself: that one hands leadership over first.
func PlanPeers(in PeersInput) []PeerChange {
	p := newPlanner(in)
	for _, rule := range []func() (PeerChange, bool){
		p.superseded, p.displaced, p.removed, p.add, p.handOver, p.demote, p.promote, p.forget,
	} {
		if c, ok := rule(); ok {
			return []PeerChange{c}
		}
	}
	return nil
}

type planner struct {
	PeersInput
	remove  map[string]bool   // node names
	current map[string]string // node name -> the server it is now
	voters  int
	live    int
}

func newPlanner(in PeersInput) *planner {
	p := &planner{PeersInput: in, remove: map[string]bool{}, current: map[string]string{}}
	if p.Names == nil {
		p.Names = NameOf
	}
	p.Peers = slices.SortedFunc(slices.Values(in.Peers), func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	p.Known = slices.SortedFunc(slices.Values(in.Known), func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	for _, name := range in.Remove {
		p.remove[name] = true
	}
	for _, s := range p.Known {
		p.current[p.Names(s.ID)] = s.ID
	}
	for _, peer := range p.Peers {
		if p.alive(peer.ID) {
			p.current[p.Names(peer.ID)] = peer.ID
		}
		if peer.Voter {
			p.voters++
			if p.alive(peer.ID) {
				p.live++
			}
		}
	}
	return p
}

func (p *planner) alive(id string) bool { return id == p.Self || p.Members[id].Alive }

// quorate reports whether a group of so many voters can decide.
func quorate(live, voters int) bool { return live > voters/2 }

// without reports whether the group can decide once a voter is no voter.
func (p *planner) without(id string) bool {
	live := p.live
	if p.alive(id) {
		live--
	}
	return quorate(live, p.voters-1)
}

// gone reports whether a server's node has come back as another server: the
// disk it had is lost.
func (p *planner) gone(id string) bool {
	now, ok := p.current[p.Names(id)]
	return ok && now != id && !p.alive(id)
}

// unfit says why a voter should lose its vote, or nothing.
func (p *planner) unfit(id string) string {
	switch {
	case p.remove[p.Names(id)]:
		return "its node is to be removed"
	case p.gone(id):
		return "its node came back with an empty disk"
	case !p.alive(id) && p.DeadFor[id] >= replaceAfter:
		return "it has been dead for " + p.DeadFor[id].Round(time.Second).String()
	case p.Members[id].Leaving:
		return "its node is being drained"
	default:
		return ""
	}
}

// superseded removes servers whose disk is gone. Their place is needed for the
// server that their node is now: Raft takes no two servers at one address.
func (p *planner) superseded() (PeerChange, bool) {
	for _, peer := range p.Peers {
		if !p.gone(peer.ID) || (peer.Voter && !p.without(peer.ID)) {
			continue
		}
		reason := fmt.Sprintf("node %s is now server %s: its disk was lost", p.Names(peer.ID), p.current[p.Names(peer.ID)])
		return PeerChange{RemovePeer, peer.Server, reason}, true
	}
	return PeerChange{}, false
}

// displaced makes room for a node whose address a dead server still has in the
// configuration, under the name of another node: Raft takes no two servers at
// one address. The dead one may have its disk and come back elsewhere, so it
// loses its vote before its place.
func (p *planner) displaced() (PeerChange, bool) {
	for _, peer := range p.Peers {
		i := slices.IndexFunc(p.Known, func(s Server) bool {
			return s.Address == peer.Address && p.alive(s.ID) && !p.remove[p.Names(s.ID)]
		})
		if i < 0 || p.alive(peer.ID) {
			continue
		}
		reason := fmt.Sprintf("it is dead, and server %s is at its address now", p.Known[i].ID)
		switch {
		case peer.Voter && p.without(peer.ID):
			return PeerChange{DemotePeer, peer.Server, reason}, true
		case !peer.Voter && quorate(p.live, p.voters):
			return PeerChange{RemovePeer, peer.Server, reason}, true
		}
	}
	return PeerChange{}, false
}

// removed does what `node remove` asks for, as soon as it is safe: a voter
// loses its vote first, after its seat is taken if somebody can take it.
func (p *planner) removed() (PeerChange, bool) {
	for _, peer := range p.Peers {
		if !p.remove[p.Names(peer.ID)] || peer.ID == p.Self {
			continue
		}
		if !peer.Voter {
			return PeerChange{RemovePeer, peer.Server, "its node is to be removed"}, true
		}
		if p.voters%2 == 1 && len(p.candidates()) > 0 {
			continue // promote sees to it
		}
		if p.without(peer.ID) {
			return PeerChange{DemotePeer, peer.Server, "its node is to be removed"}, true
		}
	}
	return PeerChange{}, false
}

// add lets nodes that are not in the group follow it.
func (p *planner) add() (PeerChange, bool) {
	if !quorate(p.live, p.voters) {
		return PeerChange{}, false
	}
	for _, s := range p.Known {
		taken := slices.ContainsFunc(p.Peers, func(q Peer) bool { return q.ID == s.ID || q.Address == s.Address })
		if taken || p.remove[p.Names(s.ID)] {
			continue
		}
		return PeerChange{AddPeer, s, "a new node"}, true
	}
	return PeerChange{}, false
}

// handOver moves leadership away from a leader that is to lose its seat.
func (p *planner) handOver() (PeerChange, bool) {
	why := p.unfit(p.Self)
	if why == "" {
		return PeerChange{}, false
	}
	var best *Peer
	for i, peer := range p.Peers {
		if !peer.Voter || peer.ID == p.Self || !p.alive(peer.ID) || p.unfit(peer.ID) != "" {
			continue
		}
		if best == nil || p.Members[peer.ID].Behind < p.Members[best.ID].Behind {
			best = &p.Peers[i]
		}
	}
	if best == nil {
		return PeerChange{}, false
	}
	return PeerChange{TransferLead, best.Server, fmt.Sprintf("the leader %s hands over: %s", p.Self, why)}, true
}

// demote takes votes away that do more harm than good. Of an even number of
// voters, one that is dead or leaves is one too many: without it the majority
// is smaller by one, and as many live voters are left to reach it. Of an odd
// number, taking a vote makes nothing better, so it waits for a replacement.
func (p *planner) demote() (PeerChange, bool) {
	over := p.voters > p.Target
	if p.voters%2 == 0 || over {
		for _, peer := range p.Peers {
			if why := p.unfit(peer.ID); peer.Voter && peer.ID != p.Self && why != "" && p.without(peer.ID) {
				return PeerChange{DemotePeer, peer.Server, why}, true
			}
		}
	}
	if !over {
		return PeerChange{}, false
	}
	for _, peer := range slices.Backward(p.Peers) {
		if peer.Voter && peer.ID != p.Self && p.without(peer.ID) {
			return PeerChange{DemotePeer, peer.Server, fmt.Sprintf("%d voters are more than the %d wanted", p.voters, p.Target)}, true
		}
	}
	return PeerChange{}, false
}

// candidates can take a seat now.
func (p *planner) candidates() []Peer {
	var out []Peer
	for _, peer := range p.Peers {
		h := p.Members[peer.ID]
		if !peer.Voter && h.Alive && !h.Leaving && h.Stable >= promoteAfter && h.Behind < promoteWithin && p.unfit(peer.ID) == "" {
			out = append(out, peer)
		}
	}
	return out
}

// promote gives votes. A seat whose holder is dead or leaves is filled one for
// one. Otherwise the group grows to the greatest odd number of voters that the
// servers at hand allow, and only sets out for it when all that it takes are
// ready: two voters, both needed, are worse than one, and four no better than three.
func (p *planner) promote() (PeerChange, bool) {
	ready := p.candidates()
	if len(ready) == 0 || !quorate(p.live+1, p.voters+1) {
		return PeerChange{}, false
	}
	fit := 0
	replace := ""
	for _, peer := range p.Peers {
		switch {
		case !peer.Voter:
		case p.unfit(peer.ID) == "":
			fit++
		case replace == "":
			replace = peer.ID
		}
	}
	best := ready[0]
	if replace != "" {
		// More than one voter above the target are never needed at a time.
		if fit >= p.Target || p.voters > p.Target {
			return PeerChange{}, false
		}
		return PeerChange{PromotePeer, best.Server, fmt.Sprintf("it takes the seat of %s: %s", replace, p.unfit(replace))}, true
	}
	want := odd(min(p.voters+len(ready), p.Target))
	if p.voters >= want {
		return PeerChange{}, false
	}
	return PeerChange{PromotePeer, best.Server, fmt.Sprintf("%d of %d voters", p.voters, want)}, true
}

// odd is the greatest odd number up to n, at least 1.
func odd(n int) int { return max(1, n-1+n%2) }

// forget removes servers that are dead for long and have no vote.
func (p *planner) forget() (PeerChange, bool) {
	if !quorate(p.live, p.voters) {
		return PeerChange{}, false
	}
	for _, peer := range p.Peers {
		limit := forgetAfter
		if p.Replaced[peer.ID] {
			limit = forgetSeatAfter
		}
		if !peer.Voter && !p.alive(peer.ID) && p.DeadFor[peer.ID] >= limit {
			return PeerChange{RemovePeer, peer.Server, "it has been dead for " + p.DeadFor[peer.ID].Round(time.Second).String()}, true
		}
	}
	return PeerChange{}, false
}
