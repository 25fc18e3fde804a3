package evm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// Options configure a Client. The fields of rpc.Options apply; its Verify is
// set by New.
type Options struct {
	rpc.Options

	// ChainID every endpoint must have. Nil: that of the first endpoint seen.
	ChainID *uint64

	// BlockTime is how often a block is expected, 12 s when not given. It
	// paces the look at the tip's hash while the height stands still.
	BlockTime time.Duration

	// Survey is for how long the height may stand still until all endpoints are
	// asked for it: five block times, at least 10 s, when not given.
	Survey time.Duration
}

// Client reads an EVM network.
type Client struct {
	network   string
	pool      *rpc.Pool
	blockTime time.Duration
	survey    time.Duration
	log       *slog.Logger

	mu      sync.Mutex
	chainID *uint64
	tip     tipWatch
}

var _ chain.Client = (*Client)(nil)

// New makes a client without connecting: endpoints that are down now may be up
// when they are asked.
func New(opts Options) (*Client, error) {
	c := &Client{network: opts.Network, blockTime: opts.BlockTime, survey: opts.Survey, log: opts.Logger}
	if c.blockTime <= 0 {
		c.blockTime = 12 * time.Second
	}
	if c.survey <= 0 {
		c.survey = max(surveyAfter*c.blockTime, surveyLeast)
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if opts.ChainID != nil {
		id := *opts.ChainID
		c.chainID = &id
	}
	opts.Verify = c.verify
	pool, err := rpc.NewPool(opts.Options)
	if err != nil {
		return nil, err
	}
	c.pool = pool
	return c, nil
}

// Counters tells how many calls were sent, by kind.
func (c *Client) Counters() rpc.Counters { return c.pool.Counters() }

// Close implements chain.Client.
func (c *Client) Close() error { return c.pool.Close() }

// verify compares an endpoint's chain with the network's.
func (c *Client) verify(ctx context.Context, endpoint string, caller rpc.Caller) error {
	id, err := askChainID(ctx, caller)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chainID == nil {
		c.chainID = &id
		c.log.Info("chain id learned from the first endpoint", "network", c.network, "endpoint", endpoint, "chain_id", id)
	}
	if *c.chainID != id {
		return fmt.Errorf("network %s: %w: %s has chain id %d, the network %d; correct rpc_urls or chain_id",
			c.network, chain.ErrWrongChain, endpoint, id, *c.chainID)
	}
	return nil
}

func askChainID(ctx context.Context, caller rpc.Caller) (uint64, error) {
	reply, err := caller.Call(ctx, "eth_chainId")
	if err == nil {
		defer reply.Release()
		id, err := quantity(reply.Result)
		if err != nil {
			return 0, fmt.Errorf("eth_chainId: %w", err)
		}
		return id, nil
	}
	if !rpc.IsMethodMissing(err) {
		return 0, err
	}
	// Old nodes: the network id is the chain id on all but a few old chains.
	if reply, err = caller.Call(ctx, "net_version"); err != nil {
		return 0, err
	}
	defer reply.Release()
	var s string
	if err := json.Unmarshal(reply.Result, &s); err != nil {
		return 0, errors.New("net_version: want a decimal number in a string")
	}
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errors.New("net_version: want a decimal number in a string")
	}
	return id, nil
}
