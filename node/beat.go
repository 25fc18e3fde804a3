package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// beat sends heartbeats to the leader for as long as the node runs.
func (n *Node) beat(ctx context.Context) {
	ticker := time.NewTicker(n.ttl() / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		leader, ok := n.group.Leader()
		if !ok || n.boot.Load() == 0 {
			continue
		}
		n.beatOnce(ctx, leader)
	}
}

func (n *Node) beatOnce(ctx context.Context, leader consensus.Server) {
	ctx, cancel := context.WithTimeout(ctx, n.ttl()/2)
	defer cancel()
	h := n.heartbeat()
	sent := time.Now()
	var answer heartbeatAnswer
	var err error
	if leader.ID == serverID(n.opts.Name, n.instance) {
		answer, err = n.acceptHeartbeat(ctx, h)
	} else {
		var body []byte
		if body, err = json.Marshal(h); err == nil {
			err = n.call(ctx, n.addressOf(leader), http.MethodPost, "/rpc/heartbeat", nil, body, &answer)
		}
	}
	switch {
	case errors.Is(err, errSuperseded):
		n.die(err)
	case errors.Is(err, fsm.ErrRemoved):
		n.noteRemoved()
	case err == nil:
		n.contact.note(sent, answer.Commit)
	}
}

func (n *Node) heartbeat() heartbeat {
	_, highest := fsm.CommandRange()
	h := heartbeat{
		Node: n.opts.Name, Server: serverID(n.opts.Name, n.instance), Boot: n.boot.Load(), Applied: n.group.Applied(),
		Calls: n.watch.allCalls(), Commands: uint8(highest), Version: n.opts.Version, Keys: n.gossip.KeyIDs(),
		Unreached: n.storeErr() != nil,
	}
	if w := n.worker.Load(); w != nil {
		h.Load = w.Load()
	}
	return h
}

func (n *Node) serveHeartbeat(w http.ResponseWriter, r *http.Request) {
	var h heartbeat
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxEntry)).Decode(&h); err != nil {
		fail(w, err)
		return
	}
	if n.groupNow() == nil {
		fail(w, consensus.ErrNotLeader)
		return
	}
	answer, err := n.acceptHeartbeat(r.Context(), h)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, answer)
}

// acceptHeartbeat answers while this node leads: its own heartbeats as well, which
// keep up its contact.
func (n *Node) acceptHeartbeat(ctx context.Context, h heartbeat) (heartbeatAnswer, error) {
	if leads, _ := n.group.Leads(); !leads || !n.contacts.established() {
		return heartbeatAnswer{}, consensus.ErrNotLeader
	}
	if err := n.certainty.beat(ctx); err != nil {
		return heartbeatAnswer{}, err
	}
	switch node, ok := n.state.View().Node(h.Node); {
	case !ok:
		return heartbeatAnswer{}, fsm.ErrRemoved
	case node.Boot > h.Boot:
		return heartbeatAnswer{}, errSuperseded
	}
	commit := n.group.Committed()
	n.contacts.note(h, commit, time.Now(), n.ttl())
	return heartbeatAnswer{Commit: commit}, nil
}
