package worker

import (
	"errors"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// What is said of an alert depends on what was said before: by rounds that are not
// recorded yet, and otherwise by the ledger. known is its entry of the same block.

func isNotFound(err error) bool { return errors.Is(err, fsm.ErrNotFound) }

// unknown is the outcome of a delivery that was intended when it was recorded: it
// may have been sent, or not.
const unknown fsm.Outcome = 0

// stateOf is the state that a hit brings about. A step that is done again after a
// crash finds the same as before.
func (r *round) stateOf(v *fsm.View, h hitAt, a *alert.Alert, born uint64, known *fsm.Fired) alert.State {
	if h.about.confirms() {
		return alert.Confirmed
	}
	if state, ok := stateAt(known, a.Position); ok {
		return state
	}
	state, ok := r.lastWord(a.ID)
	if !ok {
		if was, retracted := v.Retracted(r.network, a.ID.String(), born); retracted && was.Position < a.Position {
			state = alert.Retracted
		}
	}
	if state == alert.Retracted {
		return alert.Reinstated
	}
	return alert.Fired
}

// stateAt is what the ledger says was brought about at exactly this position by
// judging the block.
func stateAt(known *fsm.Fired, position uint64) (alert.State, bool) {
	if known == nil {
		return 0, false
	}
	judged := func(s fsm.AlertState) bool { return s == fsm.AlertFired || s == fsm.AlertReinstated }
	for _, d := range known.Deliveries {
		if d.Position == position && judged(d.State) {
			return alert.State(d.State), true
		}
	}
	if known.Position == position && judged(known.State) {
		return alert.State(known.State), true
	}
	return 0, false
}

// toldBefore reports whether the ledger's entry already says what a firing would
// make it say, deliveries apart.
func (r *round) toldBefore(a *alert.Alert, known *fsm.Fired) bool {
	switch {
	case known == nil:
		return false
	case known.Position >= a.Position:
		return true
	case a.State == alert.Confirmed:
		return known.State == fsm.AlertConfirmed
	default:
		return known.State != fsm.AlertRetracted
	}
}

// heard reports whether a listener has heard a delivery, is about to, or has
// nothing new to hear in it: a block is due again when a depth was raised.
func (r *round) heard(d alert.Delivery, known *fsm.Fired) bool {
	if r.underWay(d.Key) {
		return true
	}
	if last := r.lastSent(listener{d.Alert.ID, d.Trigger, d.Occurrence}); last != nil {
		if last.Alert.Block == d.Alert.Block {
			return nothingNew(last.Alert.State, d.Alert.State)
		}
		return recordedAs(known, d.Key)
	}
	if recordedAs(known, d.Key) {
		return true
	}
	last, ok := lastHeard(known, d.Trigger, uint32(d.Occurrence), d.Alert.Position)
	return ok && last.Key != d.Key.String() && nothingNew(alert.State(last.State), d.Alert.State)
}

// nothingNew reports whether a state says no more of a block than the one before.
func nothingNew(last, now alert.State) bool {
	return last != alert.Retracted && (now != alert.Confirmed || last == alert.Confirmed)
}

// recordedAs reports whether the outcome of a delivery is in the ledger.
func recordedAs(known *fsm.Fired, key alert.Key) bool {
	d := delivered(known, key)
	return d != nil && d.Outcome != unknown
}

func delivered(known *fsm.Fired, key alert.Key) *fsm.Delivered {
	if known == nil {
		return nil
	}
	name := key.String()
	for i := range known.Deliveries {
		if known.Deliveries[i].Key == name {
			return &known.Deliveries[i]
		}
	}
	return nil
}

// lastHeard is the last delivery to a listener, up to a position, that the ledger
// has for a block.
func lastHeard(known *fsm.Fired, trigger string, occurrence uint32, upTo uint64) (last fsm.Delivered, ok bool) {
	if known == nil {
		return last, false
	}
	for _, d := range known.Deliveries {
		if d.Trigger == trigger && d.Occurrence == occurrence && d.Position <= upTo && (!ok || later(d, last)) {
			last, ok = d, true
		}
	}
	return last, ok
}

// later orders what was said of a block. At one position it fires first, and is
// confirmed then.
func later(a, b fsm.Delivered) bool {
	return a.Position > b.Position || a.Position == b.Position && a.State == fsm.AlertConfirmed
}

// predecessor is what the listener of a delivery is to hear before it. Of a step
// that is done again, the ledger may know.
func (r *round) predecessor(v *fsm.View, d alert.Delivery, born uint64, known *fsm.Fired) (alert.Key, *sending) {
	if last := r.lastSent(listener{d.Alert.ID, d.Trigger, d.Occurrence}); last != nil {
		return last.Key, last
	}
	if was := delivered(known, d.Key); was != nil {
		return parseKey(was.After), nil
	}
	switch d.Alert.State {
	case alert.Confirmed:
		if last, ok := lastHeard(known, d.Trigger, uint32(d.Occurrence), d.Alert.Position); ok {
			return parseKey(last.Key), nil
		}
	case alert.Reinstated:
		id := d.Alert.ID.String()
		was, _ := v.Retracted(r.network, id, born)
		f, _ := v.FindFired(r.network, was.Block, id, born)
		if last, ok := lastHeard(f, d.Trigger, uint32(d.Occurrence), was.Position); ok {
			return parseKey(last.Key), nil
		}
	default:
	}
	return alert.Key{}, nil
}

// parseKey reads a key of the ledger, which has no others; zero where there is none.
func parseKey(s string) alert.Key {
	key, _ := alert.ParseKey(s)
	return key
}
