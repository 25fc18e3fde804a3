package fakechain

import (
	"context"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Any is the method name of a fault that hits every method.
const Any = "*"

// Endpoint serves a chain over HTTP and websocket on a loopback port.
type Endpoint struct {
	chain  *Chain
	server *http.Server
	addr   string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	faults  map[string]*Fault
	calls   map[string]int
	lag     uint64
	pinned  *Block
	down    bool
	muted   bool
	conns   map[net.Conn]struct{}
	sockets map[*socket]struct{}
	serving sync.WaitGroup
}

// NewEndpoint starts serving. Close it.
func (c *Chain) NewEndpoint() (*Endpoint, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		chain: c, addr: l.Addr().String(),
		faults: map[string]*Fault{}, calls: map[string]int{},
		conns: map[net.Conn]struct{}{}, sockets: map[*socket]struct{}{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.server = &http.Server{
		Handler:           e,
		ConnState:         e.connState,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return e.ctx },
	}
	e.serving.Go(func() { _ = e.server.Serve(l) }) // ends with Close
	c.mu.Lock()
	c.listeners[e] = struct{}{}
	c.mu.Unlock()
	return e, nil
}

// URL is where to post requests; its path looks like a provider's key.
func (e *Endpoint) URL() string { return "http://" + e.addr + "/v2/secret-api-key" }

// WSURL is where to open websockets.
func (e *Endpoint) WSURL() string { return "ws://" + e.addr + "/v2/secret-api-key" }

// Close stops serving and waits until nothing is left running.
func (e *Endpoint) Close() {
	e.chain.mu.Lock()
	delete(e.chain.listeners, e)
	e.chain.mu.Unlock()
	e.cancel()
	_ = e.server.Close()
	e.dropSockets()
	e.serving.Wait()
}

// Fault makes a method misbehave, instead of its fault so far.
func (e *Endpoint) Fault(method string, f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults[method] = &f
}

// Heal ends the faults of the given methods, of all when none is given.
func (e *Endpoint) Heal(methods ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(methods) == 0 {
		clear(e.faults)
	}
	for _, m := range methods {
		delete(e.faults, m)
	}
}

// Down cuts all connections and refuses new ones until Up.
func (e *Endpoint) Down() {
	e.mu.Lock()
	e.down = true
	for c := range e.conns {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.dropSockets()
}

// Up undoes Down.
func (e *Endpoint) Up() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = false
}

// Mute stops or resumes the notifications of subscriptions, which stay open.
func (e *Endpoint) Mute(silent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.muted = silent
}

// Lag makes the endpoint stay n blocks behind the chain.
func (e *Endpoint) Lag(n uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lag = n
}

// Pin makes the endpoint serve the branch that ends with b; nil undoes it.
func (e *Endpoint) Pin(b *Block) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pinned = b
}

// Calls counts what was asked so far, by method. Each element of a batch
// counts.
func (e *Endpoint) Calls() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.calls)
}

// ResetCalls makes Calls count from zero.
func (e *Endpoint) ResetCalls() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.calls)
}

// Subscribers is the number of open newHeads subscriptions.
func (e *Endpoint) Subscribers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for s := range e.sockets {
		n += s.subscriptions()
	}
	return n
}

// enter counts a call and returns the fault that hits it.
func (e *Endpoint) enter(method string) *Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[method]++
	name := method
	f := e.faults[name]
	if f == nil {
		name = Any
		f = e.faults[name]
	}
	if f == nil {
		return nil
	}
	hit := *f
	if f.times > 0 {
		if f.times--; f.times == 0 {
			delete(e.faults, name)
		}
	}
	return &hit
}

// view is the chain as this endpoint sees it now.
type view struct {
	chain *Chain
	head  uint64
	tip   *Block // of a pinned branch
}

func (e *Endpoint) view() view {
	e.mu.Lock()
	lag, pinned := e.lag, e.pinned
	e.mu.Unlock()
	v := view{chain: e.chain, tip: pinned}
	e.chain.mu.Lock()
	defer e.chain.mu.Unlock()
	if pinned != nil {
		v.head = pinned.Number
	} else {
		v.head = e.chain.canonical[len(e.chain.canonical)-1].Number
	}
	if c := e.chain.ceiling; c != nil {
		v.head = min(v.head, *c)
	}
	v.head = max(v.head-min(lag, v.head), e.chain.opts.First)
	return v
}

func (v view) at(height uint64) *Block {
	if height > v.head {
		return nil
	}
	b := v.tip
	if b == nil {
		return v.chain.At(height)
	}
	for b != nil && b.Number > height {
		b = v.chain.ByHash(b.Parent)
	}
	return b
}

func (v view) byHash(hash fsm.Hash) *Block {
	if b := v.chain.ByHash(hash); b != nil && b.Number <= v.head {
		return b
	}
	return nil
}

func (e *Endpoint) connState(c net.Conn, state http.ConnState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch state {
	case http.StateNew:
		if e.down {
			_ = c.Close()
			return
		}
		e.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(e.conns, c)
	case http.StateActive, http.StateIdle:
	}
}

func (e *Endpoint) dropSockets() {
	e.mu.Lock()
	sockets := make([]*socket, 0, len(e.sockets))
	for s := range e.sockets {
		sockets = append(sockets, s)
	}
	e.mu.Unlock()
	for _, s := range sockets {
		s.cancel()
	}
}

func (e *Endpoint) push(b *Block) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.muted || e.lag > 0 || e.pinned != nil {
		return
	}
	for s := range e.sockets {
		s.push(b.header)
	}
}
