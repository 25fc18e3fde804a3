package watcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// mailbox holds the newest head. Heads that come while one is worked on do not
// queue: only the newest matters.
type mailbox struct {
	wake     chan struct{} // holds a token when there is something new
	patience time.Duration // how long a head stands against lower ones

	mu      sync.Mutex
	head    chain.Head
	known   bool
	revived bool
}

func newMailbox(patience time.Duration) *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), patience: patience}
}

// offer takes a head. A lower one than before comes from a node that lags, as
// a rule; but when the higher one is old, its block may be gone for good.
func (m *mailbox) offer(h chain.Head) {
	m.mu.Lock()
	take := !m.known || h.Height >= m.head.Height || h.Seen.Sub(m.head.Seen) > m.patience
	if take {
		if m.known && h.Height == m.head.Height && h.Hash.IsZero() {
			h.Hash, h.Parent = m.head.Hash, m.head.Parent // knows less
		}
		m.head, m.known = h, true
	}
	m.mu.Unlock()
	if take {
		m.notify()
	}
}

// revive ends a backing-off: the endpoints answer again.
func (m *mailbox) revive() {
	m.mu.Lock()
	m.revived = true
	m.mu.Unlock()
	m.notify()
}

func (m *mailbox) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) latest() (head chain.Head, known, revived bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	revived, m.revived = m.revived, false
	return m.head, m.known, revived
}

// poll asks for the head at once and then by schedule. One poll runs at a
// time, whatever the schedule says; a failed one is repeated sooner.
func (w *Watcher) poll(ctx context.Context) {
	wait := newBackOff(w.opts.Spec.BlockTime)
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		head, err := guarded(func() (chain.Head, error) { return w.opts.Client.Head(ctx) })
		if ctx.Err() != nil {
			return
		}
		pause, more := w.schedule.after(began, time.Now())
		if err != nil {
			failing = true
			w.health.headFailed(err, time.Now())
			w.metrics.retries.WithLabelValues(w.opts.Network, chain.Reason(err)).Inc()
			if again := wait.NextBackOff(); !more || again < pause {
				pause, more = again, true
			}
		} else {
			wait.Reset()
			w.gotHead(head)
			if failing {
				failing = false
				w.heads.revive()
			}
		}
		if !more {
			return // the schedule ends here
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// subscribe takes the heads a node pushes. The client connects again by
// itself; should it give up, it is asked again.
func (w *Watcher) subscribe(ctx context.Context) {
	wait := newBackOff(w.opts.Spec.BlockTime)
	for {
		_, err := guarded(func() (struct{}, error) {
			heads, err := w.opts.Client.Heads(ctx)
			if err != nil {
				return struct{}{}, err
			}
			for head := range heads {
				wait.Reset()
				w.gotHead(head)
			}
			return struct{}{}, nil
		})
		if errors.Is(err, chain.ErrNoHeadSource) {
			return
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("no head subscription, polling goes on", "error", err)
		}
		if !sleep(ctx, wait.NextBackOff()) {
			return
		}
	}
}

func (w *Watcher) gotHead(head chain.Head) {
	if head.Seen.IsZero() {
		head.Seen = time.Now()
	}
	w.metrics.head.WithLabelValues(w.opts.Network).Set(float64(head.Height))
	w.health.headSeen(head.Height, time.Now())
	w.heads.offer(head)
}

// sleep returns false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
