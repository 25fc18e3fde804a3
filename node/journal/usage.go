package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Usage is what a tenant has caused on this node in an hour.
type Usage struct {
	Evaluation time.Duration `json:"e,omitempty"` // of judging
	Matches    uint64        `json:"m,omitempty"`
	Sent       uint64        `json:"s,omitempty"` // notifications that were accepted
	Failed     uint64        `json:"f,omitempty"` // attempts that were not
	OverQuota  uint64        `json:"q,omitempty"` // notifications that had to wait for the quota
	Bytes      uint64        `json:"b,omitempty"` // sent with attempts
	Calls      uint64        `json:"c,omitempty"` // to endpoints, for what it alone has asked for
}

// Plus adds up two usages.
func (u Usage) Plus(o Usage) Usage {
	u.Evaluation += o.Evaluation
	u.Matches += o.Matches
	u.Sent += o.Sent
	u.Failed += o.Failed
	u.OverQuota += o.OverQuota
	u.Bytes += o.Bytes
	u.Calls += o.Calls
	return u
}

// NetworkUsage is what watching a network has taken on this node in an hour.
type NetworkUsage struct {
	Calls   uint64 `json:"c,omitempty"` // to its endpoints
	From    uint64 `json:"f,omitempty"` // positions that were announced meanwhile: from here on
	To      uint64 `json:"t,omitempty"` // and before here
	Tenants int    `json:"n,omitempty"` // that wanted it, when it was looked at last
}

// plus adds what came later.
func (u NetworkUsage) plus(later NetworkUsage) NetworkUsage {
	u.Calls += later.Calls
	switch {
	case later.To <= later.From:
	case u.To <= u.From:
		u.From, u.To = later.From, later.To
	default:
		u.From, u.To = min(u.From, later.From), max(u.To, later.To)
	}
	u.Tenants = later.Tenants
	return u
}

// UsageOwner is a tenant, and not another one that had its name before.
type UsageOwner struct {
	Tenant string
	Born   uint64
}

// Used is what has been used since it was told last.
type Used struct {
	Hour     time.Time // any time of it
	Tenants  map[UsageOwner]Usage
	Networks map[string]NetworkUsage
}

var (
	bucketUsage        = []byte("usage")         // hour, tenant, born -> Usage
	bucketNetworkUsage = []byte("usage-network") // hour, network -> NetworkUsage
)

// usageLength is how many tellings wait to be written before more are lost.
const usageLength = 64

// RecordUsage adds to what is kept of an hour. It never waits: what cannot be written
// for long is lost, which is logged.
func (j *Journal) RecordUsage(u Used) {
	select {
	case <-j.done:
		return
	default:
	}
	select {
	case j.usage <- u:
	default:
		j.opts.Logger.Error("usage is missing from this node's journal: it cannot be written", "tenants", len(u.Tenants))
	}
}

// hourKey begins the keys of an hour.
func hourKey(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(at.Unix()/3600, 0)))
}

func hourOf(key []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(key))*3600, 0).UTC()
}

func ownerKey(hour []byte, o UsageOwner) []byte {
	return binary.BigEndian.AppendUint64(append(bytes.Clone(hour), prefix(o.Tenant)...), o.Born)
}

// readOwner is the owner that a key of the bucket names.
func readOwner(key []byte) (o UsageOwner, ok bool) {
	if len(key) < 8+1+8 {
		return o, false
	}
	return UsageOwner{Tenant: string(key[8 : len(key)-9]), Born: binary.BigEndian.Uint64(key[len(key)-8:])}, true
}

// putUsage adds to what is kept, and drops the oldest that is over the bounds.
func (j *Journal) putUsage(tx *bbolt.Tx, list []Used, count *int) error {
	for _, u := range list {
		hour := hourKey(u.Hour)
		for owner, used := range u.Tenants {
			if err := addTo(tx.Bucket(bucketUsage), ownerKey(hour, owner), used, Usage.Plus, count); err != nil {
				return err
			}
		}
		for network, used := range u.Networks {
			if err := addTo(tx.Bucket(bucketNetworkUsage), append(bytes.Clone(hour), network...), used, NetworkUsage.plus, count); err != nil {
				return err
			}
		}
	}
	return j.trimUsage(tx, count)
}

