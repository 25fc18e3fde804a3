package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api/v1"
)

func TestUsageCommand(t *testing.T) {
	r := startNode(t, func(o *node.Options) { o.Listen = "127.0.0.1:0" })
	t.Setenv("OZMO_DATA", r.data)
	operator := strings.TrimSpace(ozmo(t, "key", "create", "--operator").stdout)
	ozmo(t, "usage").want(t, exitOK, "no tenant has caused anything\n", "")
	ozmo(t, "usage", "acme").want(t, exitFailure, "", `tenant "acme": not found`)
	if s := r.status(t, operator, "PUT", "/v1/tenants/acme"); s != http.StatusCreated {
		t.Fatalf("status %d", s)
	}
	ozmo(t, "usage", "acme", "--since", "3d", "--by", "day").want(t, exitOK, "it has caused nothing\nstored now: 0 of documents, 0 waiting", "")
	var u v1.TenantUsage
	if got := ozmo(t, "usage", "acme", "-o", "json"); json.Unmarshal([]byte(got.stdout), &u) != nil || u.Tenant != "acme" || u.By != "hour" || u.To.Sub(u.From) < 24*time.Hour {
		t.Errorf("%s", got.stdout)
	}
	var p v1.UsagePage
	if got := ozmo(t, "usage", "--sort", "rpc", "-o", "json"); json.Unmarshal([]byte(got.stdout), &p) != nil || p.Items == nil || p.To.IsZero() {
		t.Errorf("%s", got.stdout)
	}
}

func TestUsageMistakes(t *testing.T) {
	for line, says := range map[string]string{
		"usage a b":                   "",
		"usage acme --sort rpc":       "--sort and --limit are of all tenants",
		"usage --by day":              "--by is of one tenant",
		"usage --since x --limit 0":   "several things are wrong",
		"usage --sort name":           "want evaluation, rpc, blocks",
		"usage acme --until tomorrow": `--until "tomorrow"`,
	} {
		ozmo(t, strings.Fields(line)...).want(t, exitUsage, "", says)
	}
}

func TestWriteUsage(t *testing.T) {
	c := v1.Consumption{RPCCalls: 12.34, Blocks: 5, Evaluation: 1500, Matches: 4, Sent: 3, Failed: 2, Held: 1, BytesDelivered: 2048}
	u := v1.TenantUsage{
		Tenant: "acme", From: statusTime.Add(-time.Hour), To: statusTime, By: "hour", Total: c.Plus(c), Missing: 1,
		Items:         []v1.UsagePoint{{At: statusTime.Add(-time.Hour), Consumption: c}},
		Stored:        v1.Stored{Documents: 3 << 20, Outbox: 10},
		Notifications: &v1.RateNow{Limit: 7, Window: 3600, Again: statusTime.Add(90 * time.Second)},
	}
	var out strings.Builder
	writeUsage(&out, &u, statusTime)
	for _, want := range []string{
		"HOUR (UTC)", "12.3       5  1.5s              4     3       2     1  2.0 KiB\n", "in all", "24.7      10  3s ",
		"stored now: 3.0 MiB of documents, 10 waiting to be delivered, 0 of dead letters\n",
		"quota: 7 notifications an hour, 0 left now, the next in 90s\n", "what happened on 1 node is missing: no answer\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	writeTopUsage(&out, &v1.UsagePage{Page: v1.Page[v1.TenantTotal]{Items: []v1.TenantTotal{{Tenant: "acme", Consumption: c}}, Next: "x"}, From: u.From, To: u.To})
	if got := out.String(); !strings.Contains(got, "acme    12.3") || !strings.Contains(got, "give a greater --limit") {
		t.Errorf("it says:\n%s", got)
	}
	if err := silentNodes([]string{"b", "c"}); err == nil || !strings.Contains(err.Error(), "what happened on b, c is missing") {
		t.Errorf("error %v", err)
	}
}
