package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

func TestNodeAnswers(t *testing.T) {
	s := startChain(t, func(o *options) { o.chainID = 4242 })
	url := s.chain.httpURL()
	if got := call[string](t, url, "eth_chainId"); got != "0x1092" {
		t.Errorf("eth_chainId %s", got)
	}
	if got := call[string](t, url, "net_version"); got != "4242" {
		t.Errorf("net_version %s", got)
	}
	if got := call[string](t, url, "eth_blockNumber"); got != "0x1" {
		t.Errorf("eth_blockNumber %s, want the token's block", got)
	}
	if got := call[bool](t, url, "eth_syncing"); got {
		t.Error("eth_syncing is true")
	}
	if got := blockAt(t, url, 99); got != nil {
		t.Errorf("a block above the head: %+v, want null", got)
	}
	if _, err := tryCall[string](t.Context(), url, "eth_noSuchMethod"); err == nil || !strings.Contains(err.Error(), "-32601") {
		t.Errorf("unknown method: %v, want code -32601", err)
	}
	symbol, err := callData("symbol")
	if err != nil {
		t.Fatal(err)
	}
	answer := call[hexutil.Bytes](t, url, "eth_call", map[string]any{"to": s.chain.token, "data": hexutil.Bytes(symbol)}, "latest")
	if !strings.Contains(string(answer), tokenSymbol) {
		t.Errorf("symbol() returned %s", answer)
	}
	var overWS string
	if err := json.Unmarshal(dialWS(t, s.chain.wsURL()).call(t, "eth_chainId"), &overWS); err != nil || overWS != "0x1092" {
		t.Errorf("eth_chainId over WebSocket: %q, %v", overWS, err)
	}
}

func TestReceiptsAreComplete(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	paid := call[string](t, url, "dev_transfer", 0, 1, "123456789012345678")
	failed := call[string](t, url, "dev_failingTransfer", 2, 3)
	ordered := call[string](t, url, "dev_order", 4, 5, "0x10", "seven lemons")
	tagged := call[string](t, url, "dev_tag", 6, "0xcafebabe", "79228162514264337593543950335", []string{common.Hash{31: 1}.Hex()})
	made := call[deployment](t, url, "dev_deploy", 7)
	ref := call[[]blockRef](t, url, "dev_commit")[0]

	block := blockAt(t, url, ref.Number)
	if block.Hash != ref.Hash.Hex() || len(block.Transactions) != 5 {
		t.Fatalf("block %s has %d transactions, want %s with 5", block.Hash, len(block.Transactions), ref.Hash)
	}
	receipts := call[[]rpcReceipt](t, url, "eth_getBlockReceipts", hexOf(ref.Number))
	if len(receipts) != 5 {
		t.Fatalf("%d receipts for 5 transactions", len(receipts))
	}
	var bloom types.Bloom
	byHash := map[string]rpcReceipt{}
	for _, r := range receipts {
		if r.BlockHash != block.Hash {
			t.Errorf("receipt of %s names block %s", r.TxHash, r.BlockHash)
		}
		byHash[r.TxHash] = r
		for _, l := range r.Logs {
			bloom.Add(common.FromHex(l.Address))
			for _, topic := range l.Topics {
				bloom.Add(common.FromHex(topic))
			}
		}
	}
	if got := hexutil.Encode(bloom.Bytes()); got != block.LogsBloom {
		t.Error("the bloom of the receipts' logs is not the header's")
	}
	token, err := loadToken()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ tx, event string }{{paid, "Transfer"}, {ordered, "Ordered"}, {tagged, "Tagged"}} {
		r := byHash[want.tx]
		if r.Status != "0x1" || len(r.Logs) != 1 || r.Logs[0].Topics[0] != token.abi.Events[want.event].ID.Hex() {
			t.Errorf("receipt for %s: %+v", want.event, r)
		}
	}
	if r := byHash[failed]; r.Status != "0x0" || len(r.Logs) != 0 {
		t.Errorf("receipt of the reverted transfer: %+v, want status 0x0 without logs", r)
	}
	created := call[rpcReceipt](t, url, "eth_getTransactionReceipt", made.TxHash)
	if created.Status != "0x1" || common.HexToAddress(created.Contract) != made.Address {
		t.Errorf("deployment %+v: receipt %+v", made, created)
	}
	values, err := token.abi.Unpack("Ordered", common.FromHex(byHash[ordered].Logs[0].Data))
	if err != nil || !strings.Contains(fmt.Sprint(values), "seven lemons") {
		t.Errorf("Ordered carries %v, %v", values, err)
	}
	logs := call[[]rpcLog](t, url, "eth_getLogs", map[string]any{
		"fromBlock": hexOf(ref.Number), "toBlock": hexOf(ref.Number), "address": s.chain.token, "topics": []any{transferTopic},
	})
	if len(logs) != 1 || logs[0].TxHash != paid {
		t.Errorf("eth_getLogs found %+v, want the one transfer", logs)
	}
}

