package testcluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
)

// observed is what all nodes have shown of the sequences, whenever it was.
type observed struct {
	mu      sync.Mutex
	entries map[string]map[uint64]fsm.Entry // network -> position
	applied map[fsm.Hash]time.Time          // when a block's announcement was first applied on any node
	epochs  map[string]uint64               // newest of a network's lease
	errs    []error
	// replaced: an archive is being installed, under which positions may have other
	// announcements, node by node.
	replaced bool
}

func newObserved() *observed {
	return &observed{entries: map[string]map[uint64]fsm.Entry{}, applied: map[fsm.Hash]time.Time{}, epochs: map[string]uint64{}}
}

// follow looks at a node's state whenever a network changes, until ctx ends.
func (o *observed) follow(ctx context.Context, n *node.Node, networks []string) {
	var all sync.WaitGroup
	for _, slug := range networks {
		all.Go(func() {
			var index, next, epoch uint64
			for {
				changed := n.Changed(fsm.TopicNetwork(slug))
				v := n.View()
				if net, ok := v.Network(slug); ok {
					switch {
					case v.Index() < index:
						o.fail("node %s: the log index fell from %d to %d", n.Name(), index, v.Index())
					case net.Next < next:
						o.fail("node %s: network %s: the next position fell from %d to %d", n.Name(), slug, next, net.Next)
					case net.Lease.Epoch < epoch:
						o.fail("node %s: network %s: the epoch fell from %d to %d", n.Name(), slug, epoch, net.Lease.Epoch)
					}
					index, next, epoch = v.Index(), net.Next, net.Lease.Epoch
					o.note(n.Name(), net)
				}
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
			}
		})
	}
	all.Wait()
}

func (o *observed) fail(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// note compares what a node shows with what others have shown.
func (o *observed) note(name string, n *fsm.Network) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.entries[n.Key]
	if known == nil {
		known = map[uint64]fsm.Entry{}
		o.entries[n.Key] = known
	}
	for _, e := range n.Entries {
		if before, ok := known[e.Position]; ok {
			if !o.replaced && (before.Kind != e.Kind || before.Ref != e.Ref || before.Index != e.Index) {
				o.errs = append(o.errs, fmt.Errorf("node %s: network %s: position %d is %v %v of log index %d, elsewhere it was %v %v of %d",
					name, n.Key, e.Position, e.Kind, e.Ref, e.Index, before.Kind, before.Ref, before.Index))
			}
			continue
		}
		known[e.Position] = e
		if _, ok := o.applied[e.Ref.Hash]; !ok && e.Kind == fsm.Extend {
			o.applied[e.Ref.Hash] = time.Now()
		}
	}
	if tip, ok := n.Branch.Tip(); ok {
		if _, ok := o.applied[tip.Hash]; !ok {
			o.applied[tip.Hash] = time.Now()
		}
	}
	o.epochs[n.Key] = max(o.epochs[n.Key], n.Lease.Epoch)
}

// errors are the contradictions that were seen.
func (o *observed) errors() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.errs
}

// appliedAt is when a block's announcement was first applied anywhere.
func (o *observed) appliedAt(hash fsm.Hash) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.applied[hash]
	return at, ok
}

// Gap is the longest time, for blocks that came to be since, from a block being
// there to its announcement being applied on some node. Blocks that are no
// longer on the chain do not count.
func (c *Cluster) Gap(network string, since time.Time) time.Duration {
	s := c.chains[network]
	var longest time.Duration
	for _, ref := range s.chain.Refs() {
		s.mu.Lock()
		made, ok := s.made[ref.Hash]
		s.mu.Unlock()
		if !ok || made.Before(since) {
			continue
		}
		at, ok := c.seen.appliedAt(ref.Hash)
		if !ok {
			at = time.Now() // not yet
		}
		longest = max(longest, at.Sub(made))
	}
	return longest
}

// replace lets positions have other announcements until forget.
func (o *observed) replace() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replaced = true
}

// forget begins anew: from now on all nodes show the same again.
func (o *observed) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.entries)
	o.replaced = false
}

// epoch is the newest epoch that a network's lease was seen with.
func (o *observed) epoch(network string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epochs[network]
}
