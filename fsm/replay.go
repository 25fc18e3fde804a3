package fsm

import (
	"errors"
	"fmt"
	"slices"
)

// ErrTooMany refuses what would make a record grow without bounds.
var ErrTooMany = errors.New("too many")

// keepReplays bounds the stretches that are remembered of a document on a network:
// to forget one would have its alerts sent again.
const keepReplays = 4096

// replayed is what was replayed of a monitor on a network.
type replayed struct {
	Tenant  string `codec:"t"`
	Network string `codec:"n"`
	Monitor string `codec:"m"`
	Doc     Hash   `codec:"h"` // the document it was judged with
	Heights []Span `codec:"s"` // sorted, apart
}

func replayKey(tenant, network, monitor string) string { return join(tenant, network, monitor) }

// Replayed lists the heights of a network that were replayed with a monitor's
// document, sorted and merged. It is forgotten once the tenant's configuration has
// another document for the monitor.
func (v *View) Replayed(tenant, network, monitor string, doc Hash) []Span {
	r, ok := get(v.replays, replayKey(tenant, network, monitor))
	if !ok || r.Doc != doc {
		return nil
	}
	return slices.Clone(r.Heights)
}

// Replay puts deliveries of the past into the outbox and notes that heights From
// to To, both included, were replayed with a monitor's document; both or neither.
// Deliveries that are in the outbox, or are dead letters, stay what they are. It
// is refused with ErrConflict if the monitor has another document by now. It
// answers with the keys of those deliveries, as []string, that are not in the
// outbox now: they did not fit, or were dead before, and are dead letters.
type Replay struct {
	Tenant  string     `codec:"t"`
	Network string     `codec:"n"` // key
	Monitor string     `codec:"m"` // id
	Doc     Hash       `codec:"h"` // of the monitor's document
	From    uint64     `codec:"f"`
	To      uint64     `codec:"e"` // below From: no height is done with
	Outbox  []Outgoing `codec:"o,omitempty"`
	At      int64      `codec:"a"` // Unix milliseconds
}

// Type is TypeReplay.
func (*Replay) Type() Type { return TypeReplay }

func (c *Replay) apply(t *tx) (any, error) {
	tenant, ok := t.Tenant(c.Tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", c.Tenant, ErrNotFound)
	}
	if !tenant.Current.Manifest.has(c.Monitor, c.Doc) {
		return nil, fmt.Errorf("tenant %q, monitor %q: its document is another by now: %w", c.Tenant, c.Monitor, ErrConflict)
	}
	next := replayed{Tenant: c.Tenant, Network: c.Network, Monitor: c.Monitor, Doc: c.Doc}
	next.Heights = t.Replayed(c.Tenant, c.Network, c.Monitor, c.Doc)
	if c.From <= c.To {
		next.Heights = mergeSpans(next.Heights, []Span{{From: c.From, To: c.To}})
	}
	if len(next.Heights) > keepReplays {
		return nil, fmt.Errorf("tenant %q, monitor %q: %w stretches of heights were replayed: replay one that closes gaps", c.Tenant, c.Monitor, ErrTooMany)
	}
	put(t.edit, &t.replays, replayKey(c.Tenant, c.Network, c.Monitor), &next)
	t.touch(TopicOutbox)
	var dead []string
	for i := range c.Outbox {
		o := &c.Outbox[i]
		o.Tenant, o.Born = c.Tenant, tenant.Born
		if o.Attempts == 0 && o.NotBefore == 0 {
			o.NotBefore = max(c.At, 1) // the schedule is for what has failed
		}
		if _, waiting := t.FindOutgoing(o.Tenant, o.Key); waiting {
			continue
		}
		if t.isDead(o) || !t.admit(o, c.At) {
			dead = append(dead, o.Key)
		}
	}
	return dead, nil
}

// has reports whether a monitor's document has a content.
func (m *Manifest) has(monitor string, doc Hash) bool {
	d, ok := m.Find(DocMonitor, monitor)
	return ok && d.Hash == doc
}

// keepReplayed forgets what was replayed with documents that a tenant has no more.
func (t *tx) keepReplayed(tenant string, m *Manifest) {
	var gone []string
	for key, r := range walk(t.replays, join(tenant, "")) {
		if !m.has(r.Monitor, r.Doc) {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		del(t.edit, &t.replays, key)
	}
}