func TestExpectedTransfers(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	tx := call[common.Hash](t, url, "dev_transfer", 3, 8, 55)
	call[common.Hash](t, url, "dev_failingTransfer")
	ref := call[[]blockRef](t, url, "dev_commit", 1)[0]

	all := call[transferList](t, url, "dev_expectedTransfers")
	if len(all.Transfers) != accountCount+1 || all.Head != ref || all.ToBlock != ref.Number {
		t.Fatalf("%d transfers as of %v, want the first %d and one more as of %v", len(all.Transfers), all.Head, accountCount, ref)
	}
	one := call[transferList](t, url, "dev_expectedTransfers", 2, "0xff")
	want := transferEvent{
		BlockNumber: ref.Number, BlockHash: ref.Hash, TxHash: tx, Token: s.chain.token,
		From: s.chain.accounts[3].address, To: s.chain.accounts[8].address, Value: "55",
	}
	if len(one.Transfers) != 1 {
		t.Fatalf("%d transfers, want 1", len(one.Transfers))
	}
	got := one.Transfers[0]
	want.TxIndex = got.TxIndex // the order within a block is the node's choice
	if got != want {
		t.Errorf("transfer %+v, want %+v", got, want)
	}
	if none := call[transferList](t, url, "dev_expectedTransfers", 50); len(none.Transfers) != 0 {
		t.Errorf("transfers above the head: %+v", none)
	}
}

