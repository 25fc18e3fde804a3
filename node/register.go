package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// registration is what a node says of itself to be registered.
type registration struct {
	fsm.RegisterNode
	SealingKey string // its id
	Multiplier float64
}

// registered is what the leader answers: the registration's log index, or, for one
// that does not follow what there is, the Boot that it has to follow.
type registered struct {
	Index uint64 `json:"index,omitempty"`
	Last  uint64 `json:"last,omitempty"`
}

// registerPause is how long a node waits before it asks again to be registered.
const registerPause = 200 * time.Millisecond

// register makes this run of the node known, and returns when the node is in the
// Raft group and has applied its own registration.
func (n *Node) register(ctx context.Context) error {
	c := registration{SealingKey: n.keeper.ID(), Multiplier: n.opts.RaftMultiplier, RegisterNode: fsm.RegisterNode{
		Name: n.opts.Name, Server: serverID(n.opts.Name, n.instance), Address: n.address, Version: n.opts.Version,
		Roles: n.opts.roles, Weight: n.opts.Weight,
		Reaches: n.opts.PostgresURL != "",
	}}
	// What an earlier process of this node has asked for, and what is still under
	// way, must not put this one out when it commits late: each registration says
	// which one it follows, and only a process that lives can be told.
	if own, ok := n.state.View().Node(n.opts.Name); ok {
		c.After = own.Boot
	}
	c.After++
	said, began := "", time.Now()
	for {
		answer, err := n.askRegistration(ctx, c)
		switch {
		case err != nil:
		case answer.Index == 0:
			c.After = answer.Last + 1
			continue
		default:
			n.boot.Store(answer.Index)
		}
		if err == nil {
			break
		}
		// Whoever had the name may have ended a moment ago: the leader knows only
		// when it heard of it last.
		if errors.Is(err, api.ErrRefused) && time.Since(began) > 3*n.ttl() || errors.Is(err, fsm.ErrRemoved) {
			return err
		}
		if text := err.Error(); text != said {
			said = text
			n.log.Info("not registered yet", "reason", text)
		}
		if err := n.pause(ctx, registerPause); err != nil {
			return err
		}
	}
	for n.group.Applied() < n.boot.Load() {
		if err := n.pause(ctx, recheck); err != nil {
			return err
		}
	}
	n.begun.Store(true)
	return n.opts.writeIdentity(identity{Name: n.opts.Name, Instance: n.instance, Begun: true})
}

// pause waits a while, with some jitter, unless the node has to end.
func (n *Node) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-n.fatal:
		n.die(err)
		return err
	case <-time.After(d + time.Duration(mathrand.Int64N(int64(d)/2+1))):
		return nil
	}
}

// askRegistration has the leader register this node; while it is not known
// here who that is, any node may pass the question on.
func (n *Node) askRegistration(ctx context.Context, c registration) (registered, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if leads, _ := n.group.Leads(); leads {
		return n.acceptRegistration(ctx, c)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return registered{}, err
	}
	var addresses []string
	if leader, ok := n.group.Leader(); ok {
		addresses = append(addresses, n.addressOf(leader))
	}
	addresses = append(addresses, n.knownPeers()...)
	failed := consensus.ErrNoLeader
	for _, address := range addresses {
		if address == n.address {
			continue
		}
		var answer registered
		err := n.call(ctx, address, http.MethodPost, "/rpc/register", nil, body, &answer)
		if err == nil || errors.Is(err, api.ErrRefused) || errors.Is(err, fsm.ErrRemoved) {
			return answer, err
		}
		failed = err
	}
	return registered{}, failed
}

func (n *Node) serveRegister(w http.ResponseWriter, r *http.Request) {
	if n.toLeader(w, r) {
		return
	}
	var c registration
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&c); err != nil {
		fail(w, err)
		return
	}
	answer, err := n.acceptRegistration(r.Context(), c)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, answer)
}

// acceptRegistration registers a node, on the leader.
func (n *Node) acceptRegistration(ctx context.Context, c registration) (registered, error) {
	if c.SealingKey != n.keeper.ID() {
		return registered{}, fmt.Errorf("%w: node %q has sealing key %s, the cluster has %s: it could open no secret; give it the cluster's, by joining with a token or with its bundle",
			api.ErrRefused, c.Name, c.SealingKey, n.keeper.ID())
	}
	if c.Multiplier != n.opts.RaftMultiplier {
		return registered{}, fmt.Errorf("%w: node %q has --raft-multiplier %v, the cluster %v: give all nodes the same", api.ErrRefused, c.Name, c.Multiplier, n.opts.RaftMultiplier)
	}
	if !n.contacts.established() {
		return registered{}, consensus.ErrNotLeader
	}
	if n.state.View().NeedsOutside() && !c.Reaches {
		return registered{}, fmt.Errorf("%w: node %q: %w", api.ErrRefused, c.Name, errNoURL)
	}
	old, ok := n.state.View().Node(c.Name)
	if ok && old.Server != c.Server {
		known, since := n.contacts.all()
		at := since // a new leader treats every node as just heard
		if h, ok := known[c.Name]; ok && h.Server == old.Server {
			at = h.at
		}
		if time.Since(at) < n.ttl()+n.ttl()/4 {
			return registered{}, fmt.Errorf("%w: a node named %q is running at %s: give this one another name with --node, or stop that one first", api.ErrRefused, c.Name, old.Address)
		}
	}
	last := uint64(0)
	if ok {
		last = old.Boot
	}
	if c.After != 0 && c.After != last+1 {
		return registered{Last: last}, nil
	}
	boot, err := n.group.Propose(ctx, &c.RegisterNode)
	if err != nil {
		return registered{}, err
	}
	// Registering is a sign of life; what it has applied, its heartbeats tell.
	n.contacts.note(heartbeat{Node: c.Name, Server: c.Server, Boot: boot.(uint64), Version: c.Version}, boot.(uint64), time.Now(), n.ttl())
	return registered{Index: boot.(uint64)}, nil
}
