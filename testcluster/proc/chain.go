package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Chain is a devchain process.
type Chain struct {
	*Process
	RPC     string `json:"rpc"`
	WS      string `json:"ws"`
	Token   string `json:"token"`
	ChainID uint64 `json:"chain_id"`

	http *http.Client
}

// StartChain runs devchain and waits until it serves. Without a --listen among
// the arguments it takes a free port.
func StartChain(t testing.TB, dir string, args ...string) *Chain {
	t.Helper()
	ready := filepath.Join(dir, "chain.json")
	args = append([]string{"--listen", "127.0.0.1:0", "--ready-file", ready}, args...)
	c := &Chain{http: &http.Client{Transport: &http.Transport{}}}
	c.Process = Start(t, NewLog(t, filepath.Join(dir, "devchain.log")), "devchain", args...)
	t.Cleanup(c.http.CloseIdleConnections)
	Eventually(t, "devchain", func(context.Context) error {
		if err := c.Running(); err != nil {
			return err
		}
		data, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, c)
	})
	return c
}

// Ref names a block.
type Ref struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash"`
}

// Info is what dev_info tells, as far as tests ask.
type Info struct {
	Head    Ref `json:"head"`
	Pending int `json:"pending"` // transactions for the next block
}

// Reorg is what dev_reorg tells, as far as tests ask.
type Reorg struct {
	Fork   Ref   `json:"fork"`
	Dead   []Ref `json:"dead"`
	Blocks []Ref `json:"blocks"` // the new branch
}

// Transfers is the answer of dev_expectedTransfers.
type Transfers struct {
	Head      Ref        `json:"head"`
	Transfers []Transfer `json:"transfers"`
}

// Transfer is an event of the canonical chain.
type Transfer struct {
	BlockNumber uint64 `json:"block_number"`
	BlockHash   string `json:"block_hash"`
	TxHash      string `json:"tx_hash"`
	Value       string `json:"value"` // base units, decimal
}

// Info asks for the chain's state.
func (c *Chain) Info(ctx context.Context) (Info, error) { return call[Info](ctx, c, "dev_info") }

// Commit makes n blocks.
func (c *Chain) Commit(ctx context.Context, n int) ([]Ref, error) {
	return call[[]Ref](ctx, c, "dev_commit", n)
}

// Reorg replaces the last depth blocks by depth+1 others. Mode says what becomes
// of their transactions: reinclude, drop or move.
func (c *Chain) Reorg(ctx context.Context, depth int, mode string) (Reorg, error) {
	return call[Reorg](ctx, c, "dev_reorg", depth, 1, mode)
}

// SetRate changes the number of transfers sent per second.
func (c *Chain) SetRate(ctx context.Context, rate float64) error {
	_, err := call[json.RawMessage](ctx, c, "dev_traffic", rate)
	return err
}

// Transfer sends tokens between two of the chain's accounts.
func (c *Chain) Transfer(ctx context.Context, from, to int, amount string) (tx string, err error) {
	return call[string](ctx, c, "dev_transfer", from, to, amount)
}

// Transfers lists the Transfer events of the canonical chain.
func (c *Chain) Transfers(ctx context.Context, from, to uint64) (Transfers, error) {
	return call[Transfers](ctx, c, "dev_expectedTransfers", from, to)
}

// Block is a block of the canonical chain as the node's own API tells it.
type Block struct {
	Hash         string        `json:"hash"`
	Transactions []Transaction `json:"transactions"`
}

// Transaction is a transaction with its receipt's status.
type Transaction struct {
	Hash   string `json:"hash"`
	To     string `json:"to"`
	Input  string `json:"input"`
	Failed bool   `json:"-"`
}

// Block asks for a block with its transactions and what became of them.
func (c *Chain) Block(ctx context.Context, height uint64) (Block, error) {
	number := "0x" + strconv.FormatUint(height, 16)
	b, err := call[Block](ctx, c, "eth_getBlockByNumber", number, true)
	if err != nil {
		return Block{}, err
	}
	receipts, err := call[[]struct {
		Tx     string `json:"transactionHash"`
		Status string `json:"status"`
	}](ctx, c, "eth_getBlockReceipts", number)
	if err != nil {
		return Block{}, err
	}
	if len(receipts) != len(b.Transactions) {
		return Block{}, fmt.Errorf("block %d: %d receipts of %d transactions", height, len(receipts), len(b.Transactions))
	}
	for i, r := range receipts {
		if r.Tx != b.Transactions[i].Hash {
			return Block{}, fmt.Errorf("block %d: receipt %d is not of transaction %s", height, i, b.Transactions[i].Hash)
		}
		b.Transactions[i].Failed = r.Status != "0x1"
	}
	return b, nil
}

// call makes one JSON-RPC call.
func call[T any](ctx context.Context, c *Chain, method string, params ...any) (result T, err error) {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return result, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.RPC, bytes.NewReader(body))
	if err != nil {
		return result, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return result, fmt.Errorf("%s: %w", method, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return result, fmt.Errorf("%s: %w", method, err)
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(data, &answer); {
	case err != nil:
		return result, fmt.Errorf("%s: %w", method, err)
	case answer.Error != nil:
		return result, fmt.Errorf("%s: %s", method, answer.Error.Message)
	}
	if err := json.Unmarshal(answer.Result, &result); err != nil {
		return result, fmt.Errorf("%s: %w", method, err)
	}
	return result, nil
}
