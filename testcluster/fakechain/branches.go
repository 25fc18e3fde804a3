package fakechain

import (
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
)

// ForgetDead has the chain know, from now on, nothing that is not on its
// canonical branch, like nodes that keep no side branches: whoever asks for a
// dead block gets null.
func (c *Chain) ForgetDead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetful = true
	c.forget()
}

// forget drops dead blocks if they are not to be kept. The caller holds mu.
func (c *Chain) forget() {
	if !c.forgetful {
		return
	}
	for hash, b := range c.byHash {
		if c.at(b.Number) != b {
			delete(c.byHash, hash)
		}
	}
	for hash, b := range c.byTx {
		if c.at(b.Number) != b {
			delete(c.byTx, hash)
		}
	}
}

// Switch makes the branch that ends with a known block the canonical one again,
// with further blocks on top, in one step, and returns the new head. Subscribers
// hear of all blocks that are canonical now and were not before.
func (c *Chain) Switch(to *Block, more ...[]Tx) *Block {
	c.mu.Lock()
	var branch []*Block
	for b := to; c.at(b.Number) != b; {
		branch = append(branch, b)
		parent := c.byHash[b.Parent]
		if parent == nil {
			c.mu.Unlock()
			panic(fmt.Sprintf("fakechain: block %v follows none that is known", b.Ref()))
		}
		b = parent
	}
	fork := to.Number - uint64(len(branch))
	c.canonical = c.canonical[:fork-c.opts.First+1]
	slices.Reverse(branch)
	for _, b := range branch {
		c.canonical = append(c.canonical, b)
		for _, t := range b.Txs {
			c.byTx[t.Hash] = b
		}
	}
	if len(more) > 0 {
		c.salt++
	}
	for _, txs := range more {
		branch = append(branch, c.append(txs))
	}
	c.forget()
	head := c.canonical[len(c.canonical)-1]
	c.mu.Unlock()
	c.announce(branch...)
	return head
}

// Find is the canonical block that holds a transaction, nil when none does.
func (c *Chain) Find(tx fsm.Hash) *Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.byTx[tx]; b != nil && c.at(b.Number) == b {
		return b
	}
	return nil
}
