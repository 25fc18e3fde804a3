package v1

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// What a fake node has of alerts: one of every tenant, or what a test says.

const alertID = "00000000000000000000000000000000000000000000000000000000000000aa"

func (f *fake) alertsOf(t *fsm.Tenant) []api.Alert {
	if f.alerts != nil {
		return f.alerts(t)
	}
	at := time.UnixMilli(1_700_000_000_000).UTC()
	return []api.Alert{{
		ID: alertID, Monitor: "monitor of " + t.ID, MonitorID: "mon", Network: t.ID + "/net", Transaction: "0x1", State: "fired", FiredAt: at,
		Changes: []api.AlertChange{{State: "fired", Position: 1, At: at, Deliveries: []api.AlertDelivery{}}},
	}}
}

func (f *fake) Alerts(_ context.Context, t *fsm.Tenant, q api.AlertQuery) (out api.AlertList, err error) {
	f.asked = q
	for _, a := range f.alertsOf(t) {
		place := api.AlertPlace{At: a.FiredAt.UnixMilli(), ID: a.ID}
		if q.Before != nil && place.Compare(*q.Before) >= 0 || !q.Chooses(a.MonitorID, a.Monitor, a.Network, a.Transaction) {
			continue
		}
		if len(out.Alerts) == q.Limit {
			last := &out.Alerts[q.Limit-1]
			out.Next = &api.AlertPlace{At: last.FiredAt.UnixMilli(), ID: last.ID}
			break
		}
		out.Alerts = append(out.Alerts, a)
	}
	return out, nil
}

func (f *fake) Alert(_ context.Context, t *fsm.Tenant, id string) (api.Alert, []string, error) {
	for _, a := range f.alertsOf(t) {
		if a.ID == id {
			return a, nil, nil
		}
	}
	return api.Alert{}, nil, fmt.Errorf("alert %s: %w", id, fsm.ErrNotFound)
}

// FollowAlerts tells what a test says, or what there is, and ends.
func (f *fake) FollowAlerts(ctx context.Context, t *fsm.Tenant, since time.Time) (<-chan api.AlertNews, error) {
	f.since = since
	if f.follow != nil {
		return f.follow(ctx, t), nil
	}
	out := make(chan api.AlertNews)
	go func() {
		defer close(out)
		for _, a := range f.alertsOf(t) {
			e := &api.AlertEvent{Event: api.EventID(a.ID, a.State, 1), ID: a.ID, State: a.State, Monitor: a.Monitor, MonitorID: a.MonitorID, Network: a.Network, Transaction: a.Transaction}
			select {
			case out <- api.AlertNews{Event: e, Mark: a.FiredAt.UnixMilli()}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (f *fake) Nodes(context.Context) ([]api.NodeStatus, error) {
	var out []api.NodeStatus
	for n := range f.View().Nodes() {
		out = append(out, api.NodeStatus{Name: n.Name, Server: n.Server})
	}
	return out, nil
}

// operate does what a node does, with its entry in the audit log.
func (f *fake) operate(ctx context.Context, c fsm.Command, by fsm.Audit) error {
	entry, err := fsm.NewAudited(by, 0, c)
	if err != nil {
		return err
	}
	_, err = f.Propose(ctx, entry)
	return err
}

func (f *fake) Drain(ctx context.Context, node string, drain bool, by fsm.Audit) error {
	if _, ok := f.View().Node(node); !ok {
		return fmt.Errorf("node %q: %w", node, fsm.ErrNotFound)
	}
	mode := fsm.DrainNone
	if drain {
		mode = fsm.DrainOperator
	}
	return f.operate(ctx, &fsm.DrainNode{Name: node, Drain: mode}, by)
}

func (f *fake) MoveLease(ctx context.Context, m api.LeaseMove, by fsm.Audit) error {
	n, ok := f.View().Network(m.Network)
	if !ok {
		return fmt.Errorf("network %q: %w", m.Network, fsm.ErrNotFound)
	}
	return f.operate(ctx, &fsm.GrantLease{Network: m.Network, Holder: m.To, IfEpoch: n.Lease.Epoch, Window: 64, Pin: true}, by)
}

func (f *fake) Place(ctx context.Context, p api.Placement, by fsm.Audit) error {
	t, ok := f.View().Tenant(p.Tenant)
	if !ok {
		return fmt.Errorf("tenant %q: %w", p.Tenant, fsm.ErrNotFound)
	}
	return f.operate(ctx, &fsm.SetPlacement{Tenant: p.Tenant, Pin: *p.Pin, Weight: *p.Weight, Priority: *p.Priority, Expect: t.Placed}, by)
}

func (f *fake) Rebalance(_ context.Context, dryRun bool, _ fsm.Audit) (api.Rebalance, error) {
	return api.Rebalance{DryRun: dryRun}, nil
}

// elsewhere is the API of another node of the same cluster.
func (r *rig) elsewhere() *rig {
	out := &rig{fake: r.fake, now: r.now}
	out.api = New(Options{
		Backend: r.fake, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: func() time.Time { return out.now },
	})
	return out
}
