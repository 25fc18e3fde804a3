package v1

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// BacktestRequest says what to judge.
type BacktestRequest struct {
	Monitor  string          `json:"monitor,omitempty" maxLength:"128" doc:"Id of a stored monitor, which is judged as it is now."`
	Document json.RawMessage `json:"document,omitempty" doc:"A monitor's document, which is not stored. Give this or monitor."`
	Network  string          `json:"network,omitempty" maxLength:"128" doc:"As the monitor calls it. May be left out where it has one."`
	From     *uint64         `json:"from,omitempty" doc:"First height. Give this or last."`
	To       *uint64         `json:"to,omitempty" doc:"Last height. Absent: the last one that the monitor judges by now."`
	Last     uint64          `json:"last,omitempty" doc:"The last so many blocks that the monitor judges by now."`
}

type backtestCreate struct {
	TenantPath
	ReadYourWrites
	Body BacktestRequest
}

// wanted collects all that is wrong with a request.
type wanted struct{ details []*huma.ErrorDetail }

func (w *wanted) addf(location, format string, args ...any) {
	w.details = append(w.details, &huma.ErrorDetail{Location: location, Message: fmt.Sprintf(format, args...)})
}

// document adds the problems of the document; another error is returned.
func (w *wanted) document(err error) error {
	e, ok := errors.AsType[*spec.ProblemsError](err)
	if !ok {
		return err
	}
	for _, p := range e.Problems {
		w.addf("body.document"+strings.TrimPrefix(location(p.Path), "body"), "%s", p.Message)
	}
	return nil
}

func (w *wanted) err() error {
	if len(w.details) == 0 {
		return nil
	}
	out := make([]error, len(w.details))
	for i, d := range w.details {
		out[i] = d
	}
	return huma.NewError(http.StatusUnprocessableEntity, "validation failed", out...)
}

