package v1

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What another program's tables say, the API shows and does not change.
func TestTenantsOfTablesAreReadOnly(t *testing.T) {
	r := newRig(t)
	r.must(&fsm.SetTenantVersion{Tenant: "acme", Source: fsm.SourceTables})
	owner, operator := r.key("acme", fsm.RoleOwner), r.key("", fsm.RoleOperator)
	for _, tc := range []struct {
		by, method, path, body string
		status                 int
	}{
		{owner, http.MethodGet, "/v1/tenants/acme", "", http.StatusOK},
		{owner, http.MethodGet, "/v1/tenants/acme/monitors", "", http.StatusOK},
		{operator, http.MethodDelete, "/v1/tenants/acme", "", http.StatusConflict},
		{operator, http.MethodPut, "/v1/tenants/acme/quota", `{"monitors": 5}`, http.StatusConflict},
		{operator, http.MethodPut, "/v1/tenants/acme", "", http.StatusConflict},
		{owner, http.MethodPut, "/v1/tenants/acme/triggers/t", `{"name":"t","trigger_type":"webhook","config":{"url":{"type":"plain","value":"https://example.com"},"message":{"title":"t","body":"b"}}}`, http.StatusConflict},
	} {
		got := r.do(tc.by, tc.method, tc.path, tc.body)
		if got.status != tc.status || tc.status == http.StatusConflict && !strings.Contains(got.body, "tables") {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, got.status, got.body)
		}
	}
	if v := r.View(); func() uint64 { held, _ := v.Tenant("acme"); return held.Current.Number }() != 1 {
		t.Error("the tenant was changed")
	}
}

// A change that the tenant store cannot take is refused for now, and changes nothing.
func TestChangesWaitForTheTenantStore(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleOwner)
	put := func() answer {
		return r.do(key, http.MethodPut, "/v1/tenants/acme/triggers/t",
			`{"name":"t","trigger_type":"webhook","config":{"url":{"type":"plain","value":"https://example.com"},"message":{"title":"t","body":"b"}}}`)
	}
	r.away = fmt.Errorf("tenant store: %w", fsm.ErrUnreachable)
	if got := put(); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	held, _ := r.View().Tenant("acme")
	if held.Current.Number != 1 {
		t.Error("the tenant was changed")
	}
	r.away = nil
	if got := put(); got.status/100 != 2 {
		t.Errorf("after it is back: %d %s", got.status, got.body)
	}
}

// The newest entries of an audit log are told while the tenant store is away, and
// that there may be older ones.
func TestAuditLogWithoutTheTenantStore(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	owner := r.key("acme", fsm.RoleOwner)
	for _, name := range []string{"first", "second", "third"} {
		r.do(owner, http.MethodPut, "/v1/tenants/acme/secrets/"+name, `{"value":"hush"}`)
	}
	r.away = fmt.Errorf("audit log: %w", fsm.ErrUnreachable)
	var page Page[Entry]
	r.do(owner, http.MethodGet, "/v1/tenants/acme/audit?limit=50", "").want(http.StatusOK).decode(&page)
	if len(page.Items) < 3 || page.Items[0].Object != "third" || page.Next == "" {
		t.Errorf("the page is %+v", page)
	}
	if got := r.do(owner, http.MethodGet, "/v1/tenants/acme/audit?cursor="+page.Next, ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("the next page: %d %s", got.status, got.body)
	}
	r.do(owner, http.MethodGet, "/v1/tenants/acme/audit?limit=2", "").want(http.StatusOK).decode(&page)
	if len(page.Items) != 2 || page.Items[1].Object != "second" || page.Next == "" {
		t.Errorf("a short page is %+v", page)
	}
}
