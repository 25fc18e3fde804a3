package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ozmo-dev/ozmo/testcluster/vectors"
)

// object is a JSON object in a test.
type object = map[string]any

func networkDoc(chain, slug string, more object) object {
	doc := object{
		"network_type": chain, "slug": slug, "name": "Net " + slug,
		"rpc_urls":      []object{{"type_": "rpc", "url": object{"type": "plain", "value": "https://rpc.example/" + slug}, "weight": 100}},
		"block_time_ms": 12000, "confirmation_blocks": 1, "cron_schedule": "0 * * * * *", "max_past_blocks": 50,
	}
	maps.Copy(doc, more)
	return doc
}

// tokenABI has the function transfer and the event Transfer.
var tokenABI = []object{
	{"type": "event", "name": "Transfer", "anonymous": false, "inputs": []object{
		{"name": "from", "type": "address", "indexed": true},
		{"name": "to", "type": "address", "indexed": true},
		{"name": "value", "type": "uint256", "indexed": false},
	}},
	{"type": "function", "name": "transfer", "inputs": []object{{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}}, "outputs": []object{}},
}

// monitorDoc watches transfers of the token, those for which the expression
// holds.
func monitorDoc(name, network, token, expression string, triggers ...string) object {
	return object{
		"name": name, "networks": []string{network}, "paused": false,
		"addresses": []object{{"address": token, "contract_spec": tokenABI}},
		"match_conditions": object{
			"functions": []object{}, "transactions": []object{},
			"events": []object{{"signature": "Transfer(address,address,uint256)", "expression": expression}},
		},
		"trigger_conditions": []object{}, "triggers": append([]string{}, triggers...),
	}
}

func webhookDoc(name string, url any) object {
	return object{"name": name, "trigger_type": "webhook", "config": object{
		"url": url, "method": "POST", "headers": object{"Authorization": "Bearer t0ken"},
		"message": object{"title": "${monitor.name}", "body": "moved ${events.0.args.value}"},
	}}
}

func plain(value string) object { return object{"type": "plain", "value": value} }

const tokenAt = "0x00000000000000000000000000000000000000a1"

// peerFolder is a folder as OpenZeppelin Monitor has them, with a network of
// every chain.
func peerFolder() map[string]any {
	stellar := monitorDoc("Stellar transfers", "stellar_testnet", "CA", "0 > 5")
	stellar["addresses"] = []object{{"address": "CA", "contract_spec": nil}}
	stellar["match_conditions"].(object)["events"] = []object{{"signature": "transfer(Address,Address,String,I128)", "expression": "3 >= 5"}}
	solana := monitorDoc("Solana logs", "solana_mainnet", "So1", "")
	solana["addresses"] = []object{{"address": "So1"}}
	solana["match_conditions"].(object)["events"] = []object{{"signature": "Harvest"}}
	midnight := monitorDoc("Midnight calls", "midnight_testnet", "0200", "")
	midnight["addresses"] = []object{{"address": "0200"}}
	midnight["match_conditions"].(object)["events"] = []object{}
	midnight["match_conditions"].(object)["functions"] = []object{{"signature": "post()"}}
	return map[string]any{
		"networks/ethereum_mainnet.json": networkDoc("EVM", "ethereum_mainnet", object{"chain_id": 1, "store_blocks": true}),
		"networks/stellar_testnet.json":  networkDoc("Stellar", "stellar_testnet", object{"network_passphrase": "Test SDF Network ; September 2015"}),
		"networks/solana_mainnet.json":   networkDoc("Solana", "solana_mainnet", nil),
		"networks/midnight_testnet.json": networkDoc("Midnight", "midnight_testnet", object{
			"rpc_urls": []object{{"type_": "ws_rpc", "url": plain("wss://rpc.example"), "weight": 1}},
		}),
		"monitors/transfers.json": monitorDoc("Large transfers", "ethereum_mainnet", tokenAt, "value > 10000000000", "hook", "chat"),
		"monitors/stellar.json":   stellar,
		"monitors/solana.json":    solana,
		"monitors/midnight.json":  midnight,
		"triggers/all.json": object{
			"hook": webhookDoc("Hook", plain("https://hooks.example/x")),
			"chat": object{"name": "Chat", "trigger_type": "slack", "config": object{
				"slack_url": plain("https://hooks.slack.com/services/A/B/C"), "message": object{"title": "t", "body": "b"},
			}},
		},
	}
}

