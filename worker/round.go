package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
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
}

// firing is one alert with the deliveries that are still to be recorded.
type firing struct {
	alert   *alert.Alert
	version fsm.Version
	// recorded says that the ledger has this alert and all its deliveries.
	recorded   bool
	deliveries []*sending
}

// fire builds a step's alerts and begins their deliveries: of all of them or,
// with an error, of none.
func (r *round) fire(ctx context.Context, s *step, j judged) error {
	v := r.opts.Log.View()
	if r.fenced(v) {
		return fsm.ErrStaleEpoch
	}
	var fired []*firing
	for _, h := range j.hits {
		t, ok := v.Tenant(h.Tenant)
		if !ok {
			continue // deleted meanwhile: nobody is left to tell
		}
		version, ok := t.InForce(s.entry.Index)
		if !ok {
			return fmt.Errorf("tenant %s: its configuration at position %d is not kept any more", h.Tenant, s.entry.Position)
		}
		fired = append(fired, r.build(v, s, h, version))
	}
	for _, f := range fired {
		r.metrics.alerts.WithLabelValues(r.network).Inc()
		for _, d := range f.deliveries {
			if d.attempt == nil {
				r.send(ctx, v, s, f.version, d)
			}
		}
	}
	r.fired = append(r.fired, fired...)
	if j.superseded {
		r.superseded = append(r.superseded, fsm.Span{From: s.entry.Position, To: s.entry.Position})
	}
	return nil
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
// the step that the firings are of failed and will be tried again.
func (r *round) record(ctx context.Context, steps []step) error {
	early := min(earlyRecord, r.opts.Patience)
	slow, err := r.await(ctx, early)
	if err == nil && slow {
		// One slow receiver must not keep the others' deliveries unrecorded: a
		// crash would send them all again.
		err = r.recordSent(ctx)
	}
	if err == nil && slow {
		_, err = r.await(ctx, r.opts.Patience-early)
	}
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	c := &fsm.Progress{
		Cohort: r.opts.Cohort, Epoch: r.opts.Epoch, Born: r.born, Network: r.network,
	}
	if len(steps) > 0 {
		c.To, c.Superseded = steps[len(steps)-1].entry.Position, r.superseded
	}
	var recorded []Recorded
	var pending []*sending
	for _, f := range r.fired {
		if f.recorded {
			continue
		}
		entry := f.entry(now)
		for _, d := range f.deliveries {
			outcome, err := d.outcome(c, now)
			if err != nil {
				return err
			}
			entry.Deliveries = append(entry.Deliveries, fsm.Delivered{Key: d.Key.String(), Trigger: d.Trigger, Outcome: outcome})
			r.metrics.deliveries.WithLabelValues(outcome.String()).Inc()
			if d.attempt == nil && d.begin == nil {
				pending = append(pending, d)
			}
			if d.attempt != nil && d.attempt.Err != nil {
				r.log.Warn("delivery", "tenant", d.Alert.Tenant, "monitor", d.Alert.MonitorName, "trigger", d.Trigger,
					"key", d.Key.String(), "outcome", outcome.String(), "error", d.attempt.Err)
			}
		}
		c.Fired = append(c.Fired, entry)
		recorded = append(recorded, Recorded{f.alert, entry})
	}
	var adopted []func(bool)
	for _, d := range pending {
		adopted = append(adopted, r.opts.Outbox.Adopt(d.Key.String(), d.done))
	}
	for _, part := range split(c) {
		if err = r.commit(ctx, part); err != nil {
			break
		}
	}
	for _, committed := range adopted {
		committed(err == nil)
	}
	if err != nil {
		return err
	}
	if len(recorded) > 0 {
		r.opts.Recorder.Record(recorded)
	}
	return nil
}

// What one command may hold, so that an entry of the log stays of bearable size
// however much a block fires.
const (
	maxRecords     = 1000
	maxRecordBytes = 512 << 10 // of deliveries for the outbox
)

// split parts a command into several where it is too large. The last one moves
// the cursor; what goes to the outbox comes before the ledger says that it is
// there.
func split(c *fsm.Progress) []*fsm.Progress {
	var parts []*fsm.Progress
	part := func() *fsm.Progress {
		p := &fsm.Progress{Cohort: c.Cohort, Epoch: c.Epoch, Born: c.Born, Network: c.Network}
		parts = append(parts, p)
		return p
	}
	p, size := part(), 0
	room := func(records, bytes int) {
		if records >= maxRecords || size+bytes > maxRecordBytes && size > 0 {
			p, size = part(), 0
		}
		size += bytes
	}
	for _, o := range c.Outbox {
		room(len(p.Outbox), len(o.Delivery))
		p.Outbox = append(p.Outbox, o)
	}
	for _, d := range c.Dead {
		room(len(p.Outbox)+len(p.Dead), len(d.Delivery))
		p.Dead = append(p.Dead, d)
	}
	for _, f := range c.Fired {
		room(len(p.Outbox)+len(p.Dead)+len(p.Fired), 0)
		p.Fired = append(p.Fired, f)
	}
	p.To, p.Superseded = c.To, c.Superseded
	return parts
}

// earlyRecord is how long first attempts may take before those that are done are
// recorded without the others.
const earlyRecord = 100 * time.Millisecond

// recordSent commits the deliveries that are done, and leaves the cursor.
func (r *round) recordSent(ctx context.Context) error {
	now := time.Now().UnixMilli()
	c := &fsm.Progress{Cohort: r.opts.Cohort, Epoch: r.opts.Epoch, Born: r.born, Network: r.network}
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
	for _, part := range split(c) {
		if err := r.commit(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// commit proposes until the outcome is known: a lost leadership leaves it open,
// and the command says the same when it is told twice.
func (r *round) commit(ctx context.Context, c *fsm.Progress) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_, err := r.opts.Log.Propose(ctx, c)
		if err == nil || errors.Is(err, fsm.ErrStaleEpoch) || errors.Is(err, fsm.ErrConflict) || errors.Is(err, fsm.ErrNotFound) {
			return err
		}
		r.log.Warn("progress cannot be recorded; trying again", "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
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
