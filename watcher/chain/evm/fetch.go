package evm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

const (
	methodReceipts = "eth_getBlockReceipts"
	methodReceipt  = "eth_getTransactionReceipt"
	methodLogs     = "eth_getLogs"

	triesAtEndpoint  = 2   // complete fetches of a block from one endpoint
	receiptsInBatch  = 100 // providers refuse much larger batches
	parallelReceipts = 8
)

// Block implements chain.Client: two calls, sent together to one endpoint.
// They are not a batch: nodes answer the calls of a batch one after the other.
func (c *Client) Block(ctx context.Context, height uint64) (*chain.Block, error) {
	return c.fetch(ctx, selector{height: height})
}

// BlockByHash implements chain.Client.
func (c *Client) BlockByHash(ctx context.Context, hash fsm.Hash) (*chain.Block, error) {
	return c.fetch(ctx, selector{hash: hash})
}

// selector names the block to fetch, by height unless the hash is set.
type selector struct {
	height uint64
	hash   fsm.Hash
}

func (s selector) method() string {
	if s.hash.IsZero() {
		return "eth_getBlockByNumber"
	}
	return "eth_getBlockByHash"
}

func (s selector) param() string {
	if s.hash.IsZero() {
		return "0x" + strconv.FormatUint(s.height, 16)
	}
	return s.hash.String()
}

func (s selector) String() string {
	if s.hash.IsZero() {
		return "block " + strconv.FormatUint(s.height, 10)
	}
	return "block " + s.hash.Short()
}

// check compares an answered block with the one asked for.
func (s selector) check(b *Block) error {
	switch {
	case b.Hash.IsZero():
		return fmt.Errorf("%w: it has no hash", chain.ErrIncomplete)
	case s.hash.IsZero() && b.Number != s.height:
		return fmt.Errorf("%w: the endpoint answered height %d", chain.ErrIncomplete, b.Number)
	case !s.hash.IsZero() && b.Hash != s.hash:
		return fmt.Errorf("%w: the endpoint answered hash %s", chain.ErrIncomplete, b.Hash.Short())
	}
	return nil
}

func (c *Client) fetch(ctx context.Context, s selector) (*chain.Block, error) {
	kind := rpc.BlockFetch
	if chain.IsRefetch(ctx) {
		kind = rpc.Refetch
	}
	block, err := rpc.Do(ctx, c.pool, kind, methodReceipts, func(ctx context.Context, conn *rpc.Conn) (*chain.Block, error) {
		var err error
		for range triesAtEndpoint {
			var p parts
			if p, err = fetchParts(ctx, conn, s); err != nil {
				return nil, err
			}
			var block *chain.Block
			if block, err = p.assemble(s); err == nil {
				return block, nil
			}
			// The branch changed between the two calls, or the node writes
			// receipts a moment after the block: worth one more question.
			conn = conn.As(rpc.Refetch)
		}
		return nil, fmt.Errorf("%s: %w", conn.Endpoint(), err)
	})
	if err != nil {
		return nil, fmt.Errorf("network %s: %s: %w", c.network, s, err)
	}
	return block, nil
}

// guarded keeps a panic from ending the process where no caller could catch
// it: in a goroutine of our own.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// parts are the answers a block is made of.
type parts struct {
	block, receipts, logs json.RawMessage
	replies               []*rpc.Reply // whose memory the parts are
}

// assemble makes a block of parts that fit together, and releases them.
func (p *parts) assemble(s selector) (*chain.Block, error) {
	defer p.release()
	b, err := DecodeParts(p.block, p.receipts, p.logs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", chain.ErrIncomplete, err)
	}
	if err := s.check(b); err != nil {
		return nil, err
	}
	if err := b.Complete(); err != nil {
		return nil, fmt.Errorf("%w: %w", chain.ErrIncomplete, err)
	}
	payload := Payload(p.block, p.receipts, p.logs)
	// The decoder is lenient; what becomes part of a message must be JSON.
	if !json.Valid(payload) {
		return nil, fmt.Errorf("%w: block %s: the endpoint's answer is not valid JSON", chain.ErrIncomplete, b.Ref())
	}
	return &chain.Block{
		Ref:     b.Ref(),
		Parent:  b.ParentHash,
		Time:    time.Unix(int64(b.Timestamp), 0).UTC(), //nolint:gosec // a far-off time is the node's problem
		Payload: payload,
	}, nil
}

