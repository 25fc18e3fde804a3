package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// round delivers what a batch of steps fired and then records it together with
// the cursor's move.
type round struct {
	*pipeline
	fired      []*firing
	superseded []fsm.Span
	begun      map[alert.Key]bool // a block may be due twice: its monitor's depth was raised
	flight     *flight            // from the first firing on until it is recorded
	attempts   sync.WaitGroup     // first attempts that have begun
}

// firing is one alert with the deliveries that are still to be recorded.
type firing struct {
	alert   *alert.Alert
	version fsm.Version
	born    uint64 // the tenant's
	// recorded says that the ledger has this alert and all its deliveries.
	recorded   bool
	deliveries []*sending
}

// fire builds a step's alerts and begins their deliveries: of all of them or,
// with an error, of none. Tenants that are not this cohort's any more are left
// out: what they are owed, the cohort has to which they went.
func (r *round) fire(ctx context.Context, s *step, j judged) error {
	if r.flight == nil && len(j.hits) > 0 {
		r.flight = r.flights.begin(r.cohort) // before the view is read: see handOver
	}
	v := r.opts.Log.View()
	if r.fenced(v) {
		return fsm.ErrStaleEpoch
	}
	var fired []*firing
	for _, h := range j.hits {
		t, ok := v.Tenant(h.Tenant)
		if !ok || t.Cohort != r.cohort || t.Born > s.entry.Index {
			continue // moved, or deleted meanwhile: nobody is left to tell here
		}
		version, ok := t.InForce(s.entry.Index)
		if !ok {
			return fmt.Errorf("tenant %s: its configuration at position %d is not kept any more", h.Tenant, s.entry.Position)
		}
		f := r.build(v, s, h, version)
		f.born = t.Born
		fired = append(fired, f)
	}
	for _, f := range fired {
		r.metrics.alerts.WithLabelValues(r.network).Inc()
		r.activity.delivered(f.alert.Tenant, len(f.deliveries))
		for _, d := range f.deliveries {
			if d.attempt == nil {
				r.send(ctx, v, s, f, d)
			}
		}
	}
	r.fired = append(r.fired, fired...)
	if j.superseded {
		r.superseded = append(r.superseded, fsm.Span{From: s.entry.Position, To: s.entry.Position})
	}
	return nil
}

// land says that nothing of the round is under way any more. What could not be
// recorded is so only once its attempts have ended.
func (r *round) land(recorded bool) {
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
		r.attempts.Wait()
		r.flights.land(f)
	}()
}

