package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// letter is a delivery in the outbox, or a dead one.
type letter struct {
	*fsm.Outgoing
	status api.DeliveryStatus
	at     time.Time // of its hand-over or death
}

func pendingLetter(o *fsm.Outgoing) letter {
	return letter{o, api.DeliveryPending, time.UnixMilli(o.At)}
}

func deadLetter(d *fsm.Dead) letter {
	return letter{&d.Outgoing, api.DeliveryDead, time.UnixMilli(d.DiedAt)}
}

// letters lists what a choice may choose, as far as the content is not needed.
func letters(v *fsm.View, c *api.DeliveryChoice) (out []letter) {
	take := func(l letter) {
		if (c.Trigger == "" || l.Trigger == c.Trigger) && (c.Since.IsZero() || !l.at.Before(c.Since)) && (c.Until.IsZero() || !l.at.After(c.Until)) {
			out = append(out, l)
		}
	}
	pending, dead := v.Outbox(), v.DeadLetters()
	if c.Tenant != "" {
		pending, dead = v.OutboxOf(c.Tenant), v.DeadOf(c.Tenant)
	}
	if c.Has(api.DeliveryPending) {
		for o := range pending {
			take(pendingLetter(o))
		}
	}
	if c.Has(api.DeliveryDead) {
		for d := range dead {
			take(deadLetter(d))
		}
	}
	slices.SortFunc(out, func(a, b letter) int {
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Key, b.Key))
	})
	return out
}

// content is the alert of a delivery; empty where it is not kept, or not readable.
func (l letter) content() *alert.Alert {
	d, err := alert.DecodeDelivery(l.Delivery)
	if err != nil {
		return &alert.Alert{}
	}
	return d.Alert
}

// retracted reports whether a dead letter says that an alert holds which was
// retracted since: nothing would take it back after its receiver has it.
func (l letter) retracted(v *fsm.View) bool {
	if l.status != api.DeliveryDead {
		return false
	}
	a := l.content()
	r, ok := v.Retracted(a.Network, a.ID.String(), l.Born)
	return ok && a.State != alert.Retracted && a.Position <= r.Position
}

// wants reports whether a choice chooses an alert.
func wants(c *api.DeliveryChoice, a *alert.Alert) bool {
	return (c.Monitor == "" || a.MonitorID == c.Monitor || a.MonitorName == c.Monitor) &&
		(c.Network == "" || a.Network == c.Network || a.NetworkSlug == c.Network)
}

func (l letter) short(a *alert.Alert) api.Delivery {
	d := api.Delivery{
		Key: l.Key, Tenant: l.Tenant, Monitor: a.MonitorName, Network: a.Network, Trigger: l.Trigger, Status: l.status, Attempts: l.Attempts,
		At: l.at, Answered: l.Status, Error: l.Reason, Excerpt: l.Excerpt,
	}
	if a.State != 0 {
		d.State = a.State.String()
	}
	return d
}

// describe is a delivery as the list shows it.
func (n *Node) describe(v *fsm.View, l letter, a *alert.Alert) api.Delivery {
	d := l.short(a)
	if l.status != api.DeliveryPending {
		return d
	}
	if _, waits := v.FindOutgoing(l.Tenant, l.After); waits && l.After != "" {
		d.After = l.After // when that is settled, nobody knows
		return d
	}
	if box := n.outbox.Load(); box != nil {
		d.Next = box.Due(v, l.Outgoing)
	}
	return d
}

