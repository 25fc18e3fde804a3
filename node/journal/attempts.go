package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Attempt is one attempt at a delivery that was really made.
type Attempt struct {
	Tenant      string       `json:"tenant"`
	Key         string       `json:"key"`   // delivery key
	Alert       string       `json:"alert"` // alert id
	State       string       `json:"state"` // of the alert
	Position    uint64       `json:"position"`
	MonitorID   string       `json:"monitor_id"`
	Monitor     string       `json:"monitor"` // its name
	Network     string       `json:"network"`
	Block       fsm.BlockRef `json:"block"`
	Tx          string       `json:"transaction"`
	Trigger     string       `json:"trigger"`
	Destination string       `json:"destination"` // scheme and host, or what stands for them
	Node        string       `json:"node"`        // that made it

	// Round is the delivery's round that it was of, from 1. The first may have several
	// attempts in quick succession; a redelivered one begins at 1 again.
	Round   int           `json:"round"`
	Began   time.Time     `json:"began"`
	Latency time.Duration `json:"latency_ns"`
	Status  int           `json:"status,omitempty"` // of the answer; 0: there was none
	Outcome string        `json:"outcome"`          // OutcomeSent, OutcomeFailed or OutcomeRefused
	Error   string        `json:"error,omitempty"`
	Excerpt string        `json:"excerpt,omitempty"` // of the answer
}

// The outcomes of an attempt.
const (
	OutcomeSent    = "sent"    // the receiver accepted it
	OutcomeFailed  = "failed"  // it may yet succeed
	OutcomeRefused = "refused" // it can only fail again
)

// RecordAttempt keeps an attempt. It never waits: of more than can be written,
// some are lost, which is logged.
func (j *Journal) RecordAttempt(a Attempt) {
	select {
	case <-j.done:
		return
	default:
	}
	select {
	case j.attempts <- a:
	default:
		j.lost.Add(1)
	}
}

// stampSize is the length of a stamp: time in milliseconds and a number.
const stampSize = 16

// stamp orders attempts by when they began.
func stamp(at time.Time, number uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(max(at.UnixMilli(), 0))), number)
}

// putAttempts keeps attempts and drops the oldest that are over the bounds.
func (j *Journal) putAttempts(tx *bbolt.Tx, attempts []Attempt, count *int) error {
	all := tx.Bucket(bucketAttempts)
	for i := range attempts {
		a := &attempts[i]
		number, err := all.NextSequence()
		if err != nil {
			return err
		}
		value, err := json.Marshal(a)
		if err != nil {
			return err
		}
		s := stamp(a.Began, number)
		if err := all.Put(s, value); err != nil {
			return err
		}
		if err := tx.Bucket(bucketByKey).Put(append(prefix(a.Key, a.Tenant), s...), nil); err != nil {
			return err
		}
		if err := tx.Bucket(bucketByTime).Put(append(prefix(a.Tenant), s...), nil); err != nil {
			return err
		}
	}
	*count += len(attempts)
	dropped, err := j.trimAttempts(tx, *count)
	*count -= dropped
	return err
}

// trimAttempts drops the oldest attempts that are over age or over the count.
func (j *Journal) trimAttempts(tx *bbolt.Tx, count int) (dropped int, err error) {
	oldest := uint64(max(time.Now().Add(-j.opts.KeepAttemptsFor).UnixMilli(), 0))
	c := tx.Bucket(bucketAttempts).Cursor()
	for dropped < trimStep {
		k, v := c.First()
		if k == nil || count-dropped <= j.opts.KeepAttempts && binary.BigEndian.Uint64(k) >= oldest {
			return dropped, nil
		}
		var a Attempt
		if json.Unmarshal(v, &a) == nil { // nothing points to a damaged one that could be found
			if err := tx.Bucket(bucketByKey).Delete(append(prefix(a.Key, a.Tenant), k...)); err != nil {
				return dropped, err
			}
			if err := tx.Bucket(bucketByTime).Delete(append(prefix(a.Tenant), k...)); err != nil {
				return dropped, err
			}
		}
		if err := c.Delete(); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// Attempts yields the attempts at one delivery in the order they began.
func (j *Journal) Attempts(tenant, key string) iter.Seq2[Attempt, error] {
	return func(yield func(Attempt, error) bool) {
		j.Flush()
		p := prefix(key, tenant)
		err := j.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketByKey).Cursor()
			for k, _ := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, _ = c.Next() {
				a, ok, err := load(tx, k[len(p):])
				if err != nil || ok && !yield(a, nil) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			yield(Attempt{}, err)
		}
	}
}

// Accepted lists those of a tenant's deliveries that a receiver has accepted.
func (j *Journal) Accepted(tenant string, keys []string) (out []Ref, err error) {
	j.Flush()
	err = j.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketByKey).Cursor()
		for _, key := range keys {
			p := prefix(key, tenant)
			for k, _ := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, _ = c.Next() {
				a, ok, err := load(tx, k[len(p):])
				if err != nil {
					return err
				}
				if ok && a.Outcome == OutcomeSent {
					out = append(out, Ref{Tenant: tenant, Key: key})
					break
				}
			}
		}
		return nil
	})
	return out, err
}

