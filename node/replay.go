package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

// maxReplay bounds the heights of one replay.
const maxReplay = 100_000

// Replay judges a range of the past with a tenant's monitor as it is now, says of
// every match whether it was delivered before, and delivers, if told to, what
// never was: with the keys that it would have had, through the outbox. Without
// Send nothing is written. It works on the node that watches the network.
func (n *Node) Replay(ctx context.Context, q api.Replay, progress func(api.Progress), match func(api.ReplayMatch)) (*api.Replayed, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, err
	}
	if q.Send {
		if !n.replays.TryLock() {
			return nil, fmt.Errorf("%w: another replay is under way on this node: wait for it", api.ErrRefused)
		}
		defer n.replays.Unlock()
	}
	v := n.state.View()
	what, err := findReplay(v, q)
	if err != nil {
		return nil, err
	}
	if err := what.checkRange(q); err != nil {
		return nil, err
	}
	client, err := n.watch.clientOf(what.network.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	p, err := n.pastOf(ctx, v, what.tenant, what.network, client, q.From, q.To, what.doc.ID)
	if err != nil {
		return nil, err
	}
	n.findAccepted(ctx, p)
	doc := what.doc
	doc.Watches = []fsm.Watch{what.watch}
	version := what.tenant.Current
	version.Manifest = &fsm.Manifest{Docs: []fsm.Doc{doc}}
	net := what.network
	judge, err := worker.NewRejudge(v, what.tenant.ID, version, net.Key, net.DepthAt(net.Next), net.FinalityAt(net.Next), what.depth)
	if err != nil {
		return nil, err
	}
	r := &replay{
		node: n, what: what, past: p, judge: judge, q: q, match: match, version: version.Number,
		due: net.DueAt(what.depth, q.From, q.To), done: v.Replayed(what.tenant.ID, net.Key, doc.ID, doc.Hash),
		out: &api.Replayed{Replay: q, Key: net.Key, Version: version.Number, Silent: p.silent},
	}
	for h := q.From; ; h++ {
		if err := r.height(ctx, h); err != nil {
			return nil, r.stopped(err, h)
		}
		if progress != nil {
			progress(api.Progress{Done: h - q.From + 1, Total: q.To - q.From + 1})
		}
		if h == q.To {
			break
		}
	}
	if err := r.flush(ctx); err != nil {
		return nil, r.stopped(err, q.To)
	}
	return r.out, nil
}

// checkRange refuses what cannot be judged, or not at once.
func (w *replaying) checkRange(q api.Replay) error {
	from, to := q.From, q.To
	tip, begun := w.network.Branch.Tip()
	switch {
	case from > to:
		return fmt.Errorf("%w: --from %d lies above --to %d", api.ErrBadRequest, from, to)
	case to-from >= maxReplay:
		return fmt.Errorf("%w: heights %d to %d are %d blocks: replay at most %d at a time", api.ErrBadRequest, from, to, to-from+1, maxReplay)
	case !begun:
		return fmt.Errorf("%w: network %s has no block yet", api.ErrUnavailable, w.network.Key)
	case tip.Height < w.depth || to > tip.Height-w.depth:
		return fmt.Errorf("%w: --to %d lies beyond what the monitor judges by now: the head of network %s is %d, and the monitor judges %d blocks deep, so %d is the last", api.ErrBadRequest, to, w.network.Key, tip.Height, w.depth, tip.Height-min(tip.Height, w.depth))
	case q.Send && w.watch.Mode != fsm.ModePlain && to >= w.network.Floor:
		// What a replay sends is not in the fired ledger: nobody would take it back.
		return fmt.Errorf("%w: blocks from %d on may still leave the chain, and alerts of a monitor with a mode must be taken back then: replay up to %d, and the rest later", api.ErrBadRequest, w.network.Floor, max(w.network.Floor, 1)-1)
	}
	return nil
}

// replay is one Replay under way.
type replay struct {
	node    *Node
	what    *replaying
	past    *past
	judge   *worker.Rejudge // the monitor as it is now
	version uint64
	q       api.Replay
	match   func(api.ReplayMatch)
	due     map[uint64]uint64 // height -> position at which the monitor, as it is now, would have judged it
	done    []fsm.Span        // heights that were replayed with this document before
	out     *api.Replayed
	chunk   chunk
}

