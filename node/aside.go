package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker/backtest"
)

// aside lets blocks of the past be fetched beside what the watcher of a network
// fetches: none begins while the watcher waits for a block, pastSlots at most are
// under way, and each is followed by a rest as long as it took. So they take half of
// what an endpoint gives at most, less where it is slow, and never more than
// pastRate.
type aside struct {
	slots chan struct{}

	mu   sync.Mutex
	live int           // fetches of the watcher
	idle chan struct{} // closed once there are none
}

const (
	pastSlots = 2
	pastRate  = 50 // blocks a second of one network
	// headPatience is how long a fetch waits for the watcher, or for its turn, before
	// whoever asks is told.
	headPatience = 10 * time.Second
	// failedRest follows a fetch that has failed.
	failedRest = time.Second
)

func newAside() *aside {
	a := &aside{slots: make(chan struct{}, pastSlots), idle: make(chan struct{})}
	close(a.idle)
	return a
}

func (a *aside) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live++; a.live == 1 {
		a.idle = make(chan struct{})
	}
}

func (a *aside) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live--; a.live == 0 {
		close(a.idle)
	}
}

func (a *aside) whenIdle() (idle bool, wait <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.live == 0, a.idle
}

// do has a fetch done when it is its turn. The error wraps backtest.ErrBusy where it
// does not come.
func (a *aside) do(ctx context.Context, fetch func() error) error {
	patience := time.NewTimer(headPatience)
	defer patience.Stop()
	select {
	case a.slots <- struct{}{}:
	case <-patience.C:
		return backtest.ErrBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		idle, wait := a.whenIdle()
		if idle {
			break
		}
		select {
		case <-wait:
			continue
		case <-patience.C:
			<-a.slots
			return backtest.ErrBusy
		case <-ctx.Done():
			<-a.slots
			return context.Cause(ctx)
		}
	}
	began := time.Now()
	err := fetch()
	took := time.Since(began)
	rest := max(took, pastSlots*time.Second/pastRate-took)
	if err != nil {
		rest = max(rest, failedRest)
	}
	time.AfterFunc(rest, func() { <-a.slots })
	return err
}

// headFirst is a chain's client as its watcher has it.
type headFirst struct {
	chain.Client
	aside *aside
}

// Block implements chain.Client.
func (h headFirst) Block(ctx context.Context, height uint64) (*chain.Block, error) {
	h.aside.begin()
	defer h.aside.end()
	return h.Client.Block(ctx, height)
}

// BlockByHash implements chain.Client.
func (h headFirst) BlockByHash(ctx context.Context, hash fsm.Hash) (*chain.Block, error) {
	h.aside.begin()
	defer h.aside.end()
	return h.Client.BlockByHash(ctx, hash)
}

// asideOf is how blocks of the past of a network that is watched here are fetched.
func (w *watchers) asideOf(network string) (*aside, chain.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.running[network]; r != nil && r.client != nil {
		return r.aside, r.client, nil
	}
	return nil, nil, fmt.Errorf("network %s: %w", network, errNotWatched)
}
