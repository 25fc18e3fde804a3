package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

func TestTrafficGoesOnAfterReorgs(t *testing.T) {
	s := startChain(t, func(o *options) {
		o.blockTime, o.rate, o.reorgEvery, o.reorgDepth = 20*time.Millisecond, 200, 10, 8
	})
	url := s.chain.httpURL()
	eventually(t, "three reorganisations", func() error {
		if got := call[info](t, url, "dev_info"); got.Reorgs < 3 {
			return fmt.Errorf("%d so far, head %v", got.Reorgs, got.Head)
		}
		return nil
	})
	after := call[info](t, url, "dev_info")
	eventually(t, "transfers in new blocks", func() error {
		list := call[transferList](t, url, "dev_expectedTransfers", after.Head.Number+1)
		if len(list.Transfers) < 20 {
			return fmt.Errorf("%d since block %d", len(list.Transfers), after.Head.Number)
		}
		return nil
	})
	eventually(t, "a transfer that reverted", func() error {
		if got := call[trafficStats](t, url, "dev_traffic"); got.Failing == 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := call[trafficStats](t, url, "dev_traffic"); got.Refused > 0 {
		t.Errorf("the pool refused %d transfers", got.Refused)
	}
}

func TestExpectedTransfersAreThoseOfTheReceipts(t *testing.T) {
	s := startChain(t, func(o *options) {
		o.blockTime, o.rate, o.reorgEvery, o.reorgDepth, o.reorgMode = 20*time.Millisecond, 200, 7, 5, modeMove
	})
	url := s.chain.httpURL()
	eventually(t, "a long enough chain", func() error {
		if got := call[info](t, url, "dev_info"); got.Head.Number < 40 {
			return fmt.Errorf("head %v", got.Head)
		}
		return nil
	})
	s.chain.mu.RLock() // hold the chain still
	defer s.chain.mu.RUnlock()
	head := s.chain.eth.BlockChain().CurrentBlock().Number.Uint64()
	var fromReceipts []string
	for number := range head + 1 {
		for _, r := range call[[]rpcReceipt](t, url, "eth_getBlockReceipts", hexOf(number)) {
			for _, l := range r.Logs {
				fromReceipts = append(fromReceipts, fmt.Sprint(number, r.BlockHash, r.TxHash, l.Topics))
			}
		}
	}
	logs := call[[]struct {
		rpcLog
		BlockHash   string `json:"blockHash"`
		BlockNumber string `json:"blockNumber"`
	}](t, url, "eth_getLogs", map[string]any{"fromBlock": "0x0", "toBlock": hexOf(head)})
	var fromLogs []string
	for _, l := range logs {
		fromLogs = append(fromLogs, fmt.Sprint(hexNumber(t, l.BlockNumber), l.BlockHash, l.TxHash, l.Topics))
	}
	if len(fromReceipts) <= accountCount || fmt.Sprint(fromReceipts) != fmt.Sprint(fromLogs) {
		t.Errorf("%d logs in receipts, %d by eth_getLogs, or different ones", len(fromReceipts), len(fromLogs))
	}
}

func TestTrafficRateChanges(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	if got := call[trafficStats](t, url, "dev_traffic"); got != (trafficStats{}) {
		t.Errorf("traffic before it was asked for: %+v", got)
	}
	call[trafficStats](t, url, "dev_traffic", 500)
	// No block is made: the generator must go on all the same.
	eventually(t, "traffic", func() error {
		if got := call[trafficStats](t, url, "dev_traffic"); got.Sent < 50 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	call[trafficStats](t, url, "dev_traffic", 0)
	ref := call[[]blockRef](t, url, "dev_commit")[0]
	if n := len(blockAt(t, url, ref.Number).Transactions); n < 50 {
		t.Errorf("block of %d transactions", n)
	}
}

func TestFullPoolStallsNothing(t *testing.T) {
	s := startChain(t, nil)
	s.traffic.wallet = newWallet(s.chain.accounts, refusingPool{}, s.chain.wallet.chainID)
	call[trafficStats](t, s.chain.httpURL(), "dev_traffic", maxRate) // only now does anybody use the wallet
	eventually(t, "refusals", func() error {
		if got := s.traffic.snapshot(); got.Refused < 100 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if _, err := s.chain.commit(); err != nil {
		t.Error(err)
	}
}

func TestSameSeedSameToken(t *testing.T) {
	tokens := map[common.Address]bool{}
	genesis := map[string]bool{}
	for range 2 {
		s := startChain(t, func(o *options) { o.seed = 99 })
		tokens[s.chain.token] = true
		genesis[blockAt(t, s.chain.httpURL(), 0).Hash] = true
	}
	if len(tokens) != 1 || len(genesis) != 1 {
		t.Errorf("one seed gave tokens %v and genesis blocks %v", tokens, genesis)
	}
}
