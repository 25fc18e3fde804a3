package evm_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// rig is a client over endpoints of one chain, the first the heaviest.
type rig struct {
	chain  *fakechain.Chain
	at     []*fakechain.Endpoint
	client *evm.Client
	log    *logs.Buffer
}

func newRig(t *testing.T, endpoints int, change func(*evm.Options)) *rig {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	r := &rig{chain: fakechain.New(fakechain.Options{TxPerBlock: 3}), log: &logs.Buffer{}}
	opts := evm.Options{Options: rpc.Options{Network: "net", Timeout: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(r.log, nil))}}
	for i := range endpoints {
		e, err := r.chain.NewEndpoint()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		r.at = append(r.at, e)
		opts.Endpoints = append(opts.Endpoints,
			rpc.Endpoint{URL: e.URL(), Weight: 100 - i}, rpc.Endpoint{URL: e.WSURL(), Weight: 100 - i})
	}
	if change != nil {
		change(&opts)
	}
	var err error
	if r.client, err = evm.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Close() })
	return r
}

// check compares a fetched block with the chain's.
func check(t *testing.T, got *chain.Block, want *fakechain.Block) {
	t.Helper()
	if got.Ref != want.Ref() || got.Parent != want.Parent || got.Time.Unix() != int64(want.Time) {
		t.Fatalf("got %v after %v of %v, want %v after %v", got.Ref, got.Parent, got.Time, want.Ref(), want.Parent)
	}
	b, err := evm.Decode(got.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Complete(); err != nil {
		t.Fatal(err)
	}
	for i, tx := range want.Txs {
		g := &b.Transactions[i]
		if g.Hash != tx.Hash || (g.Status() == evm.StatusFailure) != tx.Failed || len(g.Logs) != len(tx.Logs) {
			t.Errorf("transaction %d: %v %v with %d logs, want %v, failed %v, with %d", i, g.Hash, g.Status(), len(g.Logs), tx.Hash, tx.Failed, len(tx.Logs))
		}
	}
}

func TestBlockTakesTwoCalls(t *testing.T) {
	r := newRig(t, 2, nil)
	r.chain.Extend(9)
	for height := range uint64(10) {
		b, err := r.client.Block(t.Context(), height)
		if err != nil {
			t.Fatal(err)
		}
		check(t, b, r.chain.At(height))
	}
	if c := r.client.Counters(); c != (rpc.Counters{BlockFetch: 20, Connect: 1}) {
		t.Errorf("counted %+v", c)
	}
	b, err := r.client.BlockByHash(t.Context(), r.chain.At(5).Hash)
	if err != nil {
		t.Fatal(err)
	}
	check(t, b, r.chain.At(5))
}

func TestBlockWithoutTransactions(t *testing.T) {
	r := newRig(t, 1, nil)
	want := r.chain.ExtendWith()
	b, err := r.client.Block(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	check(t, b, want)
}

func TestBlockOfSideBranch(t *testing.T) {
	r := newRig(t, 1, nil)
	old := r.chain.Extend(2)
	r.chain.Reorg(2, 3)
	b, err := r.client.BlockByHash(t.Context(), old.Hash)
	if err != nil {
		t.Fatal(err)
	}
	check(t, b, old)
	if b, err = r.client.Block(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	check(t, b, r.chain.At(2))
}

func TestNotFound(t *testing.T) {
	r := newRig(t, 2, nil)
	if _, err := r.client.Block(t.Context(), 7); !errors.Is(err, chain.ErrNotFound) || chain.Reason(err) != "not-found" {
		t.Errorf("beyond the head: %v", err)
	}
	if _, err := r.client.BlockByHash(t.Context(), fsm.Hash{1}); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("unknown hash: %v", err)
	}
	// One endpoint lags: another one has it.
	r.chain.Extend(3)
	r.at[0].Lag(2)
	b, err := r.client.Block(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	check(t, b, r.chain.At(3))
}

// What one endpoint answers badly is asked of another; with no other it is an
// error, and the block is never taken.
func TestIncompleteBlocks(t *testing.T) {
	for name, f := range map[string]struct {
		method string
		fault  fakechain.Fault
	}{
		"partial receipts":         {"eth_getBlockReceipts", fakechain.PartialReceipts()},
		"no receipts":              {"eth_getBlockReceipts", fakechain.Null()},
		"receipts of another":      {"eth_getBlockReceipts", fakechain.ForeignReceipts()},
		"logs against the bloom":   {"eth_getBlockReceipts", fakechain.MissingLogs()},
		"another block":            {"eth_getBlockByNumber", fakechain.WrongBlock()},
		"receipts of another type": {"eth_getBlockReceipts", fakechain.Body(`{"jsonrpc":"2.0","id":1,"result":{}}`)},
		"block of another type":    {"eth_getBlockByNumber", fakechain.Body(`{"jsonrpc":"2.0","id":1,"result":[1]}`)},
		"block without hash":       {"eth_getBlockByNumber", fakechain.Body(`{"jsonrpc":"2.0","id":1,"result":{"number":"0x2","transactions":[]}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, nil)
			r.chain.ExtendWith(fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 3))
			r.chain.ExtendWith(
				fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 4), fakechain.Transfer(fakechain.Address{3}, fakechain.Address{2}, 5))
			r.at[0].Fault(f.method, f.fault)
			b, err := r.client.Block(t.Context(), 2)
			if err != nil {
				t.Fatalf("with one good endpoint: %v", err)
			}
			check(t, b, r.chain.At(2))
			if r.at[1].Calls()[f.method] == 0 {
				t.Error("the other endpoint was not asked")
			}
			if c := r.client.Counters(); c.BlockFetch != 2 || c.Refetch == 0 {
				t.Errorf("counted %+v, want two first fetches and the rest as refetches", c)
			}
			r.at[1].Fault(f.method, f.fault)
			_, err = r.client.Block(t.Context(), 2)
			if !errors.Is(err, chain.ErrIncomplete) || chain.Reason(err) != "incomplete" {
				t.Errorf("with no good endpoint: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret-api-key") {
				t.Errorf("the error holds the key of a URL: %v", err)
			}
		})
	}
}

// Receipts that fit no more because the branch changed between the two calls
// are asked for again at the same endpoint.
func TestReorgBetweenTheCalls(t *testing.T) {
	r := newRig(t, 2, nil)
	r.chain.Extend(3)
	r.at[0].Fault("eth_getBlockReceipts", fakechain.ForeignReceipts().Times(1))
	b, err := r.client.Block(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	check(t, b, r.chain.At(3))
	if n := r.at[1].Calls()["eth_getBlockReceipts"]; n != 0 {
		t.Errorf("the other endpoint was asked %d times", n)
	}
	if c := r.client.Counters(); c != (rpc.Counters{BlockFetch: 2, Refetch: 2, Connect: 1}) {
		t.Errorf("counted %+v", c)
	}
}

func TestWithoutBlockReceipts(t *testing.T) {
	for name, change := range map[string]func(*fakechain.Endpoint){
		"batches":      func(*fakechain.Endpoint) {},
		"no batches":   func(e *fakechain.Endpoint) { e.Fault("batch", fakechain.RPCError(-32600, "batches are off")) },
		"batch status": func(e *fakechain.Endpoint) { e.Fault("batch", fakechain.Status(400)) },
		"no logs":      func(e *fakechain.Endpoint) { e.Fault("eth_getLogs", fakechain.Missing()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, nil)
			r.at[0].Fault("eth_getBlockReceipts", fakechain.Missing())
			change(r.at[0])
			r.chain.Extend(3)
			for range 2 {
				b, err := r.client.Block(t.Context(), 3)
				if err != nil {
					t.Fatal(err)
				}
				check(t, b, r.chain.At(3))
			}
			calls := r.at[0].Calls()
			if calls["eth_getBlockReceipts"] != 1 || calls["eth_getTransactionReceipt"] != 6 || calls["batch"] > 2 {
				t.Errorf("calls %v: want the missing method asked for once, and 3 receipts a block", calls)
			}
			r.at[0].Fault("eth_getTransactionReceipt", fakechain.MissingLogs())
			r.at[0].Fault("eth_getLogs", fakechain.MissingLogs())
			r.chain.ExtendWith(fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 3))
			if _, err := r.client.Block(t.Context(), 4); !errors.Is(err, chain.ErrIncomplete) {
				t.Errorf("logs missing against the bloom: %v", err)
			}
		})
	}
}

// Among endpoints of one weight the one that has the method is preferred; a
// heavier one keeps its place, since weights are the operator's choice.
func TestMissingMethodWithinOneWeight(t *testing.T) {
	for name, tc := range map[string]struct {
		weights [2]int
		want    int // calls of the second endpoint for the second block
	}{"equal": {[2]int{10, 10}, 2}, "heavier": {[2]int{20, 10}, 0}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, func(o *evm.Options) {
				for i := range o.Endpoints {
					o.Endpoints[i].Weight = tc.weights[i/2]
				}
			})
			r.at[0].Fault("eth_getBlockReceipts", fakechain.Missing())
			r.chain.Extend(2)
			for height := uint64(1); height <= 2; height++ {
				if _, err := r.client.Block(t.Context(), height); err != nil {
					t.Fatal(err)
				}
			}
			calls := r.at[1].Calls()
			if got := calls["eth_getBlockByNumber"] + calls["eth_getBlockReceipts"]; got != tc.want {
				t.Errorf("%d calls to the second endpoint, want %d", got, tc.want)
			}
		})
	}
}

func TestChainID(t *testing.T) {
	id := uint64(1)
	t.Run("configured", func(t *testing.T) {
		r := newRig(t, 2, func(o *evm.Options) { o.ChainID = &id })
		r.at[0].Fault("eth_chainId", fakechain.WrongChain(5))
		if _, err := r.client.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := r.at[0].Calls()["eth_blockNumber"]; n != 0 {
			t.Error("an endpoint of another chain was asked for the head")
		}
		if log := r.log.String(); !strings.Contains(log, "chain id 5, the network 1") {
			t.Errorf("the log does not say what is wrong:\n%s", log)
		}
	})
	t.Run("learned", func(t *testing.T) {
		r := newRig(t, 2, nil)
		r.at[1].Fault("eth_chainId", fakechain.WrongChain(5))
		if _, err := r.client.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.at[0].Down()
		_, err := r.client.Head(t.Context())
		if !errors.Is(err, chain.ErrWrongChain) {
			t.Errorf("an endpoint that does not agree with the first was used: %v", err)
		}
	})
	t.Run("old node", func(t *testing.T) {
		r := newRig(t, 1, func(o *evm.Options) { o.ChainID = &id })
		r.at[0].Fault("eth_chainId", fakechain.Missing())
		if _, err := r.client.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := r.at[0].Calls()["net_version"]; n != 1 {
			t.Errorf("net_version was asked %d times", n)
		}
	})
	t.Run("old node of another chain", func(t *testing.T) {
		r := newRig(t, 1, func(o *evm.Options) { o.ChainID = &id })
		r.at[0].Fault("eth_chainId", fakechain.Missing())
		r.at[0].Fault("net_version", fakechain.WrongChain(5))
		if _, err := r.client.Head(t.Context()); !errors.Is(err, chain.ErrWrongChain) {
			t.Errorf("got %v", err)
		}
	})
}