// load reads an attempt that an index names.
func load(tx *bbolt.Tx, stamp []byte) (a Attempt, ok bool, err error) {
	v := tx.Bucket(bucketAttempts).Get(stamp)
	if v == nil {
		return a, false, nil
	}
	if err := json.Unmarshal(v, &a); err != nil {
		return a, false, fmt.Errorf("journal: %w", err)
	}
	return a, true, nil
}

// Filter chooses attempts; what is empty chooses all.
type Filter struct {
	Tenant  string
	Trigger string
	Monitor string // name or id
	Network string // key
	Outcome string
	From    time.Time // when it began: from here on
	Before  time.Time // and before here
}

func (f *Filter) chooses(a *Attempt) bool {
	return (f.Tenant == "" || a.Tenant == f.Tenant) && (f.Trigger == "" || a.Trigger == f.Trigger) &&
		(f.Monitor == "" || a.Monitor == f.Monitor || a.MonitorID == f.Monitor) && (f.Network == "" || a.Network == f.Network) &&
		(f.Outcome == "" || a.Outcome == f.Outcome)
}

// Latest yields the attempts that a filter chooses, the newest first.
func (j *Journal) Latest(f Filter) iter.Seq2[Attempt, error] {
	return func(yield func(Attempt, error) bool) {
		j.Flush()
		err := j.db.View(func(tx *bbolt.Tx) error {
			bucket, p := bucketAttempts, []byte(nil)
			if f.Tenant != "" {
				bucket, p = bucketByTime, prefix(f.Tenant)
			}
			c := tx.Bucket(bucket).Cursor()
			for k := last(c, p, f.Before); k != nil && bytes.HasPrefix(k, p); k, _ = c.Prev() {
				if !f.From.IsZero() && binary.BigEndian.Uint64(k[len(p):]) < uint64(max(f.From.UnixMilli(), 0)) {
					return nil
				}
				a, ok, err := load(tx, k[len(p):])
				if err != nil {
					return err
				}
				if ok && f.chooses(&a) && !yield(a, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Attempt{}, err)
		}
	}
}

// last moves a cursor to the newest attempt below a prefix that began before a
// time, if one is given.
func last(c *bbolt.Cursor, p []byte, before time.Time) (k []byte) {
	end := bytes.Repeat([]byte{0xff}, stampSize)
	if !before.IsZero() {
		end = stamp(before, 0)
	}
	if k, _ = c.Seek(append(bytes.Clone(p), end...)); k == nil {
		k, _ = c.Last()
		return k
	}
	k, _ = c.Prev()
	return k
}

// Ref names a delivery.
type Ref struct {
	Tenant string `json:"tenant"`
	Key    string `json:"key"`
}

// Find lists the deliveries attempted here whose keys begin with a text, at most
// limit of them.
func (j *Journal) Find(start string, limit int) (out []Ref, err error) {
	j.Flush()
	err = j.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketByKey).Cursor()
		for k, _ := c.Seek([]byte(start)); k != nil && bytes.HasPrefix(k, []byte(start)) && len(out) < limit; {
			parts := bytes.SplitN(k, []byte{0}, 3)
			if len(parts) < 3 {
				return fmt.Errorf("journal: a damaged entry of delivery %q", parts[0])
			}
			r := Ref{Key: string(parts[0]), Tenant: string(parts[1])}
			out = append(out, r)
			// Past all attempts of this one: no stamp is greater.
			k, _ = c.Seek(append(prefix(r.Key, r.Tenant), bytes.Repeat([]byte{0xff}, stampSize)...))
		}
		return nil
	})
	return out, err
}
