package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
)

// maxCommit bounds the blocks of one dev_commit.
const maxCommit = 1000

// devAPI is the dev_ namespace. The node's RPC server calls its exported
// methods by reflection: Commit is dev_commit. Pointer arguments are optional.
// Numbers may be JSON numbers or strings, decimal or 0x-hexadecimal.
type devAPI struct {
	server *server
	ready  chan struct{} // closed when server is complete: the node listens a little earlier
}

func (a *devAPI) wait(ctx context.Context) (*server, error) {
	select {
	case <-a.ready:
		return a.server, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func orDefault[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}

// Commit makes n blocks (default 1) now and names them. It stops at the first
// that fails, or when the caller goes away.
func (a *devAPI) Commit(ctx context.Context, n *int) ([]blockRef, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return nil, err
	}
	count := orDefault(n, 1)
	if count < 1 || count > maxCommit {
		return nil, fmt.Errorf("commit %d blocks: the number must lie between 1 and %d", count, maxCommit)
	}
	refs := make([]blockRef, 0, count)
	for range count {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ref, err := s.chain.commit()
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// Reorg replaces the last depth blocks (default 1) by depth+extra new ones
// (extra: default 1). Mode is reinclude (default), drop or move.
func (a *devAPI) Reorg(ctx context.Context, depth, extra *int, mode *reorgMode) (reorgResult, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return reorgResult{}, err
	}
	return s.chain.reorg(orDefault(depth, 1), orDefault(extra, 1), orDefault(mode, modeReinclude))
}

// Transfer sends amount base units of the token between two accounts.
func (a *devAPI) Transfer(ctx context.Context, from, to int, amount math.HexOrDecimal256) (common.Hash, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	return s.chain.wallet.transfer(s.chain.token, from, to, (*big.Int)(&amount))
}

// FailingTransfer sends a transfer that is mined and reverts, from account 0 to
// account 1 unless told otherwise.
func (a *devAPI) FailingTransfer(ctx context.Context, from, to *int) (common.Hash, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	return s.chain.wallet.failingTransfer(s.chain.token, orDefault(from, 0), orDefault(to, 1))
}

// Order calls the token's order() with a tuple of the account `to`, amount and
// memo; it emits Ordered with the same tuple.
func (a *devAPI) Order(ctx context.Context, from, to int, amount math.HexOrDecimal256, memo string) (common.Hash, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	buyer, err := s.chain.wallet.account(to)
	if err != nil {
		return common.Hash{}, err
	}
	order := tokenOrder{Buyer: buyer.address, Amount: (*big.Int)(&amount), Memo: memo}
	return s.chain.wallet.call(from, s.chain.token, gasCall, "order", order)
}

// Tag calls the token's tag() with a bytes4, a uint96 and a bytes32[]; it emits
// Tagged.
func (a *devAPI) Tag(ctx context.Context, from int, kind hexutil.Bytes, weight math.HexOrDecimal256, marks *[]common.Hash) (common.Hash, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	if len(kind) != 4 {
		return common.Hash{}, fmt.Errorf("kind %s must have 4 bytes", kind)
	}
	if w := (*big.Int)(&weight); w.Sign() < 0 || w.BitLen() > 96 {
		return common.Hash{}, errors.New("weight must fit into 96 bits")
	}
	words := [][32]byte{}
	for _, mark := range orDefault(marks, nil) {
		words = append(words, mark)
	}
	return s.chain.wallet.call(from, s.chain.token, gasCall, "tag", [4]byte(kind), (*big.Int)(&weight), words)
}

// Deploy sends the creation of another token (default: by account 0).
func (a *devAPI) Deploy(ctx context.Context, from *int) (deployment, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return deployment{}, err
	}
	return s.chain.wallet.deploy(orDefault(from, 0))
}

// Traffic changes the generator's rate, if one is given, and tells what the
// generator did.
func (a *devAPI) Traffic(ctx context.Context, rate *float64) (trafficStats, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return trafficStats{}, err
	}
	if rate != nil {
		if !validRate(*rate) {
			return trafficStats{}, fmt.Errorf("rate %v must lie between 0 and %d transfers per second", *rate, maxRate)
		}
		s.traffic.setRate(*rate)
	}
	return s.traffic.snapshot(), nil
}

