package fsm

import (
	"bytes"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Bounds of what the ledger keeps of alerts to retract them with, in bytes of
// Fired.Content. Content that does not fit is replaced by NoContent: the alert is
// retracted all the same, with the ledger's own fields.
const (
	MaxContentTenant = 16 << 20  // of one tenant's alerts
	MaxContent       = 256 << 20 // of all alerts
)

// NoContent stands for the content of an alert that can be retracted, but not with
// its own words. It counts for nothing.
var NoContent = []byte{0}

// ContentBytes is the size of what is kept to retract alerts with; see MaxContent.
func (v *View) ContentBytes() int64 { return v.content }

// ContentBytesOf is that of one tenant's alerts; see MaxContentTenant.
func (v *View) ContentBytesOf(tenant string) int64 {
	n, _ := get(v.contents, []byte(tenant))
	return n
}

// putFired keeps an alert in the ledger, in place of what was known of it; nil if
// nothing was.
func (t *tx) putFired(key []byte, known, f *Fired) {
	if known != nil {
		t.addContent(known, -1)
	}
	if n := contentSize(f); t.ContentBytesOf(f.Tenant)+n > MaxContentTenant || t.content+n > MaxContent {
		f.Content = NoContent
	}
	t.addContent(f, +1)
	put(&t.fired, key, f)
}

// addContent counts the content of an alert that comes, or goes.
func (v *View) addContent(f *Fired, sign int64) {
	n := sign * contentSize(f)
	if n == 0 {
		return
	}
	v.content += n
	if n += v.ContentBytesOf(f.Tenant); n == 0 {
		del(&v.contents, []byte(f.Tenant))
	} else {
		put(&v.contents, []byte(f.Tenant), n)
	}
}

func contentSize(f *Fired) int64 {
	if bytes.Equal(f.Content, NoContent) {
		return 0
	}
	return int64(len(f.Content))
}

// countContent derives the counts from the ledger.
func (v *View) countContent() {
	counts := map[string]int64{}
	v.content = 0
	for f := range values(v.fired) {
		if n := contentSize(f); n > 0 {
			counts[f.Tenant] += n
			v.content += n
		}
	}
	txn := iradix.New[int64]().Txn()
	for tenant, n := range counts {
		txn.Insert([]byte(tenant), n)
	}
	v.contents = txn.Commit()
}
