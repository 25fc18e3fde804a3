package consensus

import (
	"fmt"
	"sync"
	"time"
)

// A write that the disk does not answer is looked at once a second, and is
// taken for lost when it was there hangTicks times in a row. What counts are
// the looks and not the clock: a process that was frozen meanwhile gets one
// tick for all of that time, and the disk had no time to answer.
const (
	hangTick  = time.Second
	hangTicks = 10
)

// writes are those that were begun and have not been answered, with how often
// each was looked at. Raft writes its log and deletes from it side by side.
type writes struct {
	mu    sync.Mutex
	last  uint64
	looks map[uint64]int
}

func newWrites() *writes { return &writes{looks: map[uint64]int{}} }

func (w *writes) begin() (id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	w.looks[w.last] = 0
	return w.last
}

func (w *writes) end(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.looks, id)
}

// look reports whether one of the writes was there the last times as well.
func (w *writes) look() (hangs bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.looks {
		w.looks[id]++
		hangs = hangs || w.looks[id] >= hangTicks
	}
	return hangs
}

// watch ends the node when a write hangs. Raft would wait for it for ever: a
// leader goes on leading, since its heartbeats need no disk, and commits nothing.
func (s *store) watch(closed <-chan struct{}, multiplier float64) {
	every := time.Duration(float64(hangTick) * multiplier)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-closed:
			return
		case <-ticker.C:
		}
		if s.writes.look() {
			close(s.hung)
			s.fatal(fmt.Errorf("write %s: no answer for %v: the disk hangs (the node stops, so that the others can go on)", s.path, hangTicks*every))
			return
		}
	}
}
