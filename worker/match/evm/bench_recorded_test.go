package evm_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// record makes the file of recorded blocks anew:
//
//	devchain --listen 127.0.0.1:8545 --rate 80 --block-time 1s
//	go test ./worker/match/evm -run '^TestRecordBlocks$' -record http://127.0.0.1:8545
//
// Let the chain run for half a minute first. The tests below expect nothing
// that depends on the recording.
var record = flag.String("record", "", "write the newest blocks of the chain at `URL` to "+recordedFile)

const (
	recordedFile   = "testdata/recorded.zst"
	recordedBlocks = 20
	recordedLimit  = 300 << 10 // bytes of the file

	// The chain's token has six decimals. One transfer in twenty is of a
	// million tokens or more, and none is of ten million.
	recordedLarge = "value >= 1000000000000"
	recordedNever = 10_000_000_000_000
)

// TestRecordBlocks fetches blocks the way a watcher does. The file is the
// payloads in ascending order, a line each, compressed as a whole.
func TestRecordBlocks(t *testing.T) {
	if *record == "" {
		t.Skip("records nothing without -record")
	}
	client, err := chainevm.New(chainevm.Options{Options: rpc.Options{
		Network: "recorded", Endpoints: []rpc.Endpoint{{URL: *record, Weight: 1}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	head, err := client.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if head.Height < recordedBlocks {
		t.Fatalf("the chain has %d blocks, want more than %d", head.Height, recordedBlocks)
	}
	lines, err := fetchLines(t.Context(), client, head.Height-recordedBlocks+1, head.Height)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(zstd.MaxWindowSize>>4))
	if err != nil {
		t.Fatal(err)
	}
	file := enc.EncodeAll(lines, nil)
	if len(file) > recordedLimit {
		t.Fatalf("%d bytes are more than the %d allowed: run the chain at a lower --rate", len(file), recordedLimit)
	}
	if err := os.MkdirAll(filepath.Dir(recordedFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recordedFile, file, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("blocks %d to %d: %d bytes, %d in the file", head.Height-recordedBlocks+1, head.Height, len(lines), len(file))
}

func fetchLines(ctx context.Context, client chain.Client, from, to uint64) ([]byte, error) {
	var lines []byte
	for height := from; height <= to; height++ {
		block, err := client.Block(ctx, height)
		if err != nil {
			return nil, err
		}
		if bytes.IndexByte(block.Payload, '\n') >= 0 {
			return nil, fmt.Errorf("block %d: the node's JSON has line breaks", height)
		}
		lines = append(append(lines, block.Payload...), '\n')
	}
	return lines, nil
}

// recorded is the payloads of the recorded blocks.
var recorded = sync.OnceValues(func() ([][]byte, error) {
	file, err := os.ReadFile(recordedFile)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	lines, err := dec.DecodeAll(file, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", recordedFile, err)
	}
	return bytes.Split(bytes.TrimSuffix(lines, []byte{'\n'}), []byte{'\n'}), nil
})

func recordedPayloads(tb testing.TB) [][]byte {
	tb.Helper()
	payloads, err := recorded()
	if err != nil {
		tb.Fatal(err)
	}
	return payloads
}

func decodeRecorded(tb testing.TB) []*chainevm.Block {
	tb.Helper()
	var blocks []*chainevm.Block
	for i, p := range recordedPayloads(tb) {
		block, err := chainevm.Decode(p)
		if err != nil {
			tb.Fatalf("recorded block %d: %v", i, err)
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// recordedToken is the contract that wrote the recorded logs.
func recordedToken(tb testing.TB, blocks []*chainevm.Block) string {
	tb.Helper()
	for _, b := range blocks {
		for i := range b.Transactions {
			for k := range b.Transactions[i].Logs {
				return b.Transactions[i].Logs[k].Address.String()
			}
		}
	}
	tb.Fatal("the recorded blocks have no logs")
	return ""
}

// recordedMonitor is the i-th monitor on the recorded chain. The first finds
// the large transfers; of the others every tenth is on the same event and never
// matches, and the rest is on addresses the chain does not know.
func recordedMonitor(token string, i int) *spec.Monitor {
	name := fmt.Sprintf("monitor-%d", i)
	switch {
	case i == 0:
		return transferMonitor(name, token, recordedLarge)
	case i%20 == 0:
		return transferMonitor(name, token, "to == "+addr("nobody", i))
	case i%10 == 0:
		return transferMonitor(name, token, fmt.Sprintf("value > %d", recordedNever+i))
	default:
		return spreadMonitor(benchHits + i)
	}
}

// A recording that is cut, mixed up or dull would make the benchmark's figures
// worthless.
func TestRecordedBlocks(t *testing.T) {
	blocks := decodeRecorded(t)
	if len(blocks) != recordedBlocks {
		t.Errorf("%d blocks, want %d", len(blocks), recordedBlocks)
	}
	reverted := 0
	for i, b := range blocks {
		if err := b.Complete(); err != nil {
			t.Errorf("block %d: %v", b.Number, err)
		}
		if i > 0 && b.ParentHash != blocks[i-1].Hash {
			t.Errorf("block %d does not follow the one before it", b.Number)
		}
		if len(b.Transactions) < 20 {
			t.Errorf("block %d has %d transactions only", b.Number, len(b.Transactions))
		}
		for k := range b.Transactions {
			if b.Transactions[k].Status() == chainevm.StatusFailure {
				reverted++
			}
		}
	}
	if reverted == 0 {
		t.Error("no transaction of the recorded blocks failed")
	}
}

// The index and the oracle agree on real blocks, too.
func TestRecordedOracle(t *testing.T) {
	blocks := decodeRecorded(t)
	token := recordedToken(t, blocks)
	specs := &evm.ABIs{}
	x := evm.NewIndex()
	var monitors []*oracleMonitor
	add := func(doc *spec.Monitor) {
		key := match.Key{Tenant: benchTenant(len(monitors)), Monitor: doc.Name}
		compiled, _ := evm.Compile(doc, specs)
		x.Add(key, compiled, 0)
		monitors = append(monitors, &oracleMonitor{key: key, doc: doc, until: 2})
	}
	for i := range 100 {
		add(recordedMonitor(token, i))
	}
	failed := transferMonitor("failed", token, "")
	failed.Match.Events = nil
	failed.Match.Transactions = []spec.Transaction{{Status: spec.StatusFailure}}
	add(failed)
	called := transferMonitor("called", token, "")
	expression := "value < 1000000"
	called.Match.Events, called.Match.Functions = nil, []spec.Signature{{Signature: "transfer(address,uint256)", Expression: &expression}}
	add(called)

	matched := map[string]int{}
	for _, b := range blocks {
		var got []oracleHit
		for _, h := range x.Match(b, 1) {
			m := h.Match("recorded")
			got = append(got, oracleHit{h.Key, h.Tx, m.MatchedOn, m.Args})
			matched[h.Monitor.MonitorName()]++
		}
		if diff := cmp.Diff(oracle(monitors, specs, b, 1), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("block %d (-oracle +index):\n%s", b.Number, diff)
		}
	}
	if matched["monitor-0"] == 0 || matched["failed"] == 0 || len(matched) > 3 {
		t.Errorf("matches by monitor: %v", matched)
	}
}

// benchRecorded decodes and matches the recorded blocks in turn. With more
// monitors the hits stay the same.
func benchRecorded(b *testing.B, n int) {
	payloads, blocks := recordedPayloads(b), decodeRecorded(b)
	token := recordedToken(b, blocks)
	x := indexOf("recorded", n, func(i int) *spec.Monitor { return recordedMonitor(token, i) })
	want := make([]int, len(blocks))
	first := []*oracleMonitor{{key: match.Key{Tenant: benchTenant(0)}, doc: recordedMonitor(token, 0), until: 2}}
	for i, block := range blocks {
		want[i] = len(oracle(first, &evm.ABIs{}, block, 1))
	}
	bytesPerBlock := 0
	for _, p := range payloads {
		bytesPerBlock += len(p)
	}
	bytesPerBlock /= len(payloads)

	i := 0
	for b.Loop() {
		at := i % len(payloads)
		i++
		block, err := chainevm.Decode(payloads[at])
		if err != nil {
			b.Fatal(err)
		}
		if hits := len(x.index.Match(block, 1)); hits != want[at] {
			b.Fatalf("block %d: %d hits, want %d", block.Number, hits, want[at])
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
	b.ReportMetric(x.perMonitor, "B/monitor")
	b.SetBytes(int64(bytesPerBlock))

	runs := max(b.N, len(blocks))
	start := time.Now()
	for i := range runs {
		x.index.Match(blocks[i%len(blocks)], 1)
	}
	b.ReportMetric(float64(runs)/time.Since(start).Seconds(), "match-blocks/s")
}
