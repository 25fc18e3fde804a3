package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// An alert may be in several journals: one node fired it, another has retracted it.
// It stands in the list where the first of its changes does. A list is made of what
// the nodes' journals have changed of late, and of all they have of these alerts.

// recentQuery asks a journal for all it has of alerts; or, without ids, for those
// with a change before a place, the newest first.
type recentQuery struct {
	Tenant journal.Tenant  `json:"tenant"`
	IDs    []string        `json:"ids,omitempty"`
	Before journal.Place   `json:"before,omitzero"`
	Since  int64           `json:"since,omitempty"` // Unix milliseconds
	Choice api.AlertChoice `json:"choice"`
	Limit  int             `json:"limit,omitempty"`
	Whole  bool            `json:"whole,omitempty"` // with variables
}

type recentAnswer struct {
	Alerts []journal.Alert `json:"alerts,omitempty"`
	Places []journal.Place `json:"places,omitempty"`
	// Last is where it has stopped; the zero place: it has looked at all.
	Last journal.Place `json:"last,omitzero"`
}

const (
	// maxLooked bounds how many changes a journal looks at for one question.
	maxLooked = 20_000
	// alertRounds bounds how often the journals are asked for one page.
	alertRounds = 10
)

func (n *Node) serveRecent(w http.ResponseWriter, r *http.Request) {
	var q recentQuery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&q); err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	answer, err := n.recent(q)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, answer)
}

// recent looks into this node's journal.
func (n *Node) recent(q recentQuery) (out recentAnswer, err error) {
	if len(q.IDs) > 0 {
		out.Alerts, err = n.journal.OfIDs(q.Tenant, q.IDs)
		for i := range out.Alerts {
			if !q.Whole {
				out.Alerts[i].Variables = nil
			}
		}
		return out, err
	}
	looked := 0
	for c, err := range n.journal.Back(q.Tenant, q.Before) {
		if err != nil {
			return out, err
		}
		if c.At < q.Since {
			break
		}
		if a := &c.Alert; q.Choice.Chooses(a.MonitorID, a.MonitorName, a.Network, a.Tx) {
			out.Places = append(out.Places, c.Place)
		}
		if looked++; looked == maxLooked || len(out.Places) == q.Limit {
			out.Last = c.Place
			break
		}
	}
	return out, nil
}

// Alerts implements v1.Backend.
func (n tenantAPI) Alerts(ctx context.Context, t *fsm.Tenant, q api.AlertQuery) (out api.AlertList, err error) {
	if err := n.mustBeMember(); err != nil {
		return out, err
	}
	ask := recentQuery{
		Tenant: journal.Tenant{ID: t.ID, Born: t.Born}, Choice: q.AlertChoice, Limit: q.Limit + 1,
	}
	if !q.Since.IsZero() {
		ask.Since = q.Since.UnixMilli()
	}
	if !q.Until.IsZero() {
		ask.Before = journal.Place{At: q.Until.UnixMilli() + 1}
	}
	if b := q.Before; b != nil && (ask.Before == (journal.Place{}) || journal.Place(*b).Compare(ask.Before) < 0) {
		ask.Before = journal.Place(*b)
	}
	for range alertRounds {
		places, horizon, silent := n.places(ctx, ask)
		found, missing := n.alertsAt(ctx, t, ask.Tenant, places, false)
		out.Silent = union(out.Silent, union(silent, missing))
		for _, a := range found {
			if q.State != "" && a.State != q.State {
				continue
			}
			if len(out.Alerts) == q.Limit {
				out.Next = placeOfAlert(&out.Alerts[q.Limit-1])
				return out, nil
			}
			out.Alerts = append(out.Alerts, a)
		}
		if horizon == (journal.Place{}) {
			out.Next = nil
			return out, nil
		}
		ask.Before = horizon
		next := api.AlertPlace(horizon)
		out.Next = &next
		if len(out.Alerts) == q.Limit {
			return out, nil
		}
	}
	return out, nil
}

