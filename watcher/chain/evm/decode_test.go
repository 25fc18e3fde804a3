package evm

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

func hash32(n int) string { return fmt.Sprintf("0x%064x", n) }
func addr20(n int) string { return fmt.Sprintf("0x%040x", n) }

// sampleBlock is an answer to eth_getBlockByNumber as changed by edit.
func sampleBlock(edit func(block map[string]any, txs []map[string]any)) []byte {
	txs := []map[string]any{
		{
			"hash": hash32(1), "from": addr20(0xa), "to": addr20(0xb), "input": "0xA9059CBB", "value": "0xde0b6b3a7640000", "gasPrice": "0x3",
			"maxFeePerGas": "0x4", "maxPriorityFeePerGas": "0x5", "gas": "0x5208", "nonce": "0x7", "transactionIndex": "0x0",
			"accessList": []any{map[string]any{"address": addr20(9), "storageKeys": []any{}}}, "type": "0x2", "chainId": "0x1",
		},
		{"hash": hash32(2), "from": addr20(0xc), "to": nil, "input": "0x", "value": "0x0", "gas": "0x1", "nonce": "0x0", "transactionIndex": "0x1"},
	}
	block := map[string]any{
		"number": "0x10", "timestamp": "0x64", "hash": hash32(0x100), "parentHash": hash32(0x99), "uncles": []any{}, "transactions": txs,
	}
	edit(block, txs)
	return jsonText(block)
}

func same(map[string]any, []map[string]any) {}

func sampleLog(tx int, edit func(map[string]any)) map[string]any {
	l := map[string]any{
		"address": addr20(0xd), "topics": []string{hash32(1), hash32(2)}, "data": "0x00ff", "transactionHash": hash32(tx), "logIndex": "0x0",
	}
	edit(l)
	return l
}

func sampleReceipts(edit func(receipts []map[string]any)) []byte {
	receipts := []map[string]any{
		{"transactionHash": hash32(1), "blockHash": hash32(0x100), "status": "0x1", "gasUsed": "0x5208", "logs": []any{
			sampleLog(1, func(map[string]any) {}),
			sampleLog(1, func(l map[string]any) { delete(l, "transactionHash"); l["topics"] = []string{} }),
		}},
		{"transactionHash": hash32(2), "blockHash": hash32(0x100), "status": "0x0", "gasUsed": "0x1", "logs": []any{}},
	}
	edit(receipts)
	return jsonText(receipts)
}

func sameReceipts([]map[string]any) {}

