package node

import (
	"context"
	"time"
)

// lead does what the leader has to do, while this node is it. Whatever the
// leader before has left half done, the state tells.
func (n *Node) lead(ctx context.Context) {
	for ctx.Err() == nil {
		leads, changed := n.group.Leads()
		if !leads {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		term, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.term(term)
		}()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		end()
		<-done
	}
}

// term is one leadership.
func (n *Node) term(ctx context.Context) {
	// What was committed before is applied first: decisions rest on all of it.
	for n.group.Barrier(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	n.log.Info("this node leads", "term", n.group.Term())
	n.contacts.reset(time.Now())
	n.activity.Store(nil)
	r := newReconciler(n)
	r.run(ctx)
	n.contacts.clear()
	n.log.Info("this node leads no more")
}
