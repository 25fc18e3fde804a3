package fsm

import (
	"fmt"
	"sort"
)

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
		next.Branch = next.Branch.Step(e, KeepRefs)
		next.settle(e)
		next.Gap = 0
		if e.Kind == Skip {
			next.Gap = e.Ref.Height
		}
		next.Entries = append(next.Entries, e)
		next.record(e)
		next.Seen = max(next.Seen, e.Seen) // a skip was not seen
		next.Next++
		next.Start = nil
	}
	t.trim(&next)
	t.putNetwork(next)
	t.prune(&next, 0)
	return next.Next - 1, nil
}

// settle moves the line between what is final and what may be rolled back.
func (n *Network) settle(e Entry) {
	switch e.Kind {
	case Extend:
		refs := n.Branch.Refs
		n.Floor = max(n.Floor, refs[max(0, len(refs)-n.Lease.window())].Height)
	case Rollback:
		n.Floor = min(n.Floor, e.Ref.Height) // to right below the first block
	default:
	}
}

// Window is the part of the branch that may be rolled back, oldest first.
func (n *Network) Window() []BlockRef {
	refs := n.Branch.Refs
	return refs[sort.Search(len(refs), func(i int) bool { return refs[i].Height >= n.Floor }):]
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
		onBranch := e.Ref.Height >= n.Floor && n.Branch.Contains(e.Ref)
		if n.Gap != 0 || !begun || !onBranch && !n.precedes(e.Ref) {
			return fmt.Errorf("roll-back to %v, which is not on the branch or final: %w", e.Ref, ErrConflict)
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
	window := n.Window()
	return ref.Height < n.First && ref.Height+1 == n.First && len(window) > 0 && window[0].Height <= n.First
}

// StartNetwork gives a network that has not begun its first height: an
// imported checkpoint. It is refused once anything was ever announced, also where
// the network was not wanted since and has no branch.
type StartNetwork struct {
	Network string   `codec:"n"`
	Height  uint64   `codec:"h"`           // first height to judge from here on
	Missed  []uint64 `codec:"m,omitempty"` // lower heights to judge before, ascending
}

// Type is TypeStartNetwork.
func (*StartNetwork) Type() Type { return TypeStartNetwork }

func (c *StartNetwork) apply(t *tx) (any, error) {
	n := t.network(c.Network)
	if n.Next > 1 {
		return nil, fmt.Errorf("network %q has already begun: %w", c.Network, ErrConflict)
	}
	n.Start = &Start{Height: c.Height, Missed: c.Missed}
	t.putNetwork(n)
	return nil, nil
}
