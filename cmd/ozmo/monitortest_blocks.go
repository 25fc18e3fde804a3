package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// fetcher fetches blocks of a network.
type fetcher struct {
	client  *chainevm.Client
	network string
	pause   time.Duration // before the first repetition
}

// fetchTries is how often a block is asked for before a test gives up.
const fetchTries = 3

func newFetcher(n *spec.Network, log *slog.Logger) (*fetcher, error) {
	opts := chainevm.Options{
		Options: rpc.Options{Network: n.Slug, Logger: log},
		ChainID: n.ChainID, BlockTime: n.BlockTime,
	}
	for _, u := range n.RPCURLs {
		if u.Weight > 0 {
			opts.Endpoints = append(opts.Endpoints, rpc.Endpoint{URL: u.URL.Value, Weight: int(u.Weight)})
		}
	}
	if len(opts.Endpoints) == 0 {
		return nil, fmt.Errorf("network %s has no endpoint to ask: rpc_urls needs one with a weight above 0", n.Slug)
	}
	client, err := chainevm.New(opts)
	if err != nil {
		return nil, err
	}
	return &fetcher{client: client, network: n.Slug, pause: 250 * time.Millisecond}, nil
}

// block fetches and decodes the block at a height.
func (f *fetcher) block(ctx context.Context, height uint64) (*chainevm.Block, error) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval = f.pause
	again := false
	got, err := backoff.Retry(ctx, func() (*chain.Block, error) {
		try := ctx
		if again {
			try = chain.Refetch(ctx)
		}
		again = true
		b, err := f.client.Block(try, height)
		if errors.Is(err, chain.ErrNotFound) || errors.Is(err, chain.ErrWrongChain) {
			err = backoff.Permanent(err)
		}
		return b, err
	}, backoff.WithBackOff(delays), backoff.WithMaxTries(fetchTries))
	if e, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = e.Unwrap()
	}
	switch {
	case errors.Is(err, chain.ErrNotFound):
		if head, headErr := f.client.Head(ctx); headErr == nil {
			return nil, fmt.Errorf("%w (the newest one of %s is %d)", err, f.network, head.Height)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	return chainevm.Decode(got.Payload)
}

// inOrder fetches the heights from..to, up to parallel of them at a time, and
// hands them to use one by one in ascending order. It returns when nothing that
// it started is running any more.
func inOrder[T any](ctx context.Context, from, to uint64, parallel int,
	fetch func(context.Context, uint64) (T, error), use func(uint64, T) error,
) error {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	// One fetch is being waited for, the others stand in line.
	line := make(chan chan result, parallel-1)
	running.Go(func() {
		defer close(line)
		for height := from; ; height++ {
			done := make(chan result, 1)
			select {
			case line <- done:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				value, err := fetch(ctx, height)
				done <- result{value, err}
			})
			if height == to {
				return
			}
		}
	})
	height := from
	for done := range line {
		r := <-done
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.err != nil {
			return fmt.Errorf("block %d: %w", height, r.err)
		}
		if err := use(height, r.value); err != nil {
			return err
		}
		height++
	}
	return context.Cause(ctx)
}

// readBlock reads a block from files. Warnings say what is odd about it.
func readBlock(o *testOptions) (b *chainevm.Block, warnings []string, err error) {
	var wrong mistakes
	part := func(flag, file string) json.RawMessage {
		if file == "" {
			return nil
		}
		result, err := readResult(file)
		if err != nil {
			wrong.addf("--%s %s: %v", flag, file, err)
		}
		return result
	}
	block := part("block-file", o.blockFile)
	receipts := part("receipts-file", o.receiptsFile)
	logs := part("logs-file", o.logFile)
	if err := wrong.err(); err != nil {
		return nil, nil, err
	}
	if err := fullTransactions(block); err != nil {
		return nil, nil, fmt.Errorf("--block-file %s: %w", o.blockFile, err)
	}
	if b, err = chainevm.DecodeParts(block, receipts, logs); err != nil {
		return nil, nil, err
	}
	if receipts == nil {
		warnings = append(warnings, "without --receipts-file the status and the gas used of transactions are unknown: conditions on them do not hold")
	} else if err := b.Complete(); err != nil {
		warnings = append(warnings, fmt.Sprintf("the files do not make a complete block, it is judged as it is: %v", err))
	}
	return b, warnings, nil
}

// readResult reads a JSON-RPC response, or its result alone.
func readResult(file string) (json.RawMessage, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSpace(data)
	var anything json.RawMessage
	if err := json.Unmarshal(data, &anything); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	var response struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if data[0] == '{' && json.Unmarshal(data, &response) == nil {
		switch {
		case response.Error != nil:
			return nil, fmt.Errorf("holds no result but an error: %s (code %d)", clean(response.Error.Message), response.Error.Code)
		case response.Result != nil:
			data = response.Result
		}
	}
	if bytes.Equal(data, []byte("null")) {
		return nil, errors.New("the result is null: the node does not have the block")
	}
	return data, nil
}

// fullTransactions refuses a block that lists its transactions by hash alone.
func fullTransactions(block json.RawMessage) error {
	var b struct {
		Transactions []json.RawMessage `json:"transactions"`
	}
	if err := json.Unmarshal(block, &b); err != nil {
		return errors.New("does not hold a block: expected the result of eth_getBlockByNumber")
	}
	if len(b.Transactions) > 0 && b.Transactions[0][0] == '"' {
		return errors.New("lists the transactions by their hashes alone: call eth_getBlockByNumber with true as the second parameter")
	}
	return nil
}