// addTo adds to a value that may be there. A damaged one is replaced.
func addTo[U any](b *bbolt.Bucket, key []byte, used U, plus func(U, U) U, count *int) error {
	var old U
	switch value := b.Get(key); {
	case value == nil:
		*count++
	case json.Unmarshal(value, &old) == nil:
		used = plus(old, used)
	}
	value, err := json.Marshal(used)
	if err != nil {
		return err
	}
	return b.Put(key, value)
}

// trimUsage drops the oldest hours' while there is too much, or it is too old.
func (j *Journal) trimUsage(tx *bbolt.Tx, count *int) error {
	oldest := hourKey(time.Now().Add(-j.opts.KeepUsageFor))
	tenants, networks := tx.Bucket(bucketUsage).Cursor(), tx.Bucket(bucketNetworkUsage).Cursor()
	for range trimStep {
		c := tenants
		k, _ := tenants.First()
		if n, _ := networks.First(); k == nil || n != nil && bytes.Compare(n[:8], k[:8]) < 0 {
			c, k = networks, n
		}
		if k == nil || *count <= j.opts.KeepUsage && bytes.Compare(k[:8], oldest) >= 0 {
			return nil
		}
		if err := c.Delete(); err != nil {
			return err
		}
		*count--
	}
	return nil
}

// UsageOf yields what a tenant has used, by hour, from the hour of one time up to, but
// not with, that of another.
func (j *Journal) UsageOf(owner UsageOwner, from, to time.Time) (map[time.Time]Usage, error) {
	j.Flush()
	out := map[time.Time]Usage{}
	err := j.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketUsage)
		for at := from.Truncate(time.Hour); at.Before(to); at = at.Add(time.Hour) {
			value := b.Get(ownerKey(hourKey(at), owner))
			if value == nil {
				continue
			}
			var u Usage
			if err := json.Unmarshal(value, &u); err != nil {
				return fmt.Errorf("journal: usage of %s: %w", at.UTC().Format(time.RFC3339), err)
			}
			out[at.UTC()] = u
		}
		return nil
	})
	return out, err
}

// UsageOfAll adds up what each tenant has used in a time.
func (j *Journal) UsageOfAll(from, to time.Time) (map[UsageOwner]Usage, error) {
	j.Flush()
	out := map[UsageOwner]Usage{}
	err := j.db.View(func(tx *bbolt.Tx) error {
		return eachHour(tx.Bucket(bucketUsage), from, to, func(k []byte, u Usage) {
			if owner, ok := readOwner(k); ok {
				out[owner] = out[owner].Plus(u)
			}
		})
	})
	return out, err
}

// UsageOfNetworks lists what watching networks has taken in a time, by hour.
func (j *Journal) UsageOfNetworks(from, to time.Time, want func(network string) bool) (map[time.Time]map[string]NetworkUsage, error) {
	j.Flush()
	out := map[time.Time]map[string]NetworkUsage{}
	err := j.db.View(func(tx *bbolt.Tx) error {
		return eachHour(tx.Bucket(bucketNetworkUsage), from, to, func(k []byte, u NetworkUsage) {
			at, network := hourOf(k), string(k[8:])
			if !want(network) {
				return
			}
			if out[at] == nil {
				out[at] = map[string]NetworkUsage{}
			}
			out[at][network] = u
		})
	})
	return out, err
}

// eachHour reads a bucket from the hour of one time up to, but not with, that of
// another.
func eachHour[U any](b *bbolt.Bucket, from, to time.Time, take func(key []byte, u U)) error {
	c := b.Cursor()
	for k, v := c.Seek(hourKey(from)); k != nil && hourOf(k).Before(to); k, v = c.Next() {
		var u U
		if err := json.Unmarshal(v, &u); err != nil {
			return fmt.Errorf("journal: usage of %s: %w", hourOf(k).Format(time.RFC3339), err)
		}
		take(k, u)
	}
	return nil
}
