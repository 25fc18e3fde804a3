package v1

import (
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

func TestNoLeader(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	r.down = fmt.Errorf("%w: no leader", api.ErrUnavailable)
	got := r.do(key, "PUT", "/v1/tenants/acme/triggers/x", triggerDoc("x", "https://x.example")).want(503)
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	r.do(key, "GET", "/v1/tenants/acme/triggers/hook", "").want(200)
	r.do(key, "GET", "/v1/tenants/acme/triggers/hook?index=99999", "").want(503)
}

// A request sees what was done before on another node, if it says so.
func TestReadYourWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		operator := r.key("", fsm.RoleOperator)
		r.behind = []fsm.Command{&fsm.SetTenantVersion{Tenant: "acme", Source: fsm.SourceAPI}}
		r.do(operator, "GET", "/v1/tenants/acme", "").want(404)
		next := r.View().Index() + 1
		r.do(operator, "GET", fmt.Sprintf("/v1/tenants/acme?index=%d", next), "").want(200)
		r.do(operator, "GET", "/v1/tenants/acme?index=x", "").want(422, "query.index")
		start := time.Now()
		got := r.do(operator, "GET", fmt.Sprintf("/v1/tenants/acme?index=%d", next+1), "").want(503, "has not come to")
		if took := time.Since(start); took != patience || got.header.Get("Retry-After") != "1" {
			t.Errorf("after %v: %v", took, got.header)
		}
		time.AfterFunc(time.Second, func() { r.must(&fsm.SetTenantVersion{Tenant: "bolt", Source: fsm.SourceAPI}) })
		start = time.Now()
		r.do(operator, "GET", fmt.Sprintf("/v1/tenants/bolt?index=%d", next+1), "").want(200)
		if took := time.Since(start); took < time.Second || took > 2*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

func TestOnlyJSON(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/x", triggerDoc("x", "https://x.example"), "Content-Type: text/yaml").want(415)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/x", triggerDoc("x", "https://x.example"), "Content-Type: application/json; charset=utf-8").want(201)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/y", `{"name":"y","trigger_type":"console","config":{}}`).want(422)
}

// A body that breaks off, or is not encoded as it says, is the sender's fault.
func TestBrokenBody(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleOwner)
	req, w := newRequest("PUT", "/v1/tenants/acme/secrets/s", "x")
	req.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	req.Header.Set("Authorization", "Bearer "+key)
	r.api.ServeHTTP(w, req)
	answer{t: t, status: w.Code, body: w.Body.String()}.want(400, "cannot read request body")
}
