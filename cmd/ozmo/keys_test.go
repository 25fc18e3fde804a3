package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

// status asks the node's HTTP port with a key.
func (r *realNode) status(t *testing.T, key, method, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.Listen()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode
}

func TestKeyCommands(t *testing.T) {
	r := startNode(t, func(o *node.Options) { o.Listen = "127.0.0.1:0" })
	t.Setenv("OZMO_DATA", r.data)
	made := ozmo(t, "key", "create", "--operator", "--name", "first", "--valid", "1h")
	made.want(t, exitOK, "ozmo_", "of operators; it cannot be shown again")
	operator := strings.TrimSpace(made.stdout)
	if s := r.status(t, operator, "GET", "/v1/tenants"); s != http.StatusOK {
		t.Fatalf("status %d", s)
	}
	ozmo(t, "key", "create", "acme").want(t, exitFailure, "", `tenant "acme": not found`)
	if s := r.status(t, operator, "PUT", "/v1/tenants/acme"); s != http.StatusCreated {
		t.Fatalf("status %d", s)
	}
	made = ozmo(t, "key", "create", "acme", "--role", "member", "-o", "json")
	var k v1.NewKey
	if err := json.Unmarshal([]byte(made.stdout), &k); err != nil || k.Role != "member" || k.Tenant != "acme" || k.By != "socket" {
		t.Fatalf("%v: %s", err, made.stdout)
	}
	ozmo(t, "key", "list", "acme").want(t, exitOK, k.ID+"  member  -", "")
	list := ozmo(t, "key", "list", "--operator", "-o", "json")
	list.want(t, exitOK, `"name": "first"`, "")
	if strings.Contains(list.stdout, operator) || strings.Contains(list.stdout, operator[18:]) {
		t.Error("the key is shown again")
	}
	ozmo(t, "key", "delete", "acme", k.ID).want(t, exitUsage, "", "give --yes")
	ozmo(t, "key", "delete", "acme", k.ID, "--yes").want(t, exitOK, "key "+k.ID+" of tenant acme is deleted\n", "")
	ozmo(t, "key", "list", "acme").want(t, exitOK, "there are no keys of tenant acme\n", "")
	if s := r.status(t, k.Text, "GET", "/v1/tenants/acme"); s != http.StatusUnauthorized {
		t.Errorf("a deleted key is answered with %d", s)
	}
	ozmo(t, "key", "delete", "acme", k.ID, "--yes").want(t, exitFailure, "", `tenant "acme", key "`+k.ID+`": not found`)

	// From afar, none is made that would outlast the certificate.
	file := filepath.Join(t.TempDir(), "alice")
	ozmo(t, "operator", "issue", "alice", "--out", file).want(t, exitOK, "", "")
	ozmo(t, "key", "create", "--operator", "--credentials", file).want(t, exitFailure, "", "would outlast the certificate")
	ozmo(t, "key", "create", "acme", "--credentials", file, "-o", "json").want(t, exitOK, `"created_by": "operator:alice"`, "")
}

func TestKeyMistakes(t *testing.T) {
	for line, says := range map[string]string{
		"key":                                   "ozmo key needs a command: create, list, get, delete",
		"key create":                            "whose keys? Name the TENANT first, or give --operator",
		"key list":                              "whose keys?",
		"key delete abc":                        "whose keys?",
		"key create acme --operator":            "got 1 argument",
		"key create acme --role operator":       "want viewer, member, admin or owner",
		"key create --operator --role viewer":   "--role is of a tenant's key",
		"key create acme --valid -1h":           "--valid -1h0m0s: want more than nothing",
		"key delete --operator abc and another": "needs ID, got 3 arguments",
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
}

func TestOpenAPICommand(t *testing.T) {
	committed, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if r := ozmo(t, "openapi"); r.code != exitOK || r.stdout != string(committed) {
		t.Error("docs/openapi.json is not what is printed")
	}
}
