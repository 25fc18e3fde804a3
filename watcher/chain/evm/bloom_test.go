package evm

import (
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

// TestBloomEqualsGoEthereum checks the filter of random logs.
func TestBloomEqualsGoEthereum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ours Bloom
		var theirs types.Receipt
		for range rapid.IntRange(0, 5).Draw(t, "logs") {
			l := Log{Address: Address{rapid.Byte().Draw(t, "address")}}
			g := &types.Log{Address: common.Address(l.Address)}
			for range rapid.IntRange(0, 4).Draw(t, "topics") {
				topic := fsm.Hash{rapid.Byte().Draw(t, "topic")}
				l.Topics = append(l.Topics, topic)
				g.Topics = append(g.Topics, common.Hash(topic))
			}
			ours.AddLogs([]Log{l})
			theirs.Logs = append(theirs.Logs, g)
		}
		if want := types.CreateBloom(&theirs); *ours.Bits() != want {
			t.Fatalf("%x, want %x", *ours.Bits(), want)
		}
	})
}

func TestComplete(t *testing.T) {
	bloomOf := func(block, receipts []byte) string {
		b, err := DecodeParts(block, receipts, nil)
		if err != nil {
			t.Fatal(err)
		}
		var f Bloom
		for i := range b.Transactions {
			f.AddLogs(b.Transactions[i].Logs)
		}
		return "0x" + common.Bytes2Hex(f.Bits()[:])
	}
	right := bloomOf(sampleBlock(same), sampleReceipts(sameReceipts))
	with := func(bloom string) []byte {
		return sampleBlock(func(b map[string]any, _ []map[string]any) { b["logsBloom"] = bloom })
	}
	tests := []struct {
		name            string
		block, receipts []byte
		logs            string
		want            string
	}{
		{"complete", with(right), sampleReceipts(sameReceipts), "", ""},
		{"no bloom", sampleBlock(same), sampleReceipts(sameReceipts), "", ""},
		{"bloom never filled", with("0x" + strings.Repeat("00", 256)), sampleReceipts(sameReceipts), "", ""},
		{"no transactions", []byte(`{"transactions":[]}`), []byte(`[]`), "", ""},
		{"no receipts", with(right), nil, "", "it has 2 transactions but 0 receipts"},
		{"receipt missing", with(right), sampleReceipts(func(r []map[string]any) { r[1] = nil }), "", "it has 2 transactions but 1 receipts"},
		{"receipt twice", with(right), sampleReceipts(func(r []map[string]any) { r[1] = r[0] }), "", "1 receipts are repeated"},
		{"receipt of another transaction", with(right), sampleReceipts(func(r []map[string]any) { r[1]["transactionHash"] = hash32(9) }), "", "1 receipts are of transactions it does not hold"},
		{"receipt of another block", with(right), sampleReceipts(func(r []map[string]any) { r[1]["blockHash"] = hash32(0x101) }), "", "the receipt of transaction " + hash32(2) + " is of block " + hash32(0x101)},
		{"receipt without block", with(right), sampleReceipts(func(r []map[string]any) { delete(r[0], "blockHash") }), "", "the receipt of transaction " + hash32(1) + " is of block " + hash32(0)},
		{"logs missing", with(right), sampleReceipts(func(r []map[string]any) { r[0]["logs"] = []any{} }), "", "the header's bloom filter names logs that are missing"},
		{"own logs missing", with(right), sampleReceipts(sameReceipts), "[]", "the header's bloom filter names logs that are missing"},
		{"logs too many", with(right), sampleReceipts(func(r []map[string]any) {
			r[1]["logs"] = []any{sampleLog(2, func(l map[string]any) { l["address"] = addr20(0xe) })}
		}), "", "it has logs that the header's bloom filter does not name"},
		{"log of another transaction", with(right), sampleReceipts(func(r []map[string]any) {
			r[1]["logs"] = []any{sampleLog(9, func(map[string]any) {})}
		}), "", "1 logs are of transactions it does not hold"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := DecodeParts(tt.block, tt.receipts, []byte(tt.logs))
			if err != nil {
				t.Fatal(err)
			}
			err = b.Complete()
			switch {
			case tt.want == "" && err == nil:
			case tt.want == "" || !errors.Is(err, ErrIncomplete) || !strings.HasSuffix(err.Error(), ": "+tt.want):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
