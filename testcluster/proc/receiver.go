package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// Delivery is one request that a receiver took.
type Delivery struct {
	At     time.Time
	Path   string // of the receiver's address: which trigger it was
	Key    string // webhook-id
	Alert  string // ozmo-alert-id
	State  string // ozmo-alert-state
	Header http.Header
	Body   json.RawMessage

	// Of the body, which is the match object.
	Monitor   string
	Network   string // slug
	Tx        string
	BlockHash string
	Height    uint64
}

// Receiver takes webhooks and remembers every one that it accepted.
type Receiver struct {
	URL    string // without a path
	Secret string
	// Refuse, if not nil, may refuse a request before it is taken. Set it before
	// the first one comes.
	Refuse func(*http.Request, Delivery) (status int)

	mu    sync.Mutex
	taken []Delivery
	bad   []error
}

// NewReceiver serves until the test ends.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	return newReceiverAt(t, "127.0.0.1:0")
}

func newReceiverAt(t testing.TB, address string) *Receiver {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{URL: "http://" + l.Addr().String(), Secret: "the receiver's secret"}
	s := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("receiver: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	return r
}

// ServeHTTP takes one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // the sender was killed: nothing was received
		return
	}
	d, err := r.read(req, body)
	if err != nil {
		r.mu.Lock()
		r.bad = append(r.bad, fmt.Errorf("%s: %w\n%v\n%s", req.URL, err, req.Header, body))
		r.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Refuse != nil {
		if status := r.Refuse(req, d); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	r.mu.Lock()
	r.taken = append(r.taken, d)
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// read checks a request as a receiver should and takes it apart.
func (r *Receiver) read(req *http.Request, body []byte) (Delivery, error) {
	d := Delivery{
		At: time.Now(), Path: req.URL.Path, Header: req.Header, Body: body,
		Key: req.Header.Get("webhook-id"), Alert: req.Header.Get("ozmo-alert-id"), State: req.Header.Get("ozmo-alert-state"),
	}
	if err := webhook.Verify(req.Header, body, r.Secret, 10*time.Minute); err != nil {
		return d, err
	}
	if req.Header.Get("X-Signature") == "" || req.Header.Get("webhook-signature") == "" {
		return d, errors.New("one of the two signatures is missing")
	}
	if d.Key == "" || d.Alert == "" || d.Key != req.Header.Get("Idempotency-Key") {
		return d, errors.New("webhook-id, ozmo-alert-id or Idempotency-Key is missing or another one")
	}
	var m struct {
		EVM struct {
			Monitor struct {
				Name string `json:"name"`
			} `json:"monitor"`
			Network     string `json:"network_slug"`
			Transaction struct {
				Hash        string `json:"hash"`
				BlockHash   string `json:"blockHash"`
				BlockNumber string `json:"blockNumber"`
			} `json:"transaction"`
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return d, err
	}
	tx := m.EVM.Transaction
	height, err := strconv.ParseUint(tx.BlockNumber, 0, 64)
	if err != nil || m.EVM.Monitor.Name == "" || len(tx.Hash) != 66 || len(tx.BlockHash) != 66 {
		return d, errors.New("the match object lacks monitor, transaction or block")
	}
	d.Monitor, d.Network, d.Tx, d.BlockHash, d.Height = m.EVM.Monitor.Name, m.EVM.Network, tx.Hash, tx.BlockHash, height
	return d, nil
}

// Deliveries is what was accepted so far. It fails the test when a request
// came that no ozmo should send.
func (r *Receiver) Deliveries(t testing.TB) []Delivery {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.bad {
		t.Errorf("refused a delivery: %v", err)
	}
	return slices.Clip(r.taken)
}
