package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestNetworkFields(t *testing.T) {
	n := mustNetwork(t, sampleNetwork)
	id := uint64(1)
	want := &Network{
		Type: EVM, Slug: "ethereum_mainnet", Name: "Ethereum",
		RPCURLs: []RPCURL{
			{"rpc", Secret{"plain", "https://node.example/v3/key-of-the-account"}, 100},
			{"rpc", Secret{"environment", "SECOND_URL"}, 0},
		},
		ChainID: &id, BlockTime: 12 * time.Second, ConfirmationBlocks: 12,
		Cron: "0 */1 * * * *", MaxPastBlocks: &PastBlocks{N: 18},
		Recovery: &Recovery{true, "0 */5 * * * *", 10, 1000, 3, time.Second},
	}
	if !reflect.DeepEqual(n, want) {
		got, _ := json.Marshal(n)
		t.Errorf("got %s", got)
	}
	if got := n.RecommendedPastBlocks(time.Unix(0, 0)); got != 5+12+1 {
		t.Errorf("recommended = %d", got)
	}
	n.ConfirmationBlocks = math.MaxUint64
	if got := n.RecommendedPastBlocks(time.Unix(0, 0)); got != math.MaxUint64 {
		t.Errorf("recommended = %d, want the maximum", got)
	}
}

