package evm

import (
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/sha3"

	"github.com/ozmo-dev/ozmo/fsm"
)

// ErrIncomplete is wrapped by Block.Complete: the parts of the block do not
// belong together or something is missing. Another endpoint should be asked.
var ErrIncomplete = errors.New("evm block is incomplete")

// Complete reports why a fetched block may not be announced: a transaction
// without receipt, a receipt of another block or transaction, or logs that
// contradict the bloom filter of the header. Nil means complete.
//
// A header without a bloom, or with one of all zeros while there are logs (some
// layer-2 chains never fill it), is not held against the logs: the receipts'
// block hashes vouch for them.
func (b *Block) Complete() error {
	switch {
	case b.receiptCount != len(b.Transactions):
		return b.incomplete("it has %d transactions but %d receipts", len(b.Transactions), b.receiptCount)
	case b.strayReceipts > 0:
		return b.incomplete("%d receipts are of transactions it does not hold", b.strayReceipts)
	case b.doubled > 0:
		return b.incomplete("%d receipts are repeated", b.doubled)
	case b.strayLogs > 0:
		return b.incomplete("%d logs are of transactions it does not hold", b.strayLogs)
	}
	for i := range b.Transactions {
		t := &b.Transactions[i]
		switch {
		case t.Receipt == nil:
			return b.incomplete("transaction %s has no receipt", t.Hash)
		case t.Receipt.BlockHash != b.Hash:
			return b.incomplete("the receipt of transaction %s is of block %s", t.Hash, t.Receipt.BlockHash)
		}
	}
	if b.Bloom == nil || b.LogCount > 0 && *b.Bloom == [256]byte{} {
		return nil
	}
	var bloom Bloom
	for i := range b.Transactions {
		bloom.AddLogs(b.Transactions[i].Logs)
	}
	if have := bloom.Bits(); *have != *b.Bloom {
		if covers(b.Bloom, have) {
			return b.incomplete("the header's bloom filter names logs that are missing")
		}
		return b.incomplete("it has logs that the header's bloom filter does not name")
	}
	return nil
}

func (b *Block) incomplete(format string, args ...any) error {
	return fmt.Errorf("%w: block %s: %s", ErrIncomplete, b.Ref(), fmt.Sprintf(format, args...))
}

func covers(outer, inner *[256]byte) bool {
	for i := range outer {
		if inner[i]&^outer[i] != 0 {
			return false
		}
	}
	return true
}

// Bloom builds the 2048-bit filter of a header from logs. The zero value is an
// empty filter. Hashing is slow, so what was added once is remembered.
type Bloom struct {
	bits      [256]byte
	addresses map[Address]struct{}
	topics    map[fsm.Hash]struct{}
	keccak    hash.Hash
}

// AddLogs enters the address and the topics of each log.
func (f *Bloom) AddLogs(logs []Log) {
	if f.keccak == nil {
		f.keccak = sha3.NewLegacyKeccak256()
		f.addresses = make(map[Address]struct{})
		f.topics = make(map[fsm.Hash]struct{})
	}
	for i := range logs {
		l := &logs[i]
		if _, ok := f.addresses[l.Address]; !ok {
			f.addresses[l.Address] = struct{}{}
			f.add(l.Address[:])
		}
		for k := range l.Topics {
			if _, ok := f.topics[l.Topics[k]]; !ok {
				f.topics[l.Topics[k]] = struct{}{}
				f.add(l.Topics[k][:])
			}
		}
	}
}

// Bits is the filter built so far, most significant byte first as in a header.
func (f *Bloom) Bits() *[256]byte { return &f.bits }

// add sets three bits, chosen by the first three pairs of bytes of the hash:
// the low 11 bits of each pair count from the end of the filter.
func (f *Bloom) add(data []byte) {
	var sum [32]byte
	f.keccak.Reset()
	f.keccak.Write(data)
	f.keccak.Sum(sum[:0])
	for i := 0; i < 6; i += 2 {
		bit := (uint(sum[i])<<8 | uint(sum[i+1])) & 2047
		f.bits[255-bit/8] |= 1 << (bit % 8)
	}
}
