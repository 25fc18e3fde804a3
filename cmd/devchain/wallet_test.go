package main

import (
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

var errRefused = errors.New("refused")

// refusingPool takes nothing.
type refusingPool struct{}

func (refusingPool) Add([]*types.Transaction, bool) []error { return []error{errRefused} }
func (refusingPool) Sync() error                            { return nil }
func (refusingPool) PoolNonce(common.Address) uint64        { return 0 }

// strictPool takes a transaction only with exactly the next nonce.
type strictPool struct {
	next  uint64
	asked int
}

func (p *strictPool) Add(txs []*types.Transaction, _ bool) []error {
	if txs[0].Nonce() != p.next {
		return []error{errRefused}
	}
	p.next++
	return []error{nil}
}

func (p *strictPool) Sync() error { return nil }

func (p *strictPool) PoolNonce(common.Address) uint64 {
	p.asked++
	return p.next
}

func TestWalletCountsNonces(t *testing.T) {
	accounts, err := newAccounts(1)
	if err != nil {
		t.Fatal(err)
	}
	pool := &strictPool{next: 40}
	w := newWallet(accounts, pool, big.NewInt(1))
	send := func() {
		t.Helper()
		if _, err := w.transfer(common.Address{1}, 0, 1, big.NewInt(1)); err != nil {
			t.Fatal(err)
		}
	}
	send()
	send()
	if pool.next != 42 || pool.asked != 1 {
		t.Errorf("next nonce %d, pool asked %d times; want 42 and once", pool.next, pool.asked)
	}
	pool.next = 50 // somebody else sent with the same key
	send()
	if pool.next != 51 || pool.asked != 2 {
		t.Errorf("next nonce %d, pool asked %d times; want 51 and twice", pool.next, pool.asked)
	}
}

func TestWalletReportsRefusals(t *testing.T) {
	accounts, err := newAccounts(1)
	if err != nil {
		t.Fatal(err)
	}
	w := newWallet(accounts, refusingPool{}, big.NewInt(1))
	if _, err := w.deploy(0); !errors.Is(err, errRefused) {
		t.Errorf("error %v, want the pool's", err)
	}
	if _, err := w.deploy(accountCount); !errors.Is(err, errAccount) {
		t.Errorf("error %v, want errAccount", err)
	}
}
