package worker

import (
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/notify"
	"github.com/ozmo-dev/ozmo/worker/outbox"
)

// rollsBack reports whether the step's own announcement takes a block off the branch.
func (s *step) rollsBack(ref fsm.BlockRef) bool {
	return s.entry.Kind == fsm.Rollback && ref.Height > s.entry.Ref.Height
}

// retract takes back what was fired for the blocks that a roll-back takes off. All
// of it is in the ledger: no block is judged, and none is needed. Every listener
// who was told of an alert is told that it is no more, whatever its monitor looks
// like by now.
//
// A step that is done again after a crash finds in the ledger the states that this
// step and later ones brought about. What each listener had heard before this
// position tells what is to be done; what it has heard since is left out.
func (r *round) retract(v *fsm.View, s *step) ([]*firing, error) {
	var out []*firing
	for f := range v.FiredBetween(r.network, s.entry.Ref.Height+1, ^uint64(0)) {
		t, ok := v.Tenant(f.Tenant)
		if len(f.Content) == 0 || !ok || t.Cohort != r.cohort || t.Born != f.Born {
			continue
		}
		told := slices.DeleteFunc(toRetract(f, s.entry.Position), func(d fsm.Delivered) bool { return r.takenBack(f, d) })
		if len(told) == 0 && (f.State == fsm.AlertRetracted || f.Position >= s.entry.Position) {
			continue
		}
		version, ok := t.InForce(s.entry.Index)
		if !ok {
			// A tenant that does not want the network any more keeps no old versions for
			// it. Where to send stands in the ledger: any version has the triggers.
			version = t.Current
		}
		one := &firing{alert: r.retracted(v, s, f), version: version, born: t.Born}
		for _, d := range told {
			r.takeBack(v, one, d, f)
		}
		one.recorded = f.Position >= s.entry.Position && len(one.deliveries) == 0
		if one.recorded {
			continue
		}
		r.words[one.alert.ID] = alert.Retracted
		out = append(out, one)
	}
	return out, nil
}

// toRetract lists the last deliveries before a position to listeners who have not
// been told since that the alert is retracted.
func toRetract(f *fsm.Fired, position uint64) []fsm.Delivered {
	if f.State == fsm.AlertRetracted && f.Position < position {
		return nil
	}
	var out []fsm.Delivered
	type entry struct {
		trigger    string
		occurrence uint32
	}
	seen := map[entry]bool{}
	for _, d := range f.Deliveries {
		who := entry{d.Trigger, d.Occurrence}
		if seen[who] || position == 0 {
			continue
		}
		seen[who] = true
		if last, ok := lastHeard(f, d.Trigger, d.Occurrence, position-1); ok && last.State != fsm.AlertRetracted {
			out = append(out, last)
		}
	}
	return out
}

// takenBack reports whether rounds that are not recorded yet have taken back what
// the ledger says was told: what they told after it is of another block, or that.
// What they told of a position before it does not count: a step that is done again
// comes upon what a later one had brought about.
func (r *round) takenBack(f *fsm.Fired, told fsm.Delivered) bool {
	id, err := alert.ParseID(f.Alert)
	last := r.lastSent(listener{id, told.Trigger, int(told.Occurrence)})
	return err == nil && last != nil && last.Alert.Position > told.Position && (last.Alert.Block != f.Block || last.Alert.State == alert.Retracted)
}

// retracted is the alert as it is told when it is taken back.
func (r *round) retracted(v *fsm.View, s *step, f *fsm.Fired) *alert.Alert {
	a, err := alert.DecodeAlert(f.Content)
	if err != nil {
		r.log.Warn("an alert is retracted without its own words", "tenant", f.Tenant, "monitor", f.Monitor, "tx", f.Tx, "error", err)
		a = &alert.Alert{MonitorName: f.Monitor, NetworkSlug: f.Network}
	}
	id, err := alert.ParseID(f.Alert)
	if err != nil { // the ledger has no other ids
		r.log.Error("the ledger has an alert without an id", "tenant", f.Tenant, "monitor", f.Monitor, "error", err)
	}
	a.ID, a.Tenant, a.MonitorID, a.Network, a.Block, a.Tx = id, f.Tenant, f.Monitor, f.Network, f.Block, f.Tx
	a.Version = f.Version
	a.State, a.Position, a.Seen = alert.Retracted, s.entry.Position, seenAt(s.entry)
	a.Origin = r.origin(v, s.entry.Position)
	return a
}

// takeBack makes the delivery that takes one back.
func (r *round) takeBack(v *fsm.View, f *firing, told fsm.Delivered, known *fsm.Fired) {
	a := f.alert
	d := alert.Delivery{Alert: a, Trigger: told.Trigger, Occurrence: int(told.Occurrence)}
	d.Key = a.Key(d.Trigger, d.Occurrence)
	if recordedAs(known, d.Key) || r.underWay(d.Key) {
		return
	}
	sent := newSending(f, d)
	if err := r.find(v, sent); err != nil {
		if isNotFound(err) {
			r.log.Info("a trigger is gone: it is not told that an alert was retracted",
				"tenant", a.Tenant, "monitor", a.MonitorID, "trigger", d.Trigger, "alert", a.ID.String())
			return
		}
		sent.end(outbox.Attempt{Result: notify.Result{}, Err: err})
	}
	sent.After = parseKey(told.Key)
	if sent.before = r.lastSent(sent.listener()); sent.before != nil {
		sent.After = sent.before.Key
	}
	if !sent.hasEnded() {
		r.prepare(v, sent, nil)
	}
	f.deliveries = append(f.deliveries, sent)
	r.begun[d.Key] = true
	r.last[sent.listener()] = sent
}