func (p *parts) release() {
	for _, r := range p.replies {
		r.Release()
	}
}

// fetchParts asks one endpoint for everything. On an error nothing is kept.
func fetchParts(ctx context.Context, conn *rpc.Conn, s selector) (p parts, err error) {
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	var block, receipts *rpc.Reply
	var blockErr, receiptsErr error
	var g errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lacks := conn.Lacks(methodReceipts)
	if !lacks {
		g.Go(func() error {
			receiptsErr = guarded(func() (err error) {
				receipts, err = conn.Call(ctx, methodReceipts, s.param())
				return err
			})
			return nil
		})
	}
	block, blockErr = conn.Call(ctx, s.method(), s.param(), true)
	if blockErr != nil {
		cancel() // the receipts are of no use alone
	}
	_ = g.Wait() // errors are kept apart
	p.replies = []*rpc.Reply{block, receipts}
	switch {
	case blockErr != nil:
		return p, blockErr
	case block.Null():
		return p, fmt.Errorf("%s: %w", conn.Endpoint(), chain.ErrNotFound)
	case lacks || rpc.IsMethodMissing(receiptsErr):
		p.block = block.Result
		err = p.single(ctx, conn)
		return p, err
	case receiptsErr != nil:
		return p, receiptsErr
	}
	p.block = block.Result
	if !receipts.Null() {
		p.receipts = receipts.Result
	}
	return p, nil
}

// single fetches the receipts one by one and the logs at once, for endpoints
// without eth_getBlockReceipts.
func (p *parts) single(ctx context.Context, conn *rpc.Conn) error {
	b, err := DecodeParts(p.block, nil, nil)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", conn.Endpoint(), chain.ErrIncomplete, err)
	}
	list, err := singleReceipts(ctx, conn, b)
	if err != nil {
		return err
	}
	p.receipts = append(append([]byte{'['}, bytes.Join(list, []byte{','})...), ']')
	if len(list) == 0 || conn.Lacks(methodLogs) {
		return nil
	}
	logs, err := conn.Call(ctx, methodLogs, map[string]string{"blockHash": b.Hash.String()})
	switch {
	case rpc.IsMethodMissing(err):
		return nil // the logs of the receipts must do; the bloom checks them
	case err != nil:
		return err
	}
	p.replies = append(p.replies, logs)
	if !logs.Null() {
		p.logs = logs.Result
	}
	return nil
}

// singleReceipts are in the order of the transactions. They are asked for in
// batches, or alone where the endpoint takes no batches.
func singleReceipts(ctx context.Context, conn *rpc.Conn, b *Block) ([][]byte, error) {
	out := make([][]byte, len(b.Transactions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReceipts)
	size := receiptsInBatch
	if conn.Lacks(rpc.Batches) {
		size = 1
	}
	for start := 0; start < len(out); start += size {
		end := min(start+size, len(out))
		g.Go(func() error {
			return guarded(func() error { return receiptRange(ctx, conn, b.Transactions[start:end], out[start:end]) })
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("receipts one by one: %w", err)
	}
	return out, nil
}

func receiptRange(ctx context.Context, conn *rpc.Conn, transactions []Transaction, out [][]byte) error {
	if len(transactions) > 1 && !conn.Lacks(rpc.Batches) {
		requests := make([]rpc.Request, len(transactions))
		for i := range transactions {
			requests[i] = rpc.Request{Method: methodReceipt, Params: []any{transactions[i].Hash.String()}}
		}
		answers, reply, err := conn.Batch(ctx, requests)
		if err == nil {
			defer reply.Release()
			for i, a := range answers {
				if a.Err != nil {
					return a.Err
				}
				out[i] = bytes.Clone(a.Result)
			}
			return nil
		}
		if !conn.Lacks(rpc.Batches) { // as far as the refusal told
			return err
		}
	}
	for i := range transactions {
		reply, err := conn.Call(ctx, methodReceipt, transactions[i].Hash.String())
		if err != nil {
			return err
		}
		out[i] = bytes.Clone(reply.Result)
		reply.Release()
	}
	return nil
}
