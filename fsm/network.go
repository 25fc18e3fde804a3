package fsm

import (
	"iter"
	"slices"
	"sort"
)

// EntryKind tells what an announcement says.
type EntryKind uint8

// The kinds of announcements.
const (
	Extend   EntryKind = 1 // a block on top of the tip
	Rollback EntryKind = 2 // the blocks above Ref are no longer on the chain
	Skip     EntryKind = 3 // heights From to Ref.Height are left out by configuration
)

// Ended is the kind of a run that is no announcement: nobody wanted the network
// any more, and what follows begins anew.
const Ended EntryKind = 4

// String is the kind's name in messages.
func (k EntryKind) String() string {
	switch k {
	case Extend:
		return "extend"
	case Rollback:
		return "rollback"
	case Skip:
		return "skip"
	case Ended:
		return "ended"
	default:
		return "unknown"
	}
}

// Entry is one announcement at its place in the network's sequence.
type Entry struct {
	Position uint64    `codec:"p"`
	Index    uint64    `codec:"i"` // log index; decides which configuration is in force
	Kind     EntryKind `codec:"k"`
	Ref      BlockRef  `codec:"r"`           // the block; the roll-back's target; the last height left out
	From     uint64    `codec:"f,omitempty"` // Skip: the first height left out
	Parent   Hash      `codec:"a"`
	Time     int64     `codec:"t,omitempty"` // the block's own time, Unix milliseconds
	Seen     int64     `codec:"s,omitempty"` // when the watcher learned of it, Unix milliseconds
}

// Run is a stretch of the sequence in short: Count announcements from Position
// on, of consecutive heights from Height on. Skips and roll-backs stand alone.
// An Ended run has Count 0: it stands before the announcement at Position.
type Run struct {
	Position uint64    `codec:"p"`
	Height   uint64    `codec:"h"`
	ToHeight uint64    `codec:"o,omitempty"` // Skip: the last height left out
	Count    uint64    `codec:"n"`
	Kind     EntryKind `codec:"k"`
}

// keepHistory bounds the runs of a network; the oldest go first.
const keepHistory = 65_536

// Network is the replicated progress of one watched chain. Its document is in
// the manifest of the tenant that owns it.
type Network struct {
	Key     string  `codec:"id"`
	Next    uint64  `codec:"n"`           // position of the next announcement; the first is 1
	Wanted  int     `codec:"w"`           // tenants with an unpaused monitor on it
	Depths  []Depth `codec:"q,omitempty"` // of a shared network's document, oldest first
	Deepest uint64  `codec:"d,omitempty"` // the greatest depth of their own that tenants judge it at
	Windows []Depth `codec:"y,omitempty"` // its finality depths, as leases were granted, oldest first
	Lease   Lease   `codec:"l"`
	Branch  Branch  `codec:"b"`           // as of the last announcement
	Floor   uint64  `codec:"v,omitempty"` // lowest height of the branch that may be rolled back: what is below is final
	First   uint64  `codec:"f"`           // height of the first block since the beginning or the last skip; 0 once rolled back below
	Gap     uint64  `codec:"g,omitempty"` // last height of a skip that nothing follows yet
	Entries []Entry `codec:"e,omitempty"` // what some cursor still has to judge
	Base    Branch  `codec:"s"`           // as of just before Entries
	Start   *Start  `codec:"t,omitempty"` // where to begin, until the first announcement
	History []Run   `codec:"h,omitempty"` // closed runs, oldest first
	Last    Run     `codec:"o"`           // the run that grows
	Seen    int64   `codec:"j,omitempty"` // when the watcher learned of what was announced last, Unix milliseconds
	Rebased []Rise  `codec:"z,omitempty"` // what restores did to its positions, oldest first
}

// Rise says that a restore moved the positions below one up by so many.
type Rise struct {
	Below uint64 `codec:"p"`
	By    uint64 `codec:"b"`
}

// keepRises bounds the rises of a network; the oldest go first. They serve what is
// done again of before the restore, and that is soon over.
const keepRises = 64

// Origin is the position that an announcement had when it was made: another one
// where a restore has moved it up since. Whatever was told of it then stays named
// after that.
func (n *Network) Origin(position uint64) uint64 {
	for _, r := range slices.Backward(n.Rebased) {
		if position >= r.Below {
			break
		}
		position -= r.By
	}
	return position
}

// Depth says how deep a block must lie, from a position on, before monitors
// without a depth of their own judge it.
type Depth struct {
	From  uint64 `codec:"f"`
	Depth uint64 `codec:"d"`
}

// keepDepths bounds the depths of a network; the oldest go first.
const keepDepths = 1024

// DepthAt is the depth in force for an announcement.
func (n *Network) DepthAt(position uint64) uint64 { return inForce(n.Depths, position, 0) }

// FinalityAt is the finality depth in force for an announcement: what lies so deep
// is not rolled back.
func (n *Network) FinalityAt(position uint64) uint64 {
	return inForce(n.Windows, position, DefaultWindow)
}

// inForce is the depth at a position; of what is older than all that is kept, the
// oldest.
func inForce(depths []Depth, position, otherwise uint64) uint64 {
	for _, d := range slices.Backward(depths) {
		if d.From <= position {
			return d.Depth
		}
	}
	if len(depths) > 0 {
		return depths[0].Depth
	}
	return otherwise
}

