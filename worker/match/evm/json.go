package evm

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
)

// The peer's match object fixes which keys a transaction, log and receipt have
// and how numbers look (evm-matching, section 6).

var nullJSON = json.RawMessage("null")

type fields map[string]json.RawMessage

// parse reads an object as the node sent it; what cannot be read is empty.
func parse(raw json.RawMessage) fields {
	var f fields
	if json.Unmarshal(raw, &f) != nil || f == nil {
		f = fields{}
	}
	return f
}

func (f fields) json() json.RawMessage {
	out, err := json.Marshal(map[string]json.RawMessage(f))
	if err != nil {
		return nullJSON
	}
	return out
}

func quoted(s string) json.RawMessage {
	out, err := json.Marshal(s)
	if err != nil {
		return nullJSON
	}
	return out
}

func hexText(b []byte) json.RawMessage { return quoted("0x" + hex.EncodeToString(b)) }

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// require puts null where a key is absent.
func (f fields) require(keys ...string) {
	for _, k := range keys {
		if isNull(f[k]) {
			f[k] = nullJSON
		}
	}
}

// only drops all keys but these.
func (f fields) only(keys ...string) fields {
	out := make(fields, len(keys))
	for _, k := range keys {
		if v, ok := f[k]; ok {
			out[k] = v
		}
	}
	return out
}

// quantities writes numbers minimally: 0x0, 0x1f.
func (f fields) quantities(keys ...string) {
	for _, k := range keys {
		v := f[k]
		if isNull(v) {
			continue
		}
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			f[k] = quoted("0x" + strconv.FormatUint(n, 16))
			continue
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			continue
		}
		digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
		if !ok {
			continue
		}
		if digits = strings.TrimLeft(digits, "0"); digits == "" {
			digits = "0"
		}
		f[k] = quoted("0x" + digits)
	}
}

// lower writes hexadecimal texts in lower case.
func (f fields) lower(keys ...string) {
	for _, k := range keys {
		var s string
		if !isNull(f[k]) && json.Unmarshal(f[k], &s) == nil {
			f[k] = quoted(strings.ToLower(s))
		}
	}
}

func transactionJSON(t *chainevm.Transaction) json.RawMessage {
	f := parse(t.Raw)
	for _, k := range []string{
		"from", "v", "r", "s", "raw", "type", "accessList", "maxFeePerGas", "maxPriorityFeePerGas",
		"depositReceiptVersion", "sourceHash", "mint", "yParity",
	} {
		if v, ok := f[k]; ok && isNull(v) {
			delete(f, k)
		}
	}
	if isNull(f["input"]) { // an older node's "data", or none at all
		f["input"] = hexText(t.Input)
	}
	f["hash"] = quoted(t.Hash.String())
	f["to"] = nullJSON
	if t.To != nil {
		f["to"] = quoted(t.To.String())
	}
	for k, v := range map[string]string{"nonce": t.Nonce.Hex(), "value": t.Value.Hex(), "gas": t.Gas.Hex()} {
		if isNull(f[k]) {
			f[k] = quoted(v)
		}
	}
	f.require("blockHash", "blockNumber", "transactionIndex", "gasPrice")
	f.quantities("nonce", "blockNumber", "transactionIndex", "value", "gasPrice", "gas", "maxFeePerGas",
		"maxPriorityFeePerGas", "type", "v", "yParity", "mint")
	f.lower("blockHash", "from", "input", "r", "s", "sourceHash")
	return f.json()
}

// logKeys are the keys of a log, no more and no fewer.
var logKeys = []string{
	"address", "blockHash", "blockNumber", "data", "logIndex", "logType", "removed", "topics",
	"transactionHash", "transactionIndex", "transactionLogIndex",
}

func logJSON(l *chainevm.Log) json.RawMessage {
	f := parse(l.Raw).only(logKeys...)
	f["address"] = quoted(l.Address.String())
	f["data"] = hexText(l.Data)
	topics := make([]string, len(l.Topics))
	for i := range topics {
		topics[i] = l.Topics[i].String()
	}
	f["topics"], _ = json.Marshal(topics) // plain texts
	f.require(logKeys...)
	f.quantities("blockNumber", "logIndex", "transactionIndex", "transactionLogIndex")
	f.lower("blockHash", "transactionHash")
	return f.json()
}

// logsJSON is all logs of the transaction, also of contracts nobody monitors.
func logsJSON(t *chainevm.Transaction) json.RawMessage {
	list := make([]json.RawMessage, len(t.Logs))
	for i := range t.Logs {
		list[i] = logJSON(&t.Logs[i])
	}
	out, err := json.Marshal(list)
	if err != nil {
		return json.RawMessage("[]")
	}
	return out
}

func receiptJSON(t *chainevm.Transaction) json.RawMessage {
	keys := []string{
		"transactionHash", "transactionIndex", "blockHash", "blockNumber", "from", "to", "cumulativeGasUsed",
		"gasUsed", "contractAddress", "logs", "status", "root", "logsBloom", "effectiveGasPrice",
	}
	raw := parse(t.Receipt.Raw)
	f := raw.only(keys...)
	if v := raw["type"]; !isNull(v) {
		f["type"] = v
	}
	f["logs"] = logsJSON(t)
	f.require(keys...)
	f.quantities("transactionIndex", "blockNumber", "cumulativeGasUsed", "gasUsed", "status", "effectiveGasPrice", "type")
	f.lower("transactionHash", "blockHash", "from", "to", "contractAddress", "logsBloom", "root")
	return f.json()
}
