package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"
)

// The changes of alerts are found by when they were recorded, and by the alert.
var (
	bucketChanges = []byte("changes")   // tenant, birth, time, id, position, state -> key of the alert
	bucketByID    = []byte("alert-ids") // tenant, birth, id, block -> key of the alert
)

// Place is where a change of an alert stands among those of its tenant.
type Place struct {
	At int64  `json:"at"` // Unix milliseconds
	ID string `json:"id"` // of the alert
}

// Compare orders places by time.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.At, o.At), cmp.Compare(p.ID, o.ID))
}

// owner begins the keys of what belongs to a tenant. Nothing of an earlier one of
// the same name is below it.
func owner(tenant string, born uint64) []byte {
	return binary.BigEndian.AppendUint64(prefix(tenant), born)
}

// placeKey begins the keys of changes at a place.
func placeKey(below []byte, p Place) []byte {
	key := binary.BigEndian.AppendUint64(bytes.Clone(below), uint64(max(p.At, 0)))
	return append(key, p.ID...)
}

func changeKey(a *Alert, c *Change) []byte {
	key := append(placeKey(owner(a.Tenant, a.Born), Place{c.At.UnixMilli(), a.ID}), 0)
	return append(binary.BigEndian.AppendUint64(key, c.Position), c.State...)
}

func idKey(a *Alert, key []byte) []byte {
	return append(append(owner(a.Tenant, a.Born), prefix(a.ID)...), key[len(key)-len(a.ID)-len(a.Block.Hash)-8:]...)
}

// index replaces what leads to an alert: old is what was kept of it, now what will
// be; nil: nothing.
func index(tx *bbolt.Tx, old, now *Alert, key []byte) error {
	changes, ids := tx.Bucket(bucketChanges), tx.Bucket(bucketByID)
	for i := range old.History {
		if err := changes.Delete(changeKey(old, &old.History[i])); err != nil {
			return err
		}
	}
	if old.ID != "" { // there was one
		if err := ids.Delete(idKey(old, key)); err != nil {
			return err
		}
	}
	if now == nil {
		return nil
	}
	for i := range now.History {
		if err := changes.Put(changeKey(now, &now.History[i]), key); err != nil {
			return err
		}
	}
	return ids.Put(idKey(now, key), key)
}

// Tenant is whose alerts are asked for.
type Tenant struct {
	ID   string `json:"id"`
	Born uint64 `json:"born"`
}

// Since yields the changes of a tenant's alerts from a time on, in their order.
func (j *Journal) Since(t Tenant, from time.Time) iter.Seq2[Changed, error] {
	return func(yield func(Changed, error) bool) {
		j.Flush()
		below := owner(t.ID, t.Born)
		err := j.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketChanges).Cursor()
			for k, v := c.Seek(placeKey(below, Place{At: from.UnixMilli()})); bytes.HasPrefix(k, below); k, v = c.Next() {
				one, ok, err := changed(tx, below, k, v)
				if err != nil || ok && !yield(one, nil) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			yield(Changed{}, err)
		}
	}
}

// Back yields the changes of a tenant's alerts before a place, the newest first; the
// zero place is behind all.
func (j *Journal) Back(t Tenant, before Place) iter.Seq2[Changed, error] {
	return func(yield func(Changed, error) bool) {
		j.Flush()
		below := owner(t.ID, t.Born)
		end := append(bytes.Clone(below), bytes.Repeat([]byte{0xff}, 9)...)
		if before != (Place{}) {
			end = placeKey(below, before)
		}
		err := j.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketChanges).Cursor()
			k, v := c.Seek(end)
			if k == nil {
				k, v = c.Last()
			} else {
				k, v = c.Prev()
			}
			for ; bytes.HasPrefix(k, below); k, v = c.Prev() {
				one, ok, err := changed(tx, below, k, v)
				if err != nil || ok && !yield(one, nil) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			yield(Changed{}, err)
		}
	}
}

// Changed is a change with the alert it is of.
type Changed struct {
	Place
	Position uint64
	State    string
	Alert    Alert
}

// changed reads what an entry of the index stands for.
func changed(tx *bbolt.Tx, below, k, v []byte) (out Changed, ok bool, err error) {
	value := tx.Bucket(bucketAlerts).Get(v)
	if value == nil {
		return out, false, nil
	}
	if err := json.Unmarshal(value, &out.Alert); err != nil {
		return out, false, fmt.Errorf("journal: %w", err)
	}
	rest := k[len(below):]
	end := 8 + len(out.Alert.ID) + 1 + 8
	if len(rest) < end {
		return out, false, nil
	}
	out.Place = Place{int64(binary.BigEndian.Uint64(rest)), out.Alert.ID}
	out.Position, out.State = binary.BigEndian.Uint64(rest[end-8:end]), string(rest[end:])
	return out, true, nil
}

// OfIDs lists what there is of alerts, by id; of an alert that was in several blocks
// there are several.
func (j *Journal) OfIDs(t Tenant, ids []string) (out []Alert, err error) {
	j.Flush()
	err = j.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketByID).Cursor()
		for _, id := range ids {
			p := append(owner(t.ID, t.Born), prefix(id)...)
			for k, v := c.Seek(p); bytes.HasPrefix(k, p); k, v = c.Next() {
				value := tx.Bucket(bucketAlerts).Get(v)
				if value == nil {
					continue
				}
				var a Alert
				if err := json.Unmarshal(value, &a); err != nil {
					return fmt.Errorf("journal: %w", err)
				}
				out = append(out, a)
			}
		}
		return nil
	})
	return out, err
}
