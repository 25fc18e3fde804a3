package evm

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	want := "0x" + strings.Repeat("ab", 20)
	for _, in := range []string{want, strings.Repeat("AB", 20), "0X" + strings.Repeat("aB", 20)} {
		if a, err := ParseAddress(in); err != nil || a.String() != want {
			t.Errorf("%q: %s, %v", in, a, err)
		}
	}
	for _, in := range []string{"", "0x", "0x12", want + "0", " " + want, "0x0x" + want[4:], strings.Repeat("zz", 20)} {
		if a, err := ParseAddress(in); err == nil {
			t.Errorf("%q: %s", in, a)
		}
	}
}

func TestStatusText(t *testing.T) {
	for s, want := range map[Status]string{StatusUnknown: "Unknown", StatusSuccess: "Success", StatusFailure: "Failure"} {
		if s.String() != want {
			t.Errorf("%d: %s, want %s", s, s, want)
		}
	}
}

// BenchmarkDecodeBlock decodes a block of 200 transactions and 400 logs.
func BenchmarkDecodeBlock(b *testing.B) {
	var txs, receipts []map[string]any
	for i := range 200 {
		txs = append(txs, map[string]any{
			"hash": hash32(i + 1), "blockHash": hash32(0x100), "blockNumber": "0x10", "from": addr20(i), "to": addr20(i + 1), "gas": "0x5208", "nonce": "0x7",
			"input": "0xa9059cbb" + strings.Repeat("00000000000000000000000000000000000000000000000000000000000000ff", 4), "value": "0x0",
			"gasPrice": "0x3b9aca00", "type": "0x2", "chainId": "0x1", "r": hash32(1 << 40), "s": hash32(1 << 41), "accessList": []any{},
		})
		logs := []any{sampleLog(i+1, func(l map[string]any) { l["data"] = hash32(i) }), sampleLog(i+1, func(l map[string]any) { l["data"] = hash32(i) })}
		receipts = append(receipts, map[string]any{
			"transactionHash": hash32(i + 1), "blockHash": hash32(0x100), "blockNumber": "0x10", "status": "0x1", "gasUsed": "0x5208", "logs": logs,
			"logsBloom": "0x" + strings.Repeat("00", 256), "from": addr20(i), "to": addr20(i + 1), "cumulativeGasUsed": "0x10000",
		})
	}
	block := sampleBlock(func(b map[string]any, _ []map[string]any) { b["transactions"] = txs })
	payload := Payload(block, jsonText(receipts), nil)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(payload); err != nil {
			b.Fatal(err)
		}
	}
}
