package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const someKey = "ozmo_4ksj2pq7xw3a_2345672abcdefghij2345672345672ab"

// keyOf is a key of that id, which no cluster has made.
func keyOf(id string) string {
	return "ozmo_" + id + strings.Repeat("2", 12-len(id)) + "_" + strings.Repeat("s", 32)
}

func TestContextCommands(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "inner", "contexts.json")
	t.Setenv("OZMO_CONTEXT_FILE", file)
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(someKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "context", "list").want(t, exitOK, "there is no context", "")
	ozmo(t, "context", "show").want(t, exitFailure, "", "no context is the current one")
	ozmo(t, "context", "set", "prod").want(t, exitUsage, "", "--server is needed")
	ozmo(t, "context", "set", "prod", "--server", "http://ozmo.example.net").want(t, exitUsage, "", "would send the key in clear")
	ozmo(t, "context", "set", "prod", "--server", "https://user:pass@ozmo.example.net").want(t, exitUsage, "", "the key is given apart")
	ozmo(t, "context", "set", "prod", "--server", "https://ozmo.example.net", "--key-file", key, "--tenant", "acme").want(t, exitOK, "context prod is made\n", "")
	ozmo(t, "context", "set", "lab", "--server", "http://ozmo.example.net", "--insecure-http").want(t, exitOK, "", "")
	ozmo(t, "context", "set", "../x", "--server", "https://a").want(t, exitUsage, "", "use 1 to 63 letters")
	ozmo(t, "context", "set", "prod", "--key-file", file).want(t, exitUsage, "", "holds no API key")
	list := ozmo(t, "context", "list")
	list.want(t, exitOK, "CURRENT  NAME  SERVER                    TENANT  KEY\n         lab   http://ozmo.example.net   -       -\n*        prod  https://ozmo.example.net  acme    4ksj2pq7xw3a\n", "")
	shown := ozmo(t, "context", "show", "-o", "json")
	shown.want(t, exitOK, `"key_id": "4ksj2pq7xw3a"`, "")
	if strings.Contains(list.stdout+shown.stdout, someKey[20:]) {
		t.Error("a key is printed")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, mode %v", err, info.Mode())
	}

	// A key is for its own server.
	ozmo(t, "context", "set", "prod", "--server", "https://other.example.net").want(t, exitOK, "", "the key was for the server before")
	ozmo(t, "context", "show").want(t, exitOK, "https://other.example.net  acme    -\n", "")

	ozmo(t, "context", "use", "lab").want(t, exitOK, "context lab is the current one", "")
	ozmo(t, "context", "use", "nowhere").want(t, exitFailure, "", `there is no context "nowhere", only lab, prod`)
	ozmo(t, "__complete", "context", "use", "").want(t, exitOK, "lab\nprod\n:4\n", "")
	ozmo(t, "__complete", "apply", "--context", "").want(t, exitOK, "lab\nprod\n:4\n", "")
	ozmo(t, "context", "delete", "lab").want(t, exitOK, "forgotten", "")
	ozmo(t, "context", "show").want(t, exitFailure, "", "takes one of 1")

	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "context", "list").want(t, exitFailure, "", "may be read by others (mode 0640)")
	ozmo(t, "monitor", "list", "--tenant", "acme").want(t, exitFailure, "", "chmod 600 it")
}

// asked is a server that remembers who has asked for what.
type asked struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	a := &asked{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen = append(a.seen, strings.TrimRight(strings.Split(r.Header.Get("Authorization"), "_")[1], "2")+" "+r.URL.Path)
		_, _ = w.Write([]byte(`{"items":[{"id":"x","name":"X"}]}`))
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *asked) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return ""
	}
	out := a.seen[len(a.seen)-1]
	a.seen = nil
	return out
}