func jsonText(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func TestDecode(t *testing.T) {
	b, err := Decode(Payload(sampleBlock(same), sampleReceipts(sameReceipts), nil))
	if err != nil {
		t.Fatal(err)
	}
	if b.Number != 16 || b.Timestamp != 100 || b.Hash.String() != hash32(0x100) || b.ParentHash.String() != hash32(0x99) || b.Bloom != nil {
		t.Errorf("header %+v", b)
	}
	if b.Ref() != (fsm.BlockRef{Height: 16, Hash: b.Hash}) {
		t.Errorf("ref %v", b.Ref())
	}
	if len(b.Transactions) != 2 || !b.HasReceipts || b.LogCount != 2 {
		t.Fatalf("%d transactions, receipts %v, %d logs", len(b.Transactions), b.HasReceipts, b.LogCount)
	}
	tx, creation := &b.Transactions[0], &b.Transactions[1]
	got := fmt.Sprintf("%s %s %s %x %s %s %s %s %s %s %d %s", tx.Hash, tx.From, tx.To, tx.Input, tx.Value.Dec(), tx.GasPrice.Dec(),
		tx.MaxFeePerGas.Dec(), tx.MaxPriorityFeePerGas.Dec(), tx.Gas.Dec(), tx.Nonce.Dec(), tx.Index, tx.Status())
	want := fmt.Sprintf("%s %s %s a9059cbb 1000000000000000000 3 4 5 21000 7 0 Success", hash32(1), addr20(0xa), addr20(0xb))
	if got != want {
		t.Errorf("transaction\n%s\nwant\n%s", got, want)
	}
	if tx.Receipt.GasUsed.Uint64() != 21000 || !json.Valid(tx.Raw) || !json.Valid(tx.Receipt.Raw) || !strings.Contains(string(tx.Raw), "chainId") {
		t.Errorf("receipt %+v, raw %s", tx.Receipt, tx.Raw)
	}
	if creation.To != nil || creation.Index != 1 || creation.Status() != StatusFailure || len(creation.Logs) != 0 {
		t.Errorf("creation %+v", creation)
	}
	if len(tx.Logs) != 2 || len(tx.Logs[0].Topics) != 2 || tx.Logs[0].Topics[1].String() != hash32(2) || len(tx.Logs[1].Topics) != 0 {
		t.Fatalf("logs %+v", tx.Logs)
	}
	if l := tx.Logs[0]; l.Address.String() != addr20(0xd) || hex.EncodeToString(l.Data) != "00ff" || !json.Valid(l.Raw) {
		t.Errorf("log %+v", l)
	}
}

func TestOwnLogsReplaceThoseOfReceipts(t *testing.T) {
	none := func(map[string]any) {}
	logs := jsonText([]any{
		sampleLog(2, none), sampleLog(1, none), sampleLog(7, none),
		sampleLog(2, func(l map[string]any) { l["data"] = "0x02" }), sampleLog(1, func(l map[string]any) { l["data"] = "0x01" }),
	})
	b, err := DecodeParts(sampleBlock(same), sampleReceipts(sameReceipts), logs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range b.Transactions {
		for _, l := range b.Transactions[i].Logs {
			got = append(got, fmt.Sprintf("%d:%x", i, l.Data))
		}
	}
	if fmt.Sprint(got) != "[0:00ff 0:01 1:00ff 1:02]" || b.LogCount != 5 {
		t.Errorf("logs %v, count %d", got, b.LogCount)
	}
	if b, err = DecodeParts(sampleBlock(same), nil, []byte("[]")); err != nil || b.HasReceipts || b.LogCount != 0 || b.Transactions[0].Status() != StatusUnknown {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestLenient checks what nodes of other chains send or leave out.
func TestLenient(t *testing.T) {
	for name, edit := range map[string]func(map[string]any, []map[string]any){
		"no number": func(b map[string]any, _ []map[string]any) { delete(b, "number"); delete(b, "hash") },
		"null fields": func(b map[string]any, x []map[string]any) {
			b["number"], x[0]["gasPrice"], x[0]["from"], x[0]["input"] = nil, nil, nil, nil
		},
		"plain numbers": func(b map[string]any, x []map[string]any) { b["number"], x[0]["gas"] = 16, 21000 },
		"no from":       func(_ map[string]any, x []map[string]any) { delete(x[0], "from") },
		"empty to":      func(_ map[string]any, x []map[string]any) { x[0]["to"], x[1]["to"] = "", "0x" },
		"unknown type": func(_ map[string]any, x []map[string]any) {
			x[0]["type"], x[0]["mint"] = "0x7e", map[string]any{"deep": []any{nil, true, -1.5e3}}
		},
		"data for input":     func(_ map[string]any, x []map[string]any) { x[0]["data"] = x[0]["input"]; delete(x[0], "input") },
		"no transactions":    func(b map[string]any, _ []map[string]any) { b["transactions"] = []any{} },
		"null transactions":  func(b map[string]any, _ []map[string]any) { b["transactions"] = nil },
		"leading zeros":      func(b map[string]any, _ []map[string]any) { b["number"] = "0x0010" },
		"upper-case address": func(_ map[string]any, x []map[string]any) { x[0]["to"] = "0X" + strings.Repeat("AB", 20) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeParts(sampleBlock(edit), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	b, err := DecodeParts([]byte(` { "transactions" : [ {"ha\u0073h":"`+hash32(5)+`"} ] , "x":"\"\\" } `), []byte(`[null]`), []byte("null"))
	if err != nil || b.Transactions[0].Hash.String() != hash32(5) || b.HasReceipts {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestDecodeErrorsNameTheField(t *testing.T) {
	tests := []struct {
		name            string
		block, receipts []byte
		want            string
	}{
		{"hashes only", []byte(`{"transactions":["0x1"]}`), nil, "evm block: transactions[0]: want an object: the block must be requested with full transactions"},
		{"no transactions", []byte(`{"number":"0x1"}`), nil, "evm block: transactions: missing"},
		{"no hash", sampleBlock(func(_ map[string]any, x []map[string]any) { delete(x[1], "hash") }), nil, "evm block: transactions[1]: hash: missing"},
		{"short hash", sampleBlock(func(_ map[string]any, x []map[string]any) { x[1]["hash"] = "0x12" }), nil, `evm block: transactions[1].hash: want 0x and 64 hexadecimal digits, not "0x12"`},
		{"bad number", sampleBlock(func(b map[string]any, _ []map[string]any) { b["number"] = "16" }), nil, `evm block: number: want 0x and hexadecimal digits, not "16"`},
		{"number of 65 bits", sampleBlock(func(b map[string]any, _ []map[string]any) { b["number"] = "0x1ffffffffffffffff" }), nil, "evm block: number: number is larger than 64 bits"},
		{"value of 257 bits", sampleBlock(func(_ map[string]any, x []map[string]any) { x[0]["value"] = "0x1" + strings.Repeat("0", 64) }), nil, "evm block: transactions[0].value: number is larger than 256 bits"},
		{"odd input", sampleBlock(func(_ map[string]any, x []map[string]any) { x[0]["input"] = "0x123" }), nil, "evm block: transactions[0].input: odd number of hexadecimal digits"},
		{"input no hex", sampleBlock(func(_ map[string]any, x []map[string]any) { x[0]["input"] = "0xzz" }), nil, "evm block: transactions[0].input: want 0x and hexadecimal digits"},
		{"truncated", []byte(`{"transactions":[`), nil, "evm block: transactions[0]: JSON ends too early"},
		{"after the end", []byte(`{"transactions":[]} x`), nil, `evm block: unexpected character 'x' at byte 20, want the end of the document`},
		{"too deep", []byte(`{"transactions":[],"x":` + strings.Repeat("[", 400)), nil, "evm block: x: JSON is nested deeper than 256 levels"},
		{"receipt without hash", sampleBlock(same), []byte(`[{}]`), "evm block 16: receipts[0]: transactionHash: missing"},
		{"log without address", sampleBlock(same), []byte(`[{"transactionHash":"` + hash32(1) + `","logs":[{}]}]`), "evm block 16: receipts[0].logs[0]: address: missing"},
		{"bad topic", sampleBlock(same), []byte(`[{"logs":[{"topics":["0x"]}]}]`), `evm block 16: receipts[0].logs[0].topics[0]: want 0x and 64 hexadecimal digits, not "0x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeParts(tt.block, tt.receipts, nil); err == nil || err.Error() != tt.want {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
	for _, payload := range []string{`{}`, `{"block":null}`, `{"receipts":[]}`} {
		if _, err := Decode([]byte(payload)); !errors.Is(err, ErrNoBlock) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	for _, payload := range []string{``, `[]`, `{"block":{"transactions":[]},}`, `{"block":{"transactions":[]}}1`, `{"block" {}}`, `{"block":tru}`} {
		if _, err := Decode([]byte(payload)); err == nil {
			t.Errorf("%s is accepted", payload)
		}
	}
}

// reference reads a payload with encoding/json.
func reference(payload []byte) (txs []map[string]json.RawMessage) {
	var parts, block map[string]json.RawMessage
	if json.Unmarshal(payload, &parts) != nil || json.Unmarshal(parts["block"], &block) != nil {
		return nil
	}
	if json.Unmarshal(block["transactions"], &txs) != nil {
		return nil
	}
	return txs
}

// FuzzDecodeBlock decodes arbitrary payloads and compares with encoding/json.
func FuzzDecodeBlock(f *testing.F) {
	f.Add(Payload(sampleBlock(same), sampleReceipts(sameReceipts), nil))
	f.Add(Payload(sampleBlock(same), nil, []byte(`[{"address":"`+addr20(1)+`","transactionHash":null},{"address":"`+addr20(1)+`"}]`)))
	f.Add([]byte(`{"block":{"transactions":[{"hash":"` + hash32(1) + `"}],"logsBloom":"0x` + strings.Repeat("00", 256) + `"},"receipts":[null]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := Decode(payload)
		if err != nil {
			return
		}
		if err := b.Complete(); err != nil && !errors.Is(err, ErrIncomplete) {
			t.Fatal(err)
		}
		logs := 0
		for i := range b.Transactions {
			logs += len(b.Transactions[i].Logs)
		}
		if logs+b.strayLogs != b.LogCount {
			t.Fatalf("%d logs of transactions and %d others, but %d in all", logs, b.strayLogs, b.LogCount)
		}
		if !json.Valid(payload) {
			return
		}
		want := reference(payload)
		if len(want) != len(b.Transactions) {
			t.Fatalf("%d transactions, want %d", len(b.Transactions), len(want))
		}
		for i, w := range want {
			tx := &b.Transactions[i]
			var hash string
			if err := json.Unmarshal(w["hash"], &hash); err != nil {
				t.Fatal(err)
			}
			if hash != "" && !strings.EqualFold(hash, tx.Hash.String()) || !json.Valid(tx.Raw) {
				t.Fatalf("transaction %d has hash %s, want %s; raw %s", i, tx.Hash, hash, tx.Raw)
			}
		}
	})
}

// Receipts and logs come from an endpoint like the block, in answers of their own.
func FuzzDecodeReceipts(f *testing.F) {
	block := sampleBlock(same)
	f.Add(sampleReceipts(sameReceipts), []byte(nil))
	f.Add([]byte(`[null]`), []byte(`[{"topics":[]}]`))
	f.Add([]byte(`[{"status":"0x1","gasUsed":"0x","logs":[{"address":"0x"}]}]`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, receipts, logs []byte) {
		b, err := DecodeParts(block, receipts, logs)
		if err != nil || !json.Valid(receipts) {
			return
		}
		if err := b.Complete(); err != nil && !errors.Is(err, ErrIncomplete) {
			t.Fatal(err)
		}
		for i := range b.Transactions {
			if r := b.Transactions[i].Receipt; r != nil && !json.Valid(r.Raw) {
				t.Fatalf("receipt %d is not JSON: %s", i, r.Raw)
			}
		}
	})
}
