package evm_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/sha3"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

const (
	benchTxs     = 200
	benchLogs    = 400
	benchTokens  = 60 // contracts that write logs
	benchTenants = 10_000
	benchHits    = 10
)

// tokenABI is an ERC-20 contract's, as a compiler writes it.
const tokenABI = `[
{"type":"event","name":"Transfer","anonymous":false,"inputs":[
 {"indexed":true,"internalType":"address","name":"from","type":"address"},
 {"indexed":true,"internalType":"address","name":"to","type":"address"},
 {"indexed":false,"internalType":"uint256","name":"value","type":"uint256"}]},
{"type":"event","name":"Approval","anonymous":false,"inputs":[
 {"indexed":true,"internalType":"address","name":"owner","type":"address"},
 {"indexed":true,"internalType":"address","name":"spender","type":"address"},
 {"indexed":false,"internalType":"uint256","name":"value","type":"uint256"}]},
{"type":"function","name":"transfer","stateMutability":"nonpayable","inputs":[
 {"internalType":"address","name":"to","type":"address"},
 {"internalType":"uint256","name":"value","type":"uint256"}],"outputs":[{"name":"","type":"bool"}]},
{"type":"function","name":"approve","stateMutability":"nonpayable","inputs":[
 {"internalType":"address","name":"spender","type":"address"},
 {"internalType":"uint256","name":"value","type":"uint256"}],"outputs":[{"name":"","type":"bool"}]}]`

// word is 32 bytes that look random and are always the same.
func word(kind string, n int) [32]byte {
	h := sha3.NewLegacyKeccak256()
	h.Write(binary.BigEndian.AppendUint64([]byte(kind), uint64(n)))
	return [32]byte(h.Sum(nil))
}

func addr(kind string, n int) string {
	w := word(kind, n)
	return "0x" + hex.EncodeToString(w[:20])
}

// token is the contract of a log; the first is in every second one.
func token(log int) string {
	if log%2 == 0 {
		return addr("token", 0)
	}
	return addr("token", 1+log/2%(benchTokens-1))
}

// benchPayload is a block as a real node sends it: log i is a Transfer of
// 1000+i from sender i to receiver i.
func benchPayload() []byte {
	topic := "0x" + hex.EncodeToString(keccak("Transfer(address,address,uint256)"))
	blockHash := "0x" + strings.Repeat("ab", 32)
	var txs, receipts []map[string]any
	for i := range benchTxs {
		hash := word("tx", i)
		txHash := "0x" + hex.EncodeToString(hash[:])
		index := fmt.Sprintf("%#x", i)
		to, from := word("receiver", i), addr("eoa", i)
		input := "0xa9059cbb" + strings.Repeat("0", 24) + hex.EncodeToString(to[:20]) + fmt.Sprintf("%064x", 1000+i)
		if i%10 == 0 { // a call of a contract with a long argument list
			input = "0x5ae401dc" + strings.Repeat(hex.EncodeToString(to[:]), 24)
		}
		txs = append(txs, map[string]any{
			"hash": txHash, "blockHash": blockHash, "blockNumber": "0x1406f40", "transactionIndex": index,
			"from": from, "to": token(2 * i), "input": input, "value": "0x0", "nonce": "0x1f", "gas": "0x3d090",
			"gasPrice": "0x2540be400", "maxFeePerGas": "0x4a817c800", "maxPriorityFeePerGas": "0x3b9aca00",
			"type": "0x2", "chainId": "0x1", "accessList": []any{}, "yParity": "0x1", "v": "0x1",
			"r": "0x" + strings.Repeat("5a", 32), "s": "0x" + strings.Repeat("3c", 32),
		})
		var logs []map[string]any
		for k := 2 * i; k < 2*i+2; k++ {
			sender, receiver := word("sender", k), word("receiver", k)
			logs = append(logs, map[string]any{
				"address": token(k), "blockHash": blockHash, "blockNumber": "0x1406f40", "blockTimestamp": "0x6703f1a3",
				"data": "0x" + fmt.Sprintf("%064x", 1000+k), "logIndex": fmt.Sprintf("%#x", k), "removed": false,
				"topics": []string{
					topic, "0x" + strings.Repeat("0", 24) + hex.EncodeToString(sender[:20]),
					"0x" + strings.Repeat("0", 24) + hex.EncodeToString(receiver[:20]),
				},
				"transactionHash": txHash, "transactionIndex": index,
			})
		}
		receipts = append(receipts, map[string]any{
			"blockHash": blockHash, "blockNumber": "0x1406f40", "contractAddress": nil, "cumulativeGasUsed": "0x1e8480",
			"effectiveGasPrice": "0x2540be400", "from": from, "gasUsed": "0xb41d", "logs": logs,
			"logsBloom": "0x" + strings.Repeat("00", 256), "status": "0x1", "to": token(2 * i),
			"transactionHash": txHash, "transactionIndex": index, "type": "0x2",
		})
	}
	block := map[string]any{
		"hash": blockHash, "parentHash": "0x" + strings.Repeat("cd", 32), "number": "0x1406f40", "timestamp": "0x6703f1a3",
		"logsBloom": "0x" + strings.Repeat("00", 256), "gasUsed": "0x1c9c380", "gasLimit": "0x1c9c380", "extraData": "0x",
		"stateRoot": "0x" + strings.Repeat("11", 32), "transactions": txs, "withdrawals": []any{},
	}
	return chainevm.Payload(mustJSON(block), mustJSON(receipts), nil)
}

func keccak(text string) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write([]byte(text))
	return h.Sum(nil)
}

