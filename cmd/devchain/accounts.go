package main

import (
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// accountCount is how many funded accounts a chain has. The first one deploys
// the token.
const accountCount = 10

// account is one funded account. Its key is derived from the seed and so is no
// secret.
type account struct {
	key     *ecdsa.PrivateKey
	address common.Address
}

// newAccounts derives the accounts of a seed.
func newAccounts(seed uint64) ([]account, error) {
	accounts := make([]account, accountCount)
	for i := range accounts {
		material := []byte("ozmo devchain account")
		material = binary.BigEndian.AppendUint64(material, seed)
		material = binary.BigEndian.AppendUint64(material, uint64(i))
		key, err := crypto.ToECDSA(crypto.Keccak256(material))
		if err != nil {
			return nil, fmt.Errorf("seed %d gives no valid key for account %d, take another seed: %w", seed, i, err)
		}
		accounts[i] = account{key: key, address: crypto.PubkeyToAddress(key.PublicKey)}
	}
	return accounts, nil
}

// genesisAlloc gives every account a million ether, which pays fees for good.
func genesisAlloc(accounts []account) types.GenesisAlloc {
	funds := new(big.Int).Mul(big.NewInt(1_000_000), big.NewInt(1e18))
	alloc := types.GenesisAlloc{}
	for _, a := range accounts {
		alloc[a.address] = types.Account{Balance: funds}
	}
	return alloc
}
