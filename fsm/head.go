package fsm

import "fmt"

// Announce appends what a watcher saw to its network's sequence, all entries
// or none. It answers with the position of its last entry.
type Announce struct {
	Network string  `codec:"n"`
	Epoch   uint64  `codec:"e"`
	Entries []Entry `codec:"a"` // Position and Index are given by the log
}

// Type is TypeAnnounce.
func (*Announce) Type() Type { return TypeAnnounce }

func (c *Announce) apply(t *tx) (any, error) {
	n, ok := t.Network(c.Network)
	if !ok {
		return nil, fmt.Errorf("network %q: %w", c.Network, ErrNotFound)
	}
	if n.Lease.Holder == "" || n.Lease.Epoch != c.Epoch {
		return nil, fmt.Errorf("network %q: announcement under epoch %d, the lease is at %d: %w",
			c.Network, c.Epoch, n.Lease.Epoch, ErrStaleEpoch)
	}
	next := *n
	for _, e := range c.Entries {
		e.Position, e.Index = next.Next, t.index
		if err := next.follows(e); err != nil {
			return nil, fmt.Errorf("network %q: %w", c.Network, err)
		}
		switch _, begun := next.Branch.Tip(); {
		case e.Kind == Extend && (!begun || next.Gap != 0):
			next.First = e.Ref.Height
		case e.Kind == Rollback && e.Ref.Height+1 < next.First:
			next.First = 0 // what comes now is linked to what was before the skip
		}
		next.Branch = next.Branch.Step(e, next.Lease.window())
		next.Gap = 0
		if e.Kind == Skip {
			next.Gap = e.Ref.Height
		}
		next.Entries = append(next.Entries, e)
		next.record(e)
		next.Next++
		next.Start = nil
	}
	t.trim(&next)
	t.putNetwork(next)
	t.prune(&next)
	return next.Next - 1, nil
}

// follows checks that an entry continues the sequence.
func (n *Network) follows(e Entry) error {
	tip, begun := n.Branch.Tip()
	switch e.Kind {
	case Extend:
		switch {
		case n.Gap != 0 && e.Ref.Height != n.Gap+1:
			return fmt.Errorf("block %v does not follow the heights left out up to %d: %w", e.Ref, n.Gap, ErrConflict)
		case n.Gap == 0 && begun && (e.Ref.Height != tip.Height+1 || e.Parent != tip.Hash):
			return fmt.Errorf("block %v does not follow the tip %v: %w", e.Ref, tip, ErrConflict)
		}
	case Rollback:
		if n.Gap != 0 || !begun || !n.Branch.Contains(e.Ref) && !n.precedes(e.Ref) {
			return fmt.Errorf("roll-back to %v, which is not on the branch: %w", e.Ref, ErrConflict)
		}
	case Skip:
		if n.Gap != 0 || e.Ref.Height < e.From || begun && e.From != tip.Height+1 {
			return fmt.Errorf("heights %d to %d left out do not follow the tip %v: %w", e.From, e.Ref.Height, tip, ErrConflict)
		}
	default:
		return fmt.Errorf("announcement of unknown kind %d: %w", e.Kind, ErrConflict)
	}
	return nil
}

// precedes reports whether a block may lie right before the first one announced:
// a reorganisation that reaches below where the network began.
func (n *Network) precedes(ref BlockRef) bool {
	return ref.Height < n.First && ref.Height+1 == n.First && len(n.Branch.Refs) > 0 && n.Branch.Refs[0].Height <= n.First
}

// StartNetwork gives a network that has not begun its first height: an
// imported checkpoint. It is refused once something was announced.
type StartNetwork struct {
	Network string   `codec:"n"`
	Height  uint64   `codec:"h"`           // first height to judge from here on
	Missed  []uint64 `codec:"m,omitempty"` // lower heights to judge before, ascending
}

// Type is TypeStartNetwork.
func (*StartNetwork) Type() Type { return TypeStartNetwork }

func (c *StartNetwork) apply(t *tx) (any, error) {
	n := t.network(c.Network)
	if _, begun := n.Branch.Tip(); begun || n.Gap != 0 {
		return nil, fmt.Errorf("network %q has already begun: %w", c.Network, ErrConflict)
	}
	n.Start = &Start{Height: c.Height, Missed: c.Missed}
	t.putNetwork(n)
	return nil, nil
}
