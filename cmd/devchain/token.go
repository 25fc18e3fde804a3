package main

import (
	"bytes"
	_ "embed" // the token's artifact
	"encoding/json"
	"fmt"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

//go:embed contracts/Token.json
var tokenJSON []byte

const (
	tokenName   = "Ozmo Dev Dollar"
	tokenSymbol = "ODD"
	// tokenUnit is one token: the contract has six decimals.
	tokenUnit = 1_000_000
)

// artifact is contracts/Token.json.
type artifact struct {
	Contract   string          `json:"contract"`
	Compiler   string          `json:"compiler"`
	SourceHash common.Hash     `json:"source_keccak256"`
	ABI        json.RawMessage `json:"abi"`
	Bytecode   hexutil.Bytes   `json:"bytecode"`
}

// tokenContract is the compiled token.
type tokenContract struct {
	artifact artifact
	abi      abi.ABI
}

// loadToken reads the embedded artifact. It cannot fail in a binary whose tests passed.
var loadToken = sync.OnceValues(func() (tokenContract, error) {
	var t tokenContract
	if err := json.Unmarshal(tokenJSON, &t.artifact); err != nil {
		return tokenContract{}, fmt.Errorf("embedded Token.json: %w", err)
	}
	parsed, err := abi.JSON(bytes.NewReader(t.artifact.ABI))
	if err != nil {
		return tokenContract{}, fmt.Errorf("embedded Token.json: abi: %w", err)
	}
	t.abi = parsed
	return t, nil
})

// tokenOrder is the struct that order() takes.
type tokenOrder struct {
	Buyer  common.Address
	Amount *big.Int
	Memo   string
}

// startBalance is what each account holds at first, in base units: 10^12 tokens,
// more than traffic can move in years.
func startBalance() *big.Int {
	return new(big.Int).Mul(big.NewInt(1e12), big.NewInt(tokenUnit))
}

// deployData is the input of the transaction that creates a token whose supply
// is split among the accounts.
func deployData(accounts []account) ([]byte, error) {
	t, err := loadToken()
	if err != nil {
		return nil, err
	}
	holders := make([]common.Address, len(accounts))
	for i, a := range accounts {
		holders[i] = a.address
	}
	args, err := t.abi.Pack("", tokenName, tokenSymbol, holders, startBalance())
	if err != nil {
		return nil, fmt.Errorf("pack the token's constructor: %w", err)
	}
	return append(bytes.Clone(t.artifact.Bytecode), args...), nil
}

// callData is the input of a call of one of the token's methods.
func callData(method string, args ...any) ([]byte, error) {
	t, err := loadToken()
	if err != nil {
		return nil, err
	}
	data, err := t.abi.Pack(method, args...)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", method, err)
	}
	return data, nil
}