// height judges one height and sorts out its deliveries.
func (r *replay) height(ctx context.Context, h uint64) error {
	b, err := r.past.block(ctx, h)
	if err != nil {
		return err
	}
	found, err := r.judge.Judge(b.Payload)
	if err != nil {
		return fmt.Errorf("block %v: %w", b.Ref, err)
	}
	r.out.Blocks++
	k := knowledge{replay: r, height: h, block: b}
	var matches []chunkMatch
	withheld := false
	for i := range found {
		m, err := r.weigh(&k, b, &found[i])
		if err != nil {
			return err
		}
		for _, d := range m.report.Deliveries {
			withheld = withheld || d.Before == api.BeforePending || d.Before == api.BeforeUnknown && !r.q.IncludeUnknown
		}
		matches = append(matches, m)
	}
	if !r.q.Send {
		for _, m := range matches {
			r.tell(m)
		}
		return nil
	}
	// Heights of which something is held back are not noted as replayed: they may
	// be asked for again. Those that are noted, have something to send only where it
	// was lost since.
	if withheld || within(r.done, h) && !sends(matches) {
		if err := r.flush(ctx); err != nil {
			return err
		}
		for _, m := range matches {
			r.tell(m)
		}
		return nil
	}
	if r.chunk.full(matches) {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	return r.chunk.add(b.Ref, matches)
}

// weigh makes the alert of a match and tells what is known of its deliveries.
func (r *replay) weigh(k *knowledge, b *chain.Block, f *worker.Found) (chunkMatch, error) {
	a, err := f.Alert(r.what.network.Key, b.Ref, r.version, r.due[b.Ref.Height])
	if err != nil {
		return chunkMatch{}, err
	}
	m := chunkMatch{alert: a, report: api.ReplayMatch{
		Height: b.Ref.Height, Block: b.Ref.Hash.String(), Transaction: a.Tx, Alert: a.ID.String(), Deliveries: []api.ReplayDelivery{},
	}}
	count := map[string]int{}
	for _, d := range alert.Deliveries(a, f.Triggers) {
		before, how, err := k.of(a, &d, count[d.Trigger])
		if err != nil {
			return m, err
		}
		count[d.Trigger]++
		r.count(before)
		m.report.Deliveries = append(m.report.Deliveries, api.ReplayDelivery{Trigger: d.Trigger, Key: d.Key.String(), Before: before, How: how})
		if before == api.BeforeNo || before == api.BeforeUnknown {
			m.send = append(m.send, d)
		}
	}
	r.out.Matches++
	return m, nil
}

// depths are those at which a monitor with the watch of this one judged in a regime.
func (r *replay) depths(in *regime) []uint64 {
	w, net := r.what.watch, r.past.network
	return []uint64{w.Depth, w.DepthOn(net.DepthAt(in.from), net.FinalityAt(in.from))}
}

func (r *replay) count(before api.Before) {
	r.out.Deliveries++
	switch before {
	case api.BeforeYes:
		r.out.Before++
	case api.BeforeNo:
		r.out.New++
	case api.BeforePending:
		r.out.Pending++
	case api.BeforeUnknown:
		r.out.Unknown++
	}
}

func sends(matches []chunkMatch) bool {
	return slices.ContainsFunc(matches, func(m chunkMatch) bool { return len(m.send) > 0 })
}

func (r *replay) tell(m chunkMatch) {
	if r.match != nil {
		r.match(m.report)
	}
}

func within(spans []fsm.Span, h uint64) bool {
	for _, s := range spans {
		if s.From <= h && h <= s.To {
			return true
		}
	}
	return false
}

// stopped is the error of a replay that has come to a height.
func (r *replay) stopped(err error, h uint64) error {
	switch {
	case errors.Is(err, fsm.ErrConflict):
		err = fmt.Errorf("monitor %q was changed meanwhile: %w", r.q.Monitor, err)
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	if !r.q.Send {
		return fmt.Errorf("at block %d: %w", h, err)
	}
	dead := ""
	if r.out.Dead > 0 {
		dead = fmt.Sprintf(", and %d are dead letters", r.out.Dead)
	}
	return fmt.Errorf("at block %d: %w; %d deliveries were handed to the outbox before%s: run the same command again, and it goes on where it stopped", h, err, r.out.Sent, dead)
}

// toReplayer has the node replay that watches the network asked about; that node
// itself goes on.
func (n *Node) toReplayer(w http.ResponseWriter, r *http.Request) (passed bool) {
	q, err := api.ReadReplay(r.URL.Query())
	if err != nil {
		return false // told by who reads it for good
	}
	v := n.state.View()
	what, err := findReplay(v, q)
	return err == nil && n.toHolderOf(w, r, v, what.network)
}
