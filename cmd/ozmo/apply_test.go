package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node"
)

// apiNode is a node that is reached over its socket, with contexts of the test's own.
func apiNode(t *testing.T) *realNode {
	t.Helper()
	r := startNode(t, func(o *node.Options) { o.Listen = "127.0.0.1:0" })
	t.Setenv("OZMO_DATA", r.data)
	t.Setenv("OZMO_CONTEXT_FILE", filepath.Join(t.TempDir(), "contexts.json"))
	return r
}

const (
	hookVariable = "OZMO_TEST_HOOK"
	hookValue    = "https://hooks.example/T0p-s3cret"
)

// tenantFolder is a folder of one tenant with something of each kind.
func tenantFolder() map[string]any {
	mine := monitorDoc("Large transfers", "mine", tokenAt, "value > 1000", "hook")
	mine["trigger_conditions"] = []object{{"script_path": "config/filters/large.py", "language": "Python", "arguments": nil, "timeout_ms": 500}}
	return map[string]any{
		"networks/mine.json":   networkDoc("EVM", "mine", nil),
		"triggers/hook.json":   object{"hook": webhookDoc("Hook", object{"type": "environment", "value": hookVariable})},
		"triggers/spare.json":  object{"spare": webhookDoc("Spare", plain("https://hooks.example/spare"))},
		"monitors/large.json":  mine,
		"monitors/second.json": monitorDoc("Second", "mine", tokenAt, "value > 5", "hook"),
		"filters/large.py":     "print('true')\n",
	}
}

