package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

const (
	emptyPatience = 5 * time.Minute // for a node to give all its work away
	lookAgain     = 300 * time.Millisecond
	askAgain      = 5 * time.Second // for a removal that was not possible yet
)

func newNodeDrain() *cobra.Command {
	var node reach
	var noWait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node give its work to the others",
		Long: `Have a node give its tenants and networks to the others, without a gap and
without a second delivery, and take none until ` + "`ozmo node undrain`" + `. The command
returns once the node has nothing left. It stays a member and keeps a copy of
everything, but another node votes in its place where there is one.`,
		Example: `  ozmo node drain c
  ozmo node drain c --no-wait
  ozmo node drain c && ssh c sudo reboot`,
		Args: exactArgs("NODE"),
	}
	node.register(cmd)
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	cmd.Flags().DurationVar(&timeout, "timeout", emptyPatience, "how long to wait until the node has nothing left")
	completeArgs(cmd, &node, nodeNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, out := args[0], cmd.OutOrStdout()
		err := tell(cmd.Context(), &node, func(ctx context.Context, c *client.Client) error { return c.DrainNode(ctx, name, true) })
		if err != nil {
			return err
		}
		if noWait {
			_, err = fmt.Fprintf(out, "node %s gives its work away; `ozmo status` shows how far it is\n", name)
			return err
		}
		w := newEmptying(cmd.ErrOrStderr(), name)
		defer w.end()
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		if err := w.wait(ctx, node.client()); err != nil {
			return w.giveUp(cmd.Context(), timeout, err, "it goes on giving its work away, see `ozmo status`")
		}
		w.end()
		_, err = fmt.Fprintf(out, "node %s is drained: it has no tenant and no lease\n", name)
		return err
	}
	return cmd
}

func newNodeRemove() *cobra.Command {
	var node reach
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster for good",
		Long: `Take a node out of the cluster for good: it is drained, then the Raft group lets
it go, then it is forgotten. It is refused where those who stay could not decide
anything without it. If the node leads, the leadership is passed on first.

A node that is removed and started again with its old data directory cannot take
part: empty the directory, and have it join as a new node.`,
		Example: `  ozmo node remove c
  ozmo node remove c --timeout 15m`,
		Args: exactArgs("NODE"),
	}
	node.register(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", emptyPatience, "how long to wait until the node is empty and gone")
	completeArgs(cmd, &node, nodeNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		w := newEmptying(cmd.ErrOrStderr(), name)
		defer w.end()
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		if err := w.remove(ctx, node.client()); err != nil {
			return w.giveUp(cmd.Context(), timeout, err, "it takes no work and is still a member; repeat the command, or take it back with `ozmo node undrain`")
		}
		w.end()
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s is removed: stop it, if it still runs, and empty its data directory before it is used again\n", name)
		return err
	}
	return cmd
}

// emptying shows how a node gets empty.
type emptying struct {
	w    io.Writer
	name string
	left string // as shown last
	bar  bool   // the last line can be written over
}

func newEmptying(w io.Writer, name string) *emptying { return &emptying{w: w, name: name} }

// look shows what the node still has, when that has changed. It reports whether
// that is nothing.
func (e *emptying) look(s *api.Status) (empty bool, err error) {
	i := slices.IndexFunc(s.Nodes, func(n api.NodeStatus) bool { return n.Name == e.name })
	if i < 0 {
		return false, fmt.Errorf("node %q is not in the cluster any more", e.name)
	}
	n := s.Nodes[i]
	left := fmt.Sprintf("node %s still has %s and %s", e.name, count(n.Tenants, "tenant"), count(n.Leases, "lease"))
	empty = n.Tenants == 0 && n.Leases == 0
	if left != e.left && !empty {
		e.say(left)
		e.left = left
	}
	return empty, nil
}

// say writes a line; on a terminal the next one takes its place.
func (e *emptying) say(text string) {
	if e.bar = isTerminal(e.w); e.bar {
		fmt.Fprintf(e.w, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(e.w, text)
}

// end leaves a terminal's line.
func (e *emptying) end() {
	if e.bar {
		fmt.Fprint(e.w, "\r\x1b[K")
		e.bar = false
	}
}

// wait polls until the node is empty. Questions that are not answered are put
// again: the leader may be changing.
func (e *emptying) wait(ctx context.Context, c *client.Client) error {
	return e.poll(ctx, c, e.look)
}

func (e *emptying) poll(ctx context.Context, c *client.Client, done func(*api.Status) (bool, error)) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	var last error
	for {
		s, err := c.Status(ctx)
		switch {
		case err == nil && s.Leader == "":
			last = errors.New("the cluster has no leader")
		case err == nil:
			end, err := done(&s)
			if end || err != nil {
				return err
			}
			last = nil
		case ctx.Err() == nil:
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(errTooLate, last)
		case <-tick.C:
		}
	}
}

// remove drains the node and asks for its removal until it is done, refused or
// too late, and shows meanwhile how the node gets empty. Drained first, a node
// that leads or alone votes gets a voter beside it that can take over.
func (e *emptying) remove(ctx context.Context, c *client.Client) error {
	if err := c.DrainNode(ctx, e.name, true); err != nil {
		return err
	}
	refused := "" // why, as told last
	for {
		done := make(chan error, 1)
		asking, stop := context.WithCancel(ctx)
		go func() {
			defer stop()
			done <- c.RemoveNode(ctx, e.name)
		}()
		_ = e.poll(asking, c, func(s *api.Status) (bool, error) { // only to show it
			_, err := e.look(s)
			return err != nil, nil
		})
		err := <-done
		if ctx.Err() != nil || !errors.Is(err, api.ErrUnavailable) {
			return err
		}
		e.end()
		e.left = err.Error()
		if e.left != refused {
			refused = e.left
			e.say(refused)
		}
		settling, enough := context.WithTimeout(ctx, askAgain)
		_ = e.poll(settling, c, e.settled) // the next answer tells
		enough()
		if ctx.Err() != nil {
			return errTooLate
		}
	}
}

// settled reports whether a leader, which is not the node itself, has heard of
// those who vote: it can judge then whether the node may go.
func (e *emptying) settled(s *api.Status) (bool, error) {
	for _, n := range s.Nodes {
		votes := n.Raft == api.RaftVoter || n.Raft == api.RaftLeader
		if votes && n.Contact < 0 && n.State != api.NodeDown && n.State != api.NodeLeft {
			return false, nil
		}
	}
	return s.Leader != e.name, nil
}

// errTooLate: the time that was given for it is over.
var errTooLate = errors.New("the time is over")

// giveUp explains why the wait is over; later is what holds all the same.
func (e *emptying) giveUp(parent context.Context, timeout time.Duration, err error, later string) error {
	e.end()
	switch {
	case parent.Err() != nil:
		return fmt.Errorf("%w: %s", errInterrupted, later)
	case !errors.Is(err, errTooLate) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case e.left != "":
		return fmt.Errorf("after %v %s: %s", timeout, e.left, later)
	default:
		return fmt.Errorf("not done after %v (%w): %s", timeout, err, later)
	}
}