// Flags count more than the environment, that more than the context, and a key
// reaches no server but its own.
func TestWays(t *testing.T) {
	one, two := newAsked(t), newAsked(t)
	dir := t.TempDir()
	t.Setenv("OZMO_CONTEXT_FILE", filepath.Join(dir, "contexts.json"))
	keyFile := func(id string) string {
		file := filepath.Join(dir, id)
		if err := os.WriteFile(file, []byte(keyOf(id)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ozmo(t, "context", "set", "one", "--server", one.URL, "--key-file", keyFile("ctx"), "--tenant", "ofcontext").want(t, exitOK, "", "")
	ozmo(t, "context", "set", "nokey", "--server", two.URL, "--tenant", "t").want(t, exitOK, "", "")
	socket := listenAs(t, &operator{}) // it knows no /v1/tenants/.../monitors

	tests := []struct {
		name string
		env  map[string]string
		args string
		one  string // what server one was asked, with which key
		two  string
		says string // where it fails
	}{
		{"the current context", nil, "", "ctx /v1/tenants/ofcontext/monitors", "", ""},
		{"another tenant", nil, "--tenant acme", "ctx /v1/tenants/acme/monitors", "", ""},
		{"tenant of the environment", map[string]string{"OZMO_TENANT": "env"}, "", "ctx /v1/tenants/env/monitors", "", ""},
		{"key of the environment", map[string]string{"OZMO_KEY": keyOf("env")}, "", "env /v1/tenants/ofcontext/monitors", "", ""},
		{"a context that is named keeps its key", map[string]string{"OZMO_KEY": keyOf("env")}, "--context one", "ctx /v1/tenants/ofcontext/monitors", "", ""},
		{"but for a key that is named", nil, "--context one --key-file " + keyFile("flag"), "flag /v1/tenants/ofcontext/monitors", "", ""},
		{"a server never gets the key of a context", nil, "--tenant a --server " + two.URL, "", "", "is asked with a key: give --key-file"},
		{"nor its tenant", map[string]string{"OZMO_KEY": keyOf("env")}, "--server " + two.URL, "", "", "which tenant?"},
		{"server of the command line", map[string]string{"OZMO_KEY": keyOf("env"), "OZMO_CONTEXT": "one"}, "--tenant a --server " + two.URL, "", "env /v1/tenants/a/monitors", ""},
		{"server of the environment", map[string]string{"OZMO_SERVER": two.URL, "OZMO_KEY_FILE": keyFile("file")}, "--tenant a", "", "file /v1/tenants/a/monitors", ""},
		{"a context of the command line", map[string]string{"OZMO_SERVER": two.URL, "OZMO_KEY": keyOf("env")}, "--context one", "ctx /v1/tenants/ofcontext/monitors", "", ""},
		{"the socket of the environment", map[string]string{"OZMO_DATA": socket}, "--tenant a", "", "", "404"},
		{"the socket of the command line", nil, "--tenant a --data " + socket, "", "", "404"},
		{"a context without a key", nil, "--context nokey", "", "", "is asked with a key"},
		{"no key at all", map[string]string{"OZMO_KEY": "secret"}, "--context nokey --key-file " + filepath.Join(dir, "contexts.json"), "", "", "holds no API key: expected ozmo_ID_SECRET"},
		{"no context", nil, "--context none", "", "", `there is no context "none", only nokey, one`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			r := ozmo(t, append([]string{"monitor", "list"}, strings.Fields(tt.args)...)...)
			if a, b := one.last(), two.last(); a != tt.one || b != tt.two {
				t.Errorf("asked were %q and %q, want %q and %q", a, b, tt.one, tt.two)
			}
			if tt.says == "" && (r.code != exitOK || !strings.Contains(r.stdout, "x   X")) || tt.says != "" && (r.code == exitOK || !strings.Contains(r.stderr, tt.says)) {
				t.Errorf("exit %d, want %q\n%s%s", r.code, tt.says, r.stdout, r.stderr)
			}
		})
	}
}

// Over the public port, with a key of the tenant, everything works as on the
// node's own machine, and nothing of other tenants.
func TestTenantsKey(t *testing.T) {
	r := apiNode(t)
	t.Setenv(hookVariable, hookValue)
	dir := write(t, tenantFolder())
	ozmo(t, "tenant", "create", "acme").want(t, exitOK, "tenant acme is made\n", "")
	ozmo(t, "tenant", "create", "acme").want(t, exitFailure, "", "is there already, with 0 monitors")
	ozmo(t, "tenant", "apply", "acme").want(t, exitOK, "is there already", "")
	ozmo(t, "tenant", "create", "beta").want(t, exitOK, "", "")
	key := ozmo(t, "key", "create", "acme", "--role", "owner")
	key.want(t, exitOK, "ozmo_", "")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"context", "set", "acme", "--server", "http://" + r.Listen(), "--tenant", "acme", "--key-file", "-", "--use"},
		strings.NewReader(key.stdout), &stdout, &stderr)
	result{code, stdout.String(), stderr.String()}.want(t, exitOK, "context acme is made", "")
	t.Setenv("OZMO_DATA", "")

	ozmo(t, "apply", "-f", dir).want(t, exitOK, "tenant acme: version 2, 6 created", "")
	ozmo(t, "monitor", "list").want(t, exitOK, "Large transfers  Large transfers\n", "")
	ozmo(t, "apply", "-f", dir, "--tenant", "beta").want(t, exitFailure, "tenant beta: refused: there is no tenant \"beta\" for this key", "")
	ozmo(t, "tenant", "create", "gamma").want(t, exitFailure, "", `there is no tenant "gamma" for this key`)
	ozmo(t, "network", "list", "--shared").want(t, exitOK, "there are no networks of all tenants", "")
	ozmo(t, "key", "list").want(t, exitOK, "owner", "")
	id := strings.Split(key.stdout, "_")[1]
	ozmo(t, "key", "get", id).want(t, exitOK, id+"  owner", "")
	ozmo(t, "key", "get", "nothing").want(t, exitFailure, "", `key "nothing" of tenant "acme": not found`)

	stdout.Reset()
	if code := run(t.Context(), []string{"secret", "create", "hook"}, strings.NewReader("v4lue"), &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	ozmo(t, "secret", "create", "hook").want(t, exitFailure, "", "is there already: `ozmo secret set` replaces it")
	ozmo(t, "secret", "get", "hook").want(t, exitOK, "hook    20", "")
	ozmo(t, "secret", "list", "-o", "json").want(t, exitOK, `"name": "hook"`, "")
	ozmo(t, "secret", "delete", "hook", "--yes").want(t, exitOK, "secret hook of tenant acme is forgotten", "")

	// What a shell completes comes from the server.
	ozmo(t, "__complete", "monitor", "get", "").want(t, exitOK, "Large transfers\nSecond\n:4\n", "")
	ozmo(t, "__complete", "trigger", "delete", "").want(t, exitOK, "hook\nspare\n:4\n", "")
	t.Setenv("OZMO_DATA", r.data)
	ozmo(t, "__complete", "tenant", "get", "").want(t, exitOK, "acme\nbeta\n:4\n", "")
	ozmo(t, "__complete", "export", "--tenant", "").want(t, exitOK, "acme\nbeta\n:4\n", "")
	ozmo(t, "tenant", "delete", "beta", "--yes").want(t, exitOK, "tenant beta is deleted", "")
}

// An operator's key does over the public port what else takes the socket.
func TestOperatorsKey(t *testing.T) {
	r := apiNode(t)
	t.Setenv(hookVariable, hookValue)
	ozmo(t, "apply", "-f", write(t, tenantFolder()), "--tenant", "acme").want(t, exitOK, "6 created", "")
	ozmo(t, "tenant", "priority", "acme", "7").want(t, exitOK, "", "")
	key := strings.TrimSpace(ozmo(t, "key", "create", "--operator").stdout)
	own := strings.TrimSpace(ozmo(t, "key", "create", "acme", "--role", "viewer").stdout)
	t.Setenv("OZMO_DATA", "")
	t.Setenv("OZMO_SERVER", "http://"+r.Listen())
	t.Setenv("OZMO_KEY", key)

	ozmo(t, "tenant", "assign", "acme", "a").want(t, exitOK, "tenant acme is pinned to node a", "")
	ozmo(t, "tenant", "weight", "acme", "50").want(t, exitOK, "tenant acme has weight 50", "")
	ozmo(t, "tenant", "list").want(t, exitOK, "a    50             7\n", "")
	ozmo(t, "tenant", "unpin", "acme").want(t, exitOK, "", "")
	ozmo(t, "tenant", "list").want(t, exitOK, "-    50             7\n", "")
	ozmo(t, "tenant", "assign", "acme", "z").want(t, exitFailure, "", "there is no node of this name")
	ozmo(t, "tenant", "unpin", "beta").want(t, exitFailure, "", `tenant "beta": not found`)

	id := strings.Split(key, "_")[1]
	mine := strings.Split(own, "_")[1]
	for line, want := range map[string]string{
		"tenant assign":                 "acme\n:4\n",
		"tenant assign acme":            "a\n:4\n",
		"key get --operator":            id + "\n:4\n",
		"key get":                       "acme\n:4\n",
		"key delete acme":               mine + "\n:4\n",
		"key delete --tenant acme":      mine + "\n:4\n",
		"alert list acme --monitor":     "Large transfers\nSecond\n:4\n",
		"backtest create --network":     ":4\n",
		"monitor get --tenant acme":     "Large transfers\nSecond\n:4\n",
		"tenant restore acme --version": "1\t",
	} {
		ozmo(t, append(append([]string{"__complete"}, strings.Fields(line)...), "")...).want(t, exitOK, want, "")
	}
	ozmo(t, "__complete", "backtest", "create", "--tenant", "acme", "--network", "").want(t, exitOK, "mine\n:4\n", "")

	t.Setenv("OZMO_KEY", own)
	ozmo(t, "tenant", "weight", "acme", "50").want(t, exitFailure, "", "`ozmo key create --operator` makes a key that may")
}

func TestImport(t *testing.T) {
	apiNode(t)
	folder := tenantFolder()
	folder["triggers/vault.json"] = object{"vault": webhookDoc("Vault", object{"type": "HashicorpCloudVault", "value": "hook-url"})}
	folder["triggers/again.json"] = object{"spare": webhookDoc("Again", plain("https://hooks.example/x"))}
	folder["monitors/third.json"] = monitorDoc("second ", "mine", tokenAt, "value > 5", "hook")
	delete(folder, "filters/large.py")
	inner := map[string]any{}
	for name, content := range folder {
		inner["config/"+name] = content
	}
	inner[".env"] = "# as it is\nexport " + hookVariable + "=\"" + hookValue + "\" # of ours\n"
	dir := write(t, inner)
	imported := func(args ...string) result {
		return ozmo(t, append([]string{"tenant", "import", dir, "--tenant", "acme"}, args...)...)
	}

	// All kinds of trouble, at once.
	r := imported()
	for _, says := range []string{
		`found "config/filters/large.py", which does not exist in the folder`, // the script
		"is an id that triggers/again.json uses too",
		`found "second ", which is the name of the monitor in monitors/second.json`,
		"OZMO_TEST_HOOK  environment          triggers/hook.json: hook.config.url",
		"hook-url        hashicorpcloudvault  triggers/vault.json: vault.config.url  HCP Vault Secrets is not read",
		"nothing was changed",
	} {
		r.want(t, exitFailure, "", says)
	}
	ozmo(t, "tenant", "get", "acme").want(t, exitFailure, "", "not found")
	imported("-o", "json").want(t, exitFailure, `"name": "OZMO_TEST_HOOK",`, "")

	// Mended, it goes in unchanged, also over networks for all tenants.
	for _, name := range []string{"triggers/vault.json", "triggers/again.json", "monitors/third.json"} {
		if err := os.Remove(filepath.Join(dir, "config", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "config/filters"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config/filters/large.py"), []byte("print()\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := "--env-file=" + filepath.Join(dir, ".env")
	imported(env, "--dry-run").want(t, exitOK, "would be version 1, 6 created", "")
	ozmo(t, "network", "apply", "--shared", "-f", filepath.Join(dir, "config/networks/mine.json")).want(t, exitOK, "network mine of all tenants is applied", "")
	imported(env, "--dry-run").want(t, exitOK, "6 created", "is a shared network too: --use-shared-networks uses that one")
	r = imported(env, "--use-shared-networks")
	r.want(t, exitOK, "tenant acme: version 1, 5 created", `the shared network "mine" is used instead`)
	if strings.Contains(r.stdout+r.stderr, "T0p-s3cret") {
		t.Errorf("a secret is shown: %s%s", r.stdout, r.stderr)
	}
	imported(env, "--use-shared-networks").want(t, exitOK, "unchanged, version 1", "")

	// What the tenant has already is not replaced unasked.
	put(t, dir, "config/monitors/second.json", monitorDoc("Second", "mine", tokenAt, "value > 9", "hook"))
	put(t, dir, "config/monitors/new.json", monitorDoc("LARGE transfers", "mine", tokenAt, "value > 9"))
	if err := os.Remove(filepath.Join(dir, "config/monitors/large.json")); err != nil {
		t.Fatal(err)
	}
	r = imported(env, "--use-shared-networks")
	r.want(t, exitFailure, "", `the tenant has another monitor "Second" (it differs in match_conditions.events[0].expression): rename one, or give --replace`)
	r.want(t, exitFailure, "", `found "LARGE transfers", which is the name of the tenant's monitor "Large transfers"`)
	if err := os.Remove(filepath.Join(dir, "config/monitors/new.json")); err != nil {
		t.Fatal(err)
	}
	imported(env, "--use-shared-networks", "--replace").want(t, exitOK, "tenant acme: version 2, 1 updated, 4 unchanged", "")
}