// createBacktest checks a request completely before anything is proposed.
func (a *API) createBacktest(ctx context.Context, in *backtestCreate) (*backtestOutput, error) {
	v, t, err := a.caughtUp(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	active := 0
	for b := range v.BacktestsOf(t.ID) {
		if !b.State.Over() {
			active++
		}
	}
	if active >= fsm.MaxActiveBacktests {
		return nil, conflictf("%d backtests are not over yet, which is as many as there may be at a time: wait for one, or cancel it", active)
	}
	d := &draft{ctx: ctx, a: a, view: v, tenant: t.ID, before: t, manifest: fsm.Manifest{Docs: slices.Clone(t.Current.Manifest.Docs)}}
	job := fsm.Backtest{ID: strings.ToLower(rand.Text()[:12]), Tenant: t.ID, By: actorOf(ctx).Name, At: a.now().UnixMilli()}
	if err := d.backtest(&in.Body, &job); err != nil {
		return nil, err
	}
	// A job's document is in the state, wherever the tenant's are.
	placed, err := store.Placing{Put: func(ctx context.Context, blobs [][]byte) error {
		_, err := a.backend.Propose(ctx, &fsm.PutBlobs{Blobs: blobs, At: job.At})
		return err
	}}.Inside(ctx, v, fsm.Manifest{Docs: []fsm.Doc{job.Doc}}, d.blobs)
	if err != nil {
		return nil, err
	}
	job.Doc = placed.Docs[0]
	what := "a draft"
	if job.Monitor != "" {
		what = fmt.Sprintf("monitor %q", job.Monitor)
	}
	entry := fsm.Audit{Tenant: t.ID, Object: job.ID, After: fmt.Sprintf("%s, network %s, blocks %d to %d", what, job.Watch.Slug, job.From, job.To)}
	if _, err := a.audited(ctx, &fsm.PutBacktest{Job: job}, entry, t.Born); err != nil {
		return nil, err
	}
	v = a.backend.View()
	_, b, err := a.backtest(ctx, v, t.ID, job.ID)
	if err != nil {
		return nil, err
	}
	return &backtestOutput{Index: v.Index(), Body: detailedBacktest(b)}, nil
}

// backtest fills in what is asked for, or says all that is wrong with it.
func (d *draft) backtest(in *BacktestRequest, job *fsm.Backtest) error {
	var wrong wanted
	most := uint64(d.before.Quota.OrDefault().BacktestBlocks) //nolint:gosec // above 0
	shaped := wrong.shape(in, most)
	m, err := d.backtested(in, job, &wrong)
	if err != nil {
		return err
	}
	if m != nil {
		n, err := d.judged(in, m, job, &wrong)
		if err != nil {
			return err
		}
		if n != nil && shaped {
			tip, _ := n.Branch.Tip()
			last := lastJudged{most: most, head: tip.Height, depth: job.Watch.DepthOn(n.DepthAt(n.Next), n.FinalityAt(n.Next))}
			job.From, job.To = last.heights(in, &wrong)
		}
	}
	return wrong.err()
}

// draftID is the id of a document that is not stored.
const draftID = "draft"

// backtested is the monitor that is asked for, nil where something is wrong with it.
func (d *draft) backtested(in *BacktestRequest, job *fsm.Backtest, wrong *wanted) (*spec.Monitor, error) {
	given := len(in.Document) > 0 && string(in.Document) != "null"
	switch {
	case given == (in.Monitor != ""):
		wrong.addf("body", "give either monitor, the id of a stored one, or document")
		return nil, nil
	case !given:
		doc, ok := d.manifest.Find(fsm.DocMonitor, in.Monitor)
		if !ok {
			wrong.addf("body.monitor", "there is no monitor %q", in.Monitor)
			return nil, nil
		}
		job.Monitor, job.Version, job.Doc = in.Monitor, d.before.Current.Number, doc
		return store.Monitor(d.view, doc)
	}
	parsed, problems := monitors.parse(in.Document, spec.WithOrigin(spec.OriginTenant), spec.WithSealed(), spec.WithTime(d.a.now()))
	err := problems.Err()
	if err == nil {
		err = keepSealed(parsed, nil).Err()
	}
	var m *spec.Monitor
	if err == nil {
		m = parsed.(*spec.Monitor)
		if problems, err = d.monitor(draftID, m); err == nil {
			err = problems.Err()
		}
	}
	if err != nil {
		return nil, wrong.document(err)
	}
	job.Doc, _ = d.manifest.Find(fsm.DocMonitor, draftID)
	return m, nil
}

// judged is the network whose blocks are judged, nil where something is wrong with it.
func (d *draft) judged(in *BacktestRequest, m *spec.Monitor, job *fsm.Backtest, wrong *wanted) (*fsm.Network, error) {
	job.Name, job.Triggers, job.Confirms, job.Filters = m.Name, m.Triggers, m.Mode == spec.ModeBoth, len(m.TriggerConditions)
	s, err := d.surroundings(nil)
	if err != nil {
		return nil, err
	}
	unpaused := *m
	unpaused.Paused = false
	var known []string
	found := false
	for _, w := range store.Watches(d.tenant, &unpaused, s.own, s.shared) {
		if w.Mode == fsm.ModeConfirmation {
			continue // the other watch of the network finds the same
		}
		known = append(known, w.Slug)
		if w.Slug == in.Network || in.Network == "" {
			job.Watch, found = w, true
		}
	}
	job.Doc.Watches, job.Doc.Depth = nil, 0
	switch {
	case len(known) == 0:
		wrong.addf("body.network", "the monitor has no network whose blocks can be judged")
		found = false
	case !found:
		wrong.addf("body.network", "the monitor does not list network %q, only: %s", in.Network, strings.Join(known, ", "))
	case in.Network == "" && len(known) > 1:
		wrong.addf("body.network", "say which of the monitor's networks: %s", strings.Join(known, ", "))
		found = false
	}
	if !found {
		return nil, nil
	}
	n, ok := d.view.Network(job.Watch.Network)
	begun := false
	if ok {
		_, begun = n.Branch.Tip()
	}
	if !begun || n.Lease.Holder == "" {
		return nil, conflictf("network %s is not watched at the moment, and its blocks are fetched by who watches it: nobody has an unpaused monitor on it, no node can watch it, or it has not begun yet", job.Watch.Slug)
	}
	return n, nil
}

// lastJudged is up to where a monitor judges by now.
type lastJudged struct{ head, depth, most uint64 } // most: blocks of a backtest

// heights is the range that is asked for, which is well-formed.
func (l lastJudged) heights(in *BacktestRequest, wrong *wanted) (from, to uint64) {
	if l.head < l.depth {
		wrong.addf("body", "the network's head is %d, and the monitor judges %d blocks deep: there is none yet that it judges", l.head, l.depth)
		return 0, 0
	}
	to = l.head - l.depth
	if in.Last > 0 {
		return to - min(to, in.Last-1), to
	}
	if in.To != nil {
		if *in.To > to {
			wrong.addf("body.to", "block %d lies beyond what the monitor judges by now: the network's head is %d, and the monitor judges %d blocks deep, so %d is the last", *in.To, l.head, l.depth, to)
		}
		return *in.From, *in.To
	}
	switch from = *in.From; {
	case from > to:
		wrong.addf("body.from", "block %d lies above the last one that the monitor judges by now, %d", from, to)
	case to-from >= l.most:
		wrong.addf("body.from", "blocks %d to %d are %d: a backtest has %d at most", from, to, to-from+1, l.most)
	}
	return from, to
}

// shape checks what can be said of the heights without the network.
func (w *wanted) shape(in *BacktestRequest, most uint64) bool {
	before := len(w.details)
	switch {
	case in.Last > 0 && (in.From != nil || in.To != nil):
		w.addf("body.last", "give either last, or from and to")
	case in.Last > most:
		w.addf("body.last", "%d blocks are too many: a backtest has %d at most", in.Last, most)
	case in.Last > 0:
	case in.From == nil:
		w.addf("body.from", "say which blocks: from, and perhaps to, or last")
	case in.To != nil && *in.From > *in.To:
		w.addf("body.from", "block %d lies above the last one, %d", *in.From, *in.To)
	case in.To != nil && *in.To-*in.From >= most:
		w.addf("body.from", "blocks %d to %d are too many: a backtest has %d at most", *in.From, *in.To, most)
	}
	return len(w.details) == before
}
