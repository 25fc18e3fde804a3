package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/miner"
)

const (
	// finalityDepth and safetyDepth are how far the finalized and safe tags stay
	// behind the head, as on a network with 32-slot epochs.
	finalityDepth = 64
	safetyDepth   = 32
)

var (
	errClosed = errors.New("the chain is shut down")

	feeRecipient = common.HexToAddress("0x00000000000000000000000000000000c0ffee00")
)

// blockRef names a block. Number is the height.
type blockRef struct {
	Number uint64      `json:"number"`
	Hash   common.Hash `json:"hash"`
}

func refOf(b *types.Block) blockRef { return blockRef{Number: b.NumberU64(), Hash: b.Hash()} }

// commit appends one block with whatever the pool holds.
func (c *chain) commit() (blockRef, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	block, err := c.extend()
	if err != nil {
		return blockRef{}, err
	}
	return refOf(block), nil
}

// extend builds and imports the next block. The caller holds mu.
func (c *chain) extend() (*types.Block, error) {
	if c.closed {
		return nil, errClosed
	}
	// The pool follows the head in the background; without this the block could
	// miss transactions that were accepted before the call.
	if err := c.pool.Sync(); err != nil {
		return nil, err
	}
	head := c.eth.BlockChain().CurrentBlock()
	block, err := c.build(head, nextTime(head.Time, uint64(time.Now().Unix())), nil, false, nil)
	if err != nil {
		return nil, err
	}
	if err := c.importBlock(block); err != nil {
		return nil, err
	}
	return block, c.setHead(block)
}

// nextTime is the timestamp (seconds) of a block on a parent, wanted as near to
// `want` as the protocol lets: strictly after the parent. With several blocks a
// second the chain's clock runs ahead of the wall's.
func nextTime(parent, want uint64) uint64 { return max(parent+1, want) }

// build makes a block on any known parent. Without txs it takes the pool's,
// unless empty is set.
func (c *chain) build(parent *types.Header, timestamp uint64, txs []*types.Transaction, empty bool, extra []byte) (*types.Block, error) {
	args := &miner.BuildPayloadArgs{
		Parent:       parent.Hash(),
		Timestamp:    timestamp,
		FeeRecipient: feeRecipient,
		Random:       parent.Hash(), // deterministic: there is nothing to win here
		BeaconRoot:   &common.Hash{},
	}
	block, _, err := c.eth.Miner().BuildTestingPayload(args, txs, empty, extra)
	if err != nil {
		return nil, fmt.Errorf("build block %d: %w", parent.Number.Uint64()+1, err)
	}
	return block, nil
}

// importBlock verifies and stores a block without making it the head.
func (c *chain) importBlock(block *types.Block) error {
	if _, err := c.eth.BlockChain().InsertBlockWithoutSetHead(context.Background(), block, false); err != nil {
		return fmt.Errorf("import block %d: %w", block.NumberU64(), err)
	}
	return nil
}

// setHead makes an imported block the head, which is a reorganisation if it does
// not follow the current one, and moves the safe and finalized tags.
func (c *chain) setHead(block *types.Block) error {
	bc := c.eth.BlockChain()
	if _, err := bc.SetCanonical(block); err != nil {
		return fmt.Errorf("make block %d the head: %w", block.NumberU64(), err)
	}
	number := block.NumberU64()
	bc.SetSafe(bc.GetHeaderByNumber(number - min(number, safetyDepth)))
	bc.SetFinalized(bc.GetHeaderByNumber(number - min(number, finalityDepth)))
	return nil
}
