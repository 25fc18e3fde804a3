package node

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// What was fired is in the journal of the node that fired it: who wants to know
// all asks all.

// alertsQuery asks a journal for the alerts of a tenant on heights of a network.
type alertsQuery struct {
	Tenant  string `json:"tenant"`
	Network string `json:"network"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
}

// alertsAnswer is what a node's journal has of a network for a tenant.
type alertsAnswer struct {
	Alerts []told `json:"alerts"`
	Gone   uint64 `json:"gone,omitempty"` // height up to which it has dropped some for its bounds
	Lost   uint64 `json:"lost,omitempty"` // height up to which it knows another journal to be lost
}

// told is an alert with the deliveries of each of its states but retracted.
type told struct {
	api.Fired
	States [][]journal.Delivery `json:"states,omitempty"`
	// Replayed: nobody but a replay has raised it.
	Replayed bool `json:"replayed,omitempty"`
}

// stateReplayed stands in the journal for what a replay has delivered: no
// announcement brought it about, and coverage does not expect it.
const stateReplayed = "replayed"

func (n *Node) serveAlerts(w http.ResponseWriter, r *http.Request) { serveQuery(w, r, n.journalled) }

func (n *Node) journalled(q alertsQuery) (alertsAnswer, error) {
	var out alertsAnswer
	out.Gone, _ = n.journal.GoneUpTo(q.Tenant, q.Network)
	out.Lost = n.journal.LostUpTo(q.Network)
	for a, err := range n.journal.Alerts(q.Tenant, q.Network, q.From, q.To) {
		if err != nil {
			return out, err
		}
		one := told{Fired: api.Fired{ID: a.ID, Monitor: a.MonitorName, Block: a.Block, Tx: a.Tx, Version: a.Version}, Replayed: true}
		for _, change := range a.History {
			one.Replayed = one.Replayed && change.State == stateReplayed
			if change.State != fsm.AlertRetracted.String() {
				one.States = append(one.States, change.Deliveries)
			}
		}
		out.Alerts = append(out.Alerts, one)
	}
	return out, nil
}

// gatherPatience is how long the other nodes may take to look into their journals.
const gatherPatience = 30 * time.Second

// gatherAlerts asks every node's journal. Up to the height dropped, one no longer
// keeps all; up to lost, one is not there any more. silent are the nodes that could
// not be asked: what they have fired may be missing.
func (n *Node) gatherAlerts(ctx context.Context, tenant, network string, from, to uint64) (byHeight map[uint64][]told, dropped, lost uint64, silent []string) {
	byHeight = map[uint64][]told{}
	q := alertsQuery{Tenant: tenant, Network: network, From: from, To: to}
	silent = gatherWithin(ctx, gatherPatience, n, "/rpc/alerts", q, n.journalled, func(a alertsAnswer) {
		dropped, lost = max(dropped, a.Gone), max(lost, a.Lost)
		for _, f := range a.Alerts {
			byHeight[f.Block.Height] = append(byHeight[f.Block.Height], f)
		}
	})
	return byHeight, dropped, lost, silent
}

// toHolder has the node answer that watches the network asked about; that node
// itself goes on.
func (n *Node) toHolder(w http.ResponseWriter, r *http.Request) (passed bool) {
	q := r.URL.Query()
	v := n.state.View()
	_, network, err := tenantOn(v, q.Get("tenant"), q.Get("network"))
	return err == nil && n.toHolderOf(w, r, v, network)
}

// toHolderOf is toHolder for a network that is found already.
func (n *Node) toHolderOf(w http.ResponseWriter, r *http.Request, v *fsm.View, network *fsm.Network) (passed bool) {
	if network.Lease.Holder == n.opts.Name || r.Header.Get(hopHeader) != "" {
		return false
	}
	holder, ok := v.Node(network.Lease.Holder)
	if !ok {
		api.Refuse(w, fmt.Errorf("%w: nobody watches network %s at the moment", api.ErrUnavailable, network.Key))
		return true
	}
	n.pass(w, r, n.addressOf(consensus.Server{ID: holder.Server, Address: holder.Address}))
	return true
}
