package store

import (
	"context"
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Outside keeps contents outside of the state.
type Outside interface {
	// Put stores contents, and has those of keep, which are there, not be collected
	// before a version points to them.
	Put(ctx context.Context, blobs [][]byte, keep []fsm.Hash) error
}

// Placing is where contents may go.
type Placing struct {
	Outside Outside // nil: this node was not told where that is
	// Put stores blobs in the state, no more at a time than a command bears.
	Put func(ctx context.Context, blobs [][]byte) error
}

// Place stores the contents of a tenant's next version where they belong, and
// returns the manifest to be proposed. blobs are those that are new; others are
// found where a version that is kept has them.
func (p Placing) Place(ctx context.Context, v *fsm.View, tenant string, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error) {
	if !v.BelongsOutside(tenant) {
		return p.Inside(ctx, v, m, blobs)
	}
	if p.Outside == nil {
		return m, fmt.Errorf("tenant %q is in PostgreSQL, and this node was not told where that is: %w", tenant, fsm.ErrUnreachable)
	}
	given := byHash(blobs)
	have := map[fsm.Hash]int64{}
	if t, ok := v.Tenant(tenant); ok {
		have = t.Current.Manifest.Sizes()
	}
	var put [][]byte
	var keep []fsm.Hash
	for _, hash := range m.Hashes() {
		if _, ok := have[hash]; ok {
			continue // of the version that this one replaces, which is kept
		}
		data, isNew := given[hash]
		if !isNew {
			var err error
			if data, err = v.Content(hash); err != nil {
				return m, err
			}
		}
		have[hash] = int64(len(data))
		if isNew || v.OutsideUses(hash) == 0 {
			put = append(put, data)
		} else {
			keep = append(keep, hash)
		}
	}
	if len(put)+len(keep) > 0 {
		if err := p.Outside.Put(ctx, put, keep); err != nil {
			return m, err
		}
	}
	return m.Placed(true, have), nil
}

func byHash(blobs [][]byte) map[fsm.Hash][]byte {
	out := make(map[fsm.Hash][]byte, len(blobs))
	for _, data := range blobs {
		out[fsm.HashBlob(data)] = data
	}
	return out
}

// Inside is Place where the contents belong in the state.
func (p Placing) Inside(ctx context.Context, v *fsm.View, m fsm.Manifest, blobs [][]byte) (fsm.Manifest, error) {
	given := byHash(blobs)
	var put [][]byte
	for _, hash := range m.Hashes() {
		data, isNew := given[hash]
		if v.BlobUsed(hash) {
			continue
		}
		if !isNew {
			var err error
			if data, err = v.Content(hash); err != nil {
				return m, err
			}
		}
		put = append(put, data)
	}
	for _, chunk := range Chunks(put) {
		if err := p.Put(ctx, chunk); err != nil {
			return m, err
		}
	}
	return m.Placed(false, nil), nil
}

// Chunks groups blobs into commands of bearable size.
func Chunks(blobs [][]byte) [][][]byte {
	var out [][][]byte
	size := 0
	for _, b := range blobs {
		if len(out) == 0 || size+len(b) > fsm.MaxBlobChunk {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], b)
		size += len(b)
	}
	return out
}
