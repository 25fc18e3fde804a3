package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// save writes what a command has printed into a file.
func save(t *testing.T, r result, name string) string {
	t.Helper()
	r.want(t, exitOK, "", "")
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(r.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What `get` prints, `apply` takes, and it changes nothing.
func TestGetAndApply(t *testing.T) {
	apiNode(t)
	t.Setenv(hookVariable, hookValue)
	folder := tenantFolder()
	folder["monitors/second.json"] = monitorDoc("Second", "mine", tokenAt, "value > 5 AND value < 7", "hook")
	ozmo(t, "apply", "-f", write(t, folder), "--tenant", "acme").want(t, exitOK, "6 created", "")
	shared := filepath.Join(write(t, map[string]any{"base.json": networkDoc("EVM", "base", nil)}), "base.json")
	ozmo(t, "network", "create", "--shared", "-f", shared).want(t, exitOK, "", "")

	for _, tt := range []struct{ kind, id, owner, file string }{
		{"network", "mine", "--tenant=acme", "x.json"},
		{"network", "base", "--shared", "x.json"},
		{"monitor", "Second", "--tenant=acme", "x.json"},
		{"trigger", "hook", "--tenant=acme", "x.json"},
		{"trigger", "spare", "--tenant=acme", "x.json"},
		{"script", "filters/large.py", "--tenant=acme", "x.py"},
	} {
		file := save(t, ozmo(t, tt.kind, "get", tt.id, tt.owner), tt.file)
		ozmo(t, tt.kind, "apply", tt.id, tt.owner, "-f", file).want(t, exitOK, " is as it was: version ", "")
		whole := save(t, ozmo(t, tt.kind, "get", tt.id, tt.owner, "-o", "json"), "x.json")
		ozmo(t, tt.kind, "apply", tt.id, tt.owner, "-f", whole).want(t, exitOK, " is as it was: version ", "")
		if tt.kind != "script" {
			ozmo(t, tt.kind, "apply", tt.owner, "-f", file).want(t, exitOK, tt.kind+" "+tt.id+" of ", "")
		}
		if tt.owner == "--tenant=acme" && tt.kind != "script" {
			ozmo(t, "apply", "-f", file, "--tenant", "acme").want(t, exitOK, "unchanged, version 1", "")
		}
	}

	// People read expressions as they have written them.
	r := ozmo(t, "monitor", "get", "Second", "--tenant", "acme")
	r.want(t, exitOK, `"value > 5 AND value < 7"`, "")
	out := filepath.Join(t.TempDir(), "out")
	ozmo(t, "export", "--tenant", "acme", out).want(t, exitOK, "", "")
	data, err := os.ReadFile(filepath.Join(out, "monitors/Second.json"))
	if err != nil || !strings.Contains(string(data), `"value > 5 AND value < 7"`) {
		t.Errorf("%v: %s", err, data)
	}
	ozmo(t, "export", "--tenant", "acme").want(t, exitOK, `"value > 5 AND value < 7"`, "")
}

// A document that comes without an id is the tenant's of that name.
func TestApplyByName(t *testing.T) {
	apiNode(t)
	dir := write(t, map[string]any{
		"net.json":     networkDoc("EVM", "mine", nil),
		"hook.json":    webhookDoc("The hook", plain("https://hooks.example/k3y")),
		"monitor.json": monitorDoc("The monitor", "mine", tokenAt, "value > 5", "hook"),
		"other.json":   monitorDoc("The monitor", "mine", tokenAt, "value > 6", "hook"),
		"by-id.json":   object{"second": webhookDoc("Second", plain("https://hooks.example/k3y"))},
		"type.json":    object{"trigger_type": webhookDoc("Odd", plain("https://hooks.example/k3y"))},
		"bad.json":     object{"trigger_type": "webhok", "name": "X"},
	})
	ozmo(t, "network", "apply", "--tenant", "acme", "-f", dir+"/net.json").want(t, exitFailure, "", `tenant "acme": not found`)
	ozmo(t, "tenant", "create", "acme").want(t, exitOK, "", "")
	of := func(args ...string) result { return ozmo(t, append(args, "--tenant", "acme")...) }
	of("network", "create", "-f", dir+"/net.json").want(t, exitOK, "network mine of tenant acme is created", "")
	of("trigger", "create", "hook", "-f", dir+"/hook.json").want(t, exitOK, "trigger hook of tenant acme is created", "")
	of("trigger", "apply", "-f", dir+"/hook.json").want(t, exitOK, "trigger hook of tenant acme", "")
	of("apply", "-f", dir+"/hook.json").want(t, exitOK, "tenant acme: ", "")
	of("trigger", "list").want(t, exitOK, "ID    NAME\nhook  The hook\n", "")
	of("trigger", "create", "-f", dir+"/by-id.json").want(t, exitOK, "trigger second of tenant acme is created", "")
	of("trigger", "create", "-f", dir+"/type.json").want(t, exitOK, "trigger trigger_type of tenant acme is created", "")
	of("trigger", "create", "-f", dir+"/bad.json").want(t, exitFailure, "", `did you mean "webhook"`)
	of("monitor", "create", "m-1", "-f", dir+"/monitor.json").want(t, exitOK, "monitor m-1 of tenant acme is created", "")
	of("monitor", "apply", "-f", dir+"/other.json").want(t, exitOK, "monitor m-1 of tenant acme is applied", "")
	of("monitor", "create", "-f", dir+"/other.json").want(t, exitFailure, "", `monitor "m-1" of tenant "acme" is there already`)
	of("monitor", "get", "m-2").want(t, exitFailure, "", `monitor "m-2" of tenant "acme": not found`)
	of("monitor", "delete", "m-2").want(t, exitFailure, "", `monitor "m-2" of tenant "acme": not found`)
	of("trigger", "delete", "hook").want(t, exitFailure, "", "trigger \"hook\" of tenant \"acme\": conflict: monitor \"m-1\" refers to the trigger: change that first\nNothing was changed.")
}

// A warning is told once, though it is found on this machine and by the server.
func TestWarningsAreToldOnce(t *testing.T) {
	apiNode(t)
	net := networkDoc("EVM", "mine", object{"rpc_urls": []object{{"type_": "rpc", "url": plain("https://rpc.example/k3y"), "weight": 0}}})
	folder := map[string]any{"networks/mine.json": net, "monitors/README": "", "triggers/README": ""}
	dir := write(t, folder)
	warning := func(r result) {
		t.Helper()
		if n := strings.Count(r.stdout+r.stderr, "holds no endpoint"); r.code != exitOK || n != 1 {
			t.Errorf("exit %d, told %d times:\n%s%s", r.code, n, r.stdout, r.stderr)
		}
	}
	warning(ozmo(t, "apply", "-f", dir, "--tenant", "acme", "--dry-run"))
	warning(ozmo(t, "apply", "-f", dir, "--tenant", "acme"))
	warning(ozmo(t, "tenant", "import", dir, "--tenant", "beta"))
	warning(ozmo(t, "network", "apply", "--tenant", "acme", "-f", dir+"/networks/mine.json"))
	warning(ozmo(t, "network", "apply", "--shared", "-f", dir+"/networks/mine.json"))
}
