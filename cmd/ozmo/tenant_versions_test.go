package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func TestTenantVersions(t *testing.T) {
	apiNode(t)
	t.Setenv(hookVariable, hookValue)
	ozmo(t, "tenant", "versions", "acme").want(t, exitFailure, "", `tenant "acme": not found`)
	dir := write(t, tenantFolder())
	ozmo(t, "apply", "-f", dir, "--tenant", "acme").want(t, exitOK, "version 1, 6 created", "")
	put(t, dir, "monitors/second.json", monitorDoc("Second", "mine", tokenAt, "value > 6", "hook"))
	ozmo(t, "apply", "-f", dir, "--tenant", "acme").want(t, exitOK, "version 2, 1 updated", "")
	ozmo(t, "trigger", "delete", "spare", "--tenant", "acme").want(t, exitOK, "version 3", "")

	r := ozmo(t, "tenant", "versions", "acme")
	r.want(t, exitOK, "VERSION  MADE", "")
	lines := strings.Split(r.stdout, "\n")
	for i, want := range []string{"3  ", "2  ", "1  "} {
		if !strings.HasPrefix(strings.TrimSpace(lines[i+1]), want) || !strings.Contains(lines[i+1], " UTC  socket  ") {
			t.Errorf("%q", lines[i+1])
		}
	}
	if !strings.HasSuffix(lines[1], "trigger.delete spare           1         2         1        1") {
		t.Errorf("%q", lines[1])
	}
	var list []v1.ConfigurationVersion
	if err := json.Unmarshal([]byte(ozmo(t, "tenant", "versions", "acme", "-o", "json").stdout), &list); err != nil || len(list) != 3 || list[0].Number != 3 || list[2].Monitors != 2 {
		t.Errorf("%v: %+v", err, list)
	}

	// A version comes back as a new one, after it was shown what that means.
	restore := func(args ...string) result { return ozmo(t, append([]string{"tenant", "restore", "acme"}, args...)...) }
	restore().want(t, exitUsage, "", "which version? Give --version N; `ozmo tenant versions acme` shows")
	restore("--version", "1").want(t, exitUsage, "", "give --yes")
	restore("--version", "9", "--yes").want(t, exitFailure, "", `version 9 of tenant "acme": it never was, or is not kept any more: not found: `+"`ozmo tenant versions acme` shows")
	planned := "tenant acme: would be version 4, 1 created, 1 updated, 4 unchanged\n"
	changes := "  ~ monitor Second\n      match_conditions.events[0].expression: \"value > 6\" -> \"value > 5\"\n"
	restore("--version", "1", "--dry-run").want(t, exitOK, planned, "")
	restore("--version", "1", "--dry-run").want(t, exitOK, changes, "")
	restore("--version", "1", "--dry-run").want(t, exitOK, "  + trigger spare\n", "")
	ozmo(t, "tenant", "get", "acme", "-o", "json").want(t, exitOK, `"version": 3`, "")
	restore("--version", "1", "--yes").want(t, exitOK, "tenant acme: version 4, 1 created, 1 updated, 4 unchanged", "")
	restore("--version", "1", "--yes").want(t, exitOK, "tenant acme: unchanged, version 4\n", "")
	var done appliedTenant
	if err := json.Unmarshal([]byte(restore("--version", "3", "--yes", "-o", "json").stdout), &done); err != nil || done.Version != 5 || len(done.Changes) != 2 || done.DryRun {
		t.Errorf("%v: %+v", err, done)
	}
	ozmo(t, "tenant", "versions", "acme").want(t, exitOK, "version.restore 3", "")
	ozmo(t, "__complete", "tenant", "restore", "").want(t, exitOK, "acme\n:4\n", "")
	ozmo(t, "__complete", "tenant", "restore", "acme", "--version", "").want(t, exitOK, "5\t", "")
	ozmo(t, "__complete", "tenant", "versions", "").want(t, exitOK, "acme\n:4\n", "")

	// What does not hold together any more is refused.
	shared := filepath.Join(write(t, map[string]any{"base.json": networkDoc("EVM", "base", nil), "m.json": monitorDoc("Third", "base", tokenAt, "value > 5")}), "base.json")
	ozmo(t, "network", "create", "--shared", "-f", shared).want(t, exitOK, "", "")
	ozmo(t, "monitor", "create", "--tenant", "acme", "-f", filepath.Join(filepath.Dir(shared), "m.json")).want(t, exitOK, "version 6", "")
	ozmo(t, "monitor", "delete", "Third", "--tenant", "acme").want(t, exitOK, "version 7", "")
	ozmo(t, "network", "delete", "base", "--shared", "--yes").want(t, exitOK, "", "")
	restore("--version", "6", "--yes").want(t, exitFailure, "", "body.monitors.Third.networks[0]: ")
}
