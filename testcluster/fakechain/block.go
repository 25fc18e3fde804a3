package fakechain

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strconv"

	"golang.org/x/crypto/sha3"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
)

// Address of an account or contract.
type Address [20]byte

// Log is what a transaction wrote.
type Log struct {
	Address Address
	Topics  []fsm.Hash
	Data    []byte
}

// Tx is a transaction and its outcome.
type Tx struct {
	Hash    fsm.Hash // computed when the transaction is first put into a block
	From    Address
	To      *Address // nil creates a contract
	Value   uint64
	Nonce   uint64 // given when the transaction is first put into a block
	Input   []byte
	Failed  bool
	GasUsed uint64 // 21000 when 0
	Logs    []Log
}

// Token is the contract of Transfer.
var Token = addressOf([]byte("fakechain token...."))

// TransferTopic is the topic of the event Transfer(address,address,uint256).
var TransferTopic = keccak([]byte("Transfer(address,address,uint256)"))

// Transfer is a call of transfer(to, amount) on Token that logs a Transfer.
func Transfer(from, to Address, amount uint64) Tx {
	token := Token
	selector := keccak([]byte("transfer(address,uint256)"))
	var value fsm.Hash
	binary.BigEndian.PutUint64(value[24:], amount)
	toWord, fromWord := word(to), word(from)
	return Tx{
		From: from, To: &token,
		Input: append(append(selector[:4:4], toWord[:]...), value[:]...),
		Logs:  []Log{{Address: token, Topics: []fsm.Hash{TransferTopic, fromWord, toWord}, Data: value[:]}},
	}
}

func (t *Tx) finish(nonce, seed uint64) {
	t.Nonce = nonce
	if t.GasUsed == 0 {
		t.GasUsed = 21000
	}
	t.Hash = keccak([]byte("tx"), t.From[:], t.Input, u64(t.Value), u64(nonce), u64(seed))
}

// Block is one block. It never changes.
type Block struct {
	Number uint64
	Hash   fsm.Hash
	Parent fsm.Hash
	Time   uint64 // seconds
	Txs    []Tx

	full, light, header, logs json.RawMessage // block with transactions, with hashes, without; eth_getLogs
	receipts                  []json.RawMessage
	payload                   []byte // all of it, as the block cache stores it
}

// Ref names the block.
func (b *Block) Ref() fsm.BlockRef { return fsm.BlockRef{Height: b.Number, Hash: b.Hash} }

func build(number uint64, parent fsm.Hash, salt uint64, txs []Tx) *Block {
	b := &Block{Number: number, Parent: parent, Time: 1_700_000_000 + 12*number, Txs: txs}
	var bloom [256]byte
	content := [][]byte{parent[:], u64(number), u64(salt)}
	var gas uint64
	for _, t := range txs {
		content = append(content, t.Hash[:])
		gas += t.GasUsed
		for _, l := range t.Logs {
			bloomAdd(&bloom, l.Address[:])
			for _, topic := range l.Topics {
				bloomAdd(&bloom, topic[:])
			}
		}
	}
	b.Hash = keccak(content...)
	b.render(bloom, gas)
	return b
}

func (b *Block) render(bloom [256]byte, gas uint64) {
	zero := fsm.Hash{}
	header := map[string]any{
		"number": hexInt(b.Number), "hash": b.Hash, "parentHash": b.Parent, "timestamp": hexInt(b.Time),
		"logsBloom": hexBytes(bloom[:]), "gasUsed": hexInt(gas), "gasLimit": hexInt(30_000_000),
		"stateRoot": keccak(b.Hash[:], []byte("state")), "receiptsRoot": keccak(b.Hash[:], []byte("receipts")),
		"transactionsRoot": keccak(b.Hash[:], []byte("transactions")), "sha3Uncles": keccak([]byte{0xc0}),
		"miner": hexBytes(make([]byte, 20)), "difficulty": "0x0", "extraData": "0x", "nonce": "0x0000000000000000",
		"mixHash": zero, "baseFeePerGas": hexInt(7),
	}
	b.header = mustJSON(header)
	header["size"], header["uncles"] = hexInt(1000), []string{}
	full, hashes, logs := []any{}, []fsm.Hash{}, []any{}
	b.receipts = []json.RawMessage{}
	for i, t := range b.Txs {
		place := map[string]any{
			"blockHash": b.Hash, "blockNumber": hexInt(b.Number), "transactionIndex": hexInt(uint64(i)),
		}
		to := any(nil)
		if t.To != nil {
			to = hexBytes(t.To[:])
		}
		hashes = append(hashes, t.Hash)
		full = append(full, merge(place, map[string]any{
			"hash": t.Hash, "from": hexBytes(t.From[:]), "to": to, "value": hexInt(t.Value), "nonce": hexInt(t.Nonce),
			"input": hexBytes(t.Input), "gas": hexInt(2 * t.GasUsed), "gasPrice": hexInt(10), "type": "0x0",
			"v": "0x25", "r": "0x1", "s": "0x1",
		}))
		txLogs := []any{}
		for _, l := range t.Logs {
			entry := merge(place, map[string]any{
				"address": hexBytes(l.Address[:]), "topics": l.Topics, "data": hexBytes(l.Data),
				"transactionHash": t.Hash, "logIndex": hexInt(uint64(len(logs))), "removed": false,
			})
			txLogs, logs = append(txLogs, entry), append(logs, entry)
		}
		status := "0x1"
		if t.Failed {
			status = "0x0"
		}
		b.receipts = append(b.receipts, mustJSON(merge(place, map[string]any{
			"transactionHash": t.Hash, "from": hexBytes(t.From[:]), "to": to, "status": status, "type": "0x0",
			"gasUsed": hexInt(t.GasUsed), "cumulativeGasUsed": hexInt(uint64(i+1) * t.GasUsed),
			"effectiveGasPrice": hexInt(10), "contractAddress": nil, "logs": txLogs, "logsBloom": hexBytes(txBloom(t)),
		})))
	}
	b.logs = mustJSON(logs)
	header["transactions"] = full
	b.full = mustJSON(header)
	b.payload = evm.Payload(b.full, mustJSON(b.receipts), nil)
	header["transactions"] = hashes
	b.light = mustJSON(header)
}

func txBloom(t Tx) []byte {
	var bloom [256]byte
	for _, l := range t.Logs {
		bloomAdd(&bloom, l.Address[:])
		for _, topic := range l.Topics {
			bloomAdd(&bloom, topic[:])
		}
	}
	return bloom[:]
}

// bloomAdd sets the three bits of the Ethereum yellow paper's M3:2048.
func bloomAdd(bloom *[256]byte, data []byte) {
	h := keccak(data)
	for i := 0; i < 6; i += 2 {
		bit := binary.BigEndian.Uint16(h[i:]) % 2048
		bloom[255-bit/8] |= 1 << (bit % 8)
	}
}

func keccak(parts ...[]byte) (h fsm.Hash) {
	k := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		k.Write(p)
	}
	k.Sum(h[:0])
	return h
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func word(a Address) (h fsm.Hash) {
	copy(h[12:], a[:])
	return h
}

func addressOf(b []byte) (a Address) {
	copy(a[:], b)
	return a
}

func hexInt(n uint64) string   { return "0x" + strconv.FormatUint(n, 16) }
func hexBytes(b []byte) string { return "0x" + hex.EncodeToString(b) }

func merge(a, b map[string]any) map[string]any {
	maps.Copy(b, a)
	return b
}

func mustJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only values of this package come here
	}
	return text
}
