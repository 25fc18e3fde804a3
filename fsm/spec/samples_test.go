package spec

import (
	"strings"
	"testing"
)

const (
	sampleNetwork = `{
	"network_type": "EVM", "slug": "ethereum_mainnet", "name": "Ethereum",
	"rpc_urls": [
		{"type_": "rpc", "url": {"type": "plain", "value": "https://node.example/v3/key-of-the-account"}, "weight": 100},
		{"type_": "rpc", "url": {"type": "Environment", "value": "SECOND_URL"}, "weight": 0}
	],
	"chain_id": 1, "network_passphrase": null, "block_time_ms": 12000, "confirmation_blocks": 12,
	"cron_schedule": "0 */1 * * * *", "max_past_blocks": 18, "store_blocks": null,
	"recovery_config": {"enabled": true, "cron_schedule": "0 */5 * * * *", "max_blocks_per_run": 10,
		"max_block_age": 1000, "max_retries": 3, "retry_delay_ms": 1000}
}`
	sampleABI = `[ {"type": "event", "name": "Transfer", "anonymous": false, "inputs": [
		{"name": "from", "type": "address", "indexed": true, "internalType": "address"},
		{"name": "to", "type": "address", "indexed": true},
		{"name": "value", "type": "uint256", "indexed": false}]} ]`
	sampleMonitor = `{
	"name": "Large transfers", "networks": ["ethereum_mainnet"], "paused": false,
	"addresses": [{"address": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "contract_spec": ` + sampleABI + `}],
	"match_conditions": {
		"functions": [{"signature": "transfer(address,uint256)"}],
		"events": [{"signature": "Transfer(address,address,uint256)", "expression": "value > 10000000000"}],
		"transactions": [{"status": "Success", "expression": null}]
	},
	"trigger_conditions": [], "triggers": ["to_webhook"],
	"chain_configurations": [{"evm": {}}, {"midnight": {"viewing_keys": [{"type": "plain", "value": "key-of-midnight"}]}}],
	"mode": "both"
}`
	sampleTrigger = `{
	"name": "Webhook", "trigger_type": "webhook",
	"config": {
		"url": {"type": "plain", "value": "https://hooks.example/T000/token-of-the-hook"}, "method": "put",
		"secret": {"type": "plain", "value": "signing-key"},
		"headers": {"X-API-Key": "header-key", "X-Other": {"type": "environment", "value": "OTHER"}},
		"message": {"title": "Alert", "body": "${events}"},
		"retry_policy": {"max_retries": 5, "initial_backoff": "100ms", "max_backoff": {"secs": 2, "nanos": 500000000}}
	}
}`
	sampleEmail = `{"name": "Mail", "trigger_type": "email", "config": {
		"host": "smtp.example.com", "username": {"type": "plain", "value": "user-of-mail"},
		"password": {"type": "plain", "value": "password-of-mail"},
		"message": {"title": "Alert", "body": "Body"}, "sender": "a@example.com", "recipients": ["b@example.com"]}}`
	sampleScript = `{"name": "Run", "trigger_type": "script", "config": {
		"language": "Python", "script_path": "./config/triggers/scripts/run.py", "timeout_ms": 1000, "arguments": []}}`
	sampleTelegram = `{"name": "Chat", "trigger_type": "telegram", "config": {
		"token": {"type": "plain", "value": "12345678:abcdefghijklmnopqrstuvwxyzABCDEFGHI"}, "chat_id": "1",
		"message": {"title": "Alert", "body": "Body"}}}`
	samplePagerDuty = `{"name": "Pager", "trigger_type": "pagerduty", "config": {
		"routing_key": {"type": "plain", "value": "0123456789abcdefRoutingKeyOfDuty"}, "severity": "warning",
		"message": {"title": "Alert", "body": "Body"}, "retry_schedule": ["5s", 60000, {"secs": 172800, "nanos": 0}]}}`
	sampleConsole = `{"name": "Screen", "trigger_type": "console", "config": {"retry_schedule": ["1m"]}}`
)

// sampleSecrets are the parts of the samples that must never be shown.
var sampleSecrets = []string{
	"key-of-the-account", "key-of-midnight", "token-of-the-hook", "signing-key", "header-key",
	"user-of-mail", "password-of-mail", "abcdefghijklmnopqrstuvwxyzABCDEFGHI",
	"RoutingKeyOfDuty",
}

func mustNetwork(t testing.TB, doc string, opts ...Option) *Network {
	t.Helper()
	n, ps := ParseNetwork([]byte(doc), opts...)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustMonitor(t testing.TB, doc string, opts ...Option) *Monitor {
	t.Helper()
	m, ps := ParseMonitor([]byte(doc), opts...)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

func mustTrigger(t testing.TB, doc string, opts ...Option) *Trigger {
	t.Helper()
	tr, ps := ParseTrigger([]byte(doc), opts...)
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return tr
}

// edit replaces one part of a sample and fails when it is not there.
func edit(t testing.TB, doc, from, to string) string {
	t.Helper()
	if strings.Count(doc, from) != 1 {
		t.Fatalf("%q occurs %d times in the sample", from, strings.Count(doc, from))
	}
	return strings.Replace(doc, from, to, 1)
}

// plainMonitor is the sample without the extension that would get a notice.
var plainMonitor = strings.Replace(sampleMonitor, ",\n\t\"mode\": \"both\"", "", 1)
