package fsm

import (
	"crypto/sha256"
	"fmt"
)

// Blob is content addressed by its hash: a document or what one points to.
type Blob struct {
	Data []byte `codec:"d"`
	At   int64  `codec:"t"` // Unix milliseconds when it was last put
	Uses uint64 `codec:"u"` // pointers to it in the versions that are kept; one version may hold several
}

// Blob reads a blob of the state; see Content. The bytes are shared: do not change them.
func (v *View) Blob(hash Hash) ([]byte, bool) {
	b, ok := get(v.blobs, string(hash[:]))
	if !ok {
		return nil, false
	}
	return b.Data, true
}

// BlobUsed reports whether some version points to a blob: then it need not be
// put again.
func (v *View) BlobUsed(hash Hash) bool {
	b, ok := get(v.blobs, string(hash[:]))
	return ok && b.Uses > 0
}

// HashBlob is the address of a blob.
func HashBlob(data []byte) Hash { return sha256.Sum256(data) }

// PutBlobs stores contents before a version points to them. Proposers keep one
// command within MaxBlobChunk.
type PutBlobs struct {
	Blobs [][]byte `codec:"b"`
	At    int64    `codec:"t"`
}

// MaxBlobChunk bounds the blobs of one PutBlobs, in bytes; a single larger blob
// goes alone.
const MaxBlobChunk = 256 << 10

// Type is TypePutBlobs.
func (*PutBlobs) Type() Type { return TypePutBlobs }

func (c *PutBlobs) apply(t *tx) (any, error) {
	for _, data := range c.Blobs {
		hash := HashBlob(data)
		b := Blob{Data: data}
		if old, ok := get(t.blobs, string(hash[:])); ok {
			b = *old
		}
		b.At = c.At
		t.putBlob(hash, &b)
	}
	return nil, nil
}

// CollectBlobs forgets blobs that no version points to and that were last put
// before a time: a proposer may still be between its PutBlobs and its version.
// It answers with how many it has forgotten.
type CollectBlobs struct {
	Before int64 `codec:"t"` // Unix milliseconds
}

// Type is TypeCollectBlobs.
func (*CollectBlobs) Type() Type { return TypeCollectBlobs }

func (c *CollectBlobs) apply(t *tx) (any, error) {
	var n int
	before := timeKey(c.Before)
	for key := range walk(t.idle, "") {
		if key[:len(before)] >= before {
			break
		}
		del(t.edit, &t.blobs, key[len(before):])
		del(t.edit, &t.idle, key)
		n++
	}
	return n, nil
}

// count adds a version's pointers to its blobs, or takes them away.
func (t *tx) count(m *Manifest, by int) error {
	if m.Outside {
		t.countOutside(m, by)
		return nil
	}
	for _, d := range m.Docs {
		for _, hash := range append([]Hash{d.Hash}, d.Refs...) {
			b, ok := get(t.blobs, string(hash[:]))
			if !ok {
				return fmt.Errorf("%s %q points to a blob that was never put: %w", d.Kind, d.ID, ErrNotFound)
			}
			n := *b
			n.Uses += uint64(by) // by is -1 only for what was counted before
			t.putBlob(hash, &n)
		}
	}
	return nil
}

// putBlob keeps account of the blobs that nothing points to, so that collecting
// looks at no others.
func (t *tx) putBlob(hash Hash, b *Blob) {
	if old, ok := put(t.edit, &t.blobs, string(hash[:]), b); ok && old.Uses == 0 {
		del(t.edit, &t.idle, idleKey(old.At, hash))
	}
	if b.Uses == 0 {
		put(t.edit, &t.idle, idleKey(b.At, hash), struct{}{})
	}
}

func idleKey(at int64, hash Hash) string { return timeKey(at) + string(hash[:]) }

// timeKey orders times, those before 1970 first.
func timeKey(at int64) string { return be64(uint64(at) ^ 1<<63) }
