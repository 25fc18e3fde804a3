package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// triggerPatience is how long the one attempt of a test may take, waiting for its
// turn included.
const triggerPatience = 25 * time.Second

// TestTrigger sends one sample alert through a tenant's trigger, as this node
// sends real ones, and tells what was sent and what came of it. It is attempted
// once, and kept nowhere. That the destination did not take it is no error.
func (n *Node) TestTrigger(ctx context.Context, q api.TriggerTest) (*api.TriggerTested, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	d := n.delivering.Load()
	if d == nil {
		return nil, fmt.Errorf("%w: the node has not caught up yet", api.ErrUnavailable)
	}
	v := n.state.View()
	t, err := findTenant(v, q.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := findDoc(t, fsm.DocTrigger, q.Trigger); err != nil {
		return nil, err
	}
	trigger, err := d.triggers.Find(v, t.ID, t.Current.Manifest, q.Trigger)
	if err != nil {
		return nil, fmt.Errorf("%w: tenant %q, %w", api.ErrRefused, t.ID, err)
	}
	trial := TriggerTrial{Tenant: t.ID, ID: q.Trigger, Trigger: trigger, State: q.State, DryRun: q.DryRun}
	if q.Monitor != "" {
		doc, err := findDoc(t, fsm.DocMonitor, q.Monitor)
		if err != nil {
			return nil, err
		}
		if trial.Monitor, err = store.Monitor(v, doc); err != nil {
			return nil, err
		}
	}
	out, err := TryTrigger(ctx, d.sender, trial)
	if out != nil {
		out.Node = n.opts.Name
		if out.OK && !out.DryRun {
			n.alone.attempted(lane{t.ID, q.Trigger}, "", time.Now())
			if box := n.outbox.Load(); box != nil {
				box.Works(t.ID)
			}
		}
	}
	return out, err
}

// delivering is what a node delivers with.
type delivering struct {
	sender   TrialSender
	triggers *store.Triggers
}

// TriggerTrial is one sample alert for one trigger.
type TriggerTrial struct {
	Tenant  string
	ID      string // of the trigger
	Trigger *spec.Trigger
	Monitor *spec.Monitor // that the sample is of; nil: none in particular
	State   string        // of the alert; empty: fired
	DryRun  bool
}

// TrialSender makes one attempt, also where real alerts would wait since the
// destination keeps failing.
type TrialSender interface {
	Probe(ctx context.Context, n *notify.Notification) (notify.Result, error)
}

// TryTrigger makes the sample, sends it unless it is a dry run, and shows both
// sides with all secrets hidden. Errors wrap api.ErrBadRequest.
func TryTrigger(ctx context.Context, s TrialSender, t TriggerTrial) (*api.TriggerTested, error) {
	state := alert.Fired
	if t.State != "" {
		var err error
		if state, err = alert.ParseState(t.State); err != nil {
			return nil, fmt.Errorf("%w: %w", api.ErrBadRequest, err)
		}
	}
	now := time.Now()
	a, err := sampleAlert(t.Tenant, t.Monitor, state, now)
	if err != nil {
		return nil, err
	}
	n := &notify.Notification{Alert: a, Trigger: sampleTrigger(t.Trigger), Attempt: 1, Time: now}
	n.Key = alert.NewKey(a.ID, t.ID, 0, a.Block.Hash, state, a.Position)
	out := &api.TriggerTested{
		Tenant: t.Tenant, Trigger: t.ID, Type: t.Trigger.Type, Destination: notify.Destination(t.Trigger),
		Alert: a.ID.String(), Key: n.Key.String(), State: state.String(), DryRun: t.DryRun,
	}
	hide := hiderOf(t.Trigger)
	if out.Request, err = preview(ctx, n, hide); err != nil {
		out.Error = hide.text(err.Error())
		return out, nil
	}
	if t.DryRun {
		out.OK = true
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, triggerPatience)
	defer cancel()
	res, err := s.Probe(ctx, n)
	out.OK, out.Status, out.LatencyMS, out.Excerpt = err == nil, res.Status, res.Latency.Milliseconds(), hide.text(res.Excerpt)
	if err != nil {
		text := err.Error()
		if t.Tenant == "" { // of a file: the sender names whose it is
			text = strings.TrimPrefix(text, fmt.Sprintf("tenant : trigger %q: ", t.Trigger.Name))
		}
		out.Error = hide.text(text)
	}
	return out, nil
}

// hider takes the secrets of a trigger out of what is shown.
type hider []string

const hiddenSecret = "[secret]"

func hiderOf(t *spec.Trigger) hider {
	var h hider
	for _, s := range t.Secrets() {
		if s != nil && s.Value != "" {
			h = append(h, s.Value)
		}
	}
	return h
}

// value is a value that stands alone, such as a header's.
func (h hider) value(v string) string {
	if slices.Contains(h, v) {
		return hiddenSecret
	}
	return h.text(v)
}

// text hides secrets within a text. The shortest are left alone: hiding every "1"
// helps nobody.
func (h hider) text(v string) string {
	const shortest = 4
	for _, s := range h {
		if len(s) >= shortest {
			v = strings.ReplaceAll(v, s, hiddenSecret)
		}
	}
	return v
}

// toOwner has the node test a trigger that sends for its tenant; that node itself
// goes on. What nobody sends for, any node may show.
func (n *Node) toOwner(w http.ResponseWriter, r *http.Request) (passed bool) {
	q, err := api.ReadTriggerTest(r.URL.Query())
	if err != nil || r.Header.Get(hopHeader) != "" {
		return false
	}
	v := n.state.View()
	t, ok := v.Tenant(q.Tenant)
	if !ok {
		return false
	}
	owner := v.Owner(t)
	if owner == n.opts.Name || owner == "" && q.DryRun {
		return false
	}
	node, ok := v.Node(owner)
	if !ok {
		api.Refuse(w, fmt.Errorf("%w: no node judges tenant %q at the moment, so none sends for it", api.ErrUnavailable, q.Tenant))
		return true
	}
	n.pass(w, r, n.addressOf(consensus.Server{ID: node.Server, Address: node.Address}))
	return true
}
