package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/alert"
)

const (
	// A chunk of a replay is one command: small enough for the log, large enough
	// that a long range does not fill it with commands. What one height has is only
	// split where it is larger than heightBytes.
	chunkEntries = 256
	chunkBytes   = 128 << 10
	heightBytes  = 1 << 20
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
	out    []fsm.Outgoing // send, once it is in a chunk
	bytes  int            // of out
}

// encode makes of the deliveries what the outbox takes.
func (m *chunkMatch) encode() error {
	for i := range m.send {
		d := &m.send[i]
		data, err := alert.EncodeDelivery(d)
		if err != nil {
			return err
		}
		m.out = append(m.out, fsm.Outgoing{Key: d.Key.String(), Tenant: d.Alert.Tenant, Trigger: d.Trigger, Delivery: data, Reason: "replayed"})
		m.bytes += len(data)
	}
	return nil
}

// chunk is consecutive heights whose deliveries go to the outbox together.
type chunk struct {
	refs    []fsm.BlockRef
	matches []chunkMatch // in the order of the heights
	entries int
}

// full reports whether further matches are to go into another chunk.
func (c *chunk) full(more []chunkMatch) bool {
	n := 0
	for _, m := range more {
		n += len(m.send)
	}
	return n > 0 && c.entries > 0 && c.entries+n > chunkEntries
}

func (c *chunk) add(ref fsm.BlockRef, matches []chunkMatch) error {
	for i := range matches {
		if err := matches[i].encode(); err != nil {
			return err
		}
		c.entries += len(matches[i].send)
	}
	c.refs = append(c.refs, ref)
	c.matches = append(c.matches, matches...)
	return nil
}

// part is the part of a chunk that is one command, which also notes the heights
// that are done with it: after a crash, all of it is done or nothing.
type part struct {
	done    []fsm.BlockRef
	begun   []fsm.BlockRef // a height of which more is to come; at most one
	matches []chunkMatch
	bytes   int
}

// cut takes a part off the chunk: as many heights as fit, or as much of one that
// is too large by itself, but a match at least.
func (c *chunk) cut() (p part) {
	take := func(matches int) {
		for _, m := range c.matches[:matches] {
			p.bytes += m.bytes
		}
		p.matches = append(p.matches, c.matches[:matches]...)
		c.matches = c.matches[matches:]
	}
	for len(c.refs) > 0 {
		n, size, fit := 0, 0, 0
		for n < len(c.matches) && c.matches[n].report.Height == c.refs[0].Height {
			if size += c.matches[n].bytes; size <= heightBytes {
				fit = n + 1
			}
			n++
		}
		switch {
		case p.bytes > 0 && p.bytes+size > chunkBytes:
			return p
		case max(fit, 1) < n:
			p.begun = c.refs[:1]
			take(max(fit, 1))
			return p
		}
		take(n)
		p.done = append(p.done, c.refs[0])
		c.refs = c.refs[1:]
	}
	return p
}

// flush commits the chunk, by parts where its deliveries are large, and tells of
// its matches.
func (r *replay) flush(ctx context.Context) error {
	c := r.chunk
	r.chunk = chunk{}
	for len(c.refs) > 0 {
		if err := r.commit(ctx, c.cut()); err != nil {
			return err
		}
	}
	return nil
}

// commit hands the deliveries to the outbox and notes those of the heights that
// are final.
func (r *replay) commit(ctx context.Context, p part) error {
	c := &fsm.Replay{
		Tenant: r.what.tenant.ID, Network: r.what.network.Key, Monitor: r.what.doc.ID, Doc: r.what.doc.Hash,
		From: 1, To: 0, // none
	}
	room := int64(0)
	for _, m := range p.matches {
		c.Outbox = append(c.Outbox, m.out...)
	}
	for i := range c.Outbox {
		if o := &c.Outbox[i]; len(o.Delivery) <= fsm.MaxOutgoing { // else it never fits
			room += o.Size()
		}
	}
	if err := r.awaitRoom(ctx, room); err != nil {
		return err
	}
	if err := r.stillThere(slices.Concat(p.done, p.begun)); err != nil {
		return err
	}
	if len(p.done) > 0 {
		c.From, c.To = p.done[0].Height, p.done[len(p.done)-1].Height
	}
	if n, ok := r.node.state.View().Network(r.what.network.Key); ok {
		// Where another block may come to lie, the height is not done with: what was
		// sent of this block, outbox and journals know.
		c.To = min(c.To, max(n.Floor, 1)-1)
	}
	now := time.Now()
	c.At = now.UnixMilli()
	for i := range c.Outbox {
		c.Outbox[i].At = c.At
	}
	answer, err := r.node.group.Propose(ctx, c)
	if err != nil {
		return err
	}
	dead, _ := answer.([]string)
	r.committed(p, dead, now)
	return nil
}

// committed tells of the matches of a part, of which some deliveries are dead
// letters now.
func (r *replay) committed(p part, dead []string, now time.Time) {
	var list []journal.Alert
	for _, m := range p.matches {
		became := map[string]fsm.Outcome{}
		for _, o := range m.out {
			if slices.Contains(dead, o.Key) {
				became[o.Key] = fsm.Refused
				r.out.Dead++
			} else {
				became[o.Key] = fsm.HandedOver
				r.out.Sent++
			}
		}
		for i := range m.report.Deliveries {
			d := &m.report.Deliveries[i]
			d.Sent, d.Dead = became[d.Key] == fsm.HandedOver, became[d.Key] == fsm.Refused
		}
		if len(m.send) > 0 {
			list = append(list, replayedAlert(m, r.what.tenant.Born, became, now))
		}
		r.tell(m)
	}
	if len(list) > 0 {
		r.node.journal.Record(list)
		for i := range list {
			r.node.news.publish(&list[i], stateReplayed, list[i].History[0].Position)
		}
	}
}

// replayedAlert is what the journal keeps, so that a replay with a later document
// finds it.
func replayedAlert(m chunkMatch, born uint64, became map[string]fsm.Outcome, at time.Time) journal.Alert {
	a := m.alert
	change := journal.Change{State: stateReplayed, Position: a.Position, At: at}
	for _, d := range m.send {
		change.Deliveries = append(change.Deliveries, journal.Delivery{Key: d.Key.String(), Trigger: d.Trigger, Outcome: became[d.Key.String()].String()})
	}
	return journal.Alert{
		ID: a.ID.String(), Tenant: a.Tenant, Born: born, MonitorID: a.MonitorID, MonitorName: a.MonitorName, Network: a.Network,
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
		if used == 0 && bytes <= v.OutboxRoom(tenant) ||
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