func TestBatch(t *testing.T) {
	s := startChain(t, nil)
	batch := []rpcRequest{
		request(1, "eth_getBlockByNumber", "0x1", true),
		request(2, "eth_getBlockReceipts", "0x1"),
		request(3, "dev_info"),
		request(4, "eth_noSuchMethod"),
	}
	var answers []rpcMessage
	if err := post(t.Context(), s.chain.httpURL(), batch, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(batch) {
		t.Fatalf("%d answers to %d requests", len(answers), len(batch))
	}
	for i, answer := range answers {
		wantError := i == 3
		if answer.ID != i+1 || (answer.Error != nil) != wantError || (len(answer.Result) > 0) == wantError {
			t.Errorf("answer %d: id %d, error %v, %d bytes", i, answer.ID, answer.Error, len(answer.Result))
		}
	}
}

func TestNewHeads(t *testing.T) {
	s := startChain(t, nil)
	ws := dialWS(t, s.chain.wsURL())
	ws.call(t, "eth_subscribe", "newHeads")
	refs := call[[]blockRef](t, s.chain.httpURL(), "dev_commit", 5)
	for _, ref := range refs {
		if head := ws.nextHead(t); head.Hash != ref.Hash.Hex() || hexNumber(t, head.Number) != ref.Number {
			t.Errorf("head %s %s, want %v", head.Number, head.Hash, ref)
		}
	}
	result := call[reorgResult](t, s.chain.httpURL(), "dev_reorg", 3, 2)
	tip := result.Blocks[len(result.Blocks)-1]
	if head := ws.nextHead(t); head.Hash != tip.Hash.Hex() {
		t.Errorf("after the reorg the head is %s %s, want the new tip %v: the node must not show the branch half built", head.Number, head.Hash, tip)
	}
}

func TestBlocksLinkAndTimeRises(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	call[[]blockRef](t, url, "dev_commit", 80)
	call[reorgResult](t, url, "dev_reorg", 10, 4)
	call[[]blockRef](t, url, "dev_commit", 3)
	head := hexNumber(t, call[string](t, url, "eth_blockNumber"))
	if head != 1+80+4+3 {
		t.Errorf("head %d", head)
	}
	parent := blockAt(t, url, 0)
	for number := uint64(1); number <= head; number++ {
		block := blockAt(t, url, number)
		if block.ParentHash != parent.Hash {
			t.Fatalf("block %d does not follow block %d", number, number-1)
		}
		if hexNumber(t, block.Timestamp) <= hexNumber(t, parent.Timestamp) {
			t.Fatalf("block %d is not later than block %d", number, number-1)
		}
		parent = block
	}
	if finalized := call[*rpcBlock](t, url, "eth_getBlockByNumber", "finalized", false); hexNumber(t, finalized.Number) != head-finalityDepth {
		t.Errorf("finalized %s, head %d", finalized.Number, head)
	}
	if safe := call[*rpcBlock](t, url, "eth_getBlockByNumber", "safe", false); hexNumber(t, safe.Number) != head-safetyDepth {
		t.Errorf("safe %s, head %d", safe.Number, head)
	}
}

func TestRawTransactionOfAnAccount(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	infos := call[[]accountInfo](t, url, "dev_accounts")
	if len(infos) != accountCount || infos[2].TokenBalance != startBalance().String() {
		t.Fatalf("accounts %+v", infos)
	}
	key, err := crypto.ToECDSA(infos[2].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	data, err := callData("transfer", infos[1].Address, big.NewInt(9))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, s.chain.wallet.signer, &types.DynamicFeeTx{
		ChainID: big.NewInt(1337), Nonce: infos[2].Nonce, To: &s.chain.token, Data: data,
		Gas: gasTransfer, GasFeeCap: big.NewInt(1e12), GasTipCap: big.NewInt(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	// devchain's own sends from the same account go on with the right nonce
	// whether the other one's arrived before or after.
	first := call[string](t, url, "dev_transfer", 3, 2, 1)
	sent := call[string](t, url, "eth_sendRawTransaction", hexutil.Bytes(raw))
	second := call[string](t, url, "dev_transfer", 2, 3, 1)
	call[[]blockRef](t, url, "dev_commit")
	hashes := []string{}
	for _, r := range call[[]rpcReceipt](t, url, "eth_getBlockReceipts", "latest") {
		if r.Status != "0x1" {
			t.Errorf("receipt %+v", r)
		}
		hashes = append(hashes, r.TxHash)
	}
	for _, want := range []string{first, sent, second} {
		if !slices.Contains(hashes, want) {
			t.Errorf("transaction %s is not in the block", want)
		}
	}
}

func TestDevArgumentsAreChecked(t *testing.T) {
	s := startChain(t, nil)
	url := s.chain.httpURL()
	tests := []struct {
		method string
		params []any
		want   string
	}{
		{"dev_commit", []any{0}, "between 1 and"},
		{"dev_commit", []any{maxCommit + 1}, "between 1 and"},
		{"dev_reorg", []any{1}, "reorg depth"}, // block 1 is the token's
		{"dev_reorg", []any{1, 0}, "extra"},
		{"dev_reorg", []any{1, 1, "lose"}, "lose"},
		{"dev_transfer", []any{0, accountCount, 1}, "no such account"},
		{"dev_transfer", []any{-1, 0, 1}, "no such account"},
		{"dev_transfer", []any{0, 1}, "missing value"},
		{"dev_traffic", []any{-1}, "rate"},
		{"dev_tag", []any{0, "0xab", 1}, "4 bytes"},
		{"dev_tag", []any{0, "0xabababab", "79228162514264337593543950336"}, "96 bits"},
	}
	for _, test := range tests {
		if _, err := tryCall[json.RawMessage](t.Context(), url, test.method, test.params...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %v: error %v, want one that says %q", test.method, test.params, err, test.want)
		}
	}
}