// build makes the alert of a hit. Deliveries that the ledger already has are
// left out: a crash or a re-announced block repeats nothing.
func (r *round) build(v *fsm.View, s *step, h hitAt, version fsm.Version) *firing {
	a := &alert.Alert{
		ID:     alert.NewID(h.Tenant, h.Monitor, r.network, h.tx),
		Tenant: h.Tenant, MonitorID: h.Monitor, MonitorName: h.about.name,
		Network: r.network, NetworkSlug: h.about.slug,
		Block: h.ref, BlockTime: h.time, Seen: seenAt(s.entry),
		Tx: h.tx, State: alert.Fired, Version: version.Number, Position: s.entry.Position,
	}
	failed := r.describe(a, h)
	f := &firing{alert: a, version: version}
	known, ok := v.FindFired(r.network, h.ref, a.ID.String())
	for _, d := range alert.Deliveries(a, h.about.triggers) {
		if r.begun[d.Key] {
			ok = true // recorded with the firing before
			continue
		}
		if known != nil && slices.ContainsFunc(known.Deliveries, func(k fsm.Delivered) bool { return k.Key == d.Key.String() }) {
			continue
		}
		if r.begun == nil {
			r.begun = map[alert.Key]bool{}
		}
		r.begun[d.Key] = true
		sent := &sending{Delivery: d, done: make(chan outbox.Attempt, 1)}
		if failed != nil {
			sent.attempt = &outbox.Attempt{Result: notify.Result{Permanent: true}, Err: failed}
		}
		f.deliveries = append(f.deliveries, sent)
	}
	f.recorded = ok && len(f.deliveries) == 0
	return f
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

// record waits, within patience, for the first attempts and commits what came
// of them together with the cursor's move. Without steps it leaves the cursor:
// the step that the firings are of failed and will be tried again, or is not
// judged to its end.
func (r *round) record(ctx context.Context, steps []step) (err error) {
	recorded := false
	defer func() { r.land(recorded) }()
	early := min(earlyRecord, r.opts.Patience)
	slow, err := r.await(ctx, early)
	if err == nil && slow {
		// One slow receiver must not keep the others' deliveries unrecorded: a
		// crash would send them all again.
		err = r.recordSent(ctx)
	}
	if err == nil && slow && !r.opts.Contact.Held() {
		// Attempts wait for contact, and so does the cursor.
		err = r.opts.Contact.Wait(ctx)
	}
	if err == nil && slow {
		_, err = r.await(ctx, r.opts.Patience-early)
	}
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	c := r.progress()
	if len(steps) > 0 {
		c.To, c.Superseded = steps[len(steps)-1].entry.Position, r.superseded
	}
	var list []Recorded
	var pending []*sending
	for _, f := range r.fired {
		if f.recorded {
			continue
		}
		entry, open, err := r.entry(c, f, now)
		if err != nil {
			return err
		}
		if len(entry.Deliveries) == 0 && len(f.deliveries) > 0 {
			continue // all of them are left to another owner
		}
		pending = append(pending, open...)
		c.Fired = append(c.Fired, entry)
		list = append(list, Recorded{f.alert, entry})
	}
	var adopted []func(bool)
	for _, d := range pending {
		adopted = append(adopted, r.opts.Outbox.Adopt(outbox.Adopted{
			Key: d.Key.String(), Tenant: d.Alert.Tenant, Deadline: d.deadline, Done: d.done,
		}))
	}
	recorded, err = r.commit(ctx, c)
	for _, committed := range adopted {
		committed(recorded)
	}
	if recorded && len(list) > 0 {
		r.opts.Recorder.Record(list)
	}
	if recorded && errors.Is(err, fsm.ErrConflict) {
		return errMoved
	}
	return err
}

// entry is what the ledger says of a firing. What is to be done with its
// deliveries is added to the command; open are those under way.
func (r *round) entry(c *fsm.Progress, f *firing, now int64) (entry fsm.Fired, open []*sending, err error) {
	entry = f.entry(now)
	for _, d := range f.deliveries {
		if d.left() {
			continue
		}
		outcome, err := d.outcome(c, now)
		if err != nil {
			return entry, nil, err
		}
		entry.Deliveries = append(entry.Deliveries, fsm.Delivered{Key: d.Key.String(), Trigger: d.Trigger, Outcome: outcome})
		r.metrics.deliveries.WithLabelValues(outcome.String()).Inc()
		if d.attempt == nil && d.begin == nil {
			open = append(open, d)
		}
		if d.attempt != nil && d.attempt.Err != nil {
			r.log.Warn("delivery", "tenant", d.Alert.Tenant, "monitor", d.Alert.MonitorName, "trigger", d.Trigger,
				"key", d.Key.String(), "outcome", outcome.String(), "error", d.attempt.Err)
		}
	}
	return entry, open, nil
}

// earlyRecord is how long first attempts may take before those that are done are
// recorded without the others.
const earlyRecord = 100 * time.Millisecond

// recordSent commits the deliveries that are done, and leaves the cursor.
func (r *round) recordSent(ctx context.Context) error {
	now := time.Now().UnixMilli()
	c := r.progress()
	for _, f := range r.fired {
		entry := f.entry(now)
		for _, d := range f.deliveries {
			if d.attempt != nil && d.attempt.Err == nil {
				entry.Deliveries = append(entry.Deliveries, fsm.Delivered{Key: d.Key.String(), Trigger: d.Trigger, Outcome: fsm.Sent})
			}
		}
		if len(entry.Deliveries) > 0 {
			c.Fired = append(c.Fired, entry)
		}
	}
	if len(c.Fired) == 0 {
		return nil
	}
	if recorded, err := r.commit(ctx, c); !recorded {
		return err
	}
	return nil // whatever else there is to say, record will hear
}

func (f *firing) entry(now int64) fsm.Fired {
	a := f.alert
	return fsm.Fired{
		Network: a.Network, Block: a.Block, Alert: a.ID.String(), Tenant: a.Tenant, Monitor: a.MonitorID,
		Tx: a.Tx, Position: a.Position, Version: a.Version, At: now,
	}
}

// outcome says what is recorded of a delivery and adds what is to be done with
// it to the command.
func (d *sending) outcome(c *fsm.Progress, now int64) (fsm.Outcome, error) {
	if d.attempt != nil && d.attempt.Err == nil {
		return fsm.Sent, nil
	}
	data, err := alert.EncodeDelivery(&d.Delivery)
	if err != nil {
		return 0, err
	}
	out := fsm.Outgoing{Key: d.Key.String(), Tenant: d.Alert.Tenant, Trigger: d.Trigger, Delivery: data, At: now, Attempts: 1}
	if d.begin != nil {
		out.Attempts, out.NotBefore, out.Reason = 0, now, "not attempted yet: too many deliveries are under way"
		c.Outbox = append(c.Outbox, out)
		return fsm.HandedOver, nil
	}
	if d.attempt == nil {
		out.Reason = "no answer yet"
		c.Outbox = append(c.Outbox, out)
		return fsm.HandedOver, nil
	}
	out.Reason = d.attempt.Err.Error()
	if wait := d.attempt.Result.RetryAfter; wait > 0 {
		out.NotBefore = now + wait.Milliseconds()
	}
	if d.attempt.Result.Permanent {
		c.Dead = append(c.Dead, fsm.Dead{Outgoing: out, DiedAt: now})
		return fsm.Refused, nil
	}
	c.Outbox = append(c.Outbox, out)
	return fsm.HandedOver, nil
}
