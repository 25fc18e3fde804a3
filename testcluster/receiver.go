package testcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// Delivery is one request that the receiver took.
type Delivery struct {
	At      time.Time
	Begun   time.Time // when the request came in
	From    string    // node
	Tenant  string
	Key     string // webhook-id
	Alert   string // ozmo-alert-id
	State   string // ozmo-alert-state
	Network string
	Tx      string
	Block   string // hash
}

// Receiver takes every webhook of every tenant.
type Receiver struct {
	URL string

	server *http.Server
	served chan struct{}

	mu     sync.Mutex
	begun  []Delivery // whatever became of them
	taken  []Delivery
	errs   []error
	status int             // to refuse with; 0: nothing is refused
	hold   <-chan struct{} // answers wait for it; nil: they do not
}

func newReceiver(t testing.TB, h *memnet.Host) *Receiver {
	t.Helper()
	l, err := h.Listen(":80")
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{URL: "http://" + h.Name(), served: make(chan struct{})}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(r.served)
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("receiver: %v", err)
		}
	}()
	return r
}

func (r *Receiver) close() {
	_ = r.server.Close() // the network has no errors of its own
	<-r.served
}

// Hold has answers wait until the function it returns is called.
func (r *Receiver) Hold() (release func()) {
	hold := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = hold
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.hold = nil
		r.mu.Unlock()
		close(hold)
	})
}

// ServeHTTP takes one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	begun := time.Now()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender is gone: nothing was received
	}
	d, err := read(req, body)
	if err != nil {
		r.mu.Lock()
		r.errs = append(r.errs, fmt.Errorf("%s: %w: %s", req.URL, err, body))
		r.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d.Begun = begun
	d.From, _, _ = net.SplitHostPort(req.RemoteAddr)
	r.mu.Lock()
	hold, status := r.hold, r.status
	r.begun = append(r.begun, d)
	r.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
			return
		}
	}
	d.At = time.Now()
	r.mu.Lock()
	r.taken = append(r.taken, d)
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func read(req *http.Request, body []byte) (Delivery, error) {
	h := req.Header
	d := Delivery{
		Tenant: strings.TrimPrefix(req.URL.Path, "/"),
		Key:    h.Get("webhook-id"), Alert: h.Get("ozmo-alert-id"), State: h.Get("ozmo-alert-state"),
	}
	if err := webhook.Verify(h, body, signingSecret, 10*time.Minute); err != nil {
		return d, err
	}
	if d.Key == "" || d.Alert == "" {
		return d, errors.New("webhook-id or ozmo-alert-id is missing")
	}
	var m struct {
		EVM struct {
			Network     string `json:"network_slug"`
			Transaction struct {
				Hash      string `json:"hash"`
				BlockHash string `json:"blockHash"`
			} `json:"transaction"`
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return d, err
	}
	d.Network, d.Tx, d.Block = m.EVM.Network, m.EVM.Transaction.Hash, m.EVM.Transaction.BlockHash
	if d.Network == "" || d.Tx == "" || d.Block == "" {
		return d, errors.New("the match object lacks network, transaction or block")
	}
	return d, nil
}

// Deliveries is what was taken so far, in order.
func (r *Receiver) Deliveries() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// From is what one of some nodes began to send between two moments, taken or not.
func (r *Receiver) From(nodes []string, from, to time.Time) []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.begun), func(d Delivery) bool {
		return !slices.Contains(nodes, d.From) || d.Begun.Before(from) || d.Begun.After(to)
	})
}

// Refuse has every delivery refused with a status, for now; 0 ends it.
func (r *Receiver) Refuse(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *Receiver) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}
