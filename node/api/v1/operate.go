package v1

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Operator is what operators do with the cluster. By is the entry of the audit log that
// goes with what is changed. Errors wrap fsm.ErrNotFound, api.ErrRefused or
// api.ErrUnavailable.
type Operator interface {
	// Nodes are as the leader knows them.
	Nodes(ctx context.Context) ([]api.NodeStatus, error)
	Drain(ctx context.Context, node string, drain bool, by fsm.Audit) error
	MoveLease(ctx context.Context, m api.LeaseMove, by fsm.Audit) error
	Place(ctx context.Context, p api.Placement, by fsm.Audit) error
	Rebalance(ctx context.Context, dryRun bool, by fsm.Audit) (api.Rebalance, error)
}

// NodePath names a node.
type NodePath struct {
	Name string `path:"name" maxLength:"64" doc:"Name of the node."`
}

type nodeInput struct {
	NodePath
	ReadYourWrites
}

type nodesOutput struct{ Body Page[api.NodeStatus] }

type nodeOutput struct{ Body api.NodeStatus }

// Lease says who watches a network.
type Lease struct {
	Network  string       `json:"network"`
	Holder   string       `json:"holder,omitempty" doc:"Absent: nobody."`
	Epoch    uint64       `json:"epoch"`
	Pinned   bool         `json:"pinned" doc:"It stays with its holder."`
	Head     api.BlockRef `json:"head"`
	Position uint64       `json:"position" doc:"Of the last announcement."`
	Wanted   int          `json:"wanted" doc:"Tenants with a monitor on it that is not paused."`
}

// LeaseRequest says who is to watch a network.
type LeaseRequest struct {
	Network string `json:"network" minLength:"1" maxLength:"256" doc:"Its key: slug, or tenant/slug."`
	To      string `json:"to,omitempty" maxLength:"64" doc:"Node, where it stays; absent: it stays where it is, and may move again."`
}

// Assignment says who judges a tenant.
type Assignment struct {
	Tenant   string    `json:"tenant"`
	Node     string    `json:"node,omitempty" doc:"Absent: nobody, for the moment."`
	To       string    `json:"to,omitempty" doc:"Node that it is being handed over to."`
	Reason   string    `json:"reason,omitempty"`
	Version  uint64    `json:"version" doc:"1, 2, 3 … by moves."`
	At       time.Time `json:"at,omitzero" doc:"When it was moved."`
	Pin      string    `json:"pin,omitempty" doc:"Node where it should be."`
	Weight   uint32    `json:"weight" doc:"100 is a normal tenant's; 0: the strategy of placement decides."`
	Priority int32     `json:"priority"`
}

// PlacementRequest says where a tenant should be, and what it counts. What is absent is
// as by default.
type PlacementRequest struct {
	Pin      string `json:"pin,omitempty" maxLength:"64" doc:"Node; absent: wherever it fits."`
	Weight   uint32 `json:"weight,omitempty" maximum:"4294967295" doc:"100 is a normal tenant's; 0: the strategy of placement decides."`
	Priority int32  `json:"priority,omitempty" minimum:"-2147483648" maximum:"2147483647" doc:"Greater ones are placed first."`
}

type assignmentsInput struct {
	Paging
	ReadYourWrites
	Node string `query:"node" maxLength:"64" doc:"Only of this node."`
}

type placementInput struct {
	TenantPath
	ReadYourWrites
	Body PlacementRequest
}

type assignmentOutput struct {
	Index uint64 `header:"X-Ozmo-Index"`
	Body  Assignment
}

type rebalanceInput struct {
	ReadYourWrites
	DryRun bool `query:"dry_run" doc:"Only tell what would be done."`
}

type rebalanceOutput struct{ Body api.Rebalance }

func (a *API) operateRoutes() {
	register(a, "node.list", func(ctx context.Context, _ *clusterInput) (*nodesOutput, error) {
		list, err := a.backend.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		return &nodesOutput{Body: Page[api.NodeStatus]{Items: append([]api.NodeStatus{}, list...)}}, nil
	})
	register(a, "node.get", func(ctx context.Context, in *nodeInput) (*nodeOutput, error) {
		list, err := a.backend.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(n api.NodeStatus) bool { return n.Name == in.Name })
		if i < 0 {
			return nil, fmt.Errorf("node %q: %w", in.Name, fsm.ErrNotFound)
		}
		return &nodeOutput{Body: list[i]}, nil
	})
	for verb, drain := range map[string]bool{"node.drain": true, "node.undrain": false} {
		register(a, verb, func(ctx context.Context, in *nodeInput) (*done, error) {
			return a.operated(ctx, fsm.Audit{Object: in.Name}, func(by fsm.Audit) error { return a.backend.Drain(ctx, in.Name, drain, by) })
		})
	}
	register(a, "lease.list", a.listLeases)
	register(a, "lease.move", func(ctx context.Context, in *struct {
		ReadYourWrites
		Body LeaseRequest
	},
	) (*done, error) {
		entry := fsm.Audit{Object: in.Body.Network, After: "to any node"}
		if in.Body.To != "" {
			entry.After = "to " + in.Body.To
		}
		return a.operated(ctx, entry, func(by fsm.Audit) error {
			return a.backend.MoveLease(ctx, api.LeaseMove{Network: in.Body.Network, To: in.Body.To}, by)
		})
	})
	register(a, "assignment.list", a.listAssignments)
	register(a, "placement.get", func(ctx context.Context, in *tenantInput) (*assignmentOutput, error) {
		return a.assignment(ctx, in.Tenant)
	})
	register(a, "placement.put", a.putPlacement)
	register(a, "cluster.rebalance", a.rebalance)
}

