package node

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// lane is a trigger of a tenant.
type lane struct {
	Tenant  string `json:"tenant"`
	Trigger string `json:"trigger"`
}

func laneOf(m *notify.Notification) lane { return lane{m.Alert.Tenant, m.TriggerID} }

// keepHeld bounds the triggers of which failures are remembered.
const keepHeld = 10_000

// alone remembers which destinations this node leaves alone since they keep
// failing, and their last failures, to be shown: an attempt that is not made is in
// no journal. It is as old as the breakers it tells of, which end with the process.
type alone struct {
	mu    sync.Mutex
	lanes map[lane]*api.DeliveryHeld
}

// attempted notes how an attempt ended that was made; failure is empty for one
// that was accepted.
func (a *alone) attempted(l lane, failure string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failure == "" {
		delete(a.lanes, l)
		return
	}
	one := a.of(l)
	one.Error, one.Failed = failure, at
}

// left notes that no attempt will be made before a time.
func (a *alone) left(l lane, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(l).Until = until
}

func (a *alone) of(l lane) *api.DeliveryHeld {
	one := a.lanes[l]
	if one == nil {
		if len(a.lanes) >= keepHeld || a.lanes == nil {
			a.lanes = map[lane]*api.DeliveryHeld{}
		}
		one = &api.DeliveryHeld{}
		a.lanes[l] = one
	}
	return one
}

// heldLane is a destination that is left alone; without a trigger, all of a tenant
// that is over its quota.
type heldLane struct {
	lane
	api.DeliveryHeld
}

// now lists the destinations that are left alone now.
func (a *alone) now(now time.Time, want func(tenant string) bool) (out []heldLane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l, one := range a.lanes {
		if one.Until.After(now) && want(l.Tenant) {
			out = append(out, heldLane{l, *one})
		}
	}
	return out
}

// noted is a Sender that notes which destinations it leaves alone.
type noted struct {
	*notify.Sender
	alone *alone
}

func (s noted) Send(ctx context.Context, m *notify.Notification) (notify.Result, error) {
	res, err := s.Sender.Send(ctx, m)
	s.note(m, err)
	return res, err
}

func (s noted) Deliver(ctx context.Context, m *notify.Notification) (notify.Result, error) {
	res, err := s.Sender.Deliver(ctx, m)
	s.note(m, err)
	return res, err
}

func (s noted) note(m *notify.Notification, err error) {
	if err == nil {
		return
	}
	if until := s.LeftAlone(m); until.After(time.Now()) {
		s.alone.left(laneOf(m), until)
	}
}

// heldQuery asks a node what it leaves alone; of one tenant, or of all it has.
type heldQuery struct {
	Tenant string `json:"tenant,omitempty"`
}

func (n *Node) heldHere(q heldQuery) ([]heldLane, error) {
	v := n.state.View()
	out := n.alone.now(time.Now(), func(tenant string) bool {
		t, ok := v.Tenant(tenant)
		return ok && (q.Tenant == "" || q.Tenant == tenant) && v.Owner(t) == n.opts.Name
	})
	if box := n.outbox.Load(); box != nil {
		for tenant, over := range box.OverQuota() {
			if t, ok := v.Tenant(tenant); ok && (q.Tenant == "" || q.Tenant == tenant) && v.Owner(t) == n.opts.Name {
				out = append(out, heldLane{lane{Tenant: tenant}, api.DeliveryHeld{Error: over.Error(), Until: over.Again, Quota: over.PerHour}})
			}
		}
	}
	return out, nil
}

func (n *Node) serveHeld(w http.ResponseWriter, r *http.Request) { serveQuery(w, r, n.heldHere) }

// addHeld adds to deliveries that are still to be made that their destinations are
// left alone. Nodes that do not answer leave nothing alone, either.
func (n *Node) addHeld(ctx context.Context, tenant string, list []api.Delivery) {
	pending := false
	for _, d := range list {
		pending = pending || d.Status == api.DeliveryPending
	}
	if !pending {
		return
	}
	lanes := n.heldLanes(ctx, tenant)
	for i := range list {
		if d := &list[i]; d.Status == api.DeliveryPending {
			if d.Held = lanes[lane{d.Tenant, d.Trigger}]; d.Held == nil {
				d.Held = lanes[lane{Tenant: d.Tenant}]
			}
			if d.Held != nil && d.Held.Quota > 0 && d.Next.After(d.Held.Until.Add(time.Second)) {
				d.Held = nil // it waits for its own time
			}
		}
	}
}

// heldLanes asks all nodes what they leave alone; of one tenant, or of all.
func (n *Node) heldLanes(ctx context.Context, tenant string) map[lane]*api.DeliveryHeld {
	lanes := map[lane]*api.DeliveryHeld{}
	gather(ctx, n, "/rpc/held", heldQuery{tenant}, n.heldHere, func(answer []heldLane) {
		for i := range answer {
			lanes[answer[i].lane] = &answer[i].DeliveryHeld
		}
	})
	return lanes
}

// countHeld says of what is to be made again how much waits all the same, since
// its destination is left alone.
func (n *Node) countHeld(ctx context.Context, out *api.DeliveriesChanged, chosen []letter) {
	lanes := n.heldLanes(ctx, "")
	for _, l := range chosen {
		if held := lanes[lane{l.Tenant, l.Trigger}]; held != nil {
			out.Held++
			if held.Until.After(out.HeldUntil) {
				out.HeldUntil = held.Until
			}
		}
	}
}
