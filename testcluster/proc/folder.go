package proc

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Folder is a folder of documents in OpenZeppelin Monitor's format.
type Folder struct{ Dir string }

// Doc is a document or a part of one.
type Doc map[string]any

// Write puts a document in its place, all at once.
func (f Folder) Write(t testing.TB, path string, doc any) {
	t.Helper()
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteText(t, path, string(data))
}

// WriteText puts a file in its place.
func (f Folder) WriteText(t testing.TB, path, text string) {
	t.Helper()
	path = filepath.Join(f.Dir, path)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// plain is a secret that stands in the document itself.
func plain(value string) Doc { return Doc{"type": "plain", "value": value} }

// Network is the document of a devchain with a depth in blocks, followed by
// polling; with a ws address also by subscription.
func Network(slug string, chainID, depth uint64, urls ...string) Doc {
	endpoints := make([]Doc, len(urls))
	for i, u := range urls {
		endpoints[i] = Doc{"type_": "rpc", "url": plain(u), "weight": 100 - i}
	}
	return Doc{
		"network_type": "EVM", "slug": slug, "name": slug, "chain_id": chainID, "rpc_urls": endpoints,
		"block_time_ms": 250, "confirmation_blocks": depth, "cron_schedule": "*/1 * * * * *", "max_past_blocks": "unlimited",
	}
}

// Webhooks is a file with one webhook trigger in raw payload mode.
func Webhooks(id, url, secret string) Doc {
	return Doc{id: Doc{
		"name": id, "trigger_type": "webhook",
		"config": Doc{"url": plain(url), "method": "POST", "secret": plain(secret), "payload_mode": "raw"},
	}}
}

// Condition is what a monitor of the token waits for.
type Condition func(match Doc)

// Event is a Transfer event, with or without an expression.
func Event(expression string) Condition {
	return func(match Doc) { match["events"] = []Doc{condition("Transfer(address,address,uint256)", expression)} }
}

// Call is a call of transfer, with or without an expression.
func Call(expression string) Condition {
	return func(match Doc) { match["functions"] = []Doc{condition("transfer(address,uint256)", expression)} }
}

// Failure is a transaction that failed.
func Failure() Condition {
	return func(match Doc) { match["transactions"] = []Doc{{"status": "Failure", "expression": nil}} }
}

func condition(signature, expression string) Doc {
	d := Doc{"signature": signature, "expression": nil}
	if expression != "" {
		d["expression"] = expression
	}
	return d
}

// Monitor is the document of a monitor of the token.
func Monitor(name, network, token, trigger string, what Condition) Doc {
	match := Doc{"functions": []Doc{}, "events": []Doc{}, "transactions": []Doc{}}
	what(match)
	return Doc{
		"name": name, "paused": false, "networks": []string{network}, "triggers": []string{trigger},
		"addresses":          []Doc{{"address": token, "contract_spec": tokenABI}},
		"match_conditions":   match,
		"trigger_conditions": []Doc{},
	}
}

func param(name, kind string, indexed any) Doc {
	d := Doc{"name": name, "type": kind}
	if indexed != nil {
		d["indexed"] = indexed
	}
	return d
}

// tokenABI is the part of the token's ABI that monitors here use.
var tokenABI = []Doc{
	{
		"type": "event", "name": "Transfer", "anonymous": false,
		"inputs": []Doc{param("from", "address", true), param("to", "address", true), param("value", "uint256", false)},
	},
	{
		"type": "function", "name": "transfer", "stateMutability": "nonpayable",
		"inputs":  []Doc{param("to", "address", nil), param("value", "uint256", nil)},
		"outputs": []Doc{param("", "bool", nil)},
	},
}