// operated has something done to the cluster, and logs it.
func (a *API) operated(ctx context.Context, e fsm.Audit, do func(by fsm.Audit) error) (*done, error) {
	e = a.entry(ctx, e)
	if err := do(e); err != nil {
		return nil, err
	}
	a.logChange(ctx, &e)
	// Another node may have done it: what it has committed is to be seen here.
	if err := a.backend.CatchUp(ctx); err != nil {
		return nil, err
	}
	return a.done(), nil
}

func (a *API) listLeases(_ context.Context, in *tenantsInput) (*pageOutput[Lease], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Lease]{Body: Page[Lease]{Items: []Lease{}}}
	v := a.backend.View()
	for n := range v.Networks() {
		if after != "" && n.Key <= after || !store.IsThere(v, n) {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = out.Body.Items[in.Limit-1].Network
			break
		}
		tip, _ := n.Branch.Tip()
		out.Body.Items = append(out.Body.Items, Lease{
			Network: n.Key, Holder: n.Lease.Holder, Epoch: n.Lease.Epoch, Pinned: n.Lease.Pinned, Head: tip, Position: n.Next - 1, Wanted: n.Wanted,
		})
	}
	return out, nil
}

func assignmentOf(v *fsm.View, t *fsm.Tenant) Assignment {
	out := Assignment{Tenant: t.ID, Node: v.Owner(t), Version: t.Assigned.Version, Pin: t.Pin, Weight: t.Weight, Priority: t.Priority}
	if t.Assigned.Version > 0 {
		out.Reason, out.At = t.Assigned.Reason.String(), time.UnixMilli(t.Assigned.At).UTC()
	}
	if c, ok := v.Cohort(t.Cohort); ok {
		out.To = c.To
	}
	return out
}

func (a *API) listAssignments(_ context.Context, in *assignmentsInput) (*pageOutput[Assignment], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	v := a.backend.View()
	if _, ok := v.Node(in.Node); in.Node != "" && !ok {
		return nil, fmt.Errorf("node %q: %w", in.Node, fsm.ErrNotFound)
	}
	out := &pageOutput[Assignment]{Body: Page[Assignment]{Items: []Assignment{}}}
	for t := range v.Tenants() {
		if t.ID == fsm.Shared || t.ID <= after || in.Node != "" && v.Owner(t) != in.Node {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = out.Body.Items[in.Limit-1].Tenant
			break
		}
		out.Body.Items = append(out.Body.Items, assignmentOf(v, t))
	}
	return out, nil
}

func (a *API) assignment(ctx context.Context, id string) (*assignmentOutput, error) {
	v := a.backend.View()
	t, err := tenant(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return &assignmentOutput{Index: v.Index(), Body: assignmentOf(v, t)}, nil
}

func (a *API) putPlacement(ctx context.Context, in *placementInput) (*assignmentOutput, error) {
	v, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if t.Pin == in.Body.Pin && t.Weight == in.Body.Weight && t.Priority == in.Body.Priority {
		return a.assignment(ctx, in.Tenant)
	}
	if _, ok := v.Node(in.Body.Pin); in.Body.Pin != "" && !ok {
		return nil, invalid("body.pin", "there is no node of this name")
	}
	entry := fsm.Audit{
		Tenant: t.ID, Object: t.ID,
		Before: placed(t.Pin, t.Weight, t.Priority), After: placed(in.Body.Pin, in.Body.Weight, in.Body.Priority),
	}
	if _, err := a.operated(ctx, entry, func(by fsm.Audit) error {
		return a.backend.Place(ctx, api.Placement{Tenant: t.ID, Pin: &in.Body.Pin, Weight: &in.Body.Weight, Priority: &in.Body.Priority}, by)
	}); err != nil {
		return nil, err
	}
	return a.assignment(ctx, in.Tenant)
}

func placed(pin string, weight uint32, priority int32) string {
	parts := []string{fmt.Sprintf("weight %d, priority %d", weight, priority)}
	if pin != "" {
		parts = append(parts, "on "+pin)
	}
	return strings.Join(parts, ", ")
}

func (a *API) rebalance(ctx context.Context, in *rebalanceInput) (*rebalanceOutput, error) {
	var out rebalanceOutput
	do := func(by fsm.Audit) (err error) {
		out.Body, err = a.backend.Rebalance(ctx, in.DryRun, by)
		return err
	}
	var err error
	if in.DryRun {
		err = do(a.entry(ctx, fsm.Audit{}))
	} else {
		_, err = a.operated(ctx, fsm.Audit{}, do)
	}
	if err != nil {
		return nil, err
	}
	if out.Body.Moves == nil {
		out.Body.Moves = []api.Move{}
	}
	out.Body.Unplaced, out.Body.Oversized = orEmpty(out.Body.Unplaced), orEmpty(out.Body.Oversized)
	return &out, nil
}
