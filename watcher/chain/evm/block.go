package evm

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/holiman/uint256"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Address is the account or contract address of an EVM chain.
type Address [20]byte

// ParseAddress reads 40 hexadecimal digits in any letter case, with or without
// a leading 0x.
func ParseAddress(s string) (Address, error) {
	var a Address
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	if len(digits) != 2*len(a) {
		return a, fmt.Errorf("address %q: want 20 bytes in hexadecimal", s)
	}
	if _, err := hex.Decode(a[:], []byte(digits)); err != nil {
		return a, fmt.Errorf("address %q: want 20 bytes in hexadecimal", s)
	}
	return a, nil
}

// String is 0x followed by 40 lower-case hexadecimal digits, without checksum.
func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// Status is the outcome of a transaction.
type Status uint8

const (
	// StatusUnknown is the status of a transaction whose receipt was not fetched.
	StatusUnknown Status = iota
	// StatusSuccess is that of a receipt with status 1.
	StatusSuccess
	// StatusFailure is that of a receipt with any other status, or none.
	StatusFailure
)

func (s Status) String() string {
	switch s {
	case StatusSuccess:
		return "Success"
	case StatusFailure:
		return "Failure"
	default:
		return "Unknown"
	}
}

// Block is a lenient view of an EVM block with its receipts: transaction types
// of layer-2 chains, missing fields and unknown fields are all fine. It is
// immutable once decoded and safe for concurrent use. Input, Data and the Raw
// fields may share memory with the payload the block was decoded from.
type Block struct {
	Number    uint64 // height; 0 when the node sent none
	Timestamp uint64 // seconds since 1970; 0 when the node sent none

	Hash, ParentHash fsm.Hash

	Bloom        *[256]byte    // bloom filter of the header; nil when the node sent none
	Transactions []Transaction // block order
	HasReceipts  bool          // status and gas used are known for every transaction
	LogCount     int           // logs of the whole block, also those of no listed transaction

	receiptCount  int // receipts the node sent
	strayReceipts int // receipts of transactions the block does not list
	strayLogs     int // logs of transactions the block does not list
	doubled       int // second receipts for one transaction
}

// Transaction is one transaction of a block. Numbers that the node did not
// send are zero.
type Transaction struct {
	Hash     fsm.Hash
	From, To *Address // To is nil when the transaction creates a contract
	Input    []byte

	Value, GasPrice, MaxFeePerGas, MaxPriorityFeePerGas, Gas, Nonce uint256.Int

	Index   uint64          // transactionIndex as the node sent it
	Logs    []Log           // in the order of the node
	Receipt *Receipt        // nil when none was fetched
	Raw     json.RawMessage // the transaction as the node sent it
}

// Status is the outcome told by the receipt, StatusUnknown without one.
func (t *Transaction) Status() Status {
	if t.Receipt == nil {
		return StatusUnknown
	}
	return t.Receipt.Status
}

// Receipt is what the chain recorded about an executed transaction.
type Receipt struct {
	Status     Status // 0x1 is success; any other or no status is failure
	GasUsed    uint256.Int
	HasGasUsed bool
	BlockHash  fsm.Hash        // zero when the node sent none
	Raw        json.RawMessage // the receipt as the node sent it
}

// Log is one entry a contract wrote.
type Log struct {
	Address Address
	Topics  []fsm.Hash
	Data    []byte
	Raw     json.RawMessage // the log as the node sent it
}

// Ref names the block.
func (b *Block) Ref() fsm.BlockRef { return fsm.BlockRef{Height: b.Number, Hash: b.Hash} }
