package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/fsm"
)

// machine is the raft.FSM over the pure state.
type machine struct {
	state     *fsm.State
	answers   *answers
	fatal     func(error)
	persisted func(took time.Duration, size int64)
	broken    atomic.Bool
}

var errBroken = errors.New("this node met a log entry it cannot apply and has stopped applying")

// Apply applies one entry.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries in order.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	whole := len(logs)
	for i, l := range logs {
		out[i] = m.apply(l)
		if whole == len(logs) && m.broken.Load() {
			whole = i
		}
	}
	m.answers.keep(logs[:whole], out[:whole])
	return out
}

func (m *machine) apply(l *raft.Log) any {
	if l.Type != raft.LogCommand {
		return answer{}
	}
	// Applying what follows an entry that could not be applied would make this
	// node's state differ from the others'.
	if m.broken.Load() {
		return answer{err: errBroken}
	}
	result, err := m.state.Apply(l.Index, l.Data)
	if errors.Is(err, fsm.ErrUnknownCommand) || errors.Is(err, fsm.ErrMalformed) {
		m.broken.Store(true)
		m.fatal(fmt.Errorf("log entry %d: %w", l.Index, err))
	}
	return answer{result, err}
}

// Snapshot takes the current view; it is immutable, so writing it later shows
// the state as of now.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.broken.Load() {
		return nil, errBroken
	}
	return &snapshot{view: m.state.View(), done: m.persisted}, nil
}

// Restore replaces the state.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	if err := m.state.Restore(r); err != nil {
		return err
	}
	m.answers.install(m.state.View().Index())
	return nil
}

type snapshot struct {
	view *fsm.View
	done func(took time.Duration, size int64)
}

// Persist writes the view.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	start := time.Now()
	n, err := s.view.WriteTo(sink)
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	s.done(time.Since(start), n)
	return nil
}

// Release has nothing to give back: views belong to the garbage collector.
func (s *snapshot) Release() {}
