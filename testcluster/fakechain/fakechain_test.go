package fakechain_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, c *fakechain.Chain) *fakechain.Endpoint {
	t.Helper()
	e, err := c.NewEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Cleanup(e.Close)
	return e
}

// ask decodes the result of a call; it reports false for an error of any kind.
func ask(t *testing.T, e *fakechain.Endpoint, result any, method string, params ...any) bool {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil || answer.Error != nil {
		return false
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		t.Fatalf("%s: %v in %s", method, err, answer.Result)
	}
	return true
}

// The strict structures of go-ethereum read what is served, and agree on the
// bloom, the links and the receipts.
func TestBlocksAreWellFormed(t *testing.T) {
	c := fakechain.New(fakechain.Options{TxPerBlock: 8, First: 40})
	c.Extend(5)
	c.ExtendWith()
	c.ExtendWith(fakechain.Tx{From: fakechain.Address{1}, Value: 5, Failed: true})
	e := serve(t, c)
	var parent types.Header
	for _, ref := range c.Refs() {
		var header types.Header
		var ids struct {
			Hash         string
			ParentHash   string
			Transactions []struct{ Hash string }
		}
		var receipts types.Receipts
		if !ask(t, e, &header, "eth_getBlockByHash", ref.Hash.String(), true) || !ask(t, e, &ids, "eth_getBlockByHash", ref.Hash.String(), true) ||
			!ask(t, e, &receipts, "eth_getBlockReceipts", ref.Hash.String()) {
			t.Fatalf("block %v is not served", ref)
		}
		if header.Number.Uint64() != ref.Height || ids.Hash != ref.Hash.String() {
			t.Errorf("block %v: header of %d %s", ref, header.Number, ids.Hash)
		}
		if prev := c.At(ref.Height - 1); prev != nil && (header.ParentHash.Hex() != prev.Hash.String() || header.Time <= parent.Time) {
			t.Errorf("block %v does not follow %v", ref, prev.Ref())
		}
		if len(receipts) != len(ids.Transactions) {
			t.Fatalf("block %v: %d receipts of %d transactions", ref, len(receipts), len(ids.Transactions))
		}
		for i, r := range receipts {
			if r.TxHash.Hex() != ids.Transactions[i].Hash || r.BlockHash.Hex() != ref.Hash.String() || types.CreateBloom(r) != r.Bloom {
				t.Errorf("block %v: receipt %d does not fit", ref, i)
			}
		}
		if types.MergeBloom(receipts) != header.Bloom {
			t.Errorf("block %v: the bloom is not that of the logs", ref)
		}
		parent = header
	}
}

func TestReorgKeepsTransactions(t *testing.T) {
	c := fakechain.New(fakechain.Options{})
	old := c.ExtendWith(fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 3))
	head := c.ReorgWith(1, nil, old.Txs)
	if head.Number != old.Number+1 || head.Txs[0].Hash != old.Txs[0].Hash || c.At(old.Number).Hash == old.Hash {
		t.Errorf("after the reorganisation: %v with %v, was %v with %v", head.Ref(), head.Txs, old.Ref(), old.Txs)
	}
	if c.ByHash(old.Hash) != old {
		t.Error("the old block is forgotten")
	}
	again := fakechain.New(fakechain.Options{})
	again.ExtendWith(fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 3))
	if got := again.Head().Hash; got != old.Hash {
		t.Errorf("the same script made %v, then %v", old.Hash, got)
	}
	if other := fakechain.New(fakechain.Options{Seed: 1}); other.Head().Hash == c.At(0).Hash {
		t.Error("another seed made the same chain")
	}
}

func TestViewsOfAnEndpoint(t *testing.T) {
	c := fakechain.New(fakechain.Options{})
	c.Extend(10)
	e := serve(t, c)
	height := func() string {
		var s string
		ask(t, e, &s, "eth_blockNumber")
		return s
	}
	if got := height(); got != "0xa" {
		t.Errorf("height %s", got)
	}
	e.Lag(3)
	if got := height(); got != "0x7" {
		t.Errorf("lagging: height %s", got)
	}
	var block any
	if ask(t, e, &block, "eth_getBlockByNumber", "0x8", false); block != nil {
		t.Error("lagging: a block above the head is served")
	}
	e.Lag(0)
	c.SetHead(4)
	if got := height(); got != "0x4" {
		t.Errorf("set back: height %s", got)
	}
	c.ClearHead()
	old := c.Head()
	e.Pin(old)
	c.Reorg(2, 4)
	var header struct{ Hash string }
	if ask(t, e, &header, "eth_getBlockByNumber", "latest", false); header.Hash != old.Hash.String() {
		t.Errorf("pinned: the head is %s", header.Hash)
	}
}

func TestFaultsEndAsTold(t *testing.T) {
	e := serve(t, fakechain.New(fakechain.Options{}))
	var s string
	e.Fault("eth_chainId", fakechain.Status(500).Times(2))
	for i, want := range []bool{false, false, true} {
		if got := ask(t, e, &s, "eth_chainId"); got != want {
			t.Errorf("call %d: %v", i, got)
		}
	}
	e.Fault(fakechain.Any, fakechain.Close())
	if ask(t, e, &s, "eth_blockNumber") {
		t.Error("a closed connection brought an answer")
	}
	e.Heal()
	e.Down()
	if ask(t, e, &s, "eth_blockNumber") {
		t.Error("an endpoint that is down answered")
	}
	e.Up()
	if !ask(t, e, &s, "eth_blockNumber") {
		t.Error("an endpoint that is up again does not answer")
	}
	if n := e.Calls()["eth_chainId"]; n != 3 {
		t.Errorf("counted %d calls, want 3", n)
	}
}
