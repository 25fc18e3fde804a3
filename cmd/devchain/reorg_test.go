package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// fill makes blocks with one transfer of each of three accounts in each block.
func fill(t *testing.T, url string, blocks int) []blockRef {
	t.Helper()
	var refs []blockRef
	for range blocks {
		for from := range 3 {
			call[common.Hash](t, url, "dev_transfer", from, from+3, 1)
		}
		refs = append(refs, call[[]blockRef](t, url, "dev_commit")...)
	}
	return refs
}

func TestReorgDepths(t *testing.T) {
	for _, depth := range []int{1, 5, 15} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			s := startChain(t, nil)
			url := s.chain.httpURL()
			before := fill(t, url, depth+2)
			result := call[reorgResult](t, url, "dev_reorg", depth)

			fork := before[len(before)-depth-1]
			if result.Fork != fork || result.Depth != depth || !slices.Equal(result.Dead, before[len(before)-depth:]) {
				t.Fatalf("fork %v, dead %v; want fork %v, dead %v", result.Fork, result.Dead, fork, before[len(before)-depth:])
			}
			if len(result.Blocks) != depth+1 {
				t.Fatalf("%d new blocks, want %d", len(result.Blocks), depth+1)
			}
			if head := call[string](t, url, "eth_blockNumber"); hexNumber(t, head) != fork.Number+uint64(depth)+1 {
				t.Errorf("head %s", head)
			}
			parent := fork.Hash.Hex()
			for i, ref := range result.Blocks {
				block := blockAt(t, url, ref.Number)
				if block.Hash != ref.Hash.Hex() || block.ParentHash != parent {
					t.Errorf("block %d is %s on %s, want %s on %s", ref.Number, block.Hash, block.ParentHash, ref.Hash, parent)
				}
				if i < depth && ref.Hash == result.Dead[i].Hash {
					t.Errorf("block %d did not change", ref.Number)
				}
				parent = block.Hash
			}
			// A dead block can still be asked for by hash, as of any node.
			if dead := call[*rpcBlock](t, url, "eth_getBlockByHash", result.Dead[0].Hash, false); dead == nil {
				t.Error("the dead block is unknown")
			}
		})
	}
}

func TestReorgModes(t *testing.T) {
	const depth, each = 4, 3 * 4 // transactions in the dead blocks
	tests := []struct {
		mode reorgMode
		kept int
	}{{modeReinclude, each / 2}, {modeDrop, 0}, {modeMove, each}}
	for _, test := range tests {
		t.Run(string(test.mode), func(t *testing.T) {
			s := startChain(t, nil)
			url := s.chain.httpURL()
			fill(t, url, depth+1)
			result := call[reorgResult](t, url, "dev_reorg", depth, 1, test.mode)
			if len(result.Kept) != test.kept || len(result.Dropped) != each-test.kept {
				t.Fatalf("%d kept, %d dropped; want %d and %d", len(result.Kept), len(result.Dropped), test.kept, each-test.kept)
			}
			shift := uint64(0)
			if test.mode == modeMove {
				shift = 1
			}
			for _, place := range result.Kept {
				if place.To != place.From+shift {
					t.Errorf("transaction moved from block %d to %d", place.From, place.To)
				}
			}
			// What is gone must not come back: not at once, and not after more blocks.
			call[[]blockRef](t, url, "dev_commit", 3)
			for _, place := range result.Dropped {
				if r := call[*rpcReceipt](t, url, "eth_getTransactionReceipt", place.Hash); r != nil {
					t.Errorf("dropped transaction %s is in block %s", place.Hash, r.BlockNumber)
				}
			}
			for _, place := range result.Kept {
				r := call[*rpcReceipt](t, url, "eth_getTransactionReceipt", place.Hash)
				if r == nil || hexNumber(t, r.BlockNumber) != place.To || r.Status != "0x1" {
					t.Errorf("kept transaction %s: receipt %+v, want block %d", place.Hash, r, place.To)
				}
			}
			// The accounts can send again.
			for _, ref := range fill(t, url, 2) {
				if n := len(blockAt(t, url, ref.Number).Transactions); n != 3 {
					t.Errorf("block %d has %d transactions, want 3", ref.Number, n)
				}
			}
		})
	}
}

func TestReorgKeepsWhatIsPending(t *testing.T) {
	for _, mode := range []reorgMode{modeDrop, modeReinclude, modeMove} {
		t.Run(string(mode), func(t *testing.T) {
			s := startChain(t, nil)
			url := s.chain.httpURL()
			fill(t, url, 3)
			// Account 9 has nothing in the dead blocks, so nothing stands in its way.
			waiting := call[common.Hash](t, url, "dev_transfer", 9, 8, 77)
			call[reorgResult](t, url, "dev_reorg", 2, 1, mode)
			ref := call[[]blockRef](t, url, "dev_commit")[0]
			r := call[*rpcReceipt](t, url, "eth_getTransactionReceipt", waiting)
			if r == nil || r.BlockHash != ref.Hash.Hex() {
				t.Errorf("receipt %+v, want block %v", r, ref)
			}
		})
	}
}

func TestReorgStopsAtFinality(t *testing.T) {
	s := startChain(t, nil)
	for range 2 * maxReorgDepth {
		if _, err := s.chain.commit(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.chain.reorg(maxReorgDepth+1, 1, modeDrop); !errors.Is(err, errReorgDepth) {
		t.Errorf("a reorg below the finalized block: %v", err)
	}
	if result, err := s.chain.reorg(maxReorgDepth, 1, modeDrop); err != nil || len(result.Dead) != maxReorgDepth {
		t.Errorf("the deepest reorg: %d dead, %v", len(result.Dead), err)
	}
}

func TestReorgInARow(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	fill(t, url, 6)
	seen := map[common.Hash]bool{}
	for range 4 {
		for _, ref := range call[reorgResult](t, url, "dev_reorg", 5, 1).Blocks {
			if seen[ref.Hash] {
				t.Errorf("block %v came twice", ref)
			}
			seen[ref.Hash] = true
		}
	}
}
