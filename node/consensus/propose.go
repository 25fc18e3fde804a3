package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ozmo-dev/ozmo/fsm"
)

// holdFor is how long a proposal waits for a leader before it is refused, and
// how long one that was forwarded may take.
const holdFor = 5 * time.Second

// Propose commits a command from any node and answers with what the state
// machine made of it. When it returns without error, this node's state shows
// the change. The command's own refusals come back as they are. ErrNoLeader and
// ErrGated say that nothing was proposed; ErrUncertain that it may have been.
func (g *Group) Propose(ctx context.Context, c fsm.Command) (any, error) {
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("not proposed: %w", context.Cause(ctx))
	}
	start := time.Now()
	given, err := g.propose(ctx, entry)
	g.metrics.proposed(err, time.Since(start))
	if err != nil {
		return nil, err
	}
	return given.result, given.err
}

// propose finds the leader and has the entry appended, once. It tries again
// only while the entry is certain not to have been appended.
func (g *Group) propose(ctx context.Context, entry []byte) (answer, error) {
	held, cancel := context.WithTimeoutCause(ctx, holdFor, fmt.Errorf("waited %v", holdFor))
	defer cancel()
	var last error
	for {
		change := g.leader.next()
		if leader, ok := g.Leader(); ok {
			given, err := g.proposeTo(ctx, held, leader, entry)
			if !notAppended(err) {
				return given, err
			}
			last = err
		}
		if err := g.hold(held, change); err != nil {
			return answer{}, errors.Join(fmt.Errorf("%w: %w", ErrNoLeader, err), last)
		}
	}
}

func (g *Group) proposeTo(ctx, held context.Context, leader Server, entry []byte) (answer, error) {
	if leader.ID == g.opts.Server {
		_, given, err := g.append(ctx, entry)
		return given, err
	}
	if g.opts.Forward == nil {
		return answer{}, fmt.Errorf("%w, and has no way to %s, which does", ErrNotLeader, leader.ID)
	}
	sent, cancel := g.WhileLeads(held, leader)
	defer cancel()
	index, err := g.opts.Forward(sent, leader, entry)
	switch {
	case err == nil:
		return g.answers.wait(held, index)
	case notAppended(err), errors.Is(err, ErrGated), errors.Is(err, ErrUncertain):
		return answer{}, err
	default:
		return answer{}, fmt.Errorf("%w: %w", ErrUncertain, err)
	}
}

// forwardGrace is how long a leader that was replaced may still answer what was
// forwarded to it: one that hands over knows the outcome, one that is cut off
// would let its proposers wait for as long as they do.
const forwardGrace = 500 * time.Millisecond

var errReplaced = errors.New("the leader was replaced")

// WhileLeads is ctx until the leader has been replaced for a while: what it was asked, it
// may still answer for so long.
func (g *Group) WhileLeads(ctx context.Context, leader Server) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			change := g.leader.next()
			if now, ok := g.Leader(); !ok || now.ID != leader.ID {
				break
			}
			select {
			case <-change:
			case <-ctx.Done():
				return
			}
		}
		timer := time.NewTimer(forwardGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(errReplaced)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// ProposeEntry is the leader's end of Forward: it appends an encoded command
// and tells its log index once it is applied here. The error is ErrNotLeader or
// ErrGated when the entry was not appended, ErrUncertain when nobody knows.
func (g *Group) ProposeEntry(ctx context.Context, entry []byte) (index uint64, err error) {
	// An entry that cannot be read stops every node that applies it, so it is
	// read before it is appended. What this node is too old for is held back.
	switch _, err := fsm.Decode(entry); {
	case errors.Is(err, fsm.ErrUnknownCommand):
		return 0, fmt.Errorf("%w: the leader is of an older version: %w", ErrGated, err)
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrGated, err)
	}
	index, _, err = g.append(ctx, entry)
	return index, err
}

// append appends an entry here, if this node leads and the gate is open.
func (g *Group) append(ctx context.Context, entry []byte) (uint64, answer, error) {
	if !g.isLeader() {
		return 0, answer{}, ErrNotLeader
	}
	leave := g.gated.enter() // before the gate is asked: see Settle
	if g.opts.Gate != nil {
		if err := g.opts.Gate(fsm.Needs(entry)); err != nil {
			leave()
			return 0, answer{}, fmt.Errorf("%w: %w", ErrGated, err)
		}
	}
	return g.appendUngated(ctx, entry, leave)
}

// appendUngated appends an entry and calls answered once Raft has said what came
// of it, which may be after the caller has left.
func (g *Group) appendUngated(ctx context.Context, entry []byte, answered func()) (uint64, answer, error) {
	future, err := await(ctx, g.pending, func() raft.ApplyFuture {
		defer answered()
		g.commands.Add(1)
		f := g.raft.Apply(entry, holdFor)
		err := f.Error()
		if g.commands.Add(-1) == 0 && err == nil {
			g.followersLag()
		}
		return f
	})
	if errors.Is(err, errClosed) {
		answered() // it was not begun
	}
	g.watchdog.saw(err)
	if err := outcome(err); err != nil {
		return 0, answer{}, err
	}
	g.metrics.bytes.Add(float64(len(entry)))
	given, ok := future.Response().(answer)
	if !ok {
		return 0, answer{}, ErrUncertain
	}
	return future.Index(), given, nil
}

// hold waits for a change of leader, or a moment: what was tried may have
// failed with a leader that is known to others by now. The moment is random, so
// that those who wait do not come back all at once.
func (g *Group) hold(ctx context.Context, change <-chan struct{}) error {
	timer := time.NewTimer(20*time.Millisecond + rand.N(60*time.Millisecond))
	defer timer.Stop()
	select {
	case <-change:
	case <-timer.C:
	case <-g.closed:
		return errClosed
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}
