package evm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

const methodHeight = "eth_blockNumber"

// Head asks one endpoint for the newest height, as a rule. An endpoint that is
// well below what was seen before is passed over. While the height stands
// still or falls, the tip's hash is asked for as well, once per two block
// times: the tip may have been replaced by another block of its height. When it
// has been standing still for long, all endpoints are asked: the one which
// serves the network may be stuck.
func (c *Client) Head(ctx context.Context) (chain.Head, error) {
	height, err := c.height(ctx)
	if err != nil {
		return chain.Head{}, err
	}
	head := chain.Head{Height: height, Seen: time.Now()}
	c.mu.Lock()
	next := c.tip.see(head, c.blockTime, c.survey)
	c.mu.Unlock()
	switch next {
	case askAll:
		head.Height = c.highest(ctx, height)
		c.mu.Lock()
		c.tip.see(head, c.blockTime, c.survey)
		c.mu.Unlock()
	case askHash:
		reply, err := c.pool.Call(ctx, rpc.HeadPoll, "eth_getBlockByNumber", "latest", false)
		if err != nil {
			return head, nil //nolint:nilerr // the height is known, and the poll was for that
		}
		defer reply.Release()
		if full, err := header(reply.Result); err == nil && full.Height >= height {
			return full, nil
		}
	case enough:
	}
	return head, nil
}

// height is the newest height of the first endpoint that is not behind. When
// all of them are, the chain itself went back, and it is the highest of theirs.
func (c *Client) height(ctx context.Context) (uint64, error) {
	c.mu.Lock()
	floor := c.tip.floor(c.blockTime)
	c.mu.Unlock()
	var mu sync.Mutex // hedged attempts run side by side
	var best uint64
	height, err := rpc.Do(ctx, c.pool, rpc.HeadPoll, "", func(ctx context.Context, conn *rpc.Conn) (uint64, error) {
		height, err := askHeight(ctx, conn)
		if err == nil && height < floor {
			mu.Lock()
			best = max(best, height)
			mu.Unlock()
			return 0, fmt.Errorf("%s: %w: height %d", conn.Endpoint(), rpc.ErrBehind, height)
		}
		return height, err
	})
	if errors.Is(err, rpc.ErrBehind) {
		mu.Lock()
		defer mu.Unlock()
		return best, nil
	}
	if err != nil {
		return 0, fmt.Errorf("network %s: %w", c.network, err)
	}
	return height, nil
}

// highest is the highest height any endpoint has, at least the one given.
func (c *Client) highest(ctx context.Context, height uint64) uint64 {
	c.pool.Survey(ctx, rpc.HeadPoll, func(ctx context.Context, conn *rpc.Conn) error {
		h, err := askHeight(ctx, conn)
		if err == nil {
			height = max(height, h)
		}
		return err
	})
	return height
}

func askHeight(ctx context.Context, conn *rpc.Conn) (uint64, error) {
	reply, err := conn.Call(ctx, methodHeight)
	if err != nil {
		return 0, err
	}
	defer reply.Release()
	height, err := quantity(reply.Result)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", conn.Endpoint(), methodHeight, err)
	}
	return height, nil
}

// tipWatch follows the heights that were seen, to know when a height alone is
// not enough.
type tipWatch struct {
	height uint64    // newest
	rose   time.Time // when it came to be known, zero: none is
	looked time.Time // when the hash or the other endpoints were last asked for
	fell   bool      // it was lower a moment ago: the branch may have changed
}

// What to do about a height.
type next int

const (
	enough next = iota
	askHash
	askAll
)

const (
	lookAfter   = 2 // block times without a new height, until the hash is asked for
	surveyAfter = 5 // block times without a new height, until all endpoints are asked
	surveyLeast = 10 * time.Second
)

func (t *tipWatch) see(h chain.Head, blockTime, survey time.Duration) next {
	behind := h.Height < t.height
	switch {
	case t.rose.IsZero() || h.Height > t.height:
		*t = tipWatch{height: h.Height, rose: h.Seen, looked: h.Seen}
		return enough
	case behind && t.height-h.Height > tolerance(blockTime):
		// No endpoint has what was once seen: the chain is shorter now.
		*t = tipWatch{height: h.Height, rose: h.Seen, looked: h.Seen, fell: true}
		return enough
	case behind:
		t.fell = true
		return enough
	case t.fell:
		t.fell, t.looked = false, h.Seen
		return askHash
	case h.Seen.Sub(t.looked) < lookAfter*blockTime:
		return enough
	}
	// Both questions take turns while the height stands still.
	all := t.looked.Sub(t.rose)/survey != h.Seen.Sub(t.rose)/survey
	t.looked = h.Seen
	if all {
		return askAll
	}
	return askHash
}

// floor is the height below which an endpoint counts as behind.
func (t *tipWatch) floor(blockTime time.Duration) uint64 {
	return t.height - min(t.height, tolerance(blockTime))
}

// tolerance is how many blocks apart healthy endpoints may be: those of some
// seconds, at least two.
func tolerance(blockTime time.Duration) uint64 {
	return 2 + uint64(3*time.Second/max(blockTime, time.Millisecond)) //nolint:gosec // positive
}

// Heads implements chain.Client by eth_subscribe.
func (c *Client) Heads(ctx context.Context) (<-chan chain.Head, error) {
	messages, err := c.pool.Subscribe(ctx, "eth_subscribe", "newHeads")
	if err != nil {
		return nil, err
	}
	out := make(chan chain.Head)
	go func() {
		defer close(out)
		for message := range messages {
			head, err := header(message)
			if err != nil {
				c.log.Warn("head ignored", "network", c.network, "error", err)
				continue
			}
			c.mu.Lock()
			c.tip.see(head, c.blockTime, c.survey)
			c.mu.Unlock()
			select {
			case out <- head:
			case <-ctx.Done(): // messages ends soon
			}
		}
	}()
	return out, nil
}

// header reads what a block header and a newHeads notification have in common.
func header(text json.RawMessage) (chain.Head, error) {
	var h struct {
		Number     json.RawMessage `json:"number"`
		Hash       fsm.Hash        `json:"hash"`
		ParentHash fsm.Hash        `json:"parentHash"`
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return chain.Head{}, fmt.Errorf("header: %w", err)
	}
	height, err := quantity(h.Number)
	if err != nil {
		return chain.Head{}, fmt.Errorf("header: number: %w", err)
	}
	return chain.Head{Height: height, Hash: h.Hash, Parent: h.ParentHash, Seen: time.Now()}, nil
}

// quantity reads "0x1f".
func quantity(text json.RawMessage) (uint64, error) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, errors.New("want a hexadecimal number in a string")
	}
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return 0, errors.New("want a hexadecimal number with 0x")
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("want a hexadecimal number of 64 bits: %w", errors.Unwrap(err))
	}
	return n, nil
}
