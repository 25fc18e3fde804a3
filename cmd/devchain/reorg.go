package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

const (
	// maxReorgDepth keeps the finalized block, finalityDepth behind the head, out
	// of every reorganisation, and well within the states the node keeps.
	maxReorgDepth = 64
	// maxReorgExtra bounds how much longer the new branch may be.
	maxReorgExtra = 64
)

// errReorgDepth is returned for a depth the chain is too short for.
var errReorgDepth = errors.New("reorg depth out of range")

// reorgResult tells what a reorganisation did.
type reorgResult struct {
	Mode    reorgMode  `json:"mode"`
	Depth   int        `json:"depth"`
	Fork    blockRef   `json:"fork"`   // the last common block
	Dead    []blockRef `json:"dead"`   // ascending
	Blocks  []blockRef `json:"blocks"` // the new branch, ascending
	Kept    []txPlace  `json:"kept"`   // dead transactions that are in the new branch
	Dropped []txPlace  `json:"dropped"`
}

// txPlace is a transaction and the heights of its blocks. To is 0 when the
// transaction is in no block any more.
type txPlace struct {
	Hash common.Hash `json:"tx_hash"`
	From uint64      `json:"from_block"`
	To   uint64      `json:"to_block,omitempty"`
}

// reorg replaces the last depth blocks by depth+extra new ones. The branch is
// built and imported aside; then one step makes it canonical, as when a node
// follows a better branch.
func (c *chain) reorg(depth, extra int, mode reorgMode) (reorgResult, error) {
	if err := mode.validate(); err != nil {
		return reorgResult{}, err
	}
	if extra < 1 || extra > maxReorgExtra {
		return reorgResult{}, fmt.Errorf("reorg extra %d must lie between 1 and %d", extra, maxReorgExtra)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return reorgResult{}, errClosed
	}
	if most := c.deepestReorg(); depth < 1 || depth > most {
		return reorgResult{}, fmt.Errorf("%w: %d is not between 1 and %d (at most %d, and never below block %d)",
			errReorgDepth, depth, most, maxReorgDepth, c.setup)
	}
	head := c.eth.BlockChain().CurrentBlock().Number.Uint64()
	fork := c.eth.BlockChain().GetHeaderByNumber(head - uint64(depth))
	dead := c.blocksAfter(fork)
	plan, err := c.deadTransactions(dead)
	if err != nil {
		return reorgResult{}, err
	}
	branch, err := c.buildBranch(fork, depth+extra, dead, planBranch(mode, plan))
	if err != nil {
		return reorgResult{}, err
	}
	if err := c.switchTo(branch[len(branch)-1], plan, mode); err != nil {
		return reorgResult{}, err
	}
	return describeReorg(mode, fork, dead, branch), nil
}

// deepestReorg is the greatest depth possible now. The caller holds mu.
func (c *chain) deepestReorg() int {
	head := c.eth.BlockChain().CurrentBlock().Number.Uint64()
	return int(min(head-c.setup, maxReorgDepth))
}

func (c *chain) blocksAfter(fork *types.Header) []*types.Block {
	var blocks []*types.Block
	bc := c.eth.BlockChain()
	for number := fork.Number.Uint64() + 1; number <= bc.CurrentBlock().Number.Uint64(); number++ {
		blocks = append(blocks, bc.GetBlockByNumber(number))
	}
	return blocks
}

func (c *chain) deadTransactions(dead []*types.Block) ([]placed[*types.Transaction], error) {
	var all []placed[*types.Transaction]
	for i, block := range dead {
		for _, tx := range block.Transactions() {
			sender, err := types.Sender(c.wallet.signer, tx)
			if err != nil {
				return nil, fmt.Errorf("sender of transaction %s: %w", tx.Hash(), err)
			}
			all = append(all, placed[*types.Transaction]{tx: tx, sender: sender, block: i})
		}
	}
	return all, nil
}

