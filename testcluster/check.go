package testcluster

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Result is what a Check has counted.
type Result struct {
	Blocks     int // of all chains, whose transfers were to be delivered
	Deliveries int // taken by the receiver
	Duplicates int // of these, repetitions
}

// maxErrors is how many errors of a kind a failed check shows.
const maxErrors = 10

// Check brings the cluster to rest and fails the test unless all nodes have one
// state, every sequence is unbroken, and each transfer on the chain was
// delivered to every tenant; repetitions have the key of what they repeat.
func (c *Cluster) Check() Result {
	c.t.Helper()
	c.Rest()
	var errs []error
	errs = append(errs, c.seen.errors()...)
	errs = append(errs, c.Receiver.errors()...)
	errs = append(errs, c.checkStates()...)
	v := c.View()
	for slug := range c.chains {
		errs = append(errs, c.checkSequence(v, slug)...)
	}
	result, more := c.checkDeliveries()
	errs = append(errs, more...)
	if len(errs) > 0 {
		c.Fatalf("%d errors:\n%v", len(errs), errors.Join(errs[:min(len(errs), maxErrors)]...))
	}
	return result
}

// CheckOnce is Check where nothing went wrong: there may be no repetition.
func (c *Cluster) CheckOnce() Result {
	c.t.Helper()
	r := c.Check()
	if r.Duplicates > 0 {
		c.Fatalf("%d of %d deliveries are repetitions, without any fault", r.Duplicates, r.Deliveries)
	}
	return r
}

// checkStates compares the nodes' states, which are at one log index.
func (c *Cluster) checkStates() (errs []error) {
	var first []byte
	var of string
	var index uint64
	for _, m := range c.Running() {
		v := m.Node().View()
		var b bytes.Buffer
		if _, err := v.WriteTo(&b); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", m.Name, err))
			continue
		}
		switch {
		case first == nil:
			first, of, index = b.Bytes(), m.Name, v.Index()
		case v.Index() != index:
			errs = append(errs, fmt.Errorf("node %s is at log index %d, %s at %d", m.Name, v.Index(), of, index))
		case !bytes.Equal(first, b.Bytes()):
			errs = append(errs, fmt.Errorf("the states of %s and %s differ at log index %d", m.Name, of, index))
		}
	}
	return errs
}

// checkSequence follows a network's announcements from the first to the last:
// in short, as the state keeps them, and one by one, as they were seen.
func (c *Cluster) checkSequence(v *fsm.View, slug string) (errs []error) {
	n, ok := v.Network(slug)
	if !ok {
		return []error{fmt.Errorf("network %s is not there", slug)}
	}
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("network %s: "+format, append([]any{slug}, args...)...))
	}
	position, height := uint64(1), uint64(0)
	for r := range n.Runs() {
		if position == 1 && c.restored {
			position = r.Position // what an archive holds is moved up, above all that was used since
		}
		if r.Position != position {
			wrong("position %d follows %d", r.Position, position-1)
		}
		switch r.Kind {
		case fsm.Extend:
			if height != 0 && r.Height != height+1 {
				wrong("position %d: height %d follows %d", r.Position, r.Height, height)
			}
			height = r.Height + r.Count - 1
		case fsm.Rollback:
			if r.Height > height {
				wrong("position %d: rolls back to %d, the tip was at %d", r.Position, r.Height, height)
			}
			height = r.Height
		default:
			wrong("position %d: %v", r.Position, r.Kind)
		}
		position = r.Position + r.Count
	}
	if position != n.Next {
		wrong("the sequence ends before %d, the next position is %d", position, n.Next)
	}
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	known := c.seen.entries[slug]
	for p := uint64(2); p < n.Next; p++ {
		e, ok := known[p]
		before, okBefore := known[p-1]
		if !ok || !okBefore || e.Kind != fsm.Extend || before.Kind == fsm.Skip {
			continue // judged before anybody could look; the runs have it
		}
		if e.Parent != before.Ref.Hash || e.Ref.Height != before.Ref.Height+1 {
			wrong("position %d: block %v does not follow %v", p, e.Ref, before.Ref)
		}
	}
	return errs
}

// checkDeliveries compares what came with what the chains hold.
func (c *Cluster) checkDeliveries() (r Result, errs []error) {
	if c.opts.Idle || c.opts.Empty {
		return r, nil
	}
	type what struct{ tenant, network, tx string }
	type which struct{ tenant, network, tx, block, state string }
	got := map[what]bool{}
	keys := map[which]string{}
	uses := map[string]which{}
	for _, d := range c.Receiver.Deliveries() {
		r.Deliveries++
		got[what{d.Tenant, d.Network, d.Tx}] = true
		w := which{d.Tenant, d.Network, d.Tx, d.Block, d.State}
		key, repeated := keys[w]
		if repeated {
			r.Duplicates++
		}
		if repeated && key != d.Key {
			errs = append(errs, fmt.Errorf("%+v was delivered with key %s and with %s", w, key, d.Key))
		}
		if other, used := uses[d.Key]; used && other != w {
			errs = append(errs, fmt.Errorf("key %s is of %+v and of %+v", d.Key, w, other))
		}
		keys[w], uses[d.Key] = d.Key, w
	}
	for slug, s := range c.chains {
		head := s.chain.Head().Number
		for height := s.first; height != 0 && height+Depth <= head; height++ {
			b := s.chain.At(height)
			r.Blocks++
			for _, tx := range b.Txs {
				for i := range c.opts.Tenants {
					if !got[what{TenantName(i), slug, tx.Hash.String()}] {
						errs = append(errs, fmt.Errorf("network %s: tenant %s never got the transfer of block %v", slug, TenantName(i), b.Ref()))
					}
				}
			}
		}
	}
	return r, errs
}
