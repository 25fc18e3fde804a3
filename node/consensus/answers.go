package consensus

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// answer is what a command gave, or why it was refused.
type answer struct {
	result any
	err    error
}

// answersKept is how many of the last answers a node remembers. A proposer
// that forwarded its command looks for the answer here, as soon as the leader
// has told the command's index: a round trip, rarely more than some dozens of
// entries.
const answersKept = 8192

// answers remembers what the last commands gave on this node, by log index.
// Apply is deterministic, so they are what the leader's commands gave too.
type answers struct {
	mu       sync.Mutex
	applied  uint64 // index of the last command that the state holds
	installs uint64 // how often a snapshot replaced the state
	ring     []kept // by index modulo its length
	moved    signal
}

type kept struct {
	index uint64
	answer
}

func newAnswers(size int) *answers { return &answers{ring: make([]kept, size)} }

// keep takes the answers of a batch of entries. Entries that are no commands
// have none.
func (a *answers) keep(logs []*raft.Log, given []any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		if ans, ok := given[i].(answer); ok {
			a.ring[l.Index%uint64(len(a.ring))] = kept{l.Index, ans}
			a.applied = max(a.applied, l.Index)
		}
	}
	a.moved.fire()
}

// install notes that a snapshot replaced the state. Whoever waits for the
// answer of an entry that the snapshot holds will not get it.
func (a *answers) install(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.installs++
	a.applied = max(a.applied, index)
	a.moved.fire()
}

// last is the index of the last command that the state holds.
func (a *answers) last() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied
}

// wait waits until the state holds a committed command and gives its answer.
func (a *answers) wait(ctx context.Context, index uint64) (answer, error) {
	var installs uint64
	for first := true; ; first = false {
		a.mu.Lock()
		if k := a.ring[index%uint64(len(a.ring))]; k.index == index {
			a.mu.Unlock()
			return k.answer, nil
		}
		if first {
			installs = a.installs
		}
		lost := a.applied >= index || a.installs != installs
		moved := a.moved.next()
		a.mu.Unlock()
		if lost {
			return answer{}, fmt.Errorf("%w: entry %d came to this node in a snapshot, or too long ago", ErrUncertain, index)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return answer{}, fmt.Errorf("%w: entry %d is not applied on this node: %w", ErrUncertain, index, context.Cause(ctx))
		}
	}
}

// reach waits until the state holds everything up to a command.
func (a *answers) reach(ctx context.Context, index uint64) error {
	for {
		moved := a.moved.next()
		if a.last() >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
