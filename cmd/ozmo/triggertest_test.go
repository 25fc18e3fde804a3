package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

func (o *operator) TestTrigger(_ context.Context, t api.TriggerTest) (*api.TriggerTested, error) {
	if err := o.note("test %s/%s state %s monitor %q dry %t", t.Tenant, t.Trigger, t.State, t.Monitor, t.DryRun); err != nil {
		return nil, err
	}
	out := o.tested
	out.Trigger, out.State, out.DryRun = t.Trigger, t.State, t.DryRun
	return &out, nil
}

func someTest() api.TriggerTested {
	return api.TriggerTested{
		Node: "a", Tenant: "acme", Type: "webhook", Destination: "https://h.example", OK: true, Status: 202, LatencyMS: 12, Excerpt: "thanks\n\x1b[2J",
		Request: &api.TestedRequest{Method: "POST", URL: "https://h.example", Header: map[string][]string{"X-Token": {"[secret]"}, "Accept": {"*/*"}}, Body: `{"title":"[sample] Large"}`},
	}
}

func TestTriggerTest(t *testing.T) {
	o := &operator{tested: someTest()}
	t.Setenv("OZMO_DATA", listenAs(t, o))
	ozmo(t, "trigger", "test", "--tenant", "acme", "ops").want(t, exitOK, strings.Join([]string{
		"trigger ops (webhook), a sample alert, fired", "",
		"> POST https://h.example", "> Accept: */*", "> X-Token: [secret]", ">", `> {"title":"[sample] Large"}`, "",
		"< HTTP 202 Accepted after 12 ms", "< thanks", `< \x1b[2J`, "accepted by https://h.example, sent from node a", "",
	}, "\n"), "")
	o.mu.Lock()
	o.tested.Status, o.tested.OK, o.tested.Excerpt = 0, false, ""
	o.tested.Error = "no answer in time"
	o.mu.Unlock()
	ozmo(t, "trigger", "test", "--tenant", "acme", "ops", "--state", "retracted", "--monitor", "usdc").want(t, exitFailure, "not accepted by https://h.example, sent from node a: no answer in time", "")
	r := ozmo(t, "trigger", "test", "--tenant", "acme", "ops", "--dry-run", "-o", "json")
	var done api.TriggerTested
	if err := json.Unmarshal([]byte(r.stdout), &done); err != nil || r.code != exitFailure || done.Request == nil || !done.DryRun {
		t.Errorf("exit %d, %v: %s", r.code, err, r.stdout)
	}
	want := `test acme/ops state fired monitor "" dry false; test acme/ops state retracted monitor "usdc" dry false; test acme/ops state fired monitor "" dry true`
	if got := o.said(); got != want {
		t.Errorf("the node was asked to %q", got)
	}
	o.mu.Lock()
	o.err = fmt.Errorf("tenant %q has no trigger %q: %w; did you mean \"ops\"?", "acme", "op", fsm.ErrNotFound)
	o.mu.Unlock()
	ozmo(t, "trigger", "test", "--tenant", "acme", "op").want(t, exitFailure, "", `did you mean "ops"?`)
	for line, says := range map[string]string{
		"trigger test ops":                             "say whose trigger it is",
		"trigger test --tenant acme":                   "needs TRIGGER",
		"trigger test --tenant acme --file x.json ops": "--tenant acme and --file x.json exclude each other",
		"trigger test --tenant acme ops --state burnt": "want fired, confirmed, retracted or reinstated",
		"trigger": "ozmo trigger needs a command: list, get, create, apply, delete, test",
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
}

func TestTriggerTestFromFile(t *testing.T) {
	var bodies []string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(body))
		w.WriteHeader(status)
	}))
	defer server.Close()
	config := func(path string) map[string]any {
		return map[string]any{
			"name": "Hook", "trigger_type": "webhook", "config": map[string]any{
				"url":     map[string]any{"type": "plain", "value": server.URL + "/" + path},
				"message": map[string]any{"title": "Large", "body": "${monitor.name}"},
			},
		}
	}
	dir := write(t, map[string]any{
		"triggers/one.json": map[string]any{"ops": config("s3cret-path-of-ops")},
		"alone.json":        config("s3cret-path-of-one"), // as the API has it
		"triggers/two.json": map[string]any{"a": config("s3cret-path-of-a"), "b": config("s3cret-path-of-b")},
	})
	one, two := filepath.Join(dir, "triggers", "one.json"), filepath.Join(dir, "triggers", "two.json")
	r := ozmo(t, "trigger", "test", "--file", one, "--dry-run")
	r.want(t, exitOK, "nothing was sent: this was a dry run", "")
	if len(bodies) != 0 {
		t.Errorf("a dry run has sent %q", bodies)
	}
	r = ozmo(t, "trigger", "test", "--file", one)
	r.want(t, exitOK, "accepted by "+server.URL+", sent", "")
	if len(bodies) != 1 || !strings.Contains(bodies[0], "[sample] Large") || strings.Contains(r.stdout+r.stderr, "s3cret") {
		t.Errorf("%q\n%s%s", bodies, r.stdout, r.stderr)
	}
	status = http.StatusBadRequest
	r = ozmo(t, "trigger", "test", "--file", two, "b")
	r.want(t, exitFailure, "< HTTP 400 Bad Request", "")
	r.want(t, exitFailure, "not accepted by "+server.URL+", sent: webhook: POST "+server.URL, "")
	if len(bodies) != 2 {
		t.Errorf("%d requests, want 2: it is attempted once", len(bodies))
	}
	ozmo(t, "trigger", "test", "--dry-run", "--file", filepath.Join(dir, "alone.json")).want(t, exitOK, "> POST "+server.URL, "")
	ozmo(t, "trigger", "test", "--dry-run", "--file", filepath.Join(dir, "alone.json"), "any").want(t, exitOK, "> POST "+server.URL, "")
	ozmo(t, "trigger", "test", "--file", two).want(t, exitFailure, "", "holds several triggers, name one: a, b")
	ozmo(t, "trigger", "test", "--file", two, "c").want(t, exitFailure, "", `has no trigger "c", only: a, b`)
	ozmo(t, "trigger", "test", "--file", filepath.Join(dir, "none.json"), "c").want(t, exitFailure, "", "none.json")

	// A tenant's secret files lie in the configuration folder, as for serve.
	inFile := config("")
	inFile["config"].(map[string]any)["url"] = map[string]any{"type": "file", "value": "secrets/url"}
	conf := write(t, map[string]any{"tenants/acme/triggers/ops.json": map[string]any{"ops": inFile}})
	if err := os.Mkdir(filepath.Join(conf, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conf, "secrets", "url"), []byte(server.URL+"/s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ozmo(t, "trigger", "test", "--file", filepath.Join(conf, "tenants", "acme", "triggers", "ops.json"), "--dry-run").want(t, exitOK, "> POST "+server.URL, "")

	// Only the trigger named matters, also its secrets.
	unset := config("")
	unset["config"].(map[string]any)["url"] = map[string]any{"type": "environment", "value": "OZMO_TEST_UNSET"}
	three := filepath.Join(write(t, map[string]any{
		"triggers/three.json": map[string]any{"a": unset, "b": config("b"), "c": map[string]any{"name": 1}},
	}), "triggers", "three.json")
	status = http.StatusOK
	ozmo(t, "trigger", "test", "--file", three, "b").want(t, exitOK, "accepted by "+server.URL, "")
	ozmo(t, "trigger", "test", "--file", three, "a").want(t, exitFailure, "", "a.config.url: ")
	r = ozmo(t, "trigger", "test", "--file", three, "a")
	r.want(t, exitFailure, "", `environment variable "OZMO_TEST_UNSET" is not set`)
	if strings.Contains(r.stderr, "c.name") {
		t.Errorf("another trigger's mistake is told:\n%s", r.stderr)
	}
	ozmo(t, "trigger", "test", "--file", three, "c").want(t, exitFailure, "", "c.name")
	ozmo(t, "trigger", "test", "--file", filepath.Join(write(t, map[string]any{"none.json": map[string]any{}}), "none.json")).want(t, exitFailure, "", "holds no trigger")
	ozmo(t, "trigger", "test", "--file", three, "d").want(t, exitFailure, "", `has no trigger "d", only: a, b, c`)
}
