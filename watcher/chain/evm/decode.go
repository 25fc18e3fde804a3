package evm

import (
	"errors"
	"slices"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

// decoder builds one block. Its lists are used again, since their sizes are
// known only at the end.
type decoder struct {
	b      *Block
	txs    []Transaction
	logs   []Log
	owners []int32    // transaction of each log
	topics []fsm.Hash // of the log being read
	byHash map[fsm.Hash]int

	bytes     arena[byte]
	hashes    arena[fsm.Hash]
	receipts  arena[Receipt]
	addresses arena[Address]
}

var decoders = sync.Pool{New: func() any { return &decoder{} }}

// begin makes ready for a block. The arenas fit a common one; a larger one
// takes more of them.
func (d *decoder) begin() {
	d.b = &Block{}
	d.bytes = arena[byte]{chunk: 32 << 10}
	d.hashes = arena[fsm.Hash]{chunk: 512}
	d.receipts = arena[Receipt]{chunk: 64}
	d.addresses = arena[Address]{chunk: 256}
}

// release keeps the lists, unless they are unusually large, and nothing that
// they referred to.
func (d *decoder) release() {
	const most = 1 << 14
	if cap(d.txs) > most || cap(d.logs) > most {
		return
	}
	clear(d.txs)
	clear(d.logs)
	*d = decoder{txs: d.txs[:0], logs: d.logs[:0], owners: d.owners[:0], topics: d.topics[:0]}
	decoders.Put(d)
}

func (d *decoder) block(data []byte) error {
	s := &scanner{data: data}
	hasTransactions := false
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "number":
			return s.small(&d.b.Number)
		case "timestamp":
			return s.small(&d.b.Timestamp)
		case "hash":
			return s.hash(&d.b.Hash)
		case "parentHash":
			return s.hash(&d.b.ParentHash)
		case "logsBloom":
			if s.null() {
				return nil
			}
			d.b.Bloom = new([256]byte)
			return s.fixed(d.b.Bloom[:])
		case "transactions":
			hasTransactions = true
			clear(d.txs)
			d.txs = d.txs[:0]
			return s.array(func(int) error { return d.transaction(s) })
		default:
			return s.skip(1)
		}
	})
	if err != nil {
		return err
	}
	if !hasTransactions {
		return errors.New("transactions: missing")
	}
	return s.end()
}

func (d *decoder) transaction(s *scanner) error {
	if s.peek() == '"' {
		return errors.New("want an object: the block must be requested with full transactions")
	}
	d.txs = append(d.txs, Transaction{})
	t := &d.txs[len(d.txs)-1]
	start, hasHash, hasInput := s.pos, false, false
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "hash":
			hasHash = true
			return s.hash(&t.Hash)
		case "from":
			t.From, err = d.address(s)
		case "to":
			t.To, err = d.address(s)
		case "input":
			hasInput = true
			t.Input, err = s.bytes(&d.bytes)
		case "data": // older nodes' name of input
			if hasInput {
				return s.skip(1)
			}
			t.Input, err = s.bytes(&d.bytes)
		case "value":
			return s.quantity(&t.Value)
		case "gasPrice":
			return s.quantity(&t.GasPrice)
		case "maxFeePerGas":
			return s.quantity(&t.MaxFeePerGas)
		case "maxPriorityFeePerGas":
			return s.quantity(&t.MaxPriorityFeePerGas)
		case "gas":
			return s.quantity(&t.Gas)
		case "nonce":
			return s.quantity(&t.Nonce)
		case "transactionIndex":
			return s.small(&t.Index)
		default:
			return s.skip(1)
		}
		return err
	})
	if err == nil && !hasHash {
		err = errors.New("hash: missing")
	}
	t.Raw = s.data[start:s.pos:s.pos]
	return err
}

// address reads an address that may be absent: null, "" and "0x".
func (d *decoder) address(s *scanner) (*Address, error) {
	if s.null() {
		return nil, nil
	}
	if s.peek() == '"' {
		mark := s.pos
		text, err := s.text()
		if err != nil {
			return nil, err
		}
		if len(text) == 0 || len(text) == 2 && text[1]|0x20 == 'x' {
			return nil, nil
		}
		s.pos = mark
	}
	a := d.addresses.one()
	return a, s.fixed(a[:])
}

func (d *decoder) receiptList(data []byte, withLogs bool) error {
	s := &scanner{data: data}
	err := s.array(func(i int) error { return d.receipt(s, i, withLogs) })
	if err != nil {
		return err
	}
	return s.end()
}

