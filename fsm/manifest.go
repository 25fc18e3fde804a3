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
}

// Watch says that a monitor judges the blocks of a network.
type Watch struct {
	Network string `codec:"n"`           // key of the watched network
	Slug    string `codec:"s"`           // how the monitor's document calls it
	Depth   uint64 `codec:"d,omitempty"` // blocks a block must lie deep; 0: as the shared network's document says
}

// DepthOr is the watch's depth, or that of the network.
func (w Watch) DepthOr(network uint64) uint64 {
	if w.Depth != 0 {
		return w.Depth
	}
	return network
}

// Manifest is one version of everything a tenant has configured.
type Manifest struct {
	Docs   []Doc    `codec:"d"`           // sorted by kind, then id
	Wanted []string `codec:"w,omitempty"` // keys of the networks its monitors watch, sorted
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