func mustJSON(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

var tokenSpec = json.RawMessage(tokenABI)

func transferMonitor(name, address, expression string) *spec.Monitor {
	m := &spec.Monitor{
		Name:      name,
		Networks:  []string{"ethereum"},
		Addresses: []spec.Address{{Address: address, ContractSpec: tokenSpec, SpecChain: spec.EVM}},
		Triggers:  []string{"slack"},
	}
	m.Match.Events = []spec.Signature{{Signature: "Transfer(address,address,uint256)", Expression: &expression}}
	return m
}

// spreadMonitor is the i-th of many monitors of all sorts. The first ten match
// the block once each; of the others every tenth is on a contract of the block.
func spreadMonitor(i int) *spec.Monitor {
	name := fmt.Sprintf("monitor-%d", i)
	if i < benchHits {
		return transferMonitor(name, token(i), "to == "+addr("receiver", i))
	}
	switch i % 10 {
	case 0:
		return transferMonitor(name, token(i), "to == "+addr("nobody", i))
	case 1, 2:
		m := transferMonitor(name, addr("other", i), "")
		expression := "value > 0"
		m.Match.Functions = []spec.Signature{{Signature: "transfer(address,uint256)", Expression: &expression}}
		m.Match.Events = nil
		return m
	case 3, 4: // a wallet
		expression := "value > 1000000000000000000"
		m := &spec.Monitor{Name: name, Networks: []string{"ethereum"}, Addresses: []spec.Address{{Address: addr("wallet", i)}}, Triggers: []string{"slack"}}
		m.Match.Transactions = []spec.Transaction{{Status: spec.StatusSuccess, Expression: &expression}}
		return m
	default:
		return transferMonitor(name, addr("other", i), fmt.Sprintf("value > %d", 1_000_000+i))
	}
}

// popularMonitor is the i-th of many monitors on one event of one contract.
func popularMonitor(i int) *spec.Monitor {
	name := fmt.Sprintf("monitor-%d", i)
	switch {
	case i < benchHits:
		return transferMonitor(name, token(0), "to == "+addr("receiver", 2*i))
	case i%2 == 0:
		return transferMonitor(name, token(0), "to == "+addr("nobody", i))
	default:
		return transferMonitor(name, token(0), fmt.Sprintf("value > %d", 1_000_000+i))
	}
}

// benchIndex is built once for each size.
type benchIndex struct {
	index      *evm.Index
	perMonitor float64 // bytes of heap
}

var (
	benchMu      sync.Mutex
	benchIndexes = make(map[string]*benchIndex)
	payload      = sync.OnceValue(benchPayload)
)

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func indexOf(kind string, n int, monitor func(int) *spec.Monitor) *benchIndex {
	benchMu.Lock()
	defer benchMu.Unlock()
	name := fmt.Sprint(kind, n)
	if x := benchIndexes[name]; x != nil {
		return x
	}
	before := heap()
	specs := &evm.ABIs{}
	x := evm.NewIndex()
	for i := range n {
		compiled, _ := evm.Compile(monitor(i), specs)
		x.Add(match.Key{Tenant: benchTenant(i), Monitor: compiled.MonitorName()}, compiled, 0)
	}
	out := &benchIndex{index: x, perMonitor: (heap() - before) / float64(n)}
	benchIndexes[name] = out
	return out
}

var tenantNames = sync.OnceValue(func() []string {
	names := make([]string, benchTenants)
	for i := range names {
		names[i] = fmt.Sprintf("tenant-%d", i)
	}
	return names
})

func benchTenant(i int) string { return tenantNames()[i%benchTenants] }

func benchMatch(b *testing.B, x *benchIndex) {
	var hits int
	for b.Loop() {
		block, err := chainevm.Decode(payload())
		if err != nil {
			b.Fatal(err)
		}
		hits = len(x.index.Match(block, 1))
	}
	if hits != benchHits {
		b.Fatalf("%d hits, want %d", hits, benchHits)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
	b.ReportMetric(x.perMonitor, "B/monitor")
	b.SetBytes(int64(len(payload())))

	block, err := chainevm.Decode(payload())
	if err != nil {
		b.Fatal(err)
	}
	runs := max(b.N, 20)
	start := time.Now()
	for range runs {
		x.index.Match(block, 1)
	}
	b.ReportMetric(float64(runs)/time.Since(start).Seconds(), "match-blocks/s")
}

// BenchmarkMatchBlock decodes and matches one block of 200 transactions and
// 400 logs, or (recorded) one of the blocks of a real chain.
func BenchmarkMatchBlock(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("monitors=%d", n), func(b *testing.B) { benchMatch(b, indexOf("spread", n, spreadMonitor)) })
	}
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("popular/monitors=%d", n), func(b *testing.B) { benchMatch(b, indexOf("popular", n, popularMonitor)) })
	}
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("recorded/monitors=%d", n), func(b *testing.B) { benchRecorded(b, n) })
	}
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("oracle/monitors=%d", n), func(b *testing.B) { benchOracle(b, n) })
	}
}

// benchOracle is the same work without an index: monitor by monitor.
func benchOracle(b *testing.B, n int) {
	specs := &evm.ABIs{}
	monitors := make([]*oracleMonitor, n)
	for i := range monitors {
		monitors[i] = &oracleMonitor{key: match.Key{Tenant: benchTenant(i)}, doc: spreadMonitor(i), until: 2}
	}
	for b.Loop() {
		block, err := chainevm.Decode(payload())
		if err != nil {
			b.Fatal(err)
		}
		if hits := len(oracle(monitors, specs, block, 1)); hits != benchHits {
			b.Fatalf("%d hits, want %d", hits, benchHits)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
	b.SetBytes(int64(len(payload())))
}
