package evm

import (
	"encoding/hex"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match/expr"
)

// Positions of the variables of transaction expressions (expressions, section 7).
const (
	varValue = iota
	varGasPrice
	varMaxFeePerGas
	varMaxPriorityFeePerGas
	varGasLimit
	varNonce
	varGasUsed
	varTransactionIndex
	varFrom
	varTo
	varHash
	varInput
	varCount
)

// txParams declares the variables of transaction expressions.
var txParams = []expr.Param{
	varValue:                {Name: "value", Kind: "uint256"},
	varGasPrice:             {Name: "gas_price", Kind: "uint256"},
	varMaxFeePerGas:         {Name: "max_fee_per_gas", Kind: "uint256"},
	varMaxPriorityFeePerGas: {Name: "max_priority_fee_per_gas", Kind: "uint256"},
	varGasLimit:             {Name: "gas_limit", Kind: "uint256"},
	varNonce:                {Name: "nonce", Kind: "uint256"},
	varGasUsed:              {Name: "gas_used", Kind: "uint256"},
	varTransactionIndex:     {Name: "transaction_index", Kind: "uint64"},
	varFrom:                 {Name: "from", Kind: "address"},
	varTo:                   {Name: "to", Kind: "address"},
	varHash:                 {Name: "hash", Kind: "string"},
	varInput:                {Name: "input", Kind: "string"},
}

// usesText reports whether a program over txParams reads a variable that is
// costly to build.
func usesText(p *expr.Program) bool { return p.Uses(varHash) || p.Uses(varInput) }

// txVars are the variables of one transaction. The texts are left out until
// somebody reads them.
type txVars struct {
	args     [varCount]expr.Value
	hasTexts bool
}

func (v *txVars) set(t *chainevm.Transaction) {
	v.args[varValue] = expr.Uint(&t.Value)
	v.args[varGasPrice] = expr.Uint(&t.GasPrice)
	v.args[varMaxFeePerGas] = expr.Uint(&t.MaxFeePerGas)
	v.args[varMaxPriorityFeePerGas] = expr.Uint(&t.MaxPriorityFeePerGas)
	v.args[varGasLimit] = expr.Uint(&t.Gas)
	v.args[varNonce] = expr.Uint(&t.Nonce)
	v.args[varGasUsed] = expr.Missing()
	if t.Receipt != nil && t.Receipt.HasGasUsed {
		v.args[varGasUsed] = expr.Uint(&t.Receipt.GasUsed)
	}
	v.args[varTransactionIndex] = expr.UintFrom64(t.Index)
	v.args[varFrom] = address(t.From)
	v.args[varTo] = address(t.To)
	v.args[varHash], v.args[varInput] = expr.Missing(), expr.Missing()
	v.hasTexts = false
}

func (v *txVars) addTexts(t *chainevm.Transaction) {
	if v.hasTexts {
		return
	}
	v.args[varHash] = expr.String(t.Hash.String())
	v.args[varInput] = expr.String("0x" + hex.EncodeToString(t.Input))
	v.hasTexts = true
}

func address(a *chainevm.Address) expr.Value {
	if a == nil {
		return expr.NoAddr()
	}
	return expr.Addr(*a)
}