func TestNetworkExtensions(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"250ms"`: 250 * time.Millisecond, `100`: 100 * time.Millisecond, `[1, 5]`: time.Second + 5,
		`{"secs": 2, "nanos": 0}`: 2 * time.Second, `null`: 0,
	} {
		n := mustNetwork(t, edit(t, sampleNetwork, `"store_blocks": null`, `"watch": "shared", "poll_interval": `+text))
		if n.PollInterval != want || n.Watch != "shared" {
			t.Errorf("%s: got %v, %q", text, n.PollInterval, n.Watch)
		}
	}
}

func TestMonitorFields(t *testing.T) {
	m := mustMonitor(t, sampleMonitor)
	if string(m.Addresses[0].ContractSpec) != sampleABI {
		t.Errorf("contract_spec is not verbatim: %s", m.Addresses[0].ContractSpec)
	}
	if m.Addresses[0].SpecChain != EVM || m.Mode != ModeBoth || len(m.Secrets()) != 1 {
		t.Errorf("got %v, %v, %d secrets", m.Addresses[0].SpecChain, m.Mode, len(m.Secrets()))
	}
	if e := m.Match.Events[0].Expression; e == nil || *e != "value > 10000000000" {
		t.Errorf("expression = %v", e)
	}
}

// The form inside a match: keys in alphabetical order, nulls and empty lists
// present, neither contract specs nor viewing keys.
func TestMonitorMatchJSON(t *testing.T) {
	m := mustMonitor(t, sampleMonitor)
	m.Mode = ""
	got, err := m.MatchJSON(EVM)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"addresses":[{"address":"0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48","contract_spec":null}],` +
		`"chain_configurations":[{"evm":{}},{"midnight":{"viewing_keys":[]}}],` +
		`"match_conditions":{"events":[{"expression":"value > 10000000000","signature":"Transfer(address,address,uint256)"}],` +
		`"functions":[{"expression":null,"signature":"transfer(address,uint256)"}],` +
		`"transactions":[{"expression":null,"status":"Success"}]},` +
		`"name":"Large transfers","networks":["ethereum_mainnet"],"paused":false,"trigger_conditions":[],"triggers":["to_webhook"]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(m.Secrets()) != 1 || m.Secrets()[0].Value != "key-of-midnight" || m.Addresses[0].ContractSpec == nil {
		t.Error("MatchJSON changed the monitor")
	}
	if solana, err := m.MatchJSON(Solana); err != nil || !strings.Contains(string(solana), `"contract_spec":[{"type"`) {
		t.Errorf("contract specs stay in the matches of other chains: %s, %v", solana, err)
	}
}

func TestTriggerFields(t *testing.T) {
	tr := mustTrigger(t, sampleTrigger)
	want := RetryPolicy{MaxRetries: 5, Base: 2, Initial: 100 * time.Millisecond, Max: 2500 * time.Millisecond, Jitter: JitterFull}
	if tr.Retry != want {
		t.Errorf("retry policy = %+v", tr.Retry)
	}
	if h := tr.Webhook; h.Method != "PUT" || h.PayloadMode != PayloadTemplate || *h.Headers["X-API-Key"] != Plain("header-key") {
		t.Errorf("webhook: method %s, mode %s", h.Method, h.PayloadMode)
	}
	for _, s := range tr.Secrets() {
		*s = Secret{SecretSealed, "sealed:" + s.Value}
	}
	data, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(data), `"type":"sealed","value":"sealed:`); got != 4 {
		t.Errorf("%d of 4 secrets replaced in place: %s", got, data)
	}
	roundTrip(t, tr)
	if e := mustTrigger(t, sampleEmail); e.Email.Port != 465 || e.Retry != DefaultRetryPolicy() || len(e.Secrets()) != 2 {
		t.Errorf("email: %+v", e)
	}
	if s := mustTrigger(t, sampleScript); s.Script.Arguments == nil || s.Script.Timeout() != time.Second || s.Retry != (RetryPolicy{}) {
		t.Errorf("script: %+v", s.Script)
	}
}

func TestTriggerFile(t *testing.T) {
	doc := `{"a": ` + sampleTrigger + `, "b": {"name": ""}, "c": ` + sampleEmail + `}`
	got, ps := ParseTriggerFile([]byte(doc), WithFile("triggers/x.json"))
	if len(got) != 2 || got["a"] == nil || got["c"] == nil {
		t.Errorf("got %d triggers", len(got))
	}
	wantProblems(t, ps,
		`triggers/x.json: b.config: is missing, expected an object`,
		`triggers/x.json: b.name: is empty`,
		`triggers/x.json: b.trigger_type: is missing, expected a string`)
}

// wantProblems compares problems line by line. A wanted line that ends in an
// ellipsis matches by its beginning.
func wantProblems(t *testing.T, got Problems, want ...string) {
	t.Helper()
	bad := len(got) != len(want)
	for i := range min(len(got), len(want)) {
		prefix, open := strings.CutSuffix(want[i], "…")
		bad = bad || (open && !strings.HasPrefix(got[i].String(), prefix)) || (!open && got[i].String() != want[i])
	}
	if bad {
		var lines []string
		for _, p := range got {
			lines = append(lines, p.String())
		}
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestNetworkProblemsAllAtOnce(t *testing.T) {
	_, ps := ParseNetwork([]byte(`{
	"network_type": "EVM", "slug": "Main-Net", "nme": "x", "name": "a", "name": "b",
	"rpc_urls": [
		{"type_": "rpc", "url": {"type": "plain", "value": "https://ok.example"}, "weight": 1},
		{"type_": "rpc", "url": {"type": "vault", "value": 12345}, "weight": 101},
		{"type_": "ws", "url": "https://secret.example/key", "weihgt": 1},
		7
	],
	"chain_id": -1, "block_time_ms": 99, "confirmation_blocks": 1.0, "cron_schedule": "0 0 25 * * *",
	"max_past_blocks": "unlimitd", "store_blocks": "yes", "poll_interval": "10ms", "watch": "",
	"recovery_config": {"enabled": true, "cron_schedule": "x", "max_retries": 4294967296, "max_block_age": null}
}`), WithFile("networks/a.json"))
	for i := range ps {
		if ps[i].File != "networks/a.json" {
			t.Errorf("file = %q", ps[i].File)
		}
		ps[i].File = ""
	}
	wantProblems(
		t, ps,
		`block_time_ms: found 99, expected a whole number from 100 to 9223372036854`,
		`chain_id: found -1, expected a whole number of at least 0`,
		`confirmation_blocks: found 1.0, expected a whole number of at least 1`,
		`cron_schedule: found "0 0 25 * * *": not a cron schedule: the hour field has "25", expected 0 to 23`,
		`max_past_blocks: found "unlimitd", expected a whole number of at least 1 or "unlimited"; did you mean "unlimited"?`,
		`name: is given twice in one object`,
		`nme: is an unknown field; known fields are …`,
		`poll_interval: found 10ms, expected at least 100ms`,
		`recovery_config.cron_schedule: found "x": not a cron schedule: it has 1 fields, …`,
		`recovery_config.max_block_age: found null, expected a whole number`,
		`recovery_config.max_blocks_per_run: is missing, expected a whole number`,
		`recovery_config.max_retries: found 4294967296, expected a whole number from 0 to 4294967295`,
		`recovery_config.retry_delay_ms: is missing, expected a whole number`,
		`rpc_urls[1].url.type: found "vault", expected "plain", …`,
		`rpc_urls[1].url.value: found a number, expected a string`,
		`rpc_urls[1].weight: found 101, expected a whole number from 0 to 100`,
		`rpc_urls[2].type_: found "ws", expected "rpc"`,
		`rpc_urls[2].url: found a string, expected a secret like {"type": "environment", "value": "NAME"}`,
		`rpc_urls[2].weight: is missing, expected a whole number`,
		`rpc_urls[2].weihgt: is an unknown field; did you mean "weight"?`,
		`rpc_urls[3]: found 7, expected an object`,
		`slug: found "Main-Net", expected only lower-case letters, digits and underscores`,
		`store_blocks: found a string, expected true or false`,
		`watch: found "", expected the slug of a shared network`,
	)
	if err := ps.Err(); !errors.Is(err, ErrInvalid) || strings.Count(err.Error(), "\n") != len(ps)-1 {
		t.Errorf("Err() = %v", err)
	}
}

func TestUnreadableDocuments(t *testing.T) {
	for doc, want := range map[string]string{
		"":     "is empty, expected a JSON document",
		"null": "found null, expected an object",
		"[]":   "found an array, expected an object",
		strings.Repeat("[", 129) + strings.Repeat("]", 129): "is nested deeper than 128 levels",
		"\xff":                "is not UTF-8 text",
		"{\n \"a\": x}":       "is not valid JSON: invalid character 'x' looking for beginning of value at line 2, column 7",
		sampleTrigger + " {}": "is not valid JSON: invalid character '{' after top-level value at line 10, column 3",
	} {
		n, ps := ParseNetwork([]byte(doc))
		if n != nil {
			t.Errorf("%q was accepted", doc)
		}
		wantProblems(t, ps, want)
	}
}

func TestMonitorProblems(t *testing.T) {
	for _, tc := range []struct{ from, to, want string }{
		{`"mode": "both"`, `"mode": "instnat"`, `mode: found "instnat", expected "instant", "confirmed", "both" or "finalized"; did you mean "instant"?`},
		{`"paused": false`, `"paused": 0`, `paused: found 0, expected true or false`},
		{`"triggers": ["to_webhook"]`, `"triggers": [1]`, `triggers[0]: found a number, expected a string`},
		{`"status": "Success"`, `"status": null`, `match_conditions.transactions[0].status: found null, expected a string`},
		{`"type": "uint256"`, `"type": "uint257"`, `addresses[0].contract_spec[0].inputs[2].type: found "uint257", expected a Solidity type`},
		{`"type": "event"`, `"type": "evnt"`, `addresses[0].contract_spec[0].type: found "evnt", expected "function", "event", "error", "constructor", "fallback" or "receive"; did you mean "event"?`},
		{`{"evm": {}}`, `{"evm": 1}`, `chain_configurations[0].evm: found 1, expected an object`},
	} {
		_, ps := ParseMonitor([]byte(edit(t, sampleMonitor, tc.from, tc.to)))
		wantProblems(t, ps, tc.want)
	}
	for _, tolerated := range [][2]string{
		{`{"evm": {}}`, `{"evm": {"a": 1}, "other": 1}`},
		{`"chain_configurations": [`, `"chain_configurations": null, "x": [`},
	} {
		_, ps := ParseMonitor([]byte(edit(t, sampleMonitor, tolerated[0], tolerated[1])))
		for _, p := range ps.Errors() {
			if p.Path != "x" {
				t.Errorf("%s", p)
			}
		}
	}
}

func TestContractSpecShapes(t *testing.T) {
	for _, tc := range []struct {
		spec  string
		chain Chain
		want  string // problem
	}{
		{`null`, "", ""},
		{`[]`, EVM, ""},
		{`[{"type":"function","name":"f","inputs":[{"type":"tuple[2][]","name":"p","components":[{"type":"bytes32"}]}]}]`, EVM, ""},
		{`[{"type":"receive"},{"type":"fallback"},{"type":"constructor","inputs":[]},{"type":"error","name":"E","inputs":[]}]`, EVM, ""},
		{`{"abi": [{"type":"event","name":"E","inputs":[]}], "bytecode": "0x"}`, EVM, ""},
		{`[{"function_v0":{"doc":"","name":"pay","inputs":[{"doc":"","name":"to","type_":"address"}],"outputs":["bool"]}}]`, Stellar, ""},
		{`[{"event_v0":{"name":"e","params":[{"name":"x","type":"u32","location":"data"}]}},{"udt_enum_v0":{}}]`, Stellar, ""},
		{`{"version": "0.1.0", "name": "prog", "instructions": []}`, Solana, ""},
		{`{"address": "x", "metadata": {"name": "prog"}}`, Solana, ""},
		{`"0x"`, "", `found a string, expected a Solidity ABI…`},
		{`[{"type":"function","name":"f"}]`, "", `[0].inputs: is missing, expected an array`},
		{`[{"type":"function","name":"1f","inputs":[]}]`, "", `[0].name: found "1f", expected an identifier`},
		{`[{"type":"function","name":"f","inputs":[{"type":"uint8","indexed":true}]}]`, "", `[0].inputs[0].indexed: is given for the input of a function…`},
		{`[{"type":"function","name":"f","inputs":[{"type":"tuple"}]}]`, "", `[0].inputs[0].components: is missing, expected an array`},
		{`[{"type":"function","name":"f","inputs":[{"type":"uint8[2"}]}]`, "", `[0].inputs[0].type: found "uint8[2", expected a Solidity type`},
		{`[{"function_v0":{"name":"f","inputs":[{"name":"x"}],"outputs":[]}}]`, "", `[0].function_v0.inputs[0].type_: is missing, expected a Soroban type`},
		{`[{"function_v1":{}},{"function_v0":{}}]`, "", `[0].type: is missing, expected a string`},
		{`[{"other_v0":{}}]`, "", `[0]: found "other_v0", expected one of …`},
	} {
		doc := edit(t, sampleMonitor, sampleABI, tc.spec)
		m, ps := ParseMonitor([]byte(doc))
		if tc.want == "" {
			if err := ps.Err(); err != nil {
				t.Errorf("%s: %v", tc.spec, err)
			} else if m.Addresses[0].SpecChain != tc.chain {
				t.Errorf("%s: chain %q, want %q", tc.spec, m.Addresses[0].SpecChain, tc.chain)
			}
			continue
		}
		found := false
		want := "addresses[0].contract_spec" + tc.want
		if tc.want[0] != '[' {
			want = "addresses[0].contract_spec: " + tc.want
		}
		for _, p := range ps.Errors() {
			prefix, open := strings.CutSuffix(want, "…")
			found = found || p.String() == want || open && strings.HasPrefix(p.String(), prefix)
		}
		if !found {
			t.Errorf("%s: problems %v, want %s", tc.spec, ps, want)
		}
	}
}

func TestTriggerProblems(t *testing.T) {
	for _, tc := range []struct{ doc, from, to, want string }{
		{sampleTrigger, `"headers"`, `"headrs"`, `config.headrs: is an unknown field; did you mean "headers"?`},
		{sampleTrigger, `"header-key"`, `77`, `config.headers.X-API-Key: found a number, expected a string or a secret…`},
		{sampleTrigger, `"100ms"`, `"1m"`, `config.retry_policy: has an initial_backoff of 1m0s, expected at most max_backoff, which is 2.5s`},
		{sampleTrigger, `"100ms"`, `"soon"`, `config.retry_policy.initial_backoff: found "soon", expected milliseconds like 250…`},
		{sampleTrigger, `"secs": 2`, `"secs": 99999999999`, `config.retry_policy.max_backoff: found 99999999999 seconds, expected at most…`},
		{sampleTelegram, `"1"`, `1`, `config.chat_id: found a number, expected a string`},
		{sampleTelegram, `GHI"`, `GH"`, `config.token: is no bot token…`},
		{sampleEmail, `smtp.example.com`, `localhost`, `config.host: found "localhost", expected a host name…`},
		{sampleEmail, `["b@example.com"]`, `[]`, `config.recipients: is empty, expected at least one e-mail address`},
		{sampleEmail, `"Alert"`, `"A\u0001"`, `config.message.title: holds a control character`},
		{sampleScript, `run.py`, `run.js`, `config.script_path: found "./config/triggers/scripts/run.js", expected a file that ends in .py…`},
		{sampleScript, `1000`, `0`, `config.timeout_ms: found 0, expected a whole number from 1 to 4294967295`},
	} {
		_, ps := ParseTrigger([]byte(edit(t, tc.doc, tc.from, tc.to)))
		wantProblems(t, ps.Errors(), tc.want)
	}
	// A trigger_type that disagrees with the shape of config is refused.
	if tr, _ := ParseTrigger([]byte(edit(t, sampleTrigger, `"webhook"`, `"slack"`))); tr != nil {
		t.Error("a webhook config was accepted for a slack trigger")
	}
	raw := edit(t, edit(t, sampleTrigger, `"message": {"title": "Alert", "body": "${events}"},`, ``), `"method"`, `"payload_mode": "raw", "method"`)
	if tr := mustTrigger(t, raw); tr.Webhook.Message != nil {
		t.Error("raw mode needs no message")
	}
}

func TestOrigins(t *testing.T) {
	environment := `{"type": "environment", "value": "HOOK"}`
	sealed := `{"type": "sealed", "value": "abc"}`
	plain := `{"type": "plain", "value": "signing-key"}`
	for _, tc := range []struct {
		origin Origin
		secret string
		ok     bool
	}{
		{OriginFolder, environment, true},
		{OriginFolder, sealed, false},
		{OriginTenant, environment, false},
		{OriginTenant, sealed, false},
		{OriginState, environment, true},
		{OriginState, sealed, true},
	} {
		doc := edit(t, edit(t, sampleTrigger, plain, tc.secret), `{"type": "environment", "value": "OTHER"}`, `"x"`)
		_, ps := ParseTrigger([]byte(doc), WithOrigin(tc.origin))
		if ok := ps.Err() == nil; ok != tc.ok {
			t.Errorf("origin %d, %s: %v", tc.origin, tc.secret, ps)
		}
	}
	if _, ps := ParseTrigger([]byte(sampleScript), WithOrigin(OriginTenant)); ps.Err() != nil {
		t.Errorf("a tenant may refer to its stored scripts: %v", ps)
	}
	for _, path := range []string{"/bin/run.py", "../run.py", "a/../../run.py", "/", "."} {
		doc := edit(t, sampleScript, "./config/triggers/scripts/run.py", path)
		if _, ps := ParseTrigger([]byte(doc), WithOrigin(OriginTenant)); ps.Err() == nil {
			t.Errorf("a tenant may not name files of the node, like %s", path)
		}
	}
}

// However much is wrong, what is shown is bounded, and the document is refused.
func TestManyProblems(t *testing.T) {
	var warnings, errs strings.Builder
	for i := range 2 * maxProblems {
		fmt.Fprintf(&warnings, `"w%d": 0, `, i)
		fmt.Fprintf(&errs, `"e%d": 0, `, i)
	}
	doc := edit(t, edit(t, sampleMonitor, `{"evm": {}}`, `{`+warnings.String()+`"evm": {}}`), `"mode"`, errs.String()+`"mode"`)
	m, ps := ParseMonitor([]byte(doc))
	if m != nil || len(ps.Errors()) != maxProblems || len(ps.Warnings()) != maxProblems {
		t.Errorf("%d errors, %d warnings", len(ps.Errors()), len(ps.Warnings()))
	}
}

func TestModeNeedsNoNotice(t *testing.T) {
	if m := mustMonitor(t, sampleMonitor); m.Mode != ModeBoth || len(m.Notices()) != 0 {
		t.Errorf("mode %q, notices %v, want none", m.Mode, m.Notices())
	}
	if ps := mustMonitor(t, plainMonitor).Notices(); len(ps) != 0 {
		t.Errorf("notices %v, want none", ps)
	}
}
