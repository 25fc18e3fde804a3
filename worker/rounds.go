package worker

import (
	"context"
	"iter"
	"slices"

	"github.com/ozmo-dev/ozmo/worker/alert"
)

// Bounds of what one pipeline has under way. Beyond them it waits with the next
// announcements until the oldest round is recorded.
const (
	maxRounds   = 8
	maxSendings = 8192 // deliveries of rounds that are not recorded yet
)

// rounds are the rounds of a pipeline whose alerts are being delivered while the
// next announcements are judged. They are recorded in order, so that the cursor
// never passes what is not recorded. Only the pipeline's own loop uses them.
type rounds struct {
	open []*round // not known to be recorded, oldest first
	// failed ends when a round could not be recorded, with the reason. Nothing new
	// begins then, and no later round moves the cursor: everything from the failed
	// round on is done again from the cursor, where the ledger knows what was sent.
	failed context.Context //nolint:containedctx // lives as long as the pipeline
	fail   context.CancelCauseFunc
}

func newRounds() *rounds {
	r := &rounds{}
	r.failed, r.fail = context.WithCancelCause(context.Background())
	return r
}

// reap forgets the rounds that are recorded. Whoever asks what is under way reaps
// first and takes a view of the state afterwards: a round is either still there,
// or in the view.
func (rs *rounds) reap() {
	rs.open = slices.DeleteFunc(rs.open, func(r *round) bool {
		select {
		case <-r.finished:
			return true
		default:
			return false
		}
	})
}

// room waits until another round may begin.
func (rs *rounds) room(ctx context.Context) {
	for rs.reap(); len(rs.open) > 0; rs.reap() {
		sendings := 0
		for _, r := range rs.open {
			sendings += len(r.begun)
		}
		if len(rs.open) < maxRounds && sendings < maxSendings {
			return
		}
		if !rs.wait(ctx, rs.open[0]) {
			return
		}
	}
}

// settle waits until all rounds are recorded, or one could not be.
func (rs *rounds) settle(ctx context.Context) {
	for rs.reap(); len(rs.open) > 0; rs.reap() {
		if !rs.wait(ctx, rs.open[0]) {
			return
		}
	}
}

func (rs *rounds) wait(ctx context.Context, r *round) bool {
	select {
	case <-r.finished:
		return true
	case <-rs.failed.Done():
	case <-ctx.Done():
	}
	return false
}

// drain waits for all rounds, and tells why one could not be recorded.
func (rs *rounds) drain() error {
	for _, r := range rs.open {
		<-r.finished
	}
	rs.open = nil
	err := context.Cause(rs.failed)
	rs.fail(nil) // nothing is left to fail
	return err
}

// backward yields a round and those before it, the newest first.
func (rs *rounds) backward(r *round) iter.Seq[*round] {
	return func(yield func(*round) bool) {
		if !yield(r) {
			return
		}
		for _, earlier := range slices.Backward(rs.open) {
			if earlier != r && !yield(earlier) {
				return
			}
		}
	}
}

// underWay reports whether a delivery has begun and is not known to be recorded.
func (r *round) underWay(key alert.Key) bool {
	for one := range r.rounds.backward(r) {
		if one.begun[key] {
			return true
		}
	}
	return false
}

// lastSent is the last delivery to a listener that is not known to be recorded;
// nil where there is none.
func (r *round) lastSent(to listener) *sending {
	for one := range r.rounds.backward(r) {
		if d := one.last[to]; d != nil {
			return d
		}
	}
	return nil
}

// lastWord is the last state of an alert that is not known to be recorded.
func (r *round) lastWord(id alert.ID) (alert.State, bool) {
	for one := range r.rounds.backward(r) {
		if state, ok := one.words[id]; ok {
			return state, true
		}
	}
	return 0, false
}
