package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Alert is what the journal keeps of an alert of one block.
type Alert struct {
	ID          string            `json:"id"`
	Tenant      string            `json:"tenant"`
	Born        uint64            `json:"born,omitempty"` // the tenant's: another of its name is not told of it
	MonitorID   string            `json:"monitor_id"`
	MonitorName string            `json:"monitor"`
	Network     string            `json:"network"`
	Block       fsm.BlockRef      `json:"block"`
	Tx          string            `json:"transaction"`
	Version     uint64            `json:"version"`  // of the configuration that judged the block
	FiredAt     time.Time         `json:"fired_at"` // when it was recorded first
	History     []Change          `json:"history"`  // its states, by position; never empty
	Variables   map[string]string `json:"variables,omitempty"`
}

// Change is one state that an alert was brought into.
type Change struct {
	State      string     `json:"state"`    // fired, confirmed, retracted or reinstated; replayed where an operator had it delivered
	Position   uint64     `json:"position"` // of the announcement that brought it about
	At         time.Time  `json:"at"`
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Delivery is what became of one delivery when the alert was recorded.
type Delivery struct {
	Key     string `json:"key"`
	Trigger string `json:"trigger"`
	Outcome string `json:"outcome"` // sent, outbox or dead
}

// State is the last of the alert's states.
func (a *Alert) State() string {
	if len(a.History) == 0 {
		return ""
	}
	return a.History[len(a.History)-1].State
}

// Record keeps alerts. What one recorded again says is added to what was kept of it.
func (j *Journal) Record(alerts []Alert) {
	select {
	case j.alerts <- alerts:
	case <-j.done:
	}
}

// putAlerts keeps alerts and drops the oldest that are over the bounds.
func (j *Journal) putAlerts(tx *bbolt.Tx, alerts []Alert, count *int) error {
	for i := range alerts {
		added, err := putAlert(tx, alerts[i])
		if err != nil {
			return err
		}
		if added {
			*count++
		}
	}
	dropped, err := j.trimAlerts(tx, *count)
	*count -= dropped
	return err
}

// putAlert keeps one alert and reports whether it is a new one.
func putAlert(tx *bbolt.Tx, a Alert) (added bool, err error) {
	key := alertKey(&a)
	kept := tx.Bucket(bucketAlerts)
	var old Alert
	if value := kept.Get(key); value == nil {
		added = true
		order := append(binary.BigEndian.AppendUint64(nil, uint64(a.FiredAt.UnixMilli())), key...)
		if err := tx.Bucket(bucketOrder).Put(order, nil); err != nil {
			return false, err
		}
	} else if json.Unmarshal(value, &old) == nil && (old.Born == 0 || a.Born == 0 || old.Born == a.Born) {
		a = merge(old, a) // a damaged one, or another tenant's of the same name, is replaced
	}
	value, err := json.Marshal(&a)
	if err != nil {
		return false, err
	}
	if err := index(tx, &old, &a, key); err != nil {
		return false, err
	}
	return added, kept.Put(key, value)
}

// merge adds what is told of an alert now to what was known of it.
func merge(old, now Alert) Alert {
	history := slices.Clone(old.History)
	for _, c := range now.History {
		i := slices.IndexFunc(history, func(h Change) bool { return h.State == c.State && h.Position == c.Position })
		if i < 0 {
			history = append(history, c)
			continue
		}
		deliveries := slices.Clone(history[i].Deliveries)
		for _, d := range c.Deliveries {
			if k := slices.IndexFunc(deliveries, func(o Delivery) bool { return o.Key == d.Key }); k >= 0 {
				deliveries[k] = d
			} else {
				deliveries = append(deliveries, d)
			}
		}
		history[i].Deliveries = deliveries
	}
	slices.SortStableFunc(history, func(a, b Change) int { return cmp.Compare(a.Position, b.Position) })
	now.History, now.FiredAt = history, old.FiredAt
	now.Born = max(now.Born, old.Born)
	if len(now.Variables) == 0 { // the ledger knows none
		now.Variables, now.MonitorName = old.Variables, old.MonitorName
	}
	return now
}

// trimStep bounds what one batch drops, so that writing never stalls for long.
const trimStep = 4096

// trimAlerts drops the oldest alerts that are over age or over the count.
func (j *Journal) trimAlerts(tx *bbolt.Tx, count int) (dropped int, err error) {
	oldest := uint64(max(time.Now().Add(-j.opts.KeepFor).UnixMilli(), 0))
	c := tx.Bucket(bucketOrder).Cursor()
	for dropped < trimStep {
		k, _ := c.First()
		if k == nil || count-dropped <= j.opts.KeepCount && binary.BigEndian.Uint64(k) >= oldest {
			return dropped, nil
		}
		if err := noteGone(tx, k[8:]); err != nil {
			return dropped, err
		}
		if err := tx.Bucket(bucketAlerts).Delete(k[8:]); err != nil {
			return dropped, err
		}
		if err := c.Delete(); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// noteGone remembers up to which height a tenant's alerts on a network are no
// longer all there.
func noteGone(tx *bbolt.Tx, key []byte) error {
	value := tx.Bucket(bucketAlerts).Get(key)
	var a Alert
	if value == nil || json.Unmarshal(value, &a) != nil {
		return nil // dropped before
	}
	if err := index(tx, &a, nil, key); err != nil {
		return err
	}
	gone := tx.Bucket(bucketGone)
	p := prefix(a.Tenant, a.Network)
	if old := gone.Get(p); old != nil && binary.BigEndian.Uint64(old) >= a.Block.Height {
		return nil
	}
	return gone.Put(p, binary.BigEndian.AppendUint64(nil, a.Block.Height))
}

// GoneUpTo is the greatest height whose alerts the journal may have dropped for
// its bounds; ok is false while it has dropped none.
func (j *Journal) GoneUpTo(tenant, network string) (height uint64, ok bool) {
	_ = j.db.View(func(tx *bbolt.Tx) error { // a closed file has nothing to tell
		if v := tx.Bucket(bucketGone).Get(prefix(tenant, network)); v != nil {
			height, ok = binary.BigEndian.Uint64(v), true
		}
		return nil
	})
	return height, ok
}

// prefix ends every part with a zero byte; parts never hold one.
func prefix(parts ...string) []byte {
	var key []byte
	for _, p := range parts {
		key = append(key, p...)
		key = append(key, 0)
	}
	return key
}

func alertKey(a *Alert) []byte {
	key := binary.BigEndian.AppendUint64(prefix(a.Tenant, a.Network), a.Block.Height)
	key = append(key, a.Block.Hash[:]...)
	return append(key, a.ID...)
}

// Alerts yields what a tenant's monitors fired on a network for blocks of the
// heights given, both included, in the order of heights.
func (j *Journal) Alerts(tenant, network string, from, to uint64) iter.Seq2[Alert, error] {
	return func(yield func(Alert, error) bool) {
		j.Flush()
		p := prefix(tenant, network)
		err := j.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketAlerts).Cursor()
			for k, v := c.Seek(binary.BigEndian.AppendUint64(bytes.Clone(p), from)); bytes.HasPrefix(k, p); k, v = c.Next() {
				var a Alert
				if err := json.Unmarshal(v, &a); err != nil {
					return fmt.Errorf("journal: %w", err)
				}
				if a.Block.Height > to || !yield(a, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Alert{}, err)
		}
	}
}

// Has reports whether all states of an alert of a block are in the journal.
func (j *Journal) Has(a *Alert) bool {
	found := false
	_ = j.db.View(func(tx *bbolt.Tx) error {
		var kept Alert
		value := tx.Bucket(bucketAlerts).Get(alertKey(a))
		if value == nil || json.Unmarshal(value, &kept) != nil {
			return nil
		}
		found = !slices.ContainsFunc(a.History, func(c Change) bool {
			return !slices.ContainsFunc(kept.History, func(k Change) bool { return k.State == c.State && k.Position == c.Position })
		})
		return nil
	})
	return found
}
