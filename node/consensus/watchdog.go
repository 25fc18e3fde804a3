package consensus

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	wedgedAfter = 10 * time.Second
	probeEvery  = 500 * time.Millisecond
)

// watchdog ends a node whose Raft believes for ever that it is handing over
// leadership: a transfer that meets a step-down can leave it so (hashicorp/raft
// issue 696), and only a restart helps.
type watchdog struct {
	after, every time.Duration
	probe        func() error
	fatal        func(error)
	seen         chan struct{}
}

func newWatchdog(multiplier float64, probe func() error, fatal func(error)) *watchdog {
	return &watchdog{
		after: time.Duration(float64(wedgedAfter) * multiplier), every: probeEvery,
		probe: probe, fatal: fatal, seen: make(chan struct{}, 1),
	}
}

// saw looks at an error that Raft gave.
func (w *watchdog) saw(err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		return
	}
	select {
	case w.seen <- struct{}{}:
	default:
	}
}

// run asks, once a transfer was seen, until there is none: only what holds all
// the time is a fault.
func (w *watchdog) run(closed <-chan struct{}) {
	for {
		select {
		case <-closed:
			return
		case <-w.seen:
		}
		if w.lasts(closed) {
			w.fatal(fmt.Errorf("raft has been handing over leadership for %v and does not end: restart this node", w.after))
			return
		}
	}
}

func (w *watchdog) lasts(closed <-chan struct{}) bool {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for since := time.Now(); time.Since(since) < w.after; {
		select {
		case <-closed:
			return false
		case <-ticker.C:
		}
		if !errors.Is(w.probe(), raft.ErrLeadershipTransferInProgress) {
			return false
		}
	}
	return true
}