// buildBranch builds and imports length blocks on fork. A transaction that its
// block cannot take is tried again in the next one.
func (c *chain) buildBranch(fork *types.Header, length int, dead []*types.Block, plan []placed[*types.Transaction]) ([]*types.Block, error) {
	// The extra data makes every block of every branch differ from the dead ones,
	// with or without transactions.
	extra := fmt.Appendf(nil, "devchain fork %d", c.forks+1)
	branch := make([]*types.Block, 0, length)
	parent := fork
	var waiting []*types.Transaction
	for i := range length {
		for _, p := range plan {
			if p.block == i {
				waiting = append(waiting, p.tx)
			}
		}
		want := uint64(time.Now().Unix())
		if i < len(dead) {
			want = dead[i].Time()
		}
		block, rest, err := c.buildWith(parent, nextTime(parent.Time, want), waiting, extra)
		if err != nil {
			return nil, err
		}
		if err := c.importBlock(block); err != nil {
			return nil, err
		}
		waiting, parent = rest, block.Header()
		branch = append(branch, block)
	}
	return branch, nil
}

// buildWith builds a block with the given transactions and returns those that
// would not go in (a block is full, or a fee no longer suffices).
func (c *chain) buildWith(parent *types.Header, timestamp uint64, txs []*types.Transaction, extra []byte) (*types.Block, []*types.Transaction, error) {
	block, err := c.build(parent, timestamp, txs, len(txs) == 0, extra)
	if err == nil || len(txs) == 0 {
		return block, nil, err
	}
	// The node refuses the whole list for one bad entry: find out which fit.
	if block, err = c.build(parent, timestamp, nil, true, extra); err != nil {
		return nil, nil, err
	}
	var fit, rest []*types.Transaction
	for _, tx := range txs {
		next, err := c.build(parent, timestamp, append(slices.Clone(fit), tx), false, extra)
		if err != nil {
			rest = append(rest, tx)
			continue
		}
		fit, block = append(fit, tx), next
	}
	return block, rest, nil
}

// switchTo makes the branch canonical and clears up the pool: the node itself
// puts dead transactions back into it, which is right for those that moved, and
// wrong for those that are to be gone.
func (c *chain) switchTo(tip *types.Block, dead []placed[*types.Transaction], mode reorgMode) error {
	c.wallet.mu.Lock()
	defer c.wallet.mu.Unlock()
	defer c.wallet.forget()
	if err := c.setHead(tip); err != nil {
		return err
	}
	c.forks++
	if err := c.pool.Sync(); err != nil {
		return err
	}
	if mode == modeMove {
		return nil
	}
	gone := map[common.Hash]bool{}
	for _, p := range dead {
		gone[p.tx.Hash()] = true
	}
	state, err := c.eth.BlockChain().StateAt(tip.Root(), tip.Number(), tip.Time())
	if err != nil {
		return fmt.Errorf("read the state of block %d: %w", tip.NumberU64(), err)
	}
	pending, queued := c.pool.Content()
	c.pool.Clear()
	var keep []*types.Transaction
	for sender, txs := range pending {
		next := state.GetNonce(sender)
		for _, tx := range append(txs, queued[sender]...) {
			// Behind a gap nothing can follow: it would wait for a nonce that the
			// sender is going to use for something else.
			if tx.Nonce() != next || gone[tx.Hash()] {
				break
			}
			keep = append(keep, tx)
			next++
		}
	}
	// A transaction the pool will not take again is lost, as on a real network.
	c.pool.Add(keep, true)
	return nil
}

func describeReorg(mode reorgMode, fork *types.Header, dead, branch []*types.Block) reorgResult {
	result := reorgResult{
		Mode: mode, Depth: len(dead), Fork: blockRef{Number: fork.Number.Uint64(), Hash: fork.Hash()},
		Kept: []txPlace{}, Dropped: []txPlace{},
	}
	now := map[common.Hash]uint64{}
	for _, block := range branch {
		result.Blocks = append(result.Blocks, refOf(block))
		for _, tx := range block.Transactions() {
			now[tx.Hash()] = block.NumberU64()
		}
	}
	for _, block := range dead {
		result.Dead = append(result.Dead, refOf(block))
		for _, tx := range block.Transactions() {
			place := txPlace{Hash: tx.Hash(), From: block.NumberU64(), To: now[tx.Hash()]}
			if place.To > 0 {
				result.Kept = append(result.Kept, place)
			} else {
				result.Dropped = append(result.Dropped, place)
			}
		}
	}
	return result
}
