package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

const (
	// A chunk of a replay is one command: small enough for the log, large enough
	// that a long range does not fill it with commands.
	chunkEntries = 256
	chunkBytes   = 128 << 10
	// outboxShare is how much of the outbox's bounds a replay may fill: what the
	// cluster fires meanwhile needs room too. One part of so many stays free.
	outboxShare = 4
	// outboxPatience is how long a replay waits for room while nothing leaves the
	// tenant's outbox.
	outboxPatience = time.Minute
)

// chunkMatch is a match with what is to be sent of it.
type chunkMatch struct {
	alert  *alert.Alert
	report api.ReplayMatch
	send   []alert.Delivery
}

// chunk is consecutive heights whose deliveries go to the outbox together, in one
// command that also notes the heights: after a crash, either all of it is done or
// nothing.
type chunk struct {
	refs    []fsm.BlockRef
	matches []chunkMatch
	entries int
}

// full reports whether further matches are to go into another chunk. The matches
// of one height are never split.
func (c *chunk) full(more []chunkMatch) bool {
	n := 0
	for _, m := range more {
		n += len(m.send)
	}
	return n > 0 && c.entries > 0 && c.entries+n > chunkEntries
}

func (c *chunk) add(ref fsm.BlockRef, matches []chunkMatch) {
	c.refs = append(c.refs, ref)
	c.matches = append(c.matches, matches...)
	for _, m := range matches {
		c.entries += len(m.send)
	}
}

// flush commits the chunk, by parts where its deliveries are large, and tells of
// its matches.
func (r *replay) flush(ctx context.Context) error {
	c := r.chunk
	r.chunk = chunk{}
	rest := c.matches
	for len(c.refs) > 0 {
		part, next, err := cutChunk(c.refs, &rest)
		if err != nil {
			return err
		}
		if err := r.commit(ctx, c.refs[:next], part); err != nil {
			return err
		}
		c.refs = c.refs[next:]
	}
	return nil
}

// part is the part of a chunk that is one command.
type part struct {
	matches []chunkMatch
	out     []fsm.Outgoing
	bytes   int64
}

// cutChunk takes matches of as many heights as fit into one command: at least one.
func cutChunk(refs []fsm.BlockRef, rest *[]chunkMatch) (p part, heights int, err error) {
	for heights < len(refs) {
		before := p
		left := *rest
		for len(left) > 0 && left[0].report.Height == refs[heights].Height {
			for i := range left[0].send {
				data, err := alert.EncodeDelivery(&left[0].send[i])
				if err != nil {
					return p, 0, err
				}
				d := &left[0].send[i]
				p.out = append(p.out, fsm.Outgoing{
					Key: d.Key.String(), Tenant: d.Alert.Tenant, Trigger: d.Trigger, Delivery: data, Reason: "replayed",
				})
				p.bytes += int64(len(data))
			}
			p.matches = append(p.matches, left[0])
			left = left[1:]
		}
		if heights > 0 && p.bytes > chunkBytes {
			return before, heights, nil
		}
		*rest = left
		heights++
	}
	return p, heights, nil
}

// commit hands the deliveries to the outbox and notes those of the heights that
// are final.
func (r *replay) commit(ctx context.Context, refs []fsm.BlockRef, p part) error {
	if err := r.awaitRoom(ctx, p.bytes); err != nil {
		return err
	}
	if err := r.stillThere(refs); err != nil {
		return err
	}
	now := time.Now()
	last := refs[len(refs)-1].Height
	if n, ok := r.node.state.View().Network(r.what.network.Key); ok {
		// Where another block may come to lie, the height is not done with: what was
		// sent of this block, outbox and journals know.
		last = min(last, max(n.Floor, 1)-1)
	}
	for i := range p.out {
		p.out[i].At = now.UnixMilli()
	}
	_, err := r.node.group.Propose(ctx, &fsm.Replay{
		Tenant: r.what.tenant.ID, Network: r.what.network.Key, Monitor: r.what.doc.ID, Doc: r.what.doc.Hash,
		From: refs[0].Height, To: last, Outbox: p.out, At: now.UnixMilli(),
	})
	if err != nil {
		return err
	}
	r.out.Sent += len(p.out)
	var list []journal.Alert
	for _, m := range p.matches {
		if len(m.send) > 0 {
			list = append(list, replayedAlert(m, now))
		}
		sent := map[string]bool{}
		for _, d := range m.send {
			sent[d.Key.String()] = true
		}
		for i := range m.report.Deliveries {
			d := &m.report.Deliveries[i]
			d.Sent = sent[d.Key]
		}
		r.tell(m)
	}
	if len(list) > 0 {
		r.node.journal.Record(list)
	}
	return nil
}

// replayedAlert is what the journal keeps, so that a replay with a later document
// finds it.
func replayedAlert(m chunkMatch, at time.Time) journal.Alert {
	a := m.alert
	change := journal.Change{State: stateReplayed, Position: a.Position, At: at}
	for _, d := range m.send {
		change.Deliveries = append(change.Deliveries, journal.Delivery{Key: d.Key.String(), Trigger: d.Trigger, Outcome: fsm.HandedOver.String()})
	}
	return journal.Alert{
		ID: a.ID.String(), Tenant: a.Tenant, MonitorID: a.MonitorID, MonitorName: a.MonitorName, Network: a.Network,
		Block: a.Block, Tx: a.Tx, Version: a.Version, FiredAt: at, History: []journal.Change{change}, Variables: a.Variables,
	}
}

// stillThere refuses to send for blocks that were rolled back meanwhile.
func (r *replay) stillThere(refs []fsm.BlockRef) error {
	n, ok := r.node.state.View().Network(r.what.network.Key)
	if !ok {
		return fmt.Errorf("network %s: %w", r.what.network.Key, fsm.ErrNotFound)
	}
	tip, begun := n.Branch.Tip()
	for _, ref := range refs {
		if known, ok := n.Branch.At(ref.Height); begun && (ref.Height > tip.Height || ok && known != ref) {
			return fmt.Errorf("network %s: block %d was rolled back meanwhile", n.Key, ref.Height)
		}
	}
	return nil
}

// awaitRoom waits until the outbox takes so many bytes more without becoming full.
func (r *replay) awaitRoom(ctx context.Context, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	tenant := r.what.tenant.ID
	patience := time.NewTimer(outboxPatience)
	defer patience.Stop()
	for least := int64(-1); ; {
		changed := r.node.state.Changed(fsm.TopicOutbox)
		v := r.node.state.View()
		used := v.Box(tenant).Bytes
		if used == 0 && v.OutboxBytes()+bytes <= fsm.MaxOutbox ||
			used+bytes <= fsm.MaxOutboxTenant-fsm.MaxOutboxTenant/outboxShare && v.OutboxBytes()+bytes <= fsm.MaxOutbox-fsm.MaxOutbox/outboxShare {
			return nil
		}
		if least < 0 || used < least {
			least = used
			patience.Reset(outboxPatience)
		}
		select {
		case <-changed:
		case <-patience.C:
			return fmt.Errorf("the outbox of tenant %q has no room, and nothing has left it for %v: see `ozmo delivery list`", tenant, outboxPatience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