func TestConfigCheckOfAPeersFolder(t *testing.T) {
	r := ozmo(t, "config", "check", write(t, peerFolder()), "--strict")
	r.want(t, exitOK, "\n4 networks, 4 monitors, 2 triggers: 0 errors, 0 warnings, 4 notices\n", "")
	const want = `networks/ethereum_mainnet.json
  notice   store_blocks: has no effect: ozmo does not need stored blocks
networks/midnight_testnet.json
  notice   network midnight_testnet: Midnight is not supported yet: its monitors are kept but not run
`
	if !strings.HasPrefix(r.stdout, want) {
		t.Errorf("got:\n%s\nwant at its beginning:\n%s", r.stdout, want)
	}
	if r.stderr != "" {
		t.Errorf("standard error: %s", r.stderr)
	}
}

func TestConfigCheckShowsEverything(t *testing.T) {
	t.Setenv("OZMO_TEST_SET", "https://rpc.example/secret-key")
	files := map[string]any{
		"networks/eth.json": networkDoc("EVM", "eth", object{"rpc_urls": []object{
			{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_SET"}, "weight": 100},
			{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_NOT_SET"}, "weight": 200},
		}}),
		"networks/base.json": networkDoc("EVM", "base", object{
			"rpc_urls": []object{{"type_": "rpc", "url": object{"type": "environment", "value": "OZMO_TEST_SET"}, "weight": 1}},
		}),
		"monitors/typo.json":       monitorDoc("Typo", "base", tokenAt, "valeu > 5", "hook"),
		"monitors/syntax.json":     monitorDoc("Syntax", "base", tokenAt, "value >"),
		"monitors/reference.json":  monitorDoc("Reference", "bass", tokenAt, "vlue > 5", "hok"),
		"monitors/unresolved.json": monitorDoc("Unresolved", "eth", tokenAt, "to > 5"),
		"monitors/broken.json":     `{"name": "Broken",`,
		"monitors/nowhere.json":    monitorDoc("Nowhere", "base", "not an address", "value > 5"),
		"triggers/t.json": object{
			"hook": webhookDoc("Hook", plain("http://hooks.example/x")),
			"bad":  object{"name": "Bad", "trigger_type": "webhook", "config": object{"url": plain("ftp://x"), "methods": "POST"}},
		},
	}
	dir := write(t, files)
	r := ozmo(t, "config", "check", dir)
	r.want(t, exitFailure, "\n2 networks, 6 monitors, 2 triggers: ", "")
	for _, place := range [][2]string{
		{"networks/eth.json", `  error    rpc_urls[1].url: `},
		{"networks/eth.json", `OZMO_TEST_NOT_SET`},
		{"networks/eth.json", `  error    rpc_urls[1].weight: `},
		{"monitors/typo.json", `  error    match_conditions.events[0].expression: condition "valeu > 5" can never hold: there is no variable named "valeu"; did you mean "value"?`},
		{"monitors/syntax.json", `  error    match_conditions.events[0].expression: syntax error`},
		{"monitors/reference.json", `  error    networks[0]: refers to the network "bass", which is not defined; did you mean "base"?`},
		{"monitors/reference.json", `  error    triggers[0]: `},
		{"monitors/reference.json", `there is no variable named "vlue"; did you mean "value"?`}, // all the same
		{"monitors/unresolved.json", `  error    match_conditions.events[0].expression: condition "to > 5" can never hold`},
		{"monitors/broken.json", `  error    is not valid JSON`},
		{"monitors/nowhere.json", `  warning  addresses[0].address: "not an address" is not an EVM address`},
		{"triggers/t.json", `  error    bad.config.`},
		{"triggers/t.json", `  warning  hook.config.url: `},
	} {
		_, section, found := strings.Cut(r.stdout, place[0]+"\n")
		if end := strings.Index(section, "\nmonitors/"); end >= 0 {
			section = section[:end]
		}
		if end := strings.Index(section, "\nnetworks/"); end >= 0 {
			section = section[:end]
		}
		if !found || !strings.Contains(section, place[1]) {
			t.Errorf("nothing like %q under %s", place[1], place[0])
		}
	}
	if t.Failed() {
		t.Log(r.stdout)
	}
	if strings.Contains(r.stdout, "secret-key") {
		t.Errorf("a secret is shown:\n%s", r.stdout)
	}

	// The same as JSON.
	j := ozmo(t, "config", "check", dir, "--output", "json")
	j.want(t, exitFailure, "", "")
	var c configCheck
	if err := json.Unmarshal([]byte(j.stdout), &c); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Problems); n != c.Errors+c.Warnings+c.Notices || c.Errors < 11 || c.Networks != 2 || c.Monitors != 6 || c.Triggers != 2 {
		t.Errorf("got %d problems, %+v", n, c)
	}
	for _, p := range c.Problems {
		if p.File == "" || p.Message == "" {
			t.Errorf("says little: %+v", p)
		}
	}
}

func TestConfigCheckStrict(t *testing.T) {
	folder := peerFolder()
	folder["networks/ethereum_mainnet.json"] = networkDoc("EVM", "ethereum_mainnet", object{
		"rpc_urls": []object{{"type_": "rpc", "url": plain("http://rpc.example/x"), "weight": 1}},
	})
	dir := write(t, folder)
	ozmo(t, "config", "check", dir).want(t, exitOK, "0 errors, 1 warning, ", "")
	ozmo(t, "config", "check", dir, "--strict").want(t, exitFailure, "0 errors, 1 warning, ", "")
	var c configCheck
	if err := json.Unmarshal([]byte(ozmo(t, "config", "check", dir, "-o", "json").stdout), &c); err != nil || c.Warnings != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConfigCheckOfTenants(t *testing.T) {
	dir := write(t, map[string]any{
		"networks/eth.json":               networkDoc("EVM", "eth", nil),
		"tenants/acme/networks/own.json":  networkDoc("EVM", "own", nil),
		"tenants/acme/monitors/m.json":    monitorDoc("M", "own", tokenAt, "value > 1", "hook"),
		"tenants/acme/triggers/t.json":    object{"hook": webhookDoc("Hook", object{"type": "file", "value": "secrets/url"})},
		"secrets/url":                     "https://hooks.example/x\n",
		"tenants/zeta/monitors/m.json":    monitorDoc("M", "eth", tokenAt, "valu > 1"),
		"tenants/zeta/monitors/note.text": "not a document",
	})
	r := ozmo(t, "config", "check", dir)
	r.want(t, exitFailure, "tenants/zeta/monitors/m.json\n  error    match_conditions.events[0].expression: ", "")
	r.want(t, exitFailure, "2 tenants, 2 networks, 2 monitors, 1 trigger: 1 error, 0 warnings, 0 notices\n", "")
}

func TestConfigCheckOfNoFolder(t *testing.T) {
	dir := write(t, map[string]any{"file": "", "empty/x": ""})
	ozmo(t, "config", "check", filepath.Join(dir, "none")).want(t, exitFailure, "", "ozmo: the folder "+filepath.Join(dir, "none")+" does not exist\n")
	ozmo(t, "config", "check", filepath.Join(dir, "file")).want(t, exitFailure, "", "is not a folder: give the folder that holds networks/")
	r := ozmo(t, "config", "check", filepath.Join(dir, "empty"))
	r.want(t, exitFailure, "monitors\n  error    does not exist, expected a folder (it may be empty)\n", "")
	r.want(t, exitFailure, "0 networks, 0 monitors, 0 triggers: 3 errors, 0 warnings, 0 notices\n", "")
}

func TestFirstKey(t *testing.T) {
	got := map[string]string{}
	want := map[string]string{"a": "a", "a.b": "a", "a[2].b": "a", `["x y"].config`: "x y", "": ""}
	for path := range want {
		got[path] = firstKey(path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestConfigCheckOfVectors checks documents that OpenZeppelin Monitor accepts,
// all of them in one folder each.
func TestConfigCheckOfVectors(t *testing.T) {
	for _, c := range vectors.Files(t, "config") {
		var v struct {
			Name  string `json:"name"`
			Input struct {
				Kind     string          `json:"kind"`
				Document json.RawMessage `json:"document"`
			} `json:"input"`
			Expect struct {
				Valid bool `json:"valid"`
			} `json:"expect"`
		}
		if err := json.Unmarshal(c.Data, &v); err != nil {
			t.Fatal(err)
		}
		if v.Input.Kind != "network" || v.Input.Document == nil {
			continue // the others need something to refer to
		}
		t.Run(v.Name, func(t *testing.T) {
			dir := write(t, map[string]any{"networks/n.json": v.Input.Document, "monitors/x": "", "triggers/x": ""})
			code := exitFailure
			if v.Expect.Valid {
				code = exitOK
			}
			ozmo(t, "config", "check", dir).want(t, code, "", "")
		})
	}
}
