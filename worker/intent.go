package worker

import (
	"context"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// intent is the announcement to the ledger of deliveries that are about to be made.
//
// What a plain monitor sends is recorded afterwards: after a crash it is judged and
// sent again. Where the block was rolled back meanwhile it is not judged again, and
// that is well, since nobody takes a plain alert back. An alert with a mode must be
// taken back, so the ledger has to know of it before its receiver can.
type intent struct {
	done chan struct{}
	err  error // valid once done is closed
}

// needsIntent reports whether the ledger does not know yet who is to be told.
func (f *firing) needsIntent(known *fsm.Fired) bool {
	if known == nil {
		return true
	}
	for _, d := range f.deliveries {
		if delivered(known, d.Key) == nil {
			return true
		}
	}
	return false
}

// intend records alerts before they are sent, in the order of the intents. Of
// retractions it records that they are, not who is told: that is found again from
// what the ledger had before.
func (r *round) intend(ctx context.Context, fired []*firing) *intent {
	now := time.Now().UnixMilli()
	c := r.progress()
	for _, f := range fired {
		entry := f.entry(now)
		if f.alert.State != alert.Retracted {
			for _, d := range f.deliveries {
				entry.Deliveries = append(entry.Deliveries, d.recordAs(unknown))
			}
		}
		c.Fired = append(c.Fired, entry)
		f.content = nil // once is enough
	}
	before := r.lastIntent
	in := &intent{done: make(chan struct{})}
	r.lastIntent = in
	r.intents = append(r.intents, in)
	go func() {
		defer close(in.done)
		if before != nil {
			<-before.done
		}
		for _, part := range split(c) {
			if in.err = r.propose(ctx, part); in.err != nil {
				return
			}
		}
	}()
	return in
}

// intended waits until the ledger knows of everything that any round is about to
// send, or the pipeline ends.
func (p *pipeline) intended(ctx context.Context) {
	if p.lastIntent == nil {
		return
	}
	select {
	case <-p.lastIntent.done:
	case <-p.rounds.failed.Done():
	case <-ctx.Done():
	}
}

// intentions waits until the ledger knows of everything that is about to be sent, or
// refuses to. What was not begun for another reason than a refusal is still to be
// sent by this cohort: its cursor must not pass that.
func (r *round) intentions(ctx context.Context) error {
	for _, in := range r.intents {
		select {
		case <-in.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if in.err != nil && !refused(in.err) {
			return in.err
		}
	}
	return nil
}

// maxContent bounds what the ledger keeps of an alert in order to retract it, in
// bytes, compressed.
const maxContent = 16 << 10

// content is what a retraction is made of: without the match object unless a
// trigger sends that, and without whatever makes it too large.
func (r *round) content(a *alert.Alert, withMatch bool) []byte {
	bare := *a
	bare.Variables = nil
	for _, try := range []struct {
		alert     *alert.Alert
		withMatch bool
	}{{a, withMatch}, {a, false}, {&bare, false}} {
		data, err := alert.EncodeAlert(try.alert, try.withMatch)
		if err == nil && len(data) <= maxContent {
			return data
		}
	}
	r.log.Error("an alert is too large to be retracted with its own words", "tenant", a.Tenant, "monitor", a.MonitorID, "tx", a.Tx)
	return fsm.NoContent // no stored alert: the ledger's own fields have to do
}
