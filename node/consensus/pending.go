package consensus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pending counts what was handed to Raft and is not answered. Raft never
// answers what it has taken in when it is shut down, so Close waits for it.
type pending struct {
	mu     sync.Mutex
	count  int
	closed bool
	idle   chan struct{} // closed once closed and count is 0
}

var errClosed = errors.New("this node is stopping")

func newPending() *pending { return &pending{idle: make(chan struct{})} }

func (p *pending) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.count++
	return true
}

func (p *pending) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	if p.closed && p.count == 0 {
		close(p.idle)
	}
}

// close lets nobody in any more, and waits for those inside.
func (p *pending) close(limit time.Duration) {
	p.mu.Lock()
	p.closed = true
	if p.count == 0 {
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.idle:
	case <-timer.C:
	}
}

// await hands something to Raft and waits for its answer as long as the caller
// does. When the caller leaves first, the error is the context's cause.
func await[F raft.Future](ctx context.Context, p *pending, start func() F) (F, error) {
	type answered struct {
		future F
		err    error
	}
	var none F
	if !p.enter() {
		return none, errClosed
	}
	done := make(chan answered, 1)
	go func() {
		defer p.leave()
		f := start()
		done <- answered{f, f.Error()}
	}()
	select {
	case a := <-done:
		return a.future, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
