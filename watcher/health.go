package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/ozmo-dev/ozmo/watcher/chain"
)

const (
	repeatLog = time.Minute // how often a lasting trouble is logged

	// How long a block may be missing before it is worth a line: two block
	// times, within these bounds.
	lagGraceLeast, lagGraceMost = time.Second, 5 * time.Second
)

// newBackOff paces the repetition of what failed: first after a fraction of
// the block time, then less and less often, at most 30 s or four blocks apart.
func newBackOff(blockTime time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = clampDuration(blockTime/100, 25*time.Millisecond, 500*time.Millisecond)
	b.MaxInterval = clampDuration(4*blockTime, time.Second, 30*time.Second)
	b.Multiplier = 2
	b.RandomizationFactor = 0.3
	b.Reset()
	return b
}

// health remembers since when and why a network stands still, logs what
// changes, and feeds ozmo_watcher_stalled_seconds.
type health struct {
	log   *slog.Logger
	grace time.Duration
	held  func() (reason string, since time.Time) // see Options; may be nil

	mu    sync.Mutex
	seen  time.Time // last head of any height
	top   uint64    // highest head seen
	rose  time.Time // when it was first seen; zero: none yet
	heads trouble   // no head can be had
	block trouble   // the block after the tip cannot be announced
}

type trouble struct {
	since  time.Time // zero: none
	reason string
	logged time.Time // zero: not yet
}

func newHealth(log *slog.Logger, blockTime time.Duration) *health {
	return &health{log: log, grace: clampDuration(2*blockTime, lagGraceLeast, lagGraceMost)}
}

func (h *health) headFailed(err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.seen.IsZero() && now.Sub(h.seen) < h.grace {
		return // heads come by another way, or one poll failed
	}
	h.failed(&h.heads, "no head from any endpoint, the network stands still", err, now)
}

func (h *health) headSeen(height uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if height > h.top || h.rose.IsZero() {
		h.top, h.rose = height, now
	}
	h.seen = now
	h.ended(&h.heads, "heads come again", now)
}

func (h *health) blockFailed(height uint64, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed(&h.block, fmt.Sprintf("network held back before block %d", height), err, now)
}

func (h *health) blockDone(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended(&h.block, "network goes on", now)
}

func (h *health) failed(t *trouble, what string, err error, now time.Time) {
	reason := reasonOf(err)
	if t.since.IsZero() {
		t.since = now
	}
	changed := t.reason != reason
	t.reason = reason
	if reason == "not-found" && now.Sub(t.since) < h.grace {
		return // a node that lags a moment behind the one that pushed the head
	}
	if !changed && !t.logged.IsZero() && now.Sub(t.logged) < repeatLog {
		return
	}
	t.logged = now
	level := slog.LevelWarn
	if errors.Is(err, ErrForkBelowWindow) || errors.Is(err, errPanic) {
		level = slog.LevelError
	}
	h.log.Log(context.Background(), level, what, "reason", reason, "for", now.Sub(t.since).Round(time.Millisecond), "error", err)
}

func (h *health) ended(t *trouble, what string, now time.Time) {
	if !t.logged.IsZero() {
		h.log.Info(what, "reason", t.reason, "after", now.Sub(t.since).Round(time.Millisecond))
	}
	*t = trouble{}
}

// headAge is how long ago the chain was last seen to grow.
func (h *health) headAge(now time.Time) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.rose), !h.rose.IsZero()
}

// stalled is the longer of the troubles there are.
func (h *health) stalled(now time.Time) (reason string, lasting time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []trouble{h.block, h.heads}
	if h.held != nil {
		if reason, since := h.held(); reason != "" {
			list = append(list, trouble{reason: reason, since: since})
		}
	}
	for _, t := range list {
		if d := now.Sub(t.since); !t.since.IsZero() && (reason == "" || d > lasting) {
			reason, lasting = t.reason, d
		}
	}
	return reason, lasting
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrForkBelowWindow):
		return "fork-below-window"
	case errors.Is(err, errPanic):
		return "panic"
	case errors.Is(err, errBranchMoved):
		return "branch-moved"
	case errors.Is(err, errJournal):
		return "journal"
	}
	return chain.Reason(err)
}

var errPanic = errors.New("panic")

// guarded turns a panic into an error: a bug met by one block must not take
// the other networks of the process down.
func guarded[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return f()
}