// setWindow notes from which position on the network has a finality depth.
func (n *Network) setWindow(depth uint64) {
	last := len(n.Windows) - 1
	if last >= 0 && n.Windows[last].Depth == depth {
		return
	}
	kept := n.Windows
	if last >= 0 && n.Windows[last].From == n.Next {
		kept = kept[:last] // it never counted
		if last > 0 && kept[last-1].Depth == depth {
			n.Windows = slices.Clip(kept)
			return
		}
	}
	n.Windows = append(slices.Clip(kept), Depth{From: n.Next, Depth: depth})
	n.Windows = n.Windows[max(0, len(n.Windows)-keepDepths):]
}

// Start is a first height given from outside: a checkpoint that was imported.
type Start struct {
	Height uint64   `codec:"h"`           // first height to judge from here on
	Missed []uint64 `codec:"m,omitempty"` // lower heights to judge before, ascending
}

// Entry finds an announcement that is still kept.
func (n *Network) Entry(position uint64) (Entry, bool) {
	if len(n.Entries) == 0 || position < n.Entries[0].Position {
		return Entry{}, false
	}
	i := position - n.Entries[0].Position
	if i >= uint64(len(n.Entries)) {
		return Entry{}, false
	}
	return n.Entries[i], true
}

// Runs yields the whole known sequence in short, oldest first.
func (n *Network) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for _, r := range n.History {
			if !yield(r) {
				return
			}
		}
		if n.Last.Count > 0 {
			yield(n.Last)
		}
	}
}

// HeightAt is the height announced at a position.
func (n *Network) HeightAt(position uint64) (uint64, bool) {
	r := n.Last
	if position < n.Last.Position || n.Last.Count == 0 {
		i := sort.Search(len(n.History), func(i int) bool { return n.History[i].Position > position }) - 1
		if i < 0 {
			return 0, false
		}
		r = n.History[i]
	}
	if position >= r.Position+r.Count {
		return 0, false
	}
	return r.Height + (position - r.Position), true
}

// Network finds a network that is, or was, wanted by somebody.
func (v *View) Network(key string) (*Network, bool) { return get(v.networks, key) }

// Networks yields every known network by key.
func (v *View) Networks() iter.Seq[*Network] { return values(v.networks) }

// network is the network or an empty one.
func (t *tx) network(key string) Network {
	if n, ok := t.Network(key); ok {
		return *n
	}
	return Network{Key: key, Next: 1}
}

func (t *tx) putNetwork(n Network) {
	put(t.edit, &t.networks, n.Key, &n)
	t.touch(TopicNetwork(n.Key))
}

// retire makes a network that nobody wants any more, and nobody has left to
// judge, forget its branch and its lease: wanted again, it starts at the tip of
// that day.
func (t *tx) retire(n *Network) {
	if n.Wanted != 0 || t.Draining(n.Key) {
		return
	}
	t.prune(n, 0) // without a branch, nothing counts as final
	n.Branch, n.Base, n.Entries, n.Floor, n.Gap, n.Start, n.Deepest = Branch{}, Branch{}, nil, 0, 0, nil, 0
	n.Lease.vacate()
	if n.Last.Count > 0 {
		n.close()
		n.History = append(n.History, Run{Position: n.Next, Kind: Ended})
	}
}

// close moves the run that grows to the closed ones.
func (n *Network) close() {
	if n.Last.Count == 0 {
		return
	}
	n.History = append(n.History, n.Last)
	n.History = n.History[max(0, len(n.History)-keepHistory):]
	n.Last = Run{}
}

// record keeps the short form of the sequence.
func (n *Network) record(e Entry) {
	if e.Kind == Extend && n.Last.Kind == Extend && n.Last.Count > 0 && n.Last.Height+n.Last.Count == e.Ref.Height {
		n.Last.Count++
		return
	}
	n.close()
	n.Last = Run{Position: e.Position, Height: e.Ref.Height, Count: 1, Kind: e.Kind}
	if e.Kind == Skip {
		n.Last.Height, n.Last.ToHeight = e.From, e.Ref.Height
	}
}

// Step is the branch after an announcement, with at most keep blocks; see KeepRefs.
func (b Branch) Step(e Entry, keep int) Branch {
	switch e.Kind {
	case Extend:
		return b.Extend(e.Ref, keep)
	case Rollback:
		return b.Rollback(e.Ref)
	default:
		return b
	}
}

// trim forgets announcements that every cursor has passed.
func (t *tx) trim(n *Network) {
	least := n.Next - 1
	for c := range t.Cursors(n.Key) {
		least = min(least, c.Position)
	}
	drop := 0
	for drop < len(n.Entries) && n.Entries[drop].Position <= least {
		n.Base = n.Base.Step(n.Entries[drop], KeepRefs)
		drop++
	}
	n.Entries = n.Entries[drop:]
	if len(n.Entries) == 0 {
		n.Entries = nil // lets the backing array go
	}
	if cap(n.Entries) > 4*len(n.Entries)+64 {
		n.Entries = slices.Clone(n.Entries)
	}
}