// put replaces a file of a folder.
func put(t *testing.T, dir, name string, content any) {
	t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestApplyFolder(t *testing.T) {
	apiNode(t)
	dir := write(t, tenantFolder())
	apply := func(args ...string) result {
		r := ozmo(t, append([]string{"apply", "-f", dir, "--tenant", "acme"}, args...)...)
		if strings.Contains(r.stdout+r.stderr, "T0p-s3cret") || strings.Contains(r.stdout+r.stderr, "hooks.example/spare") {
			t.Fatalf("a secret is shown:\n%s%s", r.stdout, r.stderr)
		}
		return r
	}

	// Without the variable nothing happens, and it is said what is missing.
	r := apply()
	r.want(t, exitFailure, "", "OZMO_TEST_HOOK  environment  triggers/hook.json: hook.config.url  set the variable")
	r.want(t, exitFailure, "", "1 error: nothing was changed")
	t.Setenv(hookVariable, hookValue)

	apply("--dry-run", "--exit-code").want(t, exitChanges, "tenant acme: would be version 1, 6 created", "")
	ozmo(t, "tenant", "get", "acme").want(t, exitFailure, "", "not found")
	apply().want(t, exitOK, "tenant acme: version 1, 6 created", "")
	ozmo(t, "tenant", "get", "acme").want(t, exitOK, "acme    API           1", "")
	ozmo(t, "script", "get", "filters/large.py", "--tenant", "acme").want(t, exitOK, "print('true')\n", "")

	apply().want(t, exitOK, "tenant acme: unchanged, version 1\n", "")
	apply("--dry-run", "--exit-code").want(t, exitOK, "unchanged", "")

	// What differs is told by its place; of secrets, only that.
	mine := tenantFolder()["monitors/second.json"].(object)
	mine["match_conditions"].(object)["events"].([]object)[0]["expression"] = "value > 6"
	put(t, dir, "monitors/second.json", mine)
	t.Setenv(hookVariable, hookValue+"-other")
	apply("--dry-run").want(t, exitOK, `  ~ monitor Second
      match_conditions.events[0].expression: "value > 5" -> "value > 6"`, "")
	r = apply("-o", "json")
	var sum bulkSum
	if err := json.Unmarshal([]byte(r.stdout), &sum); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	if sum.Changed != 1 || len(sum.Tenants[0].Changes) != 2 || sum.Tenants[0].Version != 2 || sum.Tenants[0].Changes[0].Kind+sum.Tenants[0].Changes[1].Kind != "monitortrigger" &&
		sum.Tenants[0].Changes[0].Kind+sum.Tenants[0].Changes[1].Kind != "triggermonitor" {
		t.Fatalf("got %s", r.stdout)
	}
	if !strings.Contains(r.stdout, `"path": "a secret"`) {
		t.Errorf("nothing is said of the secret: %s", r.stdout)
	}

	// What is gone is deleted, when that is confirmed.
	if err := os.Remove(filepath.Join(dir, "triggers/spare.json")); err != nil {
		t.Fatal(err)
	}
	apply().want(t, exitUsage, "", "  - trigger spare of tenant acme\n")
	apply("--prune=false").want(t, exitOK, "unchanged, version 2", "")
	apply("--dry-run").want(t, exitOK, "  - trigger spare\n", "")
	apply("--yes").want(t, exitOK, "version 3, 1 deleted, 5 unchanged", "")
	ozmo(t, "trigger", "list", "--tenant", "acme").want(t, exitOK, "ID    NAME\nhook  Hook\n", "")

	// The server has the last word, and what it refuses changes nothing.
	put(t, dir, "networks/mine.json", networkDoc("EVM", "mine", object{"chain_id": 7}))
	apply("--yes").want(t, exitOK, "version 4", "")
	put(t, dir, "networks/mine.json", networkDoc("EVM", "mine", object{"chain_id": 8}))
	apply("--yes").want(t, exitFailure, "tenant acme: refused: ", "")
	ozmo(t, "tenant", "get", "acme", "-o", "json").want(t, exitOK, `"version": 4`, "")
}

// What is exported is what is in force: applied again, it changes nothing, and a
// monitor keeps the id that it was given over the API.
func TestExportAndApply(t *testing.T) {
	apiNode(t)
	t.Setenv(hookVariable, hookValue)
	dir := write(t, tenantFolder())
	ozmo(t, "apply", "-f", dir, "--tenant", "acme").want(t, exitOK, "6 created", "")
	own := filepath.Join(write(t, map[string]any{"m.json": monitorDoc("Own, with an id", "mine", tokenAt, "value > 7", "hook")}), "m.json")
	ozmo(t, "monitor", "create", "own/id", "--tenant", "acme", "-f", own).want(t, exitOK, "monitor own/id of tenant acme is created: version 2", "")
	ozmo(t, "monitor", "create", "own/id", "--tenant", "acme", "-f", own).want(t, exitFailure, "", "is there already: `ozmo monitor apply` replaces it")
	ozmo(t, "monitor", "apply", "own/id", "--tenant", "acme", "-f", own).want(t, exitOK, "is as it was: version 2", "")

	out := filepath.Join(t.TempDir(), "out")
	ozmo(t, "export", "--tenant", "acme", out).want(t, exitOK, out+": 7 documents\n", "")
	ozmo(t, "export", "--tenant", "acme", out).want(t, exitFailure, "", "already: give another folder, or --force")
	ozmo(t, "apply", "-f", out, "--tenant", "acme").want(t, exitOK, "unchanged, version 2", "")

	// A renamed monitor is known by its file.
	file := filepath.Join(out, "monitors", "own-id.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(data, []byte("Own, with"), []byte("Renamed, with"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "apply", "-f", out, "--tenant", "acme").want(t, exitOK, "  ~ monitor own/id\n      name: \"Own, with an id\" -> \"Renamed, with an id\"\n", "")

	// What another export leaves behind is named.
	put(t, out, "monitors/old.json", object{})
	ozmo(t, "export", "--tenant", "acme", out, "--force").want(t, exitOK, "", "1 file of "+out+" are not in force, and were left as they are: monitors/old.json")

	// With variables, it is a folder for anywhere.
	other := filepath.Join(t.TempDir(), "other")
	ozmo(t, "export", "--tenant", "acme", other, "--secrets", "environment").want(t, exitOK, "secrets.env: 5 secrets for you to fill in", "")
	filled := strings.Builder{}
	text, err := os.ReadFile(filepath.Join(other, "secrets.env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		filled.WriteString(strings.TrimSpace(line) + "https://filled.example/in\n")
	}
	if err := os.WriteFile(filepath.Join(other, "secrets.env"), []byte(filled.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "apply", "-f", other, "--tenant", "beta").want(t, exitFailure, "", "ACME_NETWORK_MINE")
	ozmo(t, "apply", "-f", other, "--tenant", "beta", "--env-file", filepath.Join(other, "secrets.env")).want(t, exitOK, "tenant beta: version 1, 7 created", "")

	// Standard output goes into standard input.
	whole := ozmo(t, "export", "--tenant", "acme")
	whole.want(t, exitOK, `"monitors": {`, "")
	if strings.Contains(whole.stdout, "T0p-s3cret") {
		t.Error("a secret is shown")
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"apply", "-f", "-", "--tenant", "acme"}, strings.NewReader(whole.stdout), &stdout, &stderr)
	result{code, stdout.String(), stderr.String()}.want(t, exitOK, "unchanged, version 3", "")
}

// A tree of many tenants, with networks for all of them.
func TestApplyTree(t *testing.T) {
	apiNode(t)
	tree := map[string]any{"networks/base.json": networkDoc("EVM", "base", nil), "networks/spare.json": networkDoc("EVM", "spare", nil)}
	for _, tenant := range []string{"a", "b", "c"} {
		tree["tenants/"+tenant+"/monitors/m.json"] = monitorDoc("Transfers", "base", tokenAt, "value > 1", "hook")
		tree["tenants/c/networks/own.json"] = networkDoc("EVM", "own", object{"chain_id": 1})
		tree["tenants/"+tenant+"/triggers/t.json"] = object{"hook": webhookDoc("Hook", plain("https://hooks.example/"+tenant))}
	}
	dir := write(t, tree)
	ozmo(t, "apply", "-f", dir, "--dry-run").want(t, exitOK, "shared networks: would be version 1, 2 created", "")
	ozmo(t, "apply", "-f", dir, "--dry-run").want(t, exitOK, "tenant b: would be version 1, 2 created\n", "")
	ozmo(t, "apply", "-f", dir).want(t, exitOK, "4 changed, 0 unchanged, 0 refused\n", "")
	ozmo(t, "apply", "-f", dir).want(t, exitOK, "0 changed, 4 unchanged, 0 refused\n", "")

	// One that the server refuses does not keep the others back.
	put(t, dir, "tenants/a/monitors/m.json", monitorDoc("Transfers", "base", tokenAt, "value > 2", "hook"))
	put(t, dir, "tenants/b/monitors/m.json", monitorDoc("Transfers", "base", tokenAt, "value > 2", "hook"))
	put(t, dir, "tenants/c/networks/own.json", networkDoc("EVM", "own", object{"chain_id": 2}))
	if err := os.Remove(filepath.Join(dir, "networks/spare.json")); err != nil {
		t.Fatal(err)
	}
	r := ozmo(t, "apply", "-f", dir, "--yes")
	r.want(t, exitFailure, "  - network spare\n", "")
	r.want(t, exitFailure, "tenant c: refused: ", "")
	r.want(t, exitFailure, "3 changed, 1 unchanged, 1 refused\n", "")
	put(t, dir, "tenants/c/networks/own.json", networkDoc("EVM", "own", object{"chain_id": 1}))
	ozmo(t, "network", "list", "--shared").want(t, exitOK, "ID    NAME\nbase  Net base\n", "")

	// Wrong anywhere: nothing is changed.
	put(t, dir, "tenants/b/monitors/m.json", monitorDoc("Transfers", "base", tokenAt, "valu > 2", "hook"))
	put(t, dir, "tenants/c/monitors/m.json", monitorDoc("Transfers", "bse", tokenAt, "value > 2", "hook"))
	put(t, dir, "tenants/a/monitors/m.json", monitorDoc("Transfers", "base", tokenAt, "value > 3", "hook"))
	r = ozmo(t, "apply", "-f", dir, "--yes")
	r.want(t, exitFailure, "", "tenants/b/monitors/m.json")
	r.want(t, exitFailure, "", `refers to the network "bse", which is not defined; did you mean "base"?`)
	r.want(t, exitFailure, "", "nothing was changed")
	ozmo(t, "tenant", "get", "a", "-o", "json").want(t, exitOK, `"version": 2`, "")
	ozmo(t, "apply", "-f", dir, "--tenant", "a").want(t, exitOK, "tenant a: version 3", "")
	ozmo(t, "apply", "-f", dir, "--tenant", "z").want(t, exitFailure, "", `has no folder for tenant "z"`)

	out := filepath.Join(t.TempDir(), "all")
	ozmo(t, "export", "--all", out).want(t, exitOK, "8 documents of 3 tenants", "")
	ozmo(t, "apply", "-f", out).want(t, exitOK, "0 changed, 4 unchanged, 0 refused\n", "")
}

func TestApplyMistakes(t *testing.T) {
	apiNode(t)
	empty := t.TempDir()
	for line, says := range map[string]string{
		"apply":                                      "what is to be applied?",
		"apply -f " + empty + " --exit-code":         "--exit-code is for --dry-run",
		"apply -f " + empty + " --concurrency 0":     "want 1 to 256",
		"export --all":                               "--all needs a folder",
		"export --all --tenant a x":                  "give one of them",
		"export":                                     "which tenant? Give --tenant",
		"export --tenant a --secrets environment":    "needs a folder",
		"monitor list":                               "which tenant? Give --tenant",
		"monitor apply --tenant a":                   "needs a file: -f FILE",
		"network list --shared --tenant a":           "give one of them",
		"script apply run.rb --tenant a -f x":        "",
		"tenant create Acme":                         "want 1 to 63 lower-case letters",
		"tenant import x":                            "which tenant?",
		"tenant delete a":                            "give --yes",
		"monitor list --server http://x --context y": "give one of them",
	} {
		r := ozmo(t, strings.Fields(line)...)
		code := exitUsage
		if says == "" {
			code = exitFailure // the file is not there
		}
		if r.code != code || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: exit %d, want %q:\n%s", line, r.code, says, r.stderr)
		}
	}
	ozmo(t, "apply", "-f", empty, "--tenant", "a").want(t, exitFailure, "", "has none of networks/, monitors/, triggers/ and tenants/ in it")
}

func TestApplyFile(t *testing.T) {
	apiNode(t)
	dir := write(t, map[string]any{
		"all.yaml": `network_type: EVM
slug: mine
name: Mine
rpc_urls: [{type_: rpc, url: {type: plain, value: "https://rpc.example/k3y"}, weight: 100}]
block_time_ms: 12000
confirmation_blocks: 1
cron_schedule: "0 * * * * *"
---
hook:
  name: Hook
  trigger_type: webhook
  config:
    url: {type: plain, value: "https://hooks.example/k3y"}
    message: {title: t, body: b}
`,
		"bad.json":   `{"name": "what"}`,
		"worse.yaml": "a: [",
		"two.json":   object{"triggers": object{"a": webhookDoc("A", plain("http")), "b": 7}},
	})
	ozmo(t, "apply", "-f", dir+"/all.yaml", "--tenant", "acme").want(t, exitOK, "version 1, 2 created", "")
	ozmo(t, "apply", "-f", dir+"/bad.json", "--tenant", "acme").want(t, exitFailure, "", "is no monitor (with match_conditions), no network")
	ozmo(t, "apply", "-f", dir+"/worse.yaml", "--tenant", "acme").want(t, exitFailure, "", "is neither JSON nor YAML")
	r := ozmo(t, "apply", "-f", dir+"/two.json", "--tenant", "acme")
	r.want(t, exitFailure, "", "triggers.a.config.url: found an address that does not start with")
	r.want(t, exitFailure, "", "triggers.b: found 7, expected an object")
	ozmo(t, "tenant", "get", "acme", "-o", "json").want(t, exitOK, `"version": 1`, "")
	ozmo(t, "network", "get", "mine", "--tenant", "acme").want(t, exitOK, `"type": "sealed"`, "")
	ozmo(t, "network", "delete", "mine", "--tenant", "acme").want(t, exitOK, "network mine of tenant acme is deleted: version 2", "")
	ozmo(t, "network", "delete", "mine", "--tenant", "acme").want(t, exitFailure, "", `network "mine" of tenant "acme": not found`)
}
