package main

import (
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

var transferTopic = crypto.Keccak256Hash([]byte("Transfer(address,address,uint256)"))

// transferEvent is one Transfer event of the canonical chain.
type transferEvent struct {
	BlockNumber uint64         `json:"block_number"`
	BlockHash   common.Hash    `json:"block_hash"`
	TxHash      common.Hash    `json:"tx_hash"`
	TxIndex     uint           `json:"tx_index"`
	LogIndex    uint           `json:"log_index"`
	Token       common.Address `json:"token"`
	From        common.Address `json:"from"`
	To          common.Address `json:"to"`
	Value       string         `json:"value"` // base units, decimal
}

// transferList is the answer of dev_expectedTransfers: all Transfer events, of
// any token, from one height to another, as of one head.
type transferList struct {
	Head      blockRef        `json:"head"`
	FromBlock uint64          `json:"from_block"`
	ToBlock   uint64          `json:"to_block"`
	Transfers []transferEvent `json:"transfers"`
}

// expectedTransfers asks the node itself, while the head stands still. A nil end
// means the head; an end above the head is taken for the head.
func (c *chain) expectedTransfers(ctx context.Context, from uint64, to *uint64) (transferList, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return transferList{}, errClosed
	}
	head := c.eth.BlockChain().CurrentBlock()
	end := head.Number.Uint64()
	if to != nil {
		end = min(end, *to)
	}
	list := transferList{
		Head:      blockRef{Number: head.Number.Uint64(), Hash: head.Hash()},
		FromBlock: from, ToBlock: end, Transfers: []transferEvent{},
	}
	if from > end {
		return list, nil
	}
	logs, err := c.client.FilterLogs(ctx, ethereum.FilterQuery{
		FromBlock: new(big.Int).SetUint64(from),
		ToBlock:   new(big.Int).SetUint64(end),
		Topics:    [][]common.Hash{{transferTopic}},
	})
	if err != nil {
		return transferList{}, fmt.Errorf("read the logs of blocks %d to %d: %w", from, end, err)
	}
	for i := range logs {
		if event, ok := transferOf(&logs[i]); ok {
			list.Transfers = append(list.Transfers, event)
		}
	}
	return list, nil
}

// transferOf reads an ERC-20 Transfer. ERC-721 has an event of the same name and
// topic, told apart by a fourth topic; contracts that others deployed may emit it.
func transferOf(l *types.Log) (transferEvent, bool) {
	if len(l.Topics) != 3 || len(l.Data) != 32 {
		return transferEvent{}, false
	}
	return transferEvent{
		BlockNumber: l.BlockNumber, BlockHash: l.BlockHash, TxHash: l.TxHash, TxIndex: l.TxIndex, LogIndex: l.Index,
		Token: l.Address,
		From:  common.BytesToAddress(l.Topics[1].Bytes()),
		To:    common.BytesToAddress(l.Topics[2].Bytes()),
		Value: new(big.Int).SetBytes(l.Data).String(),
	}, true
}
