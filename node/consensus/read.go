package consensus

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// ReadIndex is the leader's end of a Barrier: the index of the last command
// that is committed, after a majority has confirmed that this node still leads.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	if !g.isLeader() {
		return 0, ErrNotLeader
	}
	term := g.raft.CurrentTerm()
	// A new leader does not know how far its predecessor has committed before
	// something of its own term is.
	if g.settled.Load() != term {
		if err := g.appendEmpty(ctx); err != nil {
			return 0, err
		}
		if g.raft.CurrentTerm() != term {
			return 0, ErrNotLeader
		}
		g.settled.Store(term)
	}
	index := g.Committed()
	if _, err := await(ctx, g.pending, g.raft.VerifyLeader); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	// In another term the confirmation is not for what was read before it.
	if g.raft.CurrentTerm() != term {
		return 0, ErrNotLeader
	}
	return g.lastCommand(index), nil
}

// Barrier waits, on any node, until everything that was committed before is
// applied here. It looks for a leader until the context ends.
func (g *Group) Barrier(ctx context.Context) error {
	for {
		change := g.leader.next()
		index, err := g.readIndexOf(ctx)
		if err == nil {
			return g.Reach(ctx, index)
		}
		if held := g.hold(ctx, change); held != nil {
			return fmt.Errorf("wait for the log: %w: %w (%w)", ErrNoLeader, held, err)
		}
	}
}

// Reach waits until everything is applied here up to an index of the log, whoever leads.
func (g *Group) Reach(ctx context.Context, index uint64) error {
	if err := g.answers.reach(ctx, index); err != nil {
		return fmt.Errorf("wait for the log: entry %d is not applied here: %w", index, err)
	}
	return nil
}

// Settle waits until every command is answered that passed the gate of this node
// before: whoever closes the gate first knows then that no more will be applied.
func (g *Group) Settle() { g.gated.turn() }

// turnstile counts those inside, by who came before a turn and who after.
type turnstile struct {
	mu  sync.Mutex
	now *sync.WaitGroup
}

func (t *turnstile) enter() (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		t.now = new(sync.WaitGroup)
	}
	t.now.Add(1)
	return t.now.Done
}

// turn waits for those who are inside, not for those who come meanwhile.
func (t *turnstile) turn() {
	t.mu.Lock()
	before := t.now
	t.now = nil
	t.mu.Unlock()
	if before != nil {
		before.Wait()
	}
}

func (g *Group) readIndexOf(ctx context.Context) (uint64, error) {
	leader, ok := g.Leader()
	switch {
	case !ok:
		return 0, ErrNoLeader
	case leader.ID == g.opts.Server:
		return g.ReadIndex(ctx)
	case g.opts.ReadIndex == nil:
		return 0, ErrNotLeader
	}
	// Asking once more does no harm, so a leader that does not answer is not
	// waited for as long as the caller waits.
	asked, cancel := context.WithTimeout(ctx, holdFor/5)
	defer cancel()
	return g.opts.ReadIndex(asked, leader)
}

// lastCommand is the index of the last command at or below an index of the log.
// Raft's own entries never reach the state machine, which therefore cannot tell
// that they are done with.
func (g *Group) lastCommand(index uint64) uint64 {
	applied := g.answers.last()
	var l raft.Log
	for i := index; i > applied; i-- {
		if g.store.log.GetLog(i, &l) != nil {
			return applied // below is a snapshot, which the state holds
		}
		if l.Type == raft.LogCommand {
			return i
		}
	}
	return min(applied, index)
}

// Applied is the log index up to which this node's state is: it reaches
// Committed when nothing is to be applied.
func (g *Group) Applied() uint64 {
	handed := g.raft.AppliedIndex()
	command := g.lastCommand(handed)
	if done := g.answers.last(); done < command {
		return done
	}
	return handed
}

// Committed is the log index up to which this node knows entries to be
// committed. Raft does not count what came in a snapshot; it is applied.
func (g *Group) Committed() uint64 { return max(g.raft.CommitIndex(), g.raft.AppliedIndex()) }
