package v1

import (
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// What operators do with the cluster is in its audit log, with who it was.
func TestOperate(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.furnish("bolt")
	op := r.key("", fsm.RoleOperator)
	r.do(op, "GET", "/v1/nodes", "").want(200, `"name":"n1"`)
	r.do(op, "GET", "/v1/nodes/n1", "").want(200, `"server":"n1@1"`)
	r.do(op, "GET", "/v1/nodes/n2", "").want(404, "n2")
	r.do(op, "POST", "/v1/nodes/n1/drain", "").want(204)
	r.do(op, "POST", "/v1/nodes/n2/drain", "").want(404)
	if n, _ := r.View().Node("n1"); n.Drain != fsm.DrainOperator {
		t.Errorf("drain %v", n.Drain)
	}
	r.do(op, "DELETE", "/v1/nodes/n1/drain", "").want(204)
	r.do(op, "POST", "/v1/leases/move", `{"network":"acme/net","to":"n1"}`).want(204)
	r.do(op, "POST", "/v1/leases/move", `{"network":"acme/none","to":"n1"}`).want(404)
	r.do(op, "POST", "/v1/leases/move", `{"to":"n1"}`).want(422, "body")
	r.do(op, "GET", "/v1/leases?limit=1", "").want(200, `"network":"acme/net","holder":"n1"`, `"pinned":true`, `"next"`)
	r.do(op, "PUT", "/v1/tenants/acme/placement", `{"pin":"n1","weight":50}`).want(200, `"pin":"n1"`, `"weight":50`)
	index := r.View().Index()
	r.do(op, "PUT", "/v1/tenants/acme/placement", `{"pin":"n1","weight":50}`).want(200)
	if r.View().Index() != index {
		t.Error("what was like that already was proposed")
	}
	r.do(op, "PUT", "/v1/tenants/acme/placement", `{"pin":"n7"}`).want(422, "body.pin")
	r.do(op, "GET", "/v1/tenants/acme/placement", "").want(200, `"pin":"n1"`)
	r.do(op, "PUT", "/v1/tenants/acme/placement", `{}`).want(200, `"weight":0`)
	r.do(op, "GET", "/v1/assignments", "").want(200, `"tenant":"acme"`, `"tenant":"bolt"`)
	r.do(op, "GET", "/v1/assignments?limit=1", "").want(200, `"next"`)
	r.do(op, "GET", "/v1/assignments?node=n1", "").want(200, `"items":[]`)
	r.do(op, "GET", "/v1/assignments?node=n2", "").want(404)
	r.do(op, "POST", "/v1/rebalance?dry_run=true", "").want(200, `"dry_run":true`, `"moves":[]`)

	// A network that is gone is not listed, though what was judged of it is known still.
	r.do(op, "DELETE", "/v1/tenants/acme/monitors/mon", "").want(200)
	r.do(op, "DELETE", "/v1/tenants/acme/networks/net", "").want(200)
	if _, known := r.View().Network("acme/net"); !known {
		t.Error("nothing is known of the network that was deleted")
	}
	if list := r.do(op, "GET", "/v1/leases", "").want(200, `"network":"bolt/net"`); strings.Contains(list.body, "acme/net") {
		t.Errorf("a network that was deleted is listed: %s", list.body)
	}

	log := r.do(op, "GET", "/v1/audit", "").want(200, `"node.drain"`, `"node.undrain"`, `"lease.move"`, `"to n1"`).body
	if !strings.Contains(log, `"actor":"key:`) {
		t.Errorf("nobody did it: %s", log)
	}
	r.do(op, "GET", "/v1/tenants/acme/audit", "").want(200, `"placement.put"`, `"before":"weight 0, priority 0","after":"weight 50, priority 0, on n1"`)
}
