package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Server is a member of the group, or one to be.
type Server struct {
	ID      string // name@instance
	Address string // host:port of its cluster port
}

// Peer is a server of the group's configuration.
type Peer struct {
	Server
	Voter bool
}

// NameOf is the node name of a server id.
func NameOf(server string) string {
	name, _, _ := strings.Cut(server, "@")
	return name
}

func checkServerID(id string) error {
	if id == "" || len(id) > maxServerID || strings.ContainsAny(id, " \n\x00") {
		return fmt.Errorf("server id %q: want name@instance of at most %d bytes, without spaces", id, maxServerID)
	}
	return nil
}

// changeTimeout is how long a change of the configuration may take; leaders
// that lost the others notice sooner.
const changeTimeout = 10 * time.Second

// transferTimeout bounds a transfer: a node that stops does not wait longer.
const transferTimeout = 2 * time.Second

// Bootstrap begins a new group of these servers, all voters. Every one of them
// may do it, with the same list: they begin the same group. ErrBootstrapped
// when this node has a log.
func (g *Group) Bootstrap(servers []Server) error {
	cfg := voters(servers)
	_, err := await(context.Background(), g.pending, func() raft.Future { return g.raft.BootstrapCluster(cfg) })
	switch {
	case errors.Is(err, raft.ErrCantBootstrap):
		return ErrBootstrapped
	case errors.Is(err, raft.ErrNotVoter):
		return fmt.Errorf("begin a group: this server %s is not among those listed", g.opts.Server)
	case err != nil:
		return fmt.Errorf("begin a group: %w", err)
	}
	return nil
}

// voters is the configuration of these servers, the same in whatever order they
// are listed.
func voters(servers []Server) raft.Configuration {
	var cfg raft.Configuration
	for _, s := range slices.SortedFunc(slices.Values(servers), func(a, b Server) int { return cmp.Compare(a.ID, b.ID) }) {
		cfg.Servers = append(cfg.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address)})
	}
	return cfg
}

// Peers are the servers of the configuration, by id; none on a node that
// belongs to no group yet. The configuration may not be committed yet.
func (g *Group) Peers() ([]Peer, error) {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read the group's configuration: %w", err)
	}
	return peersOf(f.Configuration()), nil
}

func peersOf(cfg raft.Configuration) []Peer {
	var out []Peer
	for _, s := range cfg.Servers {
		out = append(out, Peer{Server{string(s.ID), string(s.Address)}, s.Suffrage == raft.Voter})
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// AddNonvoter adds a server that follows without a vote; of one that is in the
// group already it changes the address. Leader only.
func (g *Group) AddNonvoter(s Server) error {
	if err := checkServerID(s.ID); err != nil {
		return err
	}
	return g.change("add "+s.ID, func() raft.IndexFuture {
		return g.raft.AddNonvoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), 0, changeTimeout)
	})
}

// Promote gives a server a vote. Leader only.
func (g *Group) Promote(s Server) error {
	return g.change("promote "+s.ID, func() raft.IndexFuture {
		return g.raft.AddVoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), 0, changeTimeout)
	})
}

// Demote takes a server's vote; it goes on following. Leader only, and not of
// itself.
func (g *Group) Demote(id string) error {
	if id == g.opts.Server {
		return fmt.Errorf("demote %s: it leads; transfer leadership first", id)
	}
	return g.change("demote "+id, func() raft.IndexFuture {
		return g.raft.DemoteVoter(raft.ServerID(id), 0, changeTimeout)
	})
}

// Remove takes a server out of the group. Leader only, and not itself.
func (g *Group) Remove(id string) error {
	if id == g.opts.Server {
		return fmt.Errorf("remove %s: it leads; transfer leadership first", id)
	}
	return g.change("remove "+id, func() raft.IndexFuture {
		return g.raft.RemoveServer(raft.ServerID(id), 0, changeTimeout)
	})
}

// Change makes a change that PlanPeers has planned.
func (g *Group) Change(c PeerChange) error {
	switch c.Kind {
	case AddPeer:
		return g.AddNonvoter(c.Server)
	case PromotePeer:
		return g.Promote(c.Server)
	case DemotePeer:
		return g.Demote(c.Server.ID)
	case RemovePeer:
		return g.Remove(c.Server.ID)
	case TransferLead:
		return g.Transfer(context.Background(), c.Server.ID)
	default:
		return fmt.Errorf("unknown change of the group: %v", c.Kind)
	}
}

func (g *Group) change(what string, start func() raft.IndexFuture) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), changeTimeout, fmt.Errorf("not committed within %v", changeTimeout))
	defer cancel()
	_, err := await(ctx, g.pending, start)
	g.watchdog.saw(err)
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%s: %w: %w", what, ErrNotLeader, err)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Transfer hands leadership to a voter, or to the one that is furthest with the
// log if to is empty. It gives up after 2 s; then this node still leads, or
// somebody else does after an ordinary election. Leader only.
func (g *Group) Transfer(ctx context.Context, to string) error {
	if !g.isLeader() {
		return fmt.Errorf("transfer leadership: %w", ErrNotLeader)
	}
	if to == g.opts.Server {
		return nil
	}
	start := g.raft.LeadershipTransfer
	if to != "" {
		peers, err := g.Peers()
		if err != nil {
			return err
		}
		// A server without a vote would try to be elected, in vain.
		i := slices.IndexFunc(peers, func(p Peer) bool { return p.ID == to && p.Voter })
		if i < 0 {
			return fmt.Errorf("transfer leadership: %s has no vote in this group", to)
		}
		start = func() raft.Future {
			return g.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(peers[i].Address))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, transferTimeout, fmt.Errorf("not taken over within %v", transferTimeout))
	defer cancel()
	_, err := await(ctx, g.pending, start)
	g.watchdog.saw(err)
	if err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}
