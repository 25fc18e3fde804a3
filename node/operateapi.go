package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// What operators do over the API, the leader does: it alone knows how every node is.

// operation is one thing that the leader is asked to do.
type operation struct {
	Do     string         `json:"do"` // nodes, drain, undrain, lease, place or rebalance
	Node   string         `json:"node,omitempty"`
	Lease  *api.LeaseMove `json:"lease,omitempty"`
	Place  *api.Placement `json:"place,omitempty"`
	DryRun bool           `json:"dry_run,omitempty"`
	By     fsm.Audit      `json:"by"`
}

// operated is what came of it.
type operated struct {
	Nodes     []api.NodeStatus `json:"nodes,omitempty"`
	Rebalance api.Rebalance    `json:"rebalance,omitzero"`
}

// operate does it here.
func (n *Node) operate(ctx context.Context, o operation) (out operated, err error) {
	ctx = context.WithValue(ctx, auditKey{}, o.By)
	switch {
	case o.Do == "nodes":
		v := n.state.View()
		known, _ := n.contacts.all()
		out.Nodes, _ = n.nodeStatus(v, known)
	case o.Do == "drain", o.Do == "undrain":
		err = n.DrainNode(ctx, o.Node, o.Do == "drain")
	case o.Do == "lease" && o.Lease != nil:
		err = n.MoveLease(ctx, *o.Lease)
	case o.Do == "place" && o.Place != nil:
		err = n.PlaceTenant(ctx, *o.Place)
	case o.Do == "rebalance":
		out.Rebalance, err = n.Rebalance(ctx, o.DryRun)
	default:
		err = fmt.Errorf("%w: operation %q", api.ErrBadRequest, o.Do)
	}
	return out, unavailable(err)
}

func (n *Node) serveOperate(w http.ResponseWriter, r *http.Request) {
	var o operation
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&o); err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	group := n.groupNow()
	if group == nil {
		fail(w, errNoWay)
		return
	}
	if leads, _ := group.Leads(); !leads {
		fail(w, errNoWay) // it was, when it was asked
		return
	}
	out, err := n.operate(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, out)
}

// atLeader has the leader do it.
func (n *Node) atLeader(ctx context.Context, o operation) (out operated, err error) {
	if err := n.mustBeMember(); err != nil {
		return out, err
	}
	if leads, _ := n.group.Leads(); leads {
		return n.operate(ctx, o)
	}
	leader, ok := n.group.Leader()
	if !ok {
		return out, errNoWay
	}
	body, err := json.Marshal(o)
	if err != nil {
		return out, err
	}
	err = n.call(ctx, n.addressOf(leader), http.MethodPost, "/rpc/operate", nil, body, &out)
	if errors.Is(err, errUnreached) {
		err = fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return out, unavailable(err)
}

// Nodes implements v1.Operator.
func (n tenantAPI) Nodes(ctx context.Context) ([]api.NodeStatus, error) {
	out, err := n.atLeader(ctx, operation{Do: "nodes"})
	return out.Nodes, err
}

// Drain implements v1.Operator.
func (n tenantAPI) Drain(ctx context.Context, node string, drain bool, by fsm.Audit) error {
	o := operation{Do: "undrain", Node: node, By: by}
	if drain {
		o.Do = "drain"
	}
	_, err := n.atLeader(ctx, o)
	return err
}

// MoveLease implements v1.Operator.
func (n tenantAPI) MoveLease(ctx context.Context, m api.LeaseMove, by fsm.Audit) error {
	_, err := n.atLeader(ctx, operation{Do: "lease", Lease: &m, By: by})
	return err
}

// Place implements v1.Operator.
func (n tenantAPI) Place(ctx context.Context, p api.Placement, by fsm.Audit) error {
	_, err := n.atLeader(ctx, operation{Do: "place", Place: &p, By: by})
	return err
}

// Rebalance implements v1.Operator.
func (n tenantAPI) Rebalance(ctx context.Context, dryRun bool, by fsm.Audit) (api.Rebalance, error) {
	out, err := n.atLeader(ctx, operation{Do: "rebalance", DryRun: dryRun, By: by})
	return out.Rebalance, err
}
