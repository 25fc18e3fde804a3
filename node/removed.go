package node

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A node that was removed gets no more of the log, so that it cannot read there that
// it was. While it has no contact it asks the others.

// standing is what nodes know of another's server.
type standing struct {
	Removed bool `json:"removed"`
}

func (n *Node) serveStanding(w http.ResponseWriter, r *http.Request) {
	reply(w, standing{Removed: slices.Contains(n.state.View().Cluster().Removed, r.URL.Query().Get("server"))})
}

// watchStanding asks as long as the node runs, until it knows that it was removed.
func (n *Node) watchStanding(ctx context.Context) {
	ticker := time.NewTicker(2 * n.ttl())
	defer ticker.Stop()
	for !n.removed.Load() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n.boot.Load() != 0 && !n.contact.Held() {
			n.askStanding(ctx)
		}
	}
}

func (n *Node) askStanding(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.ttl())
	defer cancel()
	query := url.Values{"server": {serverID(n.opts.Name, n.instance)}}
	for _, address := range n.knownPeers() {
		var answer standing
		if n.call(ctx, address, http.MethodGet, "/rpc/standing", query, nil, &answer) == nil && answer.Removed {
			n.noteRemoved()
			return
		}
	}
}

// noteRemoved says once that this node is not part of the cluster any more. It has
// no contact, so it does nothing; ending it is for who removed it.
func (n *Node) noteRemoved() {
	if !n.removed.Swap(true) {
		n.log.Error("this node takes no part any more: stop it", "error", fsm.ErrRemoved)
	}
}