func (d *decoder) receipt(s *scanner, i int, withLogs bool) error {
	if s.null() { // a node that does not know this receipt
		return nil
	}
	r := d.receipts.one()
	r.Status = StatusFailure
	var hash fsm.Hash
	hasHash, firstLog := false, len(d.logs)
	s.peek()
	start := s.pos
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "transactionHash":
			hasHash = true
			return s.hash(&hash)
		case "blockHash":
			return s.hash(&r.BlockHash)
		case "status":
			return d.status(s, r)
		case "gasUsed":
			r.HasGasUsed = s.peek() != 'n'
			return s.quantity(&r.GasUsed)
		case "logs":
			if withLogs {
				return d.logList(s, i)
			}
			return s.skip(1)
		default:
			return s.skip(1)
		}
	})
	if err != nil {
		return err
	}
	if !hasHash {
		return errors.New("transactionHash: missing")
	}
	r.Raw = s.data[start:s.pos:s.pos]
	d.b.receiptCount++
	tx := d.find(&hash, i)
	switch {
	case tx < 0:
		d.b.strayReceipts++
	case d.txs[tx].Receipt != nil:
		d.b.doubled++
	default:
		d.txs[tx].Receipt = r
	}
	for k := firstLog; k < len(d.owners); k++ { // logs without a hash belong to the receipt
		if d.owners[k] == ownerOpen {
			d.owners[k] = int32(tx)
		}
	}
	return nil
}

func (d *decoder) status(s *scanner, r *Receipt) error {
	if s.null() {
		return nil
	}
	var n uint64
	if err := s.small(&n); err != nil {
		return err
	}
	r.Status = StatusFailure
	if n == 1 {
		r.Status = StatusSuccess
	}
	return nil
}

// find returns the transaction with this hash, -1 when there is none. guess is
// where it most likely stands.
func (d *decoder) find(hash *fsm.Hash, guess int) int {
	txs := d.txs
	if guess >= 0 && guess < len(txs) && txs[guess].Hash == *hash {
		return guess
	}
	if d.byHash == nil {
		d.byHash = make(map[fsm.Hash]int, len(txs))
		for i := range slices.Backward(txs) {
			d.byHash[txs[i].Hash] = i
		}
	}
	if i, ok := d.byHash[*hash]; ok {
		return i
	}
	return ownerNone
}

// Owners of logs that belong to no transaction (yet).
const (
	ownerNone = -1 // the block has no such transaction
	ownerOpen = -2 // the log names none: its receipt does
)

// logList reads an array of logs. guess is the transaction they most likely
// belong to, -1 when there is no guess.
func (d *decoder) logList(s *scanner, guess int) error {
	return s.array(func(int) error { return d.log(s, guess) })
}

func (d *decoder) log(s *scanner, guess int) error {
	var l Log
	var hash fsm.Hash
	hasHash, hasAddress := false, false
	d.topics = d.topics[:0]
	s.peek()
	start := s.pos
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "address":
			hasAddress = true
			return s.fixed(l.Address[:])
		case "topics":
			d.topics = d.topics[:0]
			return s.array(func(int) error {
				d.topics = append(d.topics, fsm.Hash{})
				return s.hash(&d.topics[len(d.topics)-1])
			})
		case "data":
			l.Data, err = s.bytes(&d.bytes)
			return err
		case "transactionHash":
			hasHash = s.peek() != 'n'
			return s.hash(&hash)
		default:
			return s.skip(1)
		}
	})
	if err != nil {
		return err
	}
	if !hasAddress {
		return errors.New("address: missing")
	}
	l.Raw = s.data[start:s.pos:s.pos]
	if len(d.topics) > 0 {
		l.Topics = d.hashes.take(len(d.topics))
		copy(l.Topics, d.topics)
	}
	owner := ownerOpen
	if hasHash {
		if n := len(d.owners); guess < 0 && n > 0 {
			guess = int(d.owners[n-1])
		}
		owner = d.find(&hash, guess)
	}
	d.logs = append(d.logs, l)
	d.owners = append(d.owners, int32(owner))
	return nil
}

// finish hands each transaction its logs.
func (d *decoder) finish() *Block {
	b := d.b
	b.Transactions = exact(d.txs)
	b.LogCount = len(d.logs)
	b.HasReceipts = true
	for i := range b.Transactions {
		if r := b.Transactions[i].Receipt; r == nil || !r.HasGasUsed {
			b.HasReceipts = false
		}
	}
	logs, owners := exact(d.logs), d.owners
	if !slices.IsSorted(owners) {
		order := make([]int, len(logs))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return int(owners[i]) - int(owners[j]) })
		sorted := make([]int32, len(order))
		for i, at := range order {
			logs[i], sorted[i] = d.logs[at], owners[at]
		}
		owners = sorted
	}
	for i := 0; i < len(logs); {
		end := i + 1
		for end < len(logs) && owners[end] == owners[i] {
			end++
		}
		if tx := owners[i]; tx >= 0 {
			b.Transactions[tx].Logs = logs[i:end:end]
		} else {
			b.strayLogs += end - i
		}
		i = end
	}
	return b
}

// exact is a copy without room to grow.
func exact[T any](list []T) []T {
	out := make([]T, len(list))
	copy(out, list)
	return out
}
