package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// On a terminal, whatever deletes asks.
func TestDeleteOnATerminal(t *testing.T) {
	r := apiNode(t)
	t.Setenv(hookVariable, hookValue)
	ozmo(t, "apply", "-f", write(t, tenantFolder()), "--tenant", "acme").want(t, exitOK, "6 created", "")
	ozmo(t, "context", "set", "c", "--server", "http://"+r.Listen(), "--key-file", filepath.Join(write(t, map[string]any{"key": someKey}), "key")).want(t, exitOK, "", "")
	screen, keyboard := terminal(t)
	for _, line := range []string{
		"trigger delete spare --tenant acme", "monitor delete Second --tenant acme", "secret delete acme hook", "key delete acme x", "network delete base --shared",
		"context delete c", "tenant delete acme",
	} {
		if _, err := keyboard.WriteString("no\n"); err != nil {
			t.Fatal(err)
		}
		args := append(strings.Fields(line), "--data", r.data)
		if strings.HasPrefix(line, "context") {
			args = strings.Fields(line)
		}
		var stderr strings.Builder
		if code := run(t.Context(), args, screen, io.Discard, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "Type yes to go on: ") || !strings.Contains(stderr.String(), "nothing was changed") {
			t.Errorf("%s: exit %d: %s", line, code, stderr.String())
		}
	}
	var c struct{ Version int }
	if err := json.Unmarshal([]byte(ozmo(t, "tenant", "get", "acme", "-o", "json").stdout), &c); err != nil || c.Version != 1 {
		t.Errorf("%v, version %d", err, c.Version)
	}

	// Elsewhere, what is gone for good takes --yes.
	for line, says := range map[string]string{
		"secret delete acme hook":      "give --yes",
		"key delete acme x":            "give --yes",
		"network delete base --shared": "give --yes",
		"tenant delete acme":           "give --yes",
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
	ozmo(t, "trigger", "delete", "spare", "--tenant", "acme").want(t, exitOK, "is deleted: version 2", "")
	ozmo(t, "monitor", "delete", "Second", "--tenant", "acme", "--yes").want(t, exitOK, "is deleted: version 3", "")
	ozmo(t, "context", "delete", "c").want(t, exitOK, "forgotten", "")
}

// On a terminal, the changes are shown before the question.
func TestTenantRestoreAsks(t *testing.T) {
	r := apiNode(t)
	t.Setenv(hookVariable, hookValue)
	dir := write(t, tenantFolder())
	ozmo(t, "apply", "-f", dir, "--tenant", "acme").want(t, exitOK, "", "")
	ozmo(t, "trigger", "delete", "spare", "--tenant", "acme").want(t, exitOK, "version 2", "")
	screen, keyboard := terminal(t)
	for _, answer := range []string{"no\n", "yes\n"} {
		if _, err := keyboard.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"tenant", "restore", "acme", "--version", "1", "--data", r.data}, screen, &stdout, &stderr)
		shown := strings.Index(stderr.String(), "  + trigger spare\n")
		asked := strings.Index(stderr.String(), `Version 1 of tenant "acme" will be in force again, as version 3. Type yes to go on: `)
		if shown < 0 || asked < shown || (code == exitOK) != (answer == "yes\n") || (stdout.Len() > 0) != (answer == "yes\n") {
			t.Errorf("%q: exit %d\n%s%s", answer, code, stdout.String(), stderr.String())
		}
	}
}
