package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func TestTenantQuota(t *testing.T) {
	apiNode(t)
	quota := func(args ...string) result { return ozmo(t, append([]string{"tenant", "quota"}, args...)...) }
	quota("get", "acme").want(t, exitFailure, "", `tenant "acme": not found`)
	quota("set", "acme", "monitors=5").want(t, exitFailure, "", `tenant "acme": not found`)
	ozmo(t, "tenant", "create", "acme").want(t, exitOK, "", "")

	rows := func(r result, wanted ...string) {
		t.Helper()
		var lines []string
		for line := range strings.Lines(r.stdout) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		for _, want := range wanted {
			if !slices.Contains(lines, want) {
				t.Errorf("%d, without %q:\n%s%s", r.code, want, r.stdout, r.stderr)
			}
		}
	}
	rows(quota("get", "acme"), "monitors 10000 0 - monitors", "rpc_per_minute no bound - - calls a minute to private networks")
	rows(quota("set", "acme", "monitors=7", "rpc_per_minute=60"), "monitors 7 0 own monitors", "rpc_per_minute 60 - own calls a minute to private networks")
	rows(quota("set", "acme", "monitors=default", "scripts=3"), "monitors 10000 0 - monitors", "scripts 3 0 own stored scripts")
	var q v1.Quota
	if err := json.Unmarshal([]byte(quota("get", "acme", "-o", "json").stdout), &q); err != nil || q.Own != (v1.WantedLimits{RPCPerMinute: 60, Scripts: 3}) || q.Limits.Monitors != 10000 {
		t.Errorf("%v: %+v", err, q)
	}

	r := quota("set", "acme", "monitor=7", "scripts=-1", "bytes=many", "triggers=1", "triggers=2", "networks")
	for _, want := range []string{`"monitor": there is no limit of that name`, "scripts=-1: want scripts=NUMBER", "bytes=many: want", "triggers is given twice", "networks: want networks=NUMBER", "evaluation_ms_per_block"} {
		r.want(t, exitUsage, "", want)
	}
	quota("set", "acme").want(t, exitUsage, "", "needs TENANT NAME=VALUE...")
	quota("set", "acme", "monitors=5000000").want(t, exitFailure, "", "monitors")
	ozmo(t, "__complete", "tenant", "quota", "set", "acme", "").want(t, exitOK, "bytes=\tbytes of documents", "")
	ozmo(t, "__complete", "tenant", "quota", "get", "").want(t, exitOK, "acme\n:4\n", "")
}

// Every limit of the API has a name here, and none other.
func TestQuotaNames(t *testing.T) {
	all := v1.WantedLimits{Monitors: 1, Networks: 1, Triggers: 1, TriggersPerMonitor: 1, Scripts: 1, Bytes: 1, BacktestBlocks: 1, RPCPerMinute: 1, NotificationsPerHour: 1, EvaluationMillis: 1}
	limits := limitsOf(all)
	for _, n := range quotaNames {
		if _, ok := limits[n.name]; !ok {
			t.Errorf("there is no limit %q", n.name)
		}
		delete(limits, n.name)
	}
	if len(limits) > 0 || wantedLimits(limitsOf(all)) != all {
		t.Errorf("without a name: %v", limits)
	}
	if !strings.Contains(quotaHelp(), "  rpc_per_minute           calls") {
		t.Error(quotaHelp())
	}
}
