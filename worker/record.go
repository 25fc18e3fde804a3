package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// handIn has a round recorded in the background, after those handed in before.
// Without steps it leaves the cursor: the step that the firings are of failed and
// will be tried again, or is not judged to its end.
func (p *pipeline) handIn(ctx context.Context, r *round, steps []step) {
	if n := len(p.rounds.open); n > 0 {
		r.before = p.rounds.open[n-1]
	}
	p.rounds.open = append(p.rounds.open, r)
	go func() {
		defer close(r.finished)
		r.err = r.record(ctx, steps)
		r.before = nil
		if r.err != nil {
			p.rounds.fail(r.err)
		}
	}()
}

// record waits, within patience, for the first attempts and commits what came of
// them together with the cursor's move.
func (r *round) record(ctx context.Context, steps []step) (err error) {
	recorded := false
	defer func() { r.land(recorded) }()
	defer func() {
		if p := recover(); p != nil {
			r.metrics.panics.Inc()
			r.log.Error("panic while recording", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := r.patience(ctx); err != nil {
		return err
	}
	if r.before != nil {
		<-r.before.finished // it ends with ctx
		if err = r.before.err; err != nil {
			steps = nil // the cursor stays before what is not recorded
		}
	}
	if len(steps) == 0 && len(r.fired) == 0 {
		return err
	}
	r.starts.close()
	var failed error
	if recorded, failed = r.conclude(ctx, steps); failed != nil {
		err = errors.Join(err, failed)
	}
	return err
}

// patience waits until the first attempts have ended, or have had their time.
func (r *round) patience(ctx context.Context) error {
	if err := r.intentions(ctx); err != nil {
		return err
	}
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
	return err
}

// conclude commits what came of the round. Nothing of it begins any more.
func (r *round) conclude(ctx context.Context, steps []step) (recorded bool, err error) {
	now := time.Now().UnixMilli()
	c := r.progress()
	if len(steps) > 0 {
		c.To, c.Superseded = steps[len(steps)-1].entry.Position, supersededOf(steps)
	}
	var list []Recorded
	var pending []*sending
	v := r.opts.Log.View()
	for _, f := range r.fired {
		if f.recorded || f.orphaned(v) {
			continue
		}
		entry, open := r.entry(c, f, now)
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
		return true, errMoved
	}
	return recorded, err
}

// orphaned reports whether another tenant has meanwhile come under the name of the
// one whose alert this is: its outbox and ledger are not for a stranger's alerts.
func (f *firing) orphaned(v *fsm.View) bool {
	t, ok := v.Tenant(f.alert.Tenant)
	return ok && t.Born != f.born
}

// entry is what the ledger says of a firing. What is to be done with its
// deliveries is added to the command; open are those under way.
func (r *round) entry(c *fsm.Progress, f *firing, now int64) (entry fsm.Fired, open []*sending) {
	entry = f.entry(now)
	for _, d := range f.deliveries {
		if d.left() {
			continue
		}
		outcome, adopt := d.settle(c, now)
		entry.Deliveries = append(entry.Deliveries, d.recordAs(outcome))
		r.metrics.deliveries.WithLabelValues(outcome.String()).Inc()
		if adopt {
			open = append(open, d)
		}
		if d.hasEnded() && d.attempt.Err != nil && !overQuota(d.attempt.Err) { // of which there may be any number
			r.log.Warn("delivery", "tenant", d.Alert.Tenant, "monitor", d.Alert.MonitorName, "trigger", d.Trigger,
				"key", d.Key.String(), "outcome", outcome.String(), "error", d.attempt.Err)
		}
	}
	return entry, open
}

// earlyRecord is how long first attempts may take before those that are done are
// recorded without the others.
const earlyRecord = 100 * time.Millisecond

// recordSent commits the deliveries that are done, and leaves the cursor.
func (r *round) recordSent(ctx context.Context) error {
	now := time.Now().UnixMilli()
	c := r.progress()
	v := r.opts.Log.View()
	for _, f := range r.fired {
		if f.orphaned(v) {
			continue
		}
		entry := f.entry(now)
		for _, d := range f.deliveries {
			if d.accepted() {
				entry.Deliveries = append(entry.Deliveries, d.recordAs(fsm.Sent))
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
	return nil // whatever else there is to say, conclude will hear
}

func (f *firing) entry(now int64) fsm.Fired {
	a := f.alert
	return fsm.Fired{
		Network: a.Network, Block: a.Block, Alert: a.ID.String(), Tenant: a.Tenant, Born: f.born, Monitor: a.MonitorID,
		Tx: a.Tx, State: fsm.AlertState(a.State), Position: a.Position, Version: a.Version, At: now, Content: f.content,
	}
}

// recordAs is what the ledger says of a delivery.
func (d *sending) recordAs(outcome fsm.Outcome) fsm.Delivered {
	out := fsm.Delivered{
		Key: d.Key.String(), Trigger: d.Trigger, Occurrence: uint32(d.Occurrence),
		State: fsm.AlertState(d.Alert.State), Position: d.Alert.Position, Outcome: outcome,
	}
	if !d.After.IsZero() {
		out.After = d.After.String()
	}
	return out
}

// settle says what is recorded of a delivery and adds what is to be done with it
// to the command. adopt says that its first attempts are under way.
func (d *sending) settle(c *fsm.Progress, now int64) (outcome fsm.Outcome, adopt bool) {
	out := fsm.Outgoing{Key: d.Key.String(), Tenant: d.Alert.Tenant, Born: d.firing.born, Trigger: d.Trigger, At: now, Attempts: 1}
	if !d.After.IsZero() {
		out.After = d.After.String()
	}
	permanent := false
	switch {
	case d.accepted():
		return fsm.Sent, false
	case d.hasEnded():
		err, result := d.attempt.Err, d.attempt.Result
		out.Reason, out.Status, out.Excerpt, permanent = err.Error(), result.Status, result.Excerpt, result.Permanent
		if result.RetryAfter > 0 {
			out.NotBefore = now + result.RetryAfter.Milliseconds()
		}
		if over, ok := errors.AsType[*outbox.QuotaError](err); ok {
			out.NotBefore = over.NotBefore(time.UnixMilli(now))
		}
		if notAttempted(err) {
			out.Attempts, out.NotBefore = 0, max(out.NotBefore, now)
		}
	case d.begun:
		out.Reason, adopt = "no answer yet", true
	case d.before != nil:
		out.Attempts, out.NotBefore, out.Reason = 0, now, errInTurn.Error()
	default:
		out.Attempts, out.NotBefore, out.Reason = 0, now, "not attempted yet: too many deliveries are under way"
	}
	data, err := d.encode()
	if err != nil { // it cannot be repeated: what is recorded of it is why
		permanent = true
		out.Reason = fmt.Sprintf("%s; and %v", out.Reason, err)
	}
	out.Delivery = data
	if permanent {
		c.Dead = append(c.Dead, fsm.Dead{Outgoing: out, DiedAt: now})
		return fsm.Refused, false
	}
	c.Outbox = append(c.Outbox, out)
	return fsm.HandedOver, adopt
}

// notAttempted reports whether an attempt ended without a request.
func notAttempted(err error) bool {
	return errors.Is(err, errInTurn) || errors.Is(err, notify.ErrOpen) || errors.Is(err, notify.ErrLimited) || overQuota(err)
}

// overQuota reports whether a delivery only waits for its tenant's quota.
func overQuota(err error) bool {
	_, ok := errors.AsType[*outbox.QuotaError](err)
	return ok
}

// encode is the stored form of a delivery, small enough for the outbox. The match
// object is left out if that helps and nobody sends it.
func (d *sending) encode() ([]byte, error) {
	data, err := alert.EncodeDelivery(&d.Delivery)
	if err == nil && len(data) <= fsm.MaxOutgoing {
		return data, nil
	}
	if d.trigger == nil || !needsMatch(d.trigger) {
		short, bare := d.Delivery, *d.Alert
		bare.Match = nil
		short.Alert = &bare
		data, err = alert.EncodeDelivery(&short)
	}
	if err == nil && len(data) > fsm.MaxOutgoing {
		err = fmt.Errorf("it cannot be repeated: %w: %d bytes, %d at most", alert.ErrTooLarge, len(data), fsm.MaxOutgoing)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
