package main

import (
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	gasTransfer = 100_000 // explicit, so that a transfer that reverts is sent as well
	gasCall     = 300_000
	gasDeploy   = 4_000_000
)

// errAccount is returned for an account index the chain does not have.
var errAccount = errors.New("no such account")

// pool is the part of the node's transaction pool a wallet uses.
type pool interface {
	Add(txs []*types.Transaction, sync bool) []error
	Sync() error
	PoolNonce(addr common.Address) uint64 // what the pool holds counted in
}

// wallet signs and sends for the funded accounts. It counts nonces itself and
// asks the pool again after a reorganisation or a refusal.
type wallet struct {
	accounts []account
	pool     pool
	signer   types.Signer
	chainID  *big.Int

	mu     sync.Mutex
	nonces map[common.Address]uint64
}

func newWallet(accounts []account, pool pool, chainID *big.Int) *wallet {
	return &wallet{
		accounts: accounts, pool: pool, chainID: chainID,
		signer: types.LatestSignerForChainID(chainID),
		nonces: map[common.Address]uint64{},
	}
}

// forget drops the counted nonces. The caller holds mu.
func (w *wallet) forget() { clear(w.nonces) }

func (w *wallet) account(index int) (account, error) {
	if index < 0 || index >= len(w.accounts) {
		return account{}, fmt.Errorf("%w: %d is not between 0 and %d", errAccount, index, len(w.accounts)-1)
	}
	return w.accounts[index], nil
}

// send signs a transaction of an account and hands it to the pool. A nil `to`
// creates a contract.
func (w *wallet) send(index int, to *common.Address, gas uint64, data []byte) (*types.Transaction, error) {
	from, err := w.account(index)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	tx, err := w.trySend(from, to, gas, data)
	if err != nil {
		// Somebody else may hold the key too and have used the nonce.
		delete(w.nonces, from.address)
		tx, err = w.trySend(from, to, gas, data)
	}
	if err != nil {
		delete(w.nonces, from.address)
		return nil, fmt.Errorf("send from account %d: %w", index, err)
	}
	return tx, nil
}

func (w *wallet) trySend(from account, to *common.Address, gas uint64, data []byte) (*types.Transaction, error) {
	nonce, known := w.nonces[from.address]
	if !known {
		// The pool counts what others sent in the background: let it finish.
		if err := w.pool.Sync(); err != nil {
			return nil, err
		}
		nonce = w.pool.PoolNonce(from.address)
	}
	tx, err := types.SignNewTx(from.key, w.signer, &types.DynamicFeeTx{
		ChainID: w.chainID, Nonce: nonce, To: to, Gas: gas, Data: data,
		GasTipCap: big.NewInt(1e9), GasFeeCap: big.NewInt(1000e9),
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(w.pool.Add([]*types.Transaction{tx}, true)...); err != nil {
		return nil, err
	}
	w.nonces[from.address] = nonce + 1
	return tx, nil
}

// deployment is a contract creation on its way.
type deployment struct {
	TxHash  common.Hash    `json:"tx_hash"`
	Address common.Address `json:"address"`
}

// deploy sends the creation of a token whose supply is split among all accounts.
func (w *wallet) deploy(index int) (deployment, error) {
	data, err := deployData(w.accounts)
	if err != nil {
		return deployment{}, err
	}
	tx, err := w.send(index, nil, gasDeploy, data)
	if err != nil {
		return deployment{}, err
	}
	return deployment{TxHash: tx.Hash(), Address: crypto.CreateAddress(w.accounts[index].address, tx.Nonce())}, nil
}

// call sends a call of one of a token's methods.
func (w *wallet) call(index int, token common.Address, gas uint64, method string, args ...any) (common.Hash, error) {
	data, err := callData(method, args...)
	if err != nil {
		return common.Hash{}, err
	}
	tx, err := w.send(index, &token, gas, data)
	if err != nil {
		return common.Hash{}, err
	}
	return tx.Hash(), nil
}

// transfer sends amount base units of a token from one account to another.
func (w *wallet) transfer(token common.Address, from, to int, amount *big.Int) (common.Hash, error) {
	target, err := w.account(to)
	if err != nil {
		return common.Hash{}, err
	}
	return w.call(from, token, gasTransfer, "transfer", target.address, amount)
}

// failingTransfer sends a transfer of more than the account can ever hold: it is
// mined and reverts.
func (w *wallet) failingTransfer(token common.Address, from, to int) (common.Hash, error) {
	tooMuch := new(big.Int).Lsh(big.NewInt(1), 255)
	return w.transfer(token, from, to, tooMuch)
}
