package fsm

import "fmt"

// Lease is the right to watch a network.
type Lease struct {
	Holder string `codec:"h"` // node name; empty: nobody
	Epoch  uint64 `codec:"e"` // log index of the grant: greater than every earlier epoch
	Window uint32 `codec:"w"` // the network's finality depth, in blocks: what lies deeper is not rolled back
	Pinned bool   `codec:"p"` // an operator gave it to the holder: it stays there while the holder can watch
}

// vacate takes the lease from its holder. Nobody can announce under its epoch
// any more.
func (l *Lease) vacate() { l.Holder, l.Pinned = "", false }

// DefaultWindow is the finality depth where a network gives no other; MaxWindow
// bounds what it may give. Both in blocks.
const (
	DefaultWindow = 64
	MaxWindow     = 1024
)

func (l Lease) window() int {
	if l.Window == 0 {
		return DefaultWindow
	}
	return int(l.Window)
}

// WindowFor is the finality depth for a network whose deepest judging lies at
// depth: twice that, within DefaultWindow and MaxWindow.
func WindowFor(depth uint64) uint32 {
	return uint32(min(max(DefaultWindow, 2*depth), MaxWindow))
}

// GrantLease gives a network to a node, provided the lease is still at the
// epoch the grantor saw. It answers with the new epoch.
type GrantLease struct {
	Network string `codec:"n"`
	Holder  string `codec:"h"`
	IfEpoch uint64 `codec:"i"`
	Window  uint32 `codec:"w"`
	Pin     bool   `codec:"p"`
}

// Type is TypeGrantLease.
func (*GrantLease) Type() Type { return TypeGrantLease }

func (c *GrantLease) apply(t *tx) (any, error) {
	n, ok := t.Network(c.Network)
	if !ok {
		return nil, fmt.Errorf("network %q: %w", c.Network, ErrNotFound)
	}
	if n.Lease.Epoch != c.IfEpoch {
		return nil, fmt.Errorf("network %q: lease at epoch %d, %d expected: %w", c.Network, n.Lease.Epoch, c.IfEpoch, ErrConflict)
	}
	next := *n
	next.Lease = Lease{Holder: c.Holder, Epoch: t.index, Window: min(c.Window, MaxWindow), Pinned: c.Pin}
	next.setWindow(uint64(next.Lease.window()))
	t.putNetwork(next)
	t.touch(TopicLeases)
	return t.index, nil
}
