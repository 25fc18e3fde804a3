package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// round delivers what a batch of steps brought about and then records it together
// with the cursor's move.
type round struct {
	*pipeline
	fired []*firing

	// What has begun here, for whatever comes before it is recorded: a block may be
	// due twice, and an alert may go through several states.
	begun map[alert.Key]bool
	last  map[listener]*sending
	words map[alert.ID]alert.State

	flight  *flight // from the first firing on until it is recorded
	starts  starts
	intents []*intent

	before   *round // must be recorded first
	finished chan struct{}
	err      error // why it could not be recorded; valid once finished is closed
}

func (p *pipeline) newRound() *round {
	return &round{
		pipeline: p, begun: map[alert.Key]bool{}, last: map[listener]*sending{}, words: map[alert.ID]alert.State{},
		starts: starts{over: make(chan struct{})}, finished: make(chan struct{}),
	}
}

// firing is one alert in a state, with the deliveries that are still to be recorded.
type firing struct {
	alert   *alert.Alert
	version fsm.Version
	born    uint64 // the tenant's
	content []byte // what a retraction is made of, unless the ledger has it
	// recorded says that the ledger has this alert and all its deliveries.
	recorded bool
	// intended says that the ledger knows of the deliveries before they are sent.
	intended   bool
	deliveries []*sending
}

// fire builds a step's alerts and begins their deliveries. With an error, what has
// begun is for the caller to record. Tenants that are not this cohort's any more are left
// out: what they are owed, the cohort has to which they went.
//
// What is too much to be delivered at once is left for another round: see crowd.go.
func (r *round) fire(ctx context.Context, s *step, j judged) (rest judged, err error) {
	retracts := s.entry.Kind == fsm.Rollback && !j.apart
	if r.flight == nil && (len(j.hits) > 0 || retracts) {
		r.flight = r.flights.begin(r.cohort) // before the view is read: see handOver
	}
	r.rounds.reap() // before as well
	v := r.opts.Log.View()
	if r.fenced(v) {
		return rest, fsm.ErrStaleEpoch
	}
	var fired []*firing
	matches := map[string]int{}
	if retracts {
		if fired, err = r.retract(v, s); err != nil {
			return rest, err
		}
	}
	size, began := 0, time.Now()
	for i, h := range j.hits {
		if i >= maxPart || size >= maxPartBytes {
			rest = judged{hits: j.hits[i:], apart: true} // what is retracted went with this part
			break
		}
		if h.about.retractable() && s.rollsBack(h.ref) {
			continue
		}
		t, ok := v.Tenant(h.Tenant)
		if !ok || t.Cohort != r.cohort || t.Born > s.entry.Index {
			continue // moved, or deleted meanwhile: nobody is left to tell here
		}
		version, ok := t.InForce(s.entry.Index)
		if !ok {
			return rest, r.unkept(h.Tenant, s)
		}
		f := r.build(v, s, h, t.Born, version)
		size += len(f.alert.Match) * max(1, len(f.deliveries))
		if fired = append(fired, f); len(fired) >= launchEach {
			r.launch(ctx, fired)
			fired = nil
			began = r.rest(ctx, began)
		}
		matches[h.Tenant]++
	}
	for tenant, n := range matches {
		r.opts.Meter.Matched(tenant, n)
	}
	r.launch(ctx, fired)
	r.rest(ctx, began)
	return rest, nil
}

func (r *round) unkept(tenant string, s *step) error {
	return fmt.Errorf("tenant %s: its configuration at position %d is not kept any more", tenant, s.entry.Position)
}

// launch begins the deliveries of alerts. Those that may be retracted one day are
// sent only when the ledger knows of them; see intent.
func (r *round) launch(ctx context.Context, fired []*firing) {
	var plain, intended []*sending
	var ask []*firing
	for _, f := range fired {
		r.metrics.alerts.WithLabelValues(r.network, f.alert.State.String()).Inc()
		r.activity.delivered(f.alert.Tenant, len(f.deliveries))
		switch {
		case f.alert.State == alert.Retracted:
			ask = append(ask, f)
			plain = append(plain, f.deliveries...)
		case f.intended:
			ask = append(ask, f)
			intended = append(intended, f.deliveries...)
		default:
			plain = append(plain, f.deliveries...)
		}
	}
	r.fired = append(r.fired, fired...)
	r.start(ctx, nil, plain)
	if len(ask) > 0 {
		r.start(ctx, r.intend(ctx, ask), intended)
	}
}