func placeOfAlert(a *api.Alert) *api.AlertPlace {
	return &api.AlertPlace{At: a.FiredAt.UnixMilli(), ID: a.ID}
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// places are the newest changes before a place, of all journals. Down to the horizon
// all nodes have told theirs; the zero place: to the end.
func (n *Node) places(ctx context.Context, q recentQuery) (places []journal.Place, horizon journal.Place, silent []string) {
	silent = gather(ctx, n, "/rpc/alerts/recent", q, n.recent, func(a recentAnswer) {
		places = append(places, a.Places...)
		if a.Last.Compare(horizon) > 0 {
			horizon = a.Last
		}
	})
	if len(silent) > 0 {
		for _, a := range n.ledgerOf(q.Tenant, nil) {
			p := journal.Place{At: a.FiredAt.UnixMilli(), ID: a.ID}
			if (q.Before == (journal.Place{}) || p.Compare(q.Before) < 0) && p.At >= q.Since && q.Choice.Chooses(a.MonitorID, a.MonitorName, a.Network, a.Tx) {
				places = append(places, p)
			}
		}
	}
	places = slices.DeleteFunc(places, func(p journal.Place) bool { return p.Compare(horizon) < 0 })
	slices.SortFunc(places, func(a, b journal.Place) int { return b.Compare(a) })
	return slices.Compact(places), horizon, silent
}

// ledgerOf is what the fired ledger has of a tenant's alerts, of those with an id
// given if any is. It is read where a journal cannot be.
func (n *Node) ledgerOf(t journal.Tenant, ids []string) (out []journal.Alert) {
	v := n.state.View()
	known, ok := v.Tenant(t.ID)
	if !ok || known.Born != t.Born {
		return nil
	}
	for key := range known.Coverage {
		for f := range v.FiredOn(key) {
			if f.Tenant == t.ID && f.Born == t.Born && (ids == nil || slices.Contains(ids, f.Alert)) {
				out = append(out, journalAlert(f))
			}
		}
	}
	return out
}

// alertsAt are the alerts that stand at the places given, in their order: those whose
// first change is there.
func (n *Node) alertsAt(ctx context.Context, t *fsm.Tenant, of journal.Tenant, places []journal.Place, whole bool) (out []api.Alert, silent []string) {
	if len(places) == 0 {
		return nil, nil
	}
	ids := make([]string, len(places))
	for i, p := range places {
		ids[i] = p.ID
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var all map[string][]journal.Alert
	for chunk := range slices.Chunk(ids, idsPerQuery) {
		found, missing := n.alertsCalled(ctx, of, chunk, whole)
		silent = union(silent, missing)
		if all == nil {
			all = found
			continue
		}
		for id, list := range found {
			all[id] = list
		}
	}
	for _, p := range places {
		if list := all[p.ID]; len(list) > 0 {
			if a := shownAlert(n.state.View(), t, list); a.FiredAt.UnixMilli() == p.At {
				out = append(out, a)
			}
		}
	}
	return out, silent
}

// idsPerQuery keeps a question within what a node reads of one.
const idsPerQuery = 500

// alertsCalled gathers all there is of alerts, by id.
func (n *Node) alertsCalled(ctx context.Context, t journal.Tenant, ids []string, whole bool) (out map[string][]journal.Alert, silent []string) {
	out = map[string][]journal.Alert{}
	silent = gather(ctx, n, "/rpc/alerts/recent", recentQuery{Tenant: t, IDs: ids, Whole: whole}, n.recent, func(a recentAnswer) {
		for _, one := range a.Alerts {
			out[one.ID] = append(out[one.ID], one)
		}
	})
	if len(silent) > 0 {
		for _, a := range n.ledgerOf(t, ids) {
			out[a.ID] = append(out[a.ID], a)
		}
	}
	return out, silent
}

// shownAlert puts together what the journals have of one alert.
func shownAlert(v *fsm.View, t *fsm.Tenant, list []journal.Alert) api.Alert {
	// What was told last of it first, and with it the words of its messages.
	slices.SortStableFunc(list, func(a, b journal.Alert) int { return cmp.Compare(lastPosition(&b), lastPosition(&a)) })
	first := &list[0]
	out := api.Alert{ID: first.ID, Monitor: first.MonitorName, MonitorID: first.MonitorID, Network: first.Network, Transaction: first.Tx, Version: first.Version}
	for i := range list {
		a := &list[i]
		if out.Monitor == out.MonitorID {
			out.Monitor = a.MonitorName
		}
		if out.Variables == nil {
			out.Variables = a.Variables
		}
		for _, c := range a.History {
			if out.FiredAt.IsZero() || c.At.Before(out.FiredAt) {
				out.FiredAt = c.At.UTC()
			}
			out.Changes = addChange(out.Changes, a, &c)
		}
	}
	for i := range list {
		a := &list[i]
		if f, ok := v.FindFired(a.Network, a.Block, a.ID, t.Born); ok { // a node that is silent may have brought it further
			told := journalAlert(f)
			for _, c := range told.History {
				if !hasChange(out.Changes, &told, &c) {
					out.Changes = addChange(out.Changes, &told, &c)
				}
			}
		}
	}
	slices.SortStableFunc(out.Changes, func(a, b api.AlertChange) int { return cmp.Or(cmp.Compare(a.Position, b.Position), a.At.Compare(b.At)) })
	if last := len(out.Changes) - 1; last >= 0 {
		out.State, out.Block = out.Changes[last].State, out.Changes[last].Block
	}
	return out
}

func lastPosition(a *journal.Alert) uint64 {
	if len(a.History) == 0 {
		return 0
	}
	return a.History[len(a.History)-1].Position
}

func hasChange(list []api.AlertChange, a *journal.Alert, c *journal.Change) bool {
	return slices.ContainsFunc(list, func(o api.AlertChange) bool {
		return o.State == c.State && o.Position == c.Position && o.Block == a.Block
	})
}

// addChange adds what a journal tells of a change; when it was first told counts.
func addChange(list []api.AlertChange, a *journal.Alert, c *journal.Change) []api.AlertChange {
	i := slices.IndexFunc(list, func(o api.AlertChange) bool {
		return o.State == c.State && o.Position == c.Position && o.Block == a.Block
	})
	if i < 0 {
		return append(list, api.AlertChange{State: c.State, Position: c.Position, At: c.At.UTC(), Block: a.Block, Deliveries: shownDeliveries(c.Deliveries)})
	}
	if c.At.Before(list[i].At) {
		list[i].At = c.At.UTC()
	}
	for _, d := range shownDeliveries(c.Deliveries) {
		if !slices.ContainsFunc(list[i].Deliveries, func(o api.AlertDelivery) bool { return o.Key == d.Key }) {
			list[i].Deliveries = append(list[i].Deliveries, d)
		}
	}
	return list
}

// Alert implements v1.Backend.
func (n tenantAPI) Alert(ctx context.Context, t *fsm.Tenant, id string) (api.Alert, []string, error) {
	if err := n.mustBeMember(); err != nil {
		return api.Alert{}, nil, err
	}
	found, silent := n.alertsCalled(ctx, journal.Tenant{ID: t.ID, Born: t.Born}, []string{id}, true)
	list := found[id]
	switch {
	case len(list) > 0:
		return shownAlert(n.state.View(), t, list), silent, nil
	case len(silent) > 0:
		return api.Alert{}, silent, fmt.Errorf("%w: alert %s is not in the journals that answer; those of %s do not", api.ErrUnavailable, id, strings.Join(silent, ", "))
	}
	return api.Alert{}, nil, fmt.Errorf("alert %s: %w", id, fsm.ErrNotFound)
}
