package node

import (
	"errors"
	"slices"
	"time"
)

// cleanup is what has to be undone, last first.
type cleanup []func() error

func (c *cleanup) push(f func() error) { *c = append(*c, f) }

func (c *cleanup) run() error {
	var errs []error
	for _, undo := range slices.Backward(*c) {
		errs = append(errs, undo())
	}
	*c = nil
	return errors.Join(errs...)
}

// die ends the node: it cannot keep what it promises any more.
func (n *Node) die(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// stopPatience is how long Stop lets loops finish what they are at.
const stopPatience = 10 * time.Second

// Stop hands the node's work to the others, as far as there are any, ends what
// is left and releases the files. What was not recorded is done again after the
// next start.
func (n *Node) Stop() error {
	n.health.draining.Store(true)
	if n.pulse != nil {
		n.pulse.leaving.Store(true)
	}
	n.handOver()
	return n.end()
}

// Kill ends the node as a crash would: nothing is handed over. For tests.
func (n *Node) Kill() error {
	n.health.draining.Store(true)
	return n.end()
}

func (n *Node) end() error {
	if n.stop != nil {
		n.stop()
	}
	n.news.close()
	done := make(chan struct{})
	go func() { n.loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopPatience):
		n.log.Warn("some work did not end in time; it is done again after the next start")
	}
	return n.clean.run()
}