// ExpectedTransfers lists the Transfer events of the canonical chain from one
// height (default 0) to another (default: the head).
func (a *devAPI) ExpectedTransfers(ctx context.Context, from, to *math.HexOrDecimal64) (transferList, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return transferList{}, err
	}
	return s.chain.expectedTransfers(ctx, uint64(orDefault(from, 0)), (*uint64)(to))
}

// accountInfo is one funded account as of the head.
type accountInfo struct {
	Index        int            `json:"index"`
	Address      common.Address `json:"address"`
	PrivateKey   hexutil.Bytes  `json:"private_key"`
	Nonce        uint64         `json:"nonce"`         // next, as mined
	Balance      string         `json:"balance"`       // wei, decimal
	TokenBalance string         `json:"token_balance"` // base units, decimal
}

// Accounts lists the funded accounts with their keys.
func (a *devAPI) Accounts(ctx context.Context) ([]accountInfo, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return nil, err
	}
	return s.chain.accountInfos(ctx)
}

func (c *chain) accountInfos(ctx context.Context) ([]accountInfo, error) {
	c.mu.RLock() // all as of one head
	defer c.mu.RUnlock()
	if c.closed {
		return nil, errClosed
	}
	infos := make([]accountInfo, len(c.accounts))
	for i, acc := range c.accounts {
		nonce, err := c.client.NonceAt(ctx, acc.address, nil)
		if err != nil {
			return nil, fmt.Errorf("nonce of account %d: %w", i, err)
		}
		balance, err := c.client.BalanceAt(ctx, acc.address, nil)
		if err != nil {
			return nil, fmt.Errorf("balance of account %d: %w", i, err)
		}
		data, err := callData("balanceOf", acc.address)
		if err != nil {
			return nil, err
		}
		tokens, err := c.client.CallContract(ctx, ethereum.CallMsg{To: &c.token, Data: data}, nil)
		if err != nil {
			return nil, fmt.Errorf("token balance of account %d: %w", i, err)
		}
		infos[i] = accountInfo{
			Index: i, Address: acc.address, PrivateKey: crypto.FromECDSA(acc.key),
			Nonce: nonce, Balance: balance.String(), TokenBalance: new(big.Int).SetBytes(tokens).String(),
		}
	}
	return infos, nil
}

// info is what dev_info tells.
type info struct {
	readiness
	Seed        uint64       `json:"seed"`
	Head        blockRef     `json:"head"`
	Finalized   uint64       `json:"finalized"` // height
	AheadMS     int64        `json:"ahead_ms"`  // chain time less wall time, milliseconds
	BlockTimeMS int64        `json:"block_time_ms"`
	Reorgs      uint64       `json:"reorgs"`
	Pending     int          `json:"pending"` // transactions ready for the next block
	Traffic     trafficStats `json:"traffic"`
}

// Info tells the state of the chain.
func (a *devAPI) Info(ctx context.Context) (info, error) {
	s, err := a.wait(ctx)
	if err != nil {
		return info{}, err
	}
	c := s.chain
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return info{}, errClosed
	}
	head := c.eth.BlockChain().CurrentBlock()
	pending, _ := c.pool.Stats()
	return info{
		readiness: s.readiness(), Seed: s.opts.seed,
		Head:        blockRef{Number: head.Number.Uint64(), Hash: head.Hash()},
		Finalized:   c.eth.BlockChain().CurrentFinalBlock().Number.Uint64(),
		AheadMS:     time.Until(time.Unix(int64(head.Time), 0)).Milliseconds(),
		BlockTimeMS: s.opts.blockTime.Milliseconds(),
		Reorgs:      c.forks, Pending: pending, Traffic: s.traffic.snapshot(),
	}, nil
}
