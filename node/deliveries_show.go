package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// ShowDelivery tells all that is known of a delivery.
func (n *Node) ShowDelivery(ctx context.Context, start string) (api.DeliveryDetail, error) {
	var out api.DeliveryDetail
	if err := n.mustBeMember(); err != nil {
		return out, err
	}
	v := n.state.View()
	found := find(v, start)
	_, known, silent := n.gatherAttempts(ctx, attemptsQuery{Start: start, Limit: maxAmbiguous + 1})
	refs := map[journal.Ref]bool{}
	for _, r := range known {
		refs[r] = true
	}
	for _, l := range found {
		refs[journal.Ref{Tenant: l.Tenant, Key: l.Key}] = true
	}
	all := slices.SortedFunc(maps.Keys(refs), func(a, b journal.Ref) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Tenant, b.Tenant)) })
	switch {
	case len(all) > 1:
		return out, ambiguous(start, all)
	case len(all) == 0 && len(silent) > 0:
		return out, fmt.Errorf("delivery %s: %w; the journals of %s could not be asked", start, fsm.ErrNotFound, strings.Join(silent, ", "))
	case len(all) == 0:
		return out, fmt.Errorf("delivery %s: %w: it is not in the outbox, nor a dead letter, and no node's journal goes back to it", start, fsm.ErrNotFound)
	}
	attempts, _, silent := n.gatherAttempts(ctx, attemptsQuery{Tenant: all[0].Tenant, Key: all[0].Key})
	if len(attempts) > 0 {
		out = detailOf(attempts)
	}
	if len(found) > 0 {
		n.addContent(v, &out, found[0])
		one := []api.Delivery{out.Delivery}
		n.addHeld(ctx, out.Tenant, one)
		out.Delivery = one[0]
	}
	out.Silent = silent
	return out, nil
}

// detailOf is what the attempts at a delivery tell of it.
func detailOf(attempts []journal.Attempt) api.DeliveryDetail {
	last := &attempts[len(attempts)-1]
	out := api.DeliveryDetail{
		Delivery: sentDelivery(last), MonitorID: last.MonitorID, Alert: last.Alert, Block: last.Block, Position: last.Position, Tx: last.Tx,
		Destination: last.Destination,
	}
	if last.Outcome != journal.OutcomeSent {
		out.Error = last.Error
		if !slices.ContainsFunc(attempts, func(a journal.Attempt) bool { return a.Outcome == journal.OutcomeSent }) {
			out.Status = "" // neither accepted nor there: it was purged, or its tenant is gone
		}
	}
	for i, a := range attempts {
		out.History = append(out.History, api.DeliveryAttempt{
			N: i + 1, Round: a.Round, Began: a.Began, Node: a.Node, Destination: a.Destination, Latency: a.Latency, Status: a.Status,
			Outcome: a.Outcome, Error: a.Error, Excerpt: a.Excerpt,
		})
	}
	return out
}

// addContent adds what the state has of a delivery.
func (n *Node) addContent(v *fsm.View, out *api.DeliveryDetail, l letter) {
	a := l.content()
	known := out.Delivery
	out.Delivery = n.describe(v, l, a)
	out.Bytes, out.Retracted = len(l.Delivery), l.retracted(v)
	if a.ID.IsZero() { // the journals may know what the state does not keep
		out.Monitor, out.Network, out.State = known.Monitor, known.Network, known.State
	} else {
		out.MonitorID, out.Alert, out.Block, out.Position, out.Tx = a.MonitorID, a.ID.String(), a.Block, a.Position, a.Tx
		out.Version, out.Variables = a.Version, a.Variables
	}
	if out.Destination == "" {
		out.Destination = n.destinationOf(v, l)
	}
}

// destinationOf names where a delivery that was never attempted goes to. Where the
// address is a secret that is not there, it is the trigger's type alone.
func (n *Node) destinationOf(v *fsm.View, l letter) string {
	t, ok := v.Tenant(l.Tenant)
	if !ok {
		return ""
	}
	doc, ok := t.Current.Manifest.Find(fsm.DocTrigger, l.Trigger)
	if !ok {
		return ""
	}
	trigger, err := store.Trigger(v, doc)
	if err != nil {
		return ""
	}
	// What can be opened is, also where another secret is missing.
	_, _ = store.OpenSecrets(v, l.Tenant, trigger.Secrets(), n.keeper)
	if to := notify.Destination(trigger); to != spec.Redact("") {
		return to
	}
	return trigger.Type
}