// build makes the alert of a hit. Deliveries that the ledger already has are
// left out: a crash or a re-announced block repeats nothing.
func (r *round) build(v *fsm.View, s *step, h hitAt, born uint64, version fsm.Version) *firing {
	a := &alert.Alert{
		ID:     alert.NewID(h.Tenant, h.Monitor, r.network, h.tx),
		Tenant: h.Tenant, MonitorID: h.Monitor, MonitorName: h.about.name,
		Network: r.network, NetworkSlug: h.about.slug,
		Block: h.ref, BlockTime: h.time, Seen: seenAt(s.entry),
		Tx: h.tx, Version: version.Number, Position: s.entry.Position, Origin: r.origin(v, s.entry.Position),
	}
	known, _ := v.FindFired(r.network, h.ref, a.ID.String(), born)
	a.State = r.stateOf(v, h, a, born, known)
	failed := r.describe(a, h)
	f := &firing{alert: a, version: version, born: born}
	told := r.toldBefore(a, known)
	raw := false
	for _, d := range alert.Deliveries(a, h.about.triggers) {
		if r.heard(d, known) {
			told = true
			continue
		}
		sent := newSending(f, d)
		sent.After, sent.before = r.predecessor(v, d, born, known)
		f.deliveries = append(f.deliveries, sent)
		r.begun[d.Key] = true
		if h.about.retractable() {
			r.last[sent.listener()] = sent
		}
		if err := r.find(v, sent); err != nil {
			// A trigger that is not there is not there; whatever else is wrong, such as
			// a key that does not open its secrets, may be mended.
			sent.end(outbox.Attempt{Result: notify.Result{Permanent: isNotFound(err)}, Err: err})
			continue
		}
		raw = raw || needsMatch(sent.trigger)
		r.prepare(v, sent, failed)
	}
	f.recorded = told && len(f.deliveries) == 0
	if h.about.retractable() && !f.recorded {
		r.words[a.ID] = a.State
		if known == nil || len(known.Content) == 0 {
			f.content = r.content(a, raw)
		}
	}
	if h.about.retractable() || a.State == alert.Reinstated {
		f.intended = !f.recorded && f.needsIntent(known)
	}
	return f
}

// origin is what the position of an announcement was before a restore; 0: the same.
func (r *round) origin(v *fsm.View, position uint64) uint64 {
	n, ok := v.Network(r.network)
	if !ok || n.Origin(position) == position {
		return 0
	}
	return n.Origin(position)
}

// prepare settles at once what needs no attempt here: what cannot be described, and
// what has to wait for its turn in the outbox.
func (r *round) prepare(v *fsm.View, d *sending, failed error) {
	switch {
	case failed != nil:
		d.end(outbox.Attempt{Result: notify.Result{Permanent: true}, Err: failed})
	case d.before == nil && !d.After.IsZero():
		if _, open := v.FindOutgoing(d.Alert.Tenant, d.After.String()); open {
			d.end(outbox.Attempt{Err: errInTurn})
		}
	}
}

// needsMatch reports whether a trigger sends the match object itself.
func needsMatch(t *spec.Trigger) bool {
	return t.Webhook != nil && t.Webhook.PayloadMode == spec.PayloadRaw
}

// seenAt is when the watcher learned of the head that made the blocks due.
func seenAt(e fsm.Entry) time.Time {
	if e.Seen == 0 {
		return time.Time{}
	}
	return time.UnixMilli(e.Seen)
}

// describe puts into an alert what its messages say. Where that fails, the
// deliveries become dead letters that name the reason: one monitor must not
// stop a network.
func (r *round) describe(a *alert.Alert, h hitAt) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.metrics.panics.Inc()
			r.log.Error("panic while describing a match", "tenant", h.Tenant, "monitor", h.Monitor, "tx", h.tx, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the match cannot be described: panic: %v", p)
		}
	}()
	m := h.build()
	a.Variables = m.Variables()
	a.Match, err = m.JSON()
	return err
}

// land says that nothing of the round is under way any more. What could not be
// recorded is so only once its attempts have ended.
func (r *round) land(recorded bool) {
	r.starts.close()
	f := r.flight
	if f == nil {
		return
	}
	r.flight = nil
	if recorded {
		r.flights.land(f)
		return
	}
	go func() {
		r.starts.attempts.Wait()
		r.flights.land(f)
	}()
}
