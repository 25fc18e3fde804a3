package outbox

import (
	"errors"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// ErrNotBegun is the outcome of an attempt that was not made: the tenant is not
// this node's to serve any more. It counts for nothing.
var ErrNotBegun = errors.New("the attempt was not made: the tenant is another node's now")

// Attempt is how an attempt at a delivery ended.
type Attempt struct {
	Result notify.Result
	Err    error
}

// Adopted is a delivery whose first attempts a worker has begun and does not
// wait for.
type Adopted struct {
	Key    string
	Tenant string
	// Deadline is when the attempts will have ended at the latest. While they have
	// not begun it is zero; whoever begins them makes it known first, and only then
	// looks whether the tenant is still this node's.
	Deadline func() time.Time
	Done     <-chan Attempt
}

// try is an entry of the outbox that somebody on this node attempts.
type try struct {
	tenant   string
	lane     *lane            // whose slot it has; nil: none
	adopted  bool             // a worker makes it: the state counts it already
	attempts uint32           // made, once this one is
	deadline func() time.Time // see Adopted; read under tries.mu

	over   chan struct{} // closed when nothing of it is left to record
	ended  bool          // the attempt has; its outcome is on its way to the log
	until  time.Time     // the deadline of an attempt of our own
	parked bool          // the log says when the next owner may try: only success is still to be told
}

// tries are the attempts under way, by key.
type tries struct {
	mu  sync.Mutex
	all map[id]*try
}

// claim notes a try, unless somebody has the entry already.
func (t *tries) claim(which id, one *try) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[which] != nil {
		return false
	}
	one.over = make(chan struct{})
	t.all[which] = one
	return true
}

func (t *tries) busy(which id) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[which] != nil
}

// end notes that an attempt has ended and tells whether it was parked before.
func (t *tries) end(one *try) (parked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one.ended = true
	return one.parked
}

// drop forgets a try of which nothing is left to record.
func (t *tries) drop(which id) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.all[which]; one != nil {
		delete(t.all, which)
		close(one.over)
	}
}
