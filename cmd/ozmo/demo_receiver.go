package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

const (
	alertsPath         = "/alerts/" // and the tenant's name: each has a URL of its own
	signatureTolerance = 5 * time.Minute
	maxAlertBytes      = 8 << 20
	receiverStop       = time.Second
)

// receipt is an alert as it was received.
type receipt struct {
	Key         string // the same when an alert is delivered again
	State       string
	Tenant      string
	Monitor     string
	Network     string
	Height      uint64
	BlockHash   string
	Transaction string
	Status      string // of a transaction condition that held
	From, To    string
	Calls       []receivedCall // events and functions that matched
	At          time.Time
}

// receivedCall is an event or a function call with its decoded arguments.
type receivedCall struct {
	Signature string        `json:"signature"`
	Args      []receivedArg `json:"args"`
}

type receivedArg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// readReceipt reads what a webhook in raw mode brings.
func readReceipt(header http.Header, tenant string, body []byte, at time.Time) (receipt, error) {
	var payload struct {
		EVM *struct {
			MatchedOn struct {
				Transactions []struct {
					Status string `json:"status"`
				} `json:"transactions"`
			} `json:"matched_on"`
			Args struct {
				Events    []receivedCall `json:"events"`
				Functions []receivedCall `json:"functions"`
			} `json:"matched_on_args"`
			Monitor struct {
				Name string `json:"name"`
			} `json:"monitor"`
			Network     string `json:"network_slug"`
			Transaction struct {
				Hash      string `json:"hash"`
				From      string `json:"from"`
				To        string `json:"to"`
				Block     string `json:"blockNumber"`
				BlockHash string `json:"blockHash"`
			} `json:"transaction"`
		}
	}
	if err := json.Unmarshal(body, &payload); err != nil {
		return receipt{}, fmt.Errorf("the alert is no JSON: %w", err)
	}
	if payload.EVM == nil {
		return receipt{}, errors.New("the alert is no match on an EVM chain")
	}
	evm := payload.EVM
	height, err := strconv.ParseUint(evm.Transaction.Block, 0, 64)
	if err != nil {
		return receipt{}, fmt.Errorf("the alert's block number: %w", err)
	}
	r := receipt{
		Key: header.Get("Idempotency-Key"), State: header.Get("Ozmo-Alert-State"),
		Tenant: tenant, Monitor: evm.Monitor.Name, Network: evm.Network,
		Height: height, BlockHash: evm.Transaction.BlockHash, Transaction: evm.Transaction.Hash,
		From: evm.Transaction.From, To: evm.Transaction.To,
		Calls: append(evm.Args.Events, evm.Args.Functions...), At: at,
	}
	if list := evm.MatchedOn.Transactions; len(list) > 0 {
		r.Status = list[0].Status
	}
	switch {
	case r.Key == "":
		return receipt{}, errors.New("the alert has no Idempotency-Key")
	case r.Monitor == "" || r.Transaction == "":
		return receipt{}, errors.New("the alert names no monitor or no transaction")
	}
	return r, nil
}

// receiver is the service that the demo's alerts are for: it believes nothing
// that is not signed.
type receiver struct {
	secret string
	server *http.Server
	url    string
	served chan struct{}

	mu      sync.Mutex
	keys    map[string]bool
	waiting []receipt // received, not shown yet
	refused []error   // the first few
	count   receiverCount
	wake    chan struct{} // holds a token when there is something new
}

// receiverCount counts requests.
type receiverCount struct {
	alerts   int // signed and readable, each once
	repeated int // delivered again
	refused  int // not signed, or not readable
}

// keepRefused bounds the reasons that are shown.
const keepRefused = 3

func startReceiver(secret string) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the demo's receiver: %w", err)
	}
	r := newReceiver(secret)
	r.url = "http://" + l.Addr().String() + alertsPath
	r.server = &http.Server{Handler: r.handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l) // ends with stop; a receiver that fails earlier shows as missing alerts
	}()
	return r, nil
}

func newReceiver(secret string) *receiver {
	return &receiver{secret: secret, served: make(chan struct{}), keys: make(map[string]bool), wake: make(chan struct{}, 1)}
}

func (r *receiver) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+alertsPath+"{tenant}", func(w http.ResponseWriter, req *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAlertBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return // cut off on the way: it comes again
		}
		if err := webhook.Verify(req.Header, body, r.secret, signatureTolerance); err != nil {
			r.refuse(fmt.Errorf("an alert was refused: %w", err))
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		got, err := readReceipt(req.Header, req.PathValue("tenant"), body, at)
		if err != nil {
			r.refuse(err)
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		r.accept(got)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (r *receiver) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.refused++
	if len(r.refused) < keepRefused {
		r.refused = append(r.refused, err)
	}
}

func (r *receiver) accept(got receipt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[got.Key] {
		r.count.repeated++
		return
	}
	r.keys[got.Key] = true
	r.count.alerts++
	r.waiting = append(r.waiting, got)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take gives what was received since the last call.
func (r *receiver) take() []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.waiting
	r.waiting = nil
	return list
}

// counts are the totals and the reasons of the first refusals.
func (r *receiver) counts() (receiverCount, []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, append([]error(nil), r.refused...)
}

func (r *receiver) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), receiverStop)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		_ = r.server.Close() // a connection that was opened and never used is cut
	}
	<-r.served
	return nil
}

// demoEgress lets the demo's tenants send to its receivers, on this machine.
var demoEgress = []string{"127.0.0.0/8", "::1"}
