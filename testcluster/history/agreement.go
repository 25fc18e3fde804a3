package history

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Lease is what a node says of a network at one log index.
type Lease struct {
	Holder   string
	Epoch    uint64
	Position uint64 // of the last announcement
	Height   uint64 // of the head
	Hash     string // of the head
}

// View is what a node says of its state: as of one log index.
type View struct {
	Node     string
	Index    uint64
	Networks map[string]Lease
	Owners   map[string]string // tenant -> node that judges it
}

// Agreement checks views of many nodes against each other as they come: at the
// same log index all nodes are in the same state; epochs and positions only
// grow with the index; a position is announced once, under one epoch, with one
// head.
type Agreement struct {
	mu     sync.Mutex
	seen   map[uint64]View
	faults []string
	views  int
}

// maxFaults bounds what is told: one mistake shows in everything after it.
const maxFaults = 20

// Add takes a view.
func (a *Agreement) Add(v View) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.views++
	if a.seen == nil {
		a.seen = map[uint64]View{}
	}
	old, known := a.seen[v.Index]
	if !known {
		a.seen[v.Index] = v
		return
	}
	if !maps.Equal(old.Networks, v.Networks) || !maps.Equal(old.Owners, v.Owners) {
		a.fault("at log index %d node %s has %+v and %v, node %s has %+v and %v",
			v.Index, old.Node, old.Networks, old.Owners, v.Node, v.Networks, v.Owners)
	}
}

func (a *Agreement) fault(format string, args ...any) {
	if len(a.faults) < maxFaults {
		a.faults = append(a.faults, fmt.Sprintf(format, args...))
	}
}

// Views is how many were taken, and at how many log indexes.
func (a *Agreement) Views() (views, indexes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.views, len(a.seen)
}

// Check tells everything that was wrong, in the order of the log.
func (a *Agreement) Check() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	type said struct {
		Lease
		index uint64
	}
	last := map[string]said{}
	for _, index := range slices.Sorted(maps.Keys(a.seen)) {
		for key, now := range a.seen[index].Networks {
			old, known := last[key]
			last[key] = said{now, index}
			if !known {
				continue
			}
			switch {
			case now.Epoch < old.Epoch || now.Position < old.Position:
				a.fault("network %s goes back: %+v at log index %d, %+v at %d", key, old.Lease, old.index, now, index)
			case now.Epoch == old.Epoch && now.Holder != old.Holder && now.Holder != "":
				a.fault("network %s has two holders in epoch %d: %+v at log index %d, %+v at %d", key, now.Epoch, old.Lease, old.index, now, index)
			case now.Epoch > index:
				a.fault("network %s: epoch %d at log index %d", key, now.Epoch, index)
			case now.Position == old.Position && (now.Hash != old.Hash || now.Height != old.Height):
				a.fault("network %s: position %d is announced twice: %+v at log index %d, %+v at %d", key, now.Position, old.Lease, old.index, now, index)
			}
		}
	}
	return slices.Clone(a.faults)
}

// Epochs is how many epochs of each network were seen.
func (a *Agreement) Epochs() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[string]map[uint64]bool{}
	for _, v := range a.seen {
		for key, l := range v.Networks {
			if seen[key] == nil {
				seen[key] = map[uint64]bool{}
			}
			seen[key][l.Epoch] = true
		}
	}
	out := map[string]int{}
	for key, epochs := range seen {
		out[key] = len(epochs)
	}
	return out
}