// deadLetters lists the tenants with dead letters, the most first.
func deadLetters(v *fsm.View) (out []api.TenantDead) {
	for tenant, b := range v.Boxes() {
		if b.Dead > 0 {
			out = append(out, api.TenantDead{Tenant: tenant, Count: b.Dead, Forgotten: b.Forgotten})
		}
	}
	slices.SortStableFunc(out, func(a, b api.TenantDead) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

// knownTenant refuses a tenant that is not there and has left nothing.
func knownTenant(v *fsm.View, tenant string) error {
	if tenant == "" || v.Box(tenant) != (fsm.Box{}) {
		return nil
	}
	_, err := findTenant(v, tenant)
	return err
}

// ListDeliveries finds deliveries. A name that nothing has is refused.
func (n *Node) ListDeliveries(ctx context.Context, c api.DeliveryChoice) (api.DeliveryList, error) {
	if err := n.mustBeMember(); err != nil {
		return api.DeliveryList{}, err
	}
	v := n.state.View()
	if err := knownTenant(v, c.Tenant); err != nil {
		return api.DeliveryList{}, err
	}
	out := n.findDeliveries(ctx, v, &c)
	if len(out.Deliveries) == 0 {
		return out, n.checkNames(ctx, v, &c)
	}
	n.addHeld(ctx, c.Tenant, out.Deliveries)
	return out, nil
}

// findDeliveries finds those still to be made and those given up in the state,
// those accepted in the nodes' journals.
func (n *Node) findDeliveries(ctx context.Context, v *fsm.View, c *api.DeliveryChoice) api.DeliveryList {
	full := func(l []api.Delivery) bool { return c.Limit > 0 && len(l) > c.Limit }
	var out api.DeliveryList
	for _, l := range letters(v, c) {
		if a := l.content(); wants(c, a) {
			out.Deliveries = append(out.Deliveries, n.describe(v, l, a))
		}
		if full(out.Deliveries) {
			break
		}
	}
	if c.Has(api.DeliverySent) {
		var sent []api.Delivery
		sent, out.Silent = n.sentDeliveries(ctx, c)
		sent = slices.DeleteFunc(sent, func(d api.Delivery) bool { // accepted, and not recorded yet
			_, waiting := v.FindOutgoing(d.Tenant, d.Key)
			return waiting
		})
		out.Deliveries = append(out.Deliveries, sent...)
		slices.SortStableFunc(out.Deliveries, func(a, b api.Delivery) int { return b.At.Compare(a.At) })
	}
	if full(out.Deliveries) {
		out.Deliveries, out.More = out.Deliveries[:c.Limit], true
	}
	return out
}

// sentDeliveries asks the journals for deliveries that were accepted.
func (n *Node) sentDeliveries(ctx context.Context, c *api.DeliveryChoice) (out []api.Delivery, silent []string) {
	q := attemptsQuery{Filter: &journal.Filter{
		Tenant: c.Tenant, Trigger: c.Trigger, Monitor: c.Monitor, Network: c.Network, Outcome: journal.OutcomeSent, From: c.Since,
	}}
	if !c.Until.IsZero() {
		q.Filter.Before = c.Until.Add(time.Millisecond)
	}
	if c.Limit > 0 {
		q.Limit = c.Limit + 1
	}
	attempts, _, silent := n.gatherAttempts(ctx, q)
	seen := map[journal.Ref]bool{}
	for _, a := range slices.Backward(attempts) { // the newest first
		if ref := (journal.Ref{Tenant: a.Tenant, Key: a.Key}); !seen[ref] {
			seen[ref] = true
			out = append(out, sentDelivery(&a))
		}
	}
	return out, silent
}

func sentDelivery(a *journal.Attempt) api.Delivery {
	return api.Delivery{
		Key: a.Key, Tenant: a.Tenant, Monitor: a.Monitor, Network: a.Network, Trigger: a.Trigger, State: a.State, Status: api.DeliverySent,
		Attempts: uint32(max(a.Round, 0)), At: a.Began, Answered: a.Status, Excerpt: a.Excerpt,
	}
}

// maxAmbiguous bounds the keys that are named where several begin alike.
const maxAmbiguous = 5

// find finds deliveries of the state by the beginnings of their keys.
func find(v *fsm.View, start string) (out []letter) {
	for o := range v.Outbox() {
		if strings.HasPrefix(o.Key, start) {
			out = append(out, pendingLetter(o))
		}
	}
	for d := range v.DeadLetters() {
		if strings.HasPrefix(d.Key, start) {
			out = append(out, deadLetter(d))
		}
	}
	return out
}

// ambiguous tells that several deliveries are meant.
func ambiguous(start string, refs []journal.Ref) error {
	var names []string
	for _, r := range refs[:min(len(refs), maxAmbiguous)] {
		names = append(names, fmt.Sprintf("%s of tenant %s", r.Key, r.Tenant))
	}
	if len(refs) > maxAmbiguous {
		names = append(names, "and others")
	}
	return fmt.Errorf("%w: several deliveries begin with %s: %s: give more of the key", api.ErrBadRequest, start, strings.Join(names, ", "))
}

// changeBatch bounds the keys of one command.
const changeBatch = 256

// ChangeDeliveries has deliveries made at once, or forgotten.
func (n *Node) ChangeDeliveries(ctx context.Context, change string, o api.DeliveryOrder) (api.DeliveriesChanged, error) {
	out := api.DeliveriesChanged{DryRun: o.DryRun}
	if err := n.mustBeMember(); err != nil {
		return out, err
	}
	v := n.state.View()
	chosen, err := choose(v, &o)
	if err == nil && o.Choice != nil && len(chosen) == 0 {
		err = n.checkNames(ctx, v, o.Choice)
	}
	if err != nil {
		return out, err
	}
	out.Found = len(chosen)
	if change == "redeliver" {
		chosen = slices.DeleteFunc(chosen, func(l letter) bool { return l.retracted(v) })
		out.Retracted = out.Found - len(chosen)
		n.countHeld(ctx, &out, chosen)
	}
	byTenant := map[string][]string{}
	for _, l := range chosen {
		byTenant[l.Tenant] = append(byTenant[l.Tenant], l.Key)
		if l.status == api.DeliveryDead {
			out.Dead++
		} else {
			out.Pending++
		}
	}
	out.Tenants = len(byTenant)
	if o.DryRun {
		return out, nil
	}
	for _, tenant := range slices.Sorted(maps.Keys(byTenant)) {
		for keys := range slices.Chunk(byTenant[tenant], changeBatch) {
			var c fsm.Command = &fsm.Purge{Tenant: tenant, Keys: keys}
			if change == "redeliver" {
				c = &fsm.Redeliver{Tenant: tenant, Keys: keys, At: time.Now().UnixMilli()}
			}
			done, err := n.byOperator(ctx, c, "delivery."+change, tenant, fmt.Sprintf("%d deliveries", len(keys)))
			if err != nil {
				return out, fmt.Errorf("%d of %d deliveries are done: %w", out.Done, out.Found, err)
			}
			count, _ := done.(int)
			out.Done += count
		}
	}
	out.Left = out.Found - out.Done
	n.log.Info("deliveries changed by the operator", "change", change, "found", out.Found, "done", out.Done, "retracted", out.Retracted)
	return out, nil
}

// choose lists the deliveries of an order. Of keys, it tells all that are wrong.
func choose(v *fsm.View, o *api.DeliveryOrder) ([]letter, error) {
	if o.Choice != nil {
		if err := knownTenant(v, o.Choice.Tenant); err != nil {
			return nil, err
		}
		list := letters(v, o.Choice)
		if o.Choice.Monitor != "" || o.Choice.Network != "" {
			list = slices.DeleteFunc(list, func(l letter) bool { return !wants(o.Choice, l.content()) })
		}
		if o.Choice.Limit > 0 && len(list) > o.Choice.Limit {
			list = list[:o.Choice.Limit]
		}
		return list, nil
	}
	var out []letter
	var errs []error
	for _, start := range o.Keys {
		switch found := find(v, start); len(found) {
		case 1:
			if !slices.ContainsFunc(out, func(l letter) bool { return l.Tenant == found[0].Tenant && l.Key == found[0].Key }) {
				out = append(out, found[0])
			}
		case 0:
			errs = append(errs, fmt.Errorf("delivery %s: %w: it is not in the outbox, nor a dead letter", start, fsm.ErrNotFound))
		default:
			var refs []journal.Ref
			for _, l := range found {
				refs = append(refs, journal.Ref{Tenant: l.Tenant, Key: l.Key})
			}
			errs = append(errs, ambiguous(start, refs))
		}
	}
	return out, errors.Join(errs...)
}
