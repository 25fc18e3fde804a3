package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Op is what happened to a document.
type Op string

// The ops.
const (
	Added   Op = "added"
	Changed Op = "changed"
	Removed Op = "removed"
)

// Change is one document that differs between two folders.
type Change struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
	Op   Op     `json:"op"`
}

// Diff lists what differs between two folders: networks, then triggers, then
// monitors, each in the order of ids. A nil folder is an empty one. White space
// in files, the order of fields and the contents of scripts make no difference.
func Diff(before, after *Folder) []Change {
	if before == nil {
		before = newFolder()
	}
	if after == nil {
		after = newFolder()
	}
	return slices.Concat(
		diff(KindNetwork, before.Networks, after.Networks),
		diff(KindTrigger, before.Triggers, after.Triggers),
		diff(KindMonitor, before.Monitors, after.Monitors),
	)
}

func diff[T any](kind Kind, before, after map[string]*T) (out []Change) {
	for _, id := range slices.Sorted(maps.Keys(unite(before, after))) {
		a, b := before[id], after[id]
		switch {
		case a == nil:
			out = append(out, Change{kind, id, Added})
		case b == nil:
			out = append(out, Change{kind, id, Removed})
		case !Equal(a, b):
			out = append(out, Change{kind, id, Changed})
		}
	}
	return out
}

// Equal reports whether two documents say the same. White space inside contract
// specs makes no difference.
func Equal[T any](a, b *T) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
