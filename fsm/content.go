package fsm

import (
	"bytes"
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
	n, _ := get(v.contents, tenant)
	return n
}

// putFired keeps an alert in the ledger, in place of what was known of it; nil if
// nothing was.
func (t *tx) putFired(key string, known, f *Fired) {
	if known != nil {
		t.addContent(known, -1)
	}
	if n := contentSize(f); t.ContentBytesOf(f.Tenant)+n > MaxContentTenant || t.content+n > MaxContent {
		f.Content = NoContent
	}
	t.addContent(f, +1)
	put(t.edit, &t.fired, key, f)
}

// addContent counts the content of an alert that comes, or goes.
func (t *tx) addContent(f *Fired, sign int64) {
	n := sign * contentSize(f)
	if n == 0 {
		return
	}
	t.content += n
	if n += t.ContentBytesOf(f.Tenant); n == 0 {
		del(t.edit, &t.contents, f.Tenant)
	} else {
		put(t.edit, &t.contents, f.Tenant, n)
	}
}

func contentSize(f *Fired) int64 {
	if bytes.Equal(f.Content, NoContent) {
		return 0
	}
	return int64(len(f.Content))
}

// countContent derives the counts from the ledger.
func (t *tx) countContent() {
	counts := map[string]int64{}
	t.content = 0
	for f := range values(t.fired) {
		if n := contentSize(f); n > 0 {
			counts[f.Tenant] += n
			t.content += n
		}
	}
	for tenant, n := range counts {
		put(t.edit, &t.contents, tenant, n)
	}
}
