package fsm

import (
	"fmt"
	"slices"
)

// DocKind tells what a document describes.
type DocKind uint8

// The kinds of documents a tenant has.
const (
	DocNetwork DocKind = 1
	DocMonitor DocKind = 2
	DocTrigger DocKind = 3
	DocScript  DocKind = 4
)

// String is the kind's name in messages.
func (k DocKind) String() string {
	switch k {
	case DocNetwork:
		return "network"
	case DocMonitor:
		return "monitor"
	case DocTrigger:
		return "trigger"
	case DocScript:
		return "script"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Doc points to one document: its identity within the tenant and its content.
type Doc struct {
	Kind DocKind `codec:"k"`
	ID   string  `codec:"i"`           // given at creation; in a folder the name (monitor), slug (network) or id (trigger)
	Hash Hash    `codec:"h"`           // blob with the document, secrets sealed
	Refs []Hash  `codec:"r,omitempty"` // blobs the document points to (contract specifications)

	Watches []Watch `codec:"w,omitempty"` // an unpaused monitor's networks
	Depth   uint64  `codec:"p,omitempty"` // a network's confirmation_blocks

	Sizes []int64 `codec:"z,omitempty"` // bytes of what Hash and Refs stand for, where the contents are outside
}

// Watch says that a monitor judges the blocks of a network.
type Watch struct {
	Network string `codec:"n"`           // key of the watched network
	Slug    string `codec:"s"`           // how the monitor's document calls it
	Depth   uint64 `codec:"d,omitempty"` // blocks a block must lie deep; 0: as the shared network's document says
	Mode    Mode   `codec:"m,omitempty"`
}

// Mode says when a watch judges a block, and what becomes of its alerts when the
// block is rolled back.
type Mode uint8

// The modes. All but ModePlain have their alerts retracted when the block is rolled
// back, and reinstated when the transaction comes again.
const (
	ModePlain     Mode = 0 // at the watch's depth; alerts are never retracted
	ModeInstant   Mode = 1 // at depth 0
	ModeConfirmed Mode = 2 // at the watch's depth
	ModeFinalized Mode = 3 // at the network's finality depth
	// ModeConfirmation is the second watch of a monitor that has one of ModeInstant
	// beside: it judges at the watch's depth and confirms what has fired.
	ModeConfirmation Mode = 4
)

// String is the mode's name in messages; empty for ModePlain.
func (m Mode) String() string {
	switch m {
	case ModePlain:
		return ""
	case ModeInstant:
		return "instant"
	case ModeConfirmed:
		return "confirmed"
	case ModeFinalized:
		return "finalized"
	case ModeConfirmation:
		return "confirmation"
	default:
		return "unknown"
	}
}

// DepthOn is how deep a block must lie before the watch judges it: own is the
// network's own depth, finality its finality depth, both at the announcement. See
// Network.DepthAt and Network.FinalityAt.
func (w Watch) DepthOn(own, finality uint64) uint64 {
	switch {
	case w.Mode == ModeInstant:
		return 0
	case w.Mode == ModeFinalized:
		return finality
	case w.Depth != 0:
		return w.Depth
	default:
		return own
	}
}

// Manifest is one version of everything a tenant has configured.
type Manifest struct {
	Docs   []Doc    `codec:"d"`           // sorted by kind, then id
	Wanted []string `codec:"w,omitempty"` // keys of the networks its monitors watch, sorted
	// Outside says that the contents are not in the state: see Contents.
	Outside bool `codec:"o,omitempty"`
}

// Find is the document of a kind with an id.
func (m *Manifest) Find(kind DocKind, id string) (Doc, bool) {
	i, ok := slices.BinarySearchFunc(m.Docs, Doc{Kind: kind, ID: id}, compareDocs)
	if !ok {
		return Doc{}, false
	}
	return m.Docs[i], true
}

// Normalize puts the documents in order and derives what is wanted from what
// the monitors watch.
func (m *Manifest) Normalize() {
	slices.SortFunc(m.Docs, compareDocs)
	m.Wanted = nil
	for _, d := range m.Docs {
		for _, w := range d.Watches {
			m.Wanted = append(m.Wanted, w.Network)
		}
	}
	slices.Sort(m.Wanted)
	m.Wanted = slices.Compact(m.Wanted)
}

func compareDocs(a, b Doc) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

// networkKey is the key of a network by the tenant that owns it and its slug.
func networkKey(owner, slug string) string {
	if owner == Shared {
		return slug
	}
	return owner + "/" + slug
}
