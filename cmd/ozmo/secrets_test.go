package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

func (o *operator) SetSecret(_ context.Context, s api.Secret) error {
	return o.note("set %s of %s to %q", s.Name, s.Tenant, s.Value)
}

func (o *operator) Secrets(_ context.Context, tenant string) ([]api.SecretStatus, error) {
	if tenant != "acme" {
		return nil, o.err
	}
	return []api.SecretStatus{
		{Name: "hook", Set: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Triggers: []string{"slack", "web"}, Networks: []string{}},
		{Name: "node", Triggers: []string{}, Networks: []string{"mine"}},
	}, o.err
}

func (o *operator) DeleteSecret(_ context.Context, tenant, name string, force bool) error {
	return o.note("delete %s of %s %v", name, tenant, force)
}

func TestSecretCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(file, []byte("from a file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, stdin string
		orders      string
		stdout      string
	}{
		{"secret set acme hook", "from a pipe\n", `set hook of acme to "from a pipe"`, "secret hook of tenant acme is set\n"},
		{"secret set acme hook", "two\nlines\n\n", `set hook of acme to "two\nlines\n"`, "is set"},
		{"secret set acme hook", " bare ", `set hook of acme to " bare "`, "is set"},
		{"secret set acme hook --file " + file, "not this", `set hook of acme to "from a file"`, "is set"},
		{"secret list acme", "", "", "SECRET  SET                      TRIGGERS    NETWORKS\nhook    2026-03-01 12:00:00 UTC  slack, web  -\nnode    never                    -           mine\n"},
		{"secret list none", "", "", "tenant none has stored no secret"},
		{"secret list none -o json", "", "", "[]"},
		{"secret delete acme hook --yes", "", "delete hook of acme false", "secret hook of tenant acme is forgotten"},
		{"secret delete acme hook --force --yes", "", "delete hook of acme true", "is forgotten"},
	} {
		o := &operator{}
		t.Setenv("OZMO_DATA", listenAs(t, o))
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), strings.NewReader(tt.stdin), &stdout, &stderr)
		if code != exitOK || !strings.Contains(stdout.String(), tt.stdout) || o.said() != tt.orders {
			t.Errorf("%s: exit %d, the node was asked to %q, want %q\n%s%s", tt.args, code, o.said(), tt.orders, stdout.String(), stderr.String())
		}
	}
	var list []api.SecretStatus
	r := ozmo(t, "secret", "list", "acme", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list) != 2 || !list[1].Set.IsZero() || strings.Contains(r.stdout, "0001-01-01") {
		t.Errorf("%v: %s", err, r.stdout)
	}
}

func TestSecretMistakes(t *testing.T) {
	o := &operator{}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	for line, says := range map[string]string{
		"secret":                            "ozmo secret needs a command: create, list, get, set, delete",
		"secret set acme":                   "needs TENANT NAME",
		"secret set acme hook hunter2":      "needs TENANT NAME",
		"secret set acme hook":              "the secret that was read is empty",
		"secret set acme hook --file /none": "--file: open /none",
		"secret set acme a/b --file /none":  `secret name "a/b": use 1 to 64 letters`,
		"secret delete acme a/b":            `secret name "a/b": use 1 to 64 letters`,
		"secret delete acme hook --force":   "give --yes",
		"secret list":                       "needs TENANT",
	} {
		r := ozmo(t, strings.Fields(line)...)
		if r.code == exitOK || !strings.Contains(r.stderr, says) || strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%s: exit %d, want %q\n%s", line, r.code, says, r.stderr)
		}
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"secret", "set", "acme", "hook"}, strings.NewReader(strings.Repeat("x", maxSecret+1)), &stdout, &stderr)
	if code != exitFailure || !strings.Contains(stderr.String(), "longer than 64 KiB") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if o.said() != "" {
		t.Errorf("the node was asked to %q", o.said())
	}
}
