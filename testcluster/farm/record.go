package farm

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Delivery is one delivery that a receiver took.
type Delivery struct {
	Receiver string // its name
	From     string // address of the sender
	Key      string
	Alert    string
	State    string
	Position uint64
	Tx       string // of the body, where that is a match object
	Block    string // hash, likewise
	Monitor  string // name, likewise
	Body     uint64 // hash
	Signed   time.Time
	At       time.Time
}

// Attempts are what came of one key, taken or not.
type Attempts struct {
	Times int
	Last  time.Time
	Not   time.Time // not before this moment, as the sender was told; zero: any time
}

// ledger is what receivers took.
type ledger struct {
	mu    sync.Mutex
	taken []Delivery
	errs  []error
	tries map[string]*Attempts // by receiver and key
	hasty int
}

var seed = maphash.MakeSeed()

// maxErrors is how many errors are kept: one mistake may concern everything.
const maxErrors = 20

func (l *ledger) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, fmt.Errorf(format, args...))
	}
}

// note counts an attempt and tells how many there were, this one included.
func (l *ledger) note(receiver, key string, at time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.tries[receiver+" "+key]
	if one == nil {
		one = &Attempts{}
		l.tries[receiver+" "+key] = one
	}
	if at.Before(one.Not) {
		l.hasty++
		if len(l.errs) < maxErrors {
			l.errs = append(l.errs, fmt.Errorf("receiver %s: attempt %d of %s came %v before the Retry-After was over",
				receiver, one.Times+1, key, one.Not.Sub(at)))
		}
	}
	one.Times++
	one.Last, one.Not = at, time.Time{}
	return one.Times
}

// hold notes that a key is not to come before a moment.
func (l *ledger) hold(receiver, key string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries[receiver+" "+key].Not = until
}

func (l *ledger) take(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = append(l.taken, d)
}

// read takes a request apart. What a webhook of ozmo always has must be there.
func read(receiver string, req *http.Request, body []byte) (Delivery, error) {
	h := req.Header
	d := Delivery{
		Receiver: receiver, From: req.RemoteAddr, Body: maphash.Bytes(seed, body), At: time.Now(),
		Key: h.Get("Webhook-Id"), Alert: h.Get("Ozmo-Alert-Id"), State: h.Get("Ozmo-Alert-State"),
	}
	if d.Key == "" || d.Alert == "" || d.State == "" {
		return d, errors.New("Webhook-Id, Ozmo-Alert-Id or Ozmo-Alert-State is missing")
	}
	var err error
	if d.Position, err = strconv.ParseUint(h.Get("Ozmo-Position"), 10, 64); err != nil {
		return d, fmt.Errorf("Ozmo-Position: %w", err)
	}
	if text := h.Get("X-Timestamp"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return d, fmt.Errorf("X-Timestamp: %w", err)
		}
		d.Signed = time.UnixMilli(ms)
	}
	var m struct {
		EVM *struct {
			Monitor struct {
				Name string `json:"name"`
			} `json:"monitor"`
			Transaction struct {
				Hash      string `json:"hash"`
				BlockHash string `json:"blockHash"`
			} `json:"transaction"`
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return d, err
	}
	if m.EVM != nil { // raw mode
		d.Monitor, d.Tx, d.Block = m.EVM.Monitor.Name, m.EVM.Transaction.Hash, m.EVM.Transaction.BlockHash
		if d.Monitor == "" || d.Tx == "" || d.Block == "" {
			return d, errors.New("the match object lacks monitor, transaction or block")
		}
	}
	return d, nil
}
