package v1

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestUsage(t *testing.T) {
	r := newRig(t) // its clock stands at 2027-01-15T08:00:00Z
	r.furnish("acme")
	r.furnish("bolt")
	r.used = map[string]Consumption{"acme": {RPCCalls: 0.5, Sent: 2}, "bolt": {Sent: 1}}
	viewer, operator := r.key("acme", fsm.RoleViewer), r.key("", fsm.RoleOperator)
	var u TenantUsage
	got := r.do(viewer, "GET", "/v1/tenants/acme/usage", "").want(200)
	got.decode(&u)
	if len(u.Items) != 24 || !u.Items[0].At.Equal(r.now.Add(-24*time.Hour)) || u.Total.Sent != 48 || u.Total.RPCCalls != 12 || u.By != "hour" {
		t.Errorf("usage %+v", u)
	}
	if u.Stored.Documents == 0 || u.Stored.Outbox == 0 || u.Notifications != nil || got.header.Get("RateLimit") != "" {
		t.Errorf("stored %+v, left %v, %q", u.Stored, u.Notifications, got.header.Get("RateLimit"))
	}
	u = TenantUsage{}
	r.do(viewer, "GET", "/v1/tenants/acme/usage?by=day&from=2027-01-13T22:30:00Z&to=2027-01-15T00:30:00Z", "").want(200).decode(&u)
	day := func(d int) time.Time { return time.Date(2027, 1, d, 0, 0, 0, 0, time.UTC) }
	if len(u.Items) != 3 || !u.Items[0].At.Equal(day(13)) || u.Items[0].Sent != 4 || u.Items[1].Sent != 48 || u.Items[2].Sent != 2 {
		t.Errorf("by day: %+v", u.Items)
	}

	// Who cannot be asked is named to operators alone.
	r.silent = []string{"node-b", "node-c"}
	if got := r.do(viewer, "GET", "/v1/tenants/acme/usage", "").want(200, `"missing_nodes":2`); strings.Contains(got.body, "node-b") {
		t.Errorf("a tenant is told of nodes: %s", got.body)
	}
	r.do(operator, "GET", "/v1/tenants/acme/usage", "").want(200, `"silent":["node-b","node-c"]`)

	for query, says := range map[string]string{
		"from=2027-01-16T00:00:00Z": "before the end",
		"from=2026-01-16T00:00:00Z": "at most 92 days",
		"from=soon":                 "query.from",
		"by=week":                   "query.by",
		"from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z": "between 1970",
	} {
		r.do(viewer, "GET", "/v1/tenants/acme/usage?"+query, "").want(422, says)
	}
}

func TestAllUsage(t *testing.T) {
	r := newRig(t)
	operator := r.key("", fsm.RoleOperator)
	r.used = map[string]Consumption{}
	for i := range 5 {
		r.used[fmt.Sprintf("t%d", i)] = Consumption{Evaluation: float64(i / 2), Sent: uint64(10 - i)}
	}
	list := func(query string) (out []string) {
		t.Helper()
		for next := ""; ; {
			var p UsagePage
			r.do(operator, "GET", "/v1/usage?limit=2"+query+next, "").want(200).decode(&p)
			for _, one := range p.Items {
				out = append(out, one.Tenant)
			}
			if p.Next == "" {
				return out
			}
			next = "&cursor=" + p.Next
		}
	}
	for query, want := range map[string]string{"": "t4 t2 t3 t0 t1", "&sort=notifications_sent": "t0 t1 t2 t3 t4"} {
		if got := strings.Join(list(query), " "); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	r.do(operator, "GET", "/v1/usage?sort=name", "").want(422, "query.sort")
	r.do(operator, "GET", "/v1/usage?cursor=YWJj", "").want(422, "query.cursor")
	r.silent = []string{"node-b"}
	r.do(operator, "GET", "/v1/usage", "").want(200, `"silent":["node-b"]`)
}

// Each measure is a field of what is answered, by its name.
func TestMeasures(t *testing.T) {
	for name, measure := range measures {
		sum := 0.0
		for _, c := range []Consumption{
			{RPCCalls: 1}, {Blocks: 1}, {Evaluation: 1}, {Matches: 1}, {Sent: 1}, {Failed: 1}, {Held: 1}, {BytesDelivered: 1},
		} {
			sum += measure(c)
		}
		if sum != 1 {
			t.Errorf("%s counts %v fields", name, sum)
		}
	}
	all := Consumption{1, 2, 3, 4, 5, 6, 7, 8}
	if got := all.Plus(all); got != (Consumption{2, 4, 6, 8, 10, 12, 14, 16}) {
		t.Errorf("sum %+v", got)
	}
}

// Answers to changes, and those about quotas, say in headers what is left.
func TestLimitHeaders(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	operator, admin := r.key("", fsm.RoleOperator), r.key("acme", fsm.RoleAdmin)
	r.do(operator, "PUT", "/v1/tenants/acme/quota", `{"monitors":2,"bytes":1,"rpc_per_minute":60,"notifications_per_hour":7,"evaluation_ms_per_block":9}`).
		want(200, `"rpc_per_minute":60,"notifications_per_hour":7,"evaluation_ms_per_block":9`)
	headers := func(a answer, policy, left string) {
		t.Helper()
		if p, l := a.header.Get("RateLimit-Policy"), a.header.Get("RateLimit"); !strings.HasPrefix(p, policy) || !strings.HasPrefix(l, left) {
			t.Errorf("RateLimit-Policy: %s\nRateLimit: %s", p, l)
		}
	}
	headers(r.do(admin, "GET", "/v1/tenants/acme/quota", "").want(200, `"notifications_per_hour":7`),
		`"monitors";q=2, "networks";q=100, "triggers";q=1000, "scripts";q=100, "bytes";q=1`, `"monitors";r=1, "networks";r=99, "triggers";r=999, "scripts";r=99, "bytes";r=0`)
	headers(r.do(admin, "PUT", "/v1/tenants/acme/triggers/two", triggerDoc("two", "https://x.example")).want(409, "urn:ozmo:problem:over-quota", "bytes of documents"), "", "")
	r.do(operator, "PUT", "/v1/tenants/acme/quota", `{"monitors":2,"notifications_per_hour":7}`).want(200)
	headers(r.do(admin, "PUT", "/v1/tenants/acme/monitors/two", monitorDoc("two", "net", "", "hook")).want(201), `"monitors";q=2`, `"monitors";r=0`)
	r.do(admin, "PUT", "/v1/tenants/acme/monitors/three", monitorDoc("three", "net", "", "hook")).want(409, "urn:ozmo:problem:over-quota", "3 monitors, allowed are 2")
	headers(r.do(admin, "DELETE", "/v1/tenants/acme/monitors/two", "").want(200), `"monitors";q=2`, `"monitors";r=1`)
	headers(r.do(admin, "PUT", configurationPath+"?mode=merge", bundleDoc("monitors/two", monitorDoc("two", "net", "", "hook"))).want(200), `"monitors";q=2`, `"monitors";r=0`)
	headers(r.do(admin, "DELETE", "/v1/tenants/acme/monitors/two", "").want(200), `"monitors";q=2`, `"monitors";r=1`)
	headers(r.do(admin, "GET", "/v1/tenants/acme/usage?to=2027-01-15T08:00:30Z", "").want(200), `"notifications";q=7;w=3600`, `"notifications";r=0;t=3600`)
	r.must(&fsm.SetTenantVersion{Tenant: "files"})
	headers(r.do(operator, "GET", "/v1/tenants/files/quota", "").want(200), "", "")
}
