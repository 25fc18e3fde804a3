package fakechain

import (
	"fmt"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Options describe a chain. The zero value is usable.
type Options struct {
	ChainID    uint64 // 1 when not given
	First      uint64 // height of the first block
	TxPerBlock int    // transactions Extend puts into a block: 2 when 0, none when negative
	Seed       uint64 // chains of different seeds have different hashes
}

// Chain is a tree of blocks with one canonical branch.
type Chain struct {
	opts Options

	mu        sync.Mutex
	canonical []*Block // from First on, without gaps
	byHash    map[fsm.Hash]*Block
	byTx      map[fsm.Hash]*Block // newest block that holds a transaction
	salt      uint64              // makes blocks of different branches differ
	nonce     uint64
	ceiling   *uint64 // height that all endpoints claim to be the head
	listeners map[listener]struct{}
	sites     map[string]*Site
	forgetful bool // dead blocks are not known any more
}

// listener hears of every new canonical block.
type listener interface{ push(b *Block) }

// New makes a chain of one block.
func New(opts Options) *Chain {
	if opts.ChainID == 0 {
		opts.ChainID = 1
	}
	if opts.TxPerBlock == 0 {
		opts.TxPerBlock = 2
	}
	c := &Chain{
		opts: opts, byHash: map[fsm.Hash]*Block{}, byTx: map[fsm.Hash]*Block{},
		salt: opts.Seed << 20, listeners: map[listener]struct{}{}, sites: map[string]*Site{},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(c.filler())
	return c
}

// Extend adds n blocks with transactions of no interest and tells subscribers
// of each. It returns the head.
func (c *Chain) Extend(n int) *Block {
	var b *Block
	for range n {
		c.mu.Lock()
		b = c.append(c.filler())
		c.mu.Unlock()
		c.announce(b)
	}
	return b
}

// ExtendWith adds one block that holds exactly these transactions.
func (c *Chain) ExtendWith(txs ...Tx) *Block {
	c.mu.Lock()
	b := c.append(txs)
	c.mu.Unlock()
	c.announce(b)
	return b
}

// Reorg replaces the newest depth blocks by n others and returns the new head.
func (c *Chain) Reorg(depth, n int) *Block {
	branch := make([][]Tx, n)
	c.mu.Lock()
	for i := range branch {
		branch[i] = c.filler()
	}
	c.mu.Unlock()
	return c.ReorgWith(depth, branch...)
}

// ReorgWith replaces the newest depth blocks by blocks with the given
// transactions, in one step. A Tx taken from an old block keeps its hash.
func (c *Chain) ReorgWith(depth int, branch ...[]Tx) *Block {
	c.mu.Lock()
	if depth >= len(c.canonical) {
		c.mu.Unlock()
		panic(fmt.Sprintf("fakechain: reorg of %d blocks, the chain has %d", depth, len(c.canonical)))
	}
	c.canonical = c.canonical[:len(c.canonical)-depth]
	c.salt++
	added := make([]*Block, 0, len(branch))
	for _, txs := range branch {
		added = append(added, c.append(txs))
	}
	c.forget()
	head := c.canonical[len(c.canonical)-1]
	c.mu.Unlock()
	c.announce(added...)
	return head
}

// SetHead makes every endpoint claim an older block as the head and deny those
// above it, as a node does that fell behind. Subscribers hear nothing.
func (c *Chain) SetHead(height uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ceiling = &height
}

// ClearHead undoes SetHead.
func (c *Chain) ClearHead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ceiling = nil
}

// Head is the newest canonical block, whatever SetHead says.
func (c *Chain) Head() *Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.canonical[len(c.canonical)-1]
}

// At is the canonical block of a height, nil when there is none.
func (c *Chain) At(height uint64) *Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(height)
}

// ByHash finds a block on any branch, nil when there is none.
func (c *Chain) ByHash(hash fsm.Hash) *Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byHash[hash]
}

// Refs is the canonical branch, oldest first.
func (c *Chain) Refs() []fsm.BlockRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]fsm.BlockRef, len(c.canonical))
	for i, b := range c.canonical {
		out[i] = b.Ref()
	}
	return out
}

func (c *Chain) at(height uint64) *Block {
	if height < c.opts.First || height-c.opts.First >= uint64(len(c.canonical)) {
		return nil
	}
	return c.canonical[height-c.opts.First]
}

// append adds a block to the canonical branch. The caller holds mu.
func (c *Chain) append(txs []Tx) *Block {
	height, parent := c.opts.First, keccak([]byte("before the first block"), u64(c.opts.Seed))
	if n := len(c.canonical); n > 0 {
		height, parent = c.canonical[n-1].Number+1, c.canonical[n-1].Hash
	}
	for i := range txs {
		if txs[i].Hash.IsZero() {
			c.nonce++
			txs[i].finish(c.nonce, c.opts.Seed)
		}
	}
	b := build(height, parent, c.salt, txs)
	c.canonical = append(c.canonical, b)
	c.byHash[b.Hash] = b
	for _, t := range txs {
		c.byTx[t.Hash] = b
	}
	return b
}

// filler makes transactions that look like token transfers.
func (c *Chain) filler() []Tx {
	txs := make([]Tx, max(c.opts.TxPerBlock, 0))
	for i := range txs {
		c.nonce++
		seed := keccak(u64(c.nonce), u64(c.opts.Seed))
		txs[i] = Transfer(addressOf(seed[:20]), addressOf(seed[12:]), c.nonce)
		txs[i].Failed = c.nonce%7 == 0
		if txs[i].Failed {
			txs[i].Logs = nil
		}
		txs[i].finish(c.nonce, c.opts.Seed)
	}
	return txs
}

func (c *Chain) announce(blocks ...*Block) {
	c.mu.Lock()
	listeners := make([]listener, 0, len(c.listeners))
	for l := range c.listeners {
		listeners = append(listeners, l)
	}
	c.mu.Unlock()
	for _, l := range listeners {
		for _, b := range blocks {
			l.push(b)
		}
	}
}
