package v1

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

var requestIn = regexp.MustCompile(`urn:ozmo:request:[a-z0-9]+`)

// plainly is an answer without what differs from request to request.
func (a answer) plainly() string { return requestIn.ReplaceAllString(a.body, "") }

// TestIsolation has two tenants with the same names of everything. Each sees its own
// alone, and what is the other's looks like what is not there.
func TestIsolation(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.furnish("bolt")
	r.backtest("acme", "bolt")
	keys := map[string]string{"acme": r.key("acme", fsm.RoleOwner), "bolt": r.key("bolt", fsm.RoleOwner)}
	other := map[string]string{"acme": "bolt", "bolt": "acme"}
	shown := r.do(keys["bolt"], "POST", "/v1/tenants/bolt/keys", `{"role":"viewer","name":"known"}`).want(201)
	var made NewKey
	shown.decode(&made)
	start := r.snapshot()

	t.Run("own", func(t *testing.T) {
		r.t = t
		for name, key := range keys {
			for i := range operations {
				o := &operations[i]
				if o.method != http.MethodGet || o.least == fsm.RoleOperator {
					continue
				}
				path, _ := request(o, name)
				got := r.do(key, o.method, path, "")
				if strings.Contains(got.body, other[name]) {
					t.Errorf("%s of %s tells of %s: %s", o.id, name, other[name], got.body)
				}
				if o.ofTenant() && o.id != "coverage.get" && got.status != 200 {
					t.Errorf("%s of %s: %d %s", o.id, name, got.status, got.body)
				}
			}
		}
	})
	t.Run("foreign is as nothing", func(t *testing.T) {
		r.t = t
		for i := range operations {
			o := &operations[i]
			if !o.ofTenant() {
				continue
			}
			there, body := request(o, "bolt")
			nowhere, _ := request(o, "nobody")
			before := r.View()
			a, b := r.do(keys["acme"], o.method, there, body), r.do(keys["acme"], o.method, nowhere, body)
			if a.status != 404 || a.plainly() != b.plainly() || len(a.header) != len(b.header) {
				t.Errorf("%s: %d %s %v\nof nothing: %d %s %v", o.id, a.status, a.body, a.header, b.status, b.body, b.header)
			}
			if r.View() != before {
				t.Errorf("%s: something was proposed", o.id)
			}
		}
	})
	// In a tenant's own paths, nothing names what is another's.
	t.Run("by other ways", func(t *testing.T) {
		r.t = t
		for _, try := range [][3]string{
			{"GET", "/v1/tenants/acme/coverage?network=bolt/net", ""},
			{"GET", "/v1/tenants/acme/coverage?network=..%2Fbolt%2Fnet", ""},
			{"GET", "/v1/tenants/acme/networks/bolt%2Fnet", ""},
			{"GET", "/v1/tenants/acme/networks/..%2F..%2Fbolt%2Fnetworks%2Fnet", ""},
			{"GET", "/v1/networks/bolt%2Fnet", ""},
			{"GET", "/v1/tenants/acme%00bolt", ""},
			{"GET", "/v1/tenants/%62olt/monitors/mon", ""},
			{"GET", "/v1/tenants/BOLT", ""},
			{"GET", "/v1/tenants/acme/../bolt", ""},
			{"GET", "/v1/tenants//bolt", ""},
			{"GET", "/v1/tenants/bolt/monitors/..", ""},
			{"DELETE", "/v1/tenants/acme/keys/" + made.ID, ""},
			{"DELETE", "/v1/tenants/acme/secrets/..%2F..%2Fbolt%2Fsecrets%2Fsec", ""},
			{"GET", "/v1/tenants/acme/backtests/..%2F..%2Fbolt%2Fbacktests%2Fbt", ""},
			{"GET", "/v1/tenants/acme/deliveries/" + strings.Repeat("f", 32), ""},
		} {
			got := r.do(keys["acme"], try[0], try[1], try[2])
			if got.status != 404 {
				t.Errorf("%s %s: %d %s", try[0], try[1], got.status, got.body)
			}
			if strings.Contains(got.body, "bolt") {
				t.Errorf("%s %s tells of bolt: %s", try[0], try[1], got.body)
			}
		}
		// Nor may a document refer to it.
		for path, doc := range map[string]string{
			"monitors/x": monitorDoc("x", "bolt/net", "", "hook"),
			"networks/x": strings.Replace(networkDoc("x", "https://x.example/1", 1), `"chain_id"`, `"watch":"bolt/net","chain_id"`, 1),
		} {
			got := r.do(keys["acme"], "PUT", "/v1/tenants/acme/"+path, doc).want(422)
			if strings.Contains(strings.ReplaceAll(got.body, `bolt/net`, ""), "bolt") {
				t.Errorf("%s: %s", path, got.body)
			}
		}
	})
	t.Run("changes stay", func(t *testing.T) {
		r.t = t
		r.restore(start)
		bolt, _ := r.View().Tenant("bolt")
		for i := range operations {
			o := &operations[i]
			if o.changes() && o.ofTenant() && o.least < fsm.RoleOperator {
				path, body := request(o, "acme")
				r.do(keys["acme"], o.method, path, body)
			}
		}
		r.do(r.key("", fsm.RoleOperator), "DELETE", "/v1/tenants/acme", "").want(204)
		now, _ := r.View().Tenant("bolt")
		if now.Current.Number != bolt.Current.Number || now.Born != bolt.Born {
			t.Error("bolt was changed")
		}
		if _, ok := r.View().Secret("bolt", "sec"); !ok {
			t.Error("bolt's secret is gone")
		}
		if _, ok := r.View().FindOutgoing("bolt", deliveryKey); !ok {
			t.Error("bolt's delivery is gone")
		}
		r.do(keys["bolt"], "GET", "/v1/tenants/bolt/monitors/mon", "").want(200, "monitor of bolt")
	})
	// Whoever has the name next is another: neither the keys nor the deliveries of the
	// one before are its own.
	t.Run("the next of the name", func(t *testing.T) {
		r.t = t
		r.restore(start)
		operator := r.key("", fsm.RoleOperator)
		r.do(operator, "DELETE", "/v1/tenants/bolt", "").want(204)
		r.do(keys["bolt"], "GET", "/v1/tenants/bolt", "").want(401)
		r.do(operator, "PUT", "/v1/tenants/bolt", "").want(201)
		r.do(keys["bolt"], "GET", "/v1/tenants/bolt", "").want(401)
		fresh := r.key("bolt", fsm.RoleOwner)
		for _, list := range []string{"deliveries", "secrets", "monitors", "triggers", "networks", "backtests"} {
			got := r.do(fresh, "GET", "/v1/tenants/bolt/"+list, "").want(200, `"items":[]`)
			if strings.Contains(got.body, "of bolt") {
				t.Errorf("%s", got.body)
			}
		}
		var log Page[Entry]
		r.do(fresh, "GET", "/v1/tenants/bolt/audit", "").want(200).decode(&log)
		if len(log.Items) != 1 || log.Items[0].Action != "tenant.put" {
			t.Errorf("audit log %+v", log.Items)
		}
		r.do(fresh, "GET", "/v1/tenants/bolt/deliveries/"+deliveryKey, "").want(404)
		r.do(fresh, "DELETE", "/v1/tenants/bolt/deliveries/"+deliveryKey, "").want(404)
		if _, ok := r.View().FindDead("bolt", deliveryKey); !ok {
			t.Error("what was the one's is gone")
		}
	})
}

// A key that was checked before its tenant was deleted and made again does nothing
// to the new one.
func TestTenantMadeAgainMeanwhile(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	r.before = func() { // between the check of the key and the proposal
		old, _ := r.View().Tenant("acme")
		for _, c := range []fsm.Command{
			&fsm.DeleteTenant{Tenant: "acme", Expect: old.Current.Number, Source: fsm.SourceAPI},
			&fsm.SetTenantVersion{Tenant: "acme", Source: fsm.SourceAPI},
		} {
			if _, err := r.apply(c); err != nil {
				t.Error(err)
			}
		}
	}
	r.do(key, "PUT", "/v1/tenants/acme/secrets/mine", `{"value":"x"}`).want(409)
	if _, ok := r.View().Secret("acme", "mine"); ok {
		t.Error("the new tenant has the secret of the old one's owner")
	}
}
