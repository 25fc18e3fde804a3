package v1

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// request fills in an operation's path and body, so that it would work for who may.
func request(o *operation, tenant string) (path, body string) {
	id := map[string]string{
		"network": "net", "monitor": "mon", "trigger": "hook", "sharednetwork": "main", "script": "run.py", "key": "aaaaaaaaaaaa", "operatorkey": "aaaaaaaaaaaa",
		"backtest": "bt",
		"alert":    alertID,
	}
	kind, verb, _ := strings.Cut(o.id, ".")
	path = strings.NewReplacer("{tenant}", tenant, "{id}", id[kind], "{name}", map[bool]string{true: "n1", false: "sec"}[kind == "node"], "{key}", deliveryKey, "{number}", "2").Replace(o.path)
	if o.id == "coverage.get" {
		path += "?network=net"
	}
	if o.method == http.MethodGet || verb == "delete" || verb == "redeliver" || verb == "restore" || verb == "purge" || kind == "node" || verb == "rebalance" || o.id == "tenant.put" {
		return path, ""
	}
	return path, map[string]string{
		"network.put": networkDoc("net", "https://x.example/key", 1), "trigger.put": triggerDoc("h", "https://x.example/h"),
		"monitor.put": monitorDoc("m", "net", "", "hook"), "sharednetwork.put": networkDoc("main", "https://x.example/main", 5),
		"quota.put": `{"monitors":7}`, "secret.put": `{"value":"v"}`, "key.create": `{"role":"viewer"}`, "operatorkey.create": `{"name":"x"}`,
		"backtest.create": `{"monitor":"mon","last":3}`,
		"lease.move":      `{"network":"acme/net","to":"n1"}`, "placement.put": `{"weight":50,"pin":"n1"}`,
		"script.put": scriptDoc("Python", "print('true')"), "configuration.put": `{"networks":{},"monitors":{},"triggers":{},"scripts":{}}`, "sharedconfiguration.put": `{"networks":{}}`,
	}[o.id]
}

// TestAccessMatrix tries every operation with every role, on what is the bearer's
// own, another tenant's and nobody's. Who may gets through to the operation, and who
// may not changes nothing and learns nothing.
func TestAccessMatrix(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.furnish("bolt")
	r.backtest("acme", "bolt")
	r.do(r.key("", fsm.RoleOperator), "PUT", "/v1/networks/main", networkDoc("main", "https://main.example/key", 5)).want(201)
	keys := map[fsm.Role]string{fsm.RoleOperator: r.key("", fsm.RoleOperator)}
	for role := fsm.RoleViewer; role <= fsm.RoleOwner; role++ {
		keys[role] = r.key("acme", role)
	}
	keys[0] = "" // without a key
	start := r.snapshot()
	cells := map[string]int{}
	for i := range operations {
		o := &operations[i]
		targets := []string{"acme", "bolt", "nobody"}
		if !o.ofTenant() {
			targets = targets[:1]
		}
		for role, key := range keys {
			for _, target := range targets {
				path, body := request(o, target)
				// Each cell has the same state before it.
				r.restore(start)
				r.now = r.now.Add(time.Second) // nothing is throttled
				before := r.View().Index()
				got := r.do(key, o.method, path, body)
				want := expected(o, role, target)
				cells[want]++
				name := o.id + " by " + roleName(role) + " on " + target
				switch want {
				case "allowed":
					if got.status >= 400 && got.status != excused(o) {
						t.Errorf("%s: %d %s", name, got.status, got.body)
					}
				case "not there":
					if got.status != http.StatusNotFound {
						t.Errorf("%s: %d %s", name, got.status, got.body)
					}
				case "role":
					if got.status != http.StatusForbidden {
						t.Errorf("%s: %d %s", name, got.status, got.body)
					}
				case "key":
					if got.status != http.StatusUnauthorized {
						t.Errorf("%s: %d %s", name, got.status, got.body)
					}
				}
				if want != "allowed" && r.View().Index() != before {
					t.Errorf("%s: it was refused, and something was proposed", name)
				}
				if want != "allowed" && role != fsm.RoleOperator && target != "acme" && strings.Contains(got.body, target) {
					t.Errorf("%s: the answer names %s: %s", name, target, got.body)
				}
			}
		}
	}
	total := 0
	for _, n := range cells {
		total += n
	}
	t.Logf("%d operations, %d cells: %v", len(operations), total, cells)
	if len(operations) < 40 || cells["allowed"] == 0 || cells["not there"] == 0 || cells["role"] == 0 || cells["key"] == 0 {
		t.Errorf("cells %v of %d operations", cells, len(operations))
	}
}

// expected says by rules of its own what is to come of an operation.
func expected(o *operation, role fsm.Role, target string) string {
	_, verb, _ := strings.Cut(o.id, ".")
	least := map[string]fsm.Role{
		"quota.put": fsm.RoleOperator, "tenant.list": fsm.RoleOperator, "tenant.put": fsm.RoleOperator, "tenant.delete": fsm.RoleOperator,
		"network.put": fsm.RoleAdmin, "network.delete": fsm.RoleAdmin, "monitor.put": fsm.RoleMember, "monitor.delete": fsm.RoleMember,
		"trigger.put": fsm.RoleMember, "trigger.delete": fsm.RoleMember, "secret.put": fsm.RoleAdmin, "secret.delete": fsm.RoleAdmin,
		"key.list": fsm.RoleOwner, "key.create": fsm.RoleOwner, "key.delete": fsm.RoleOwner, "audit.list": fsm.RoleOwner,
		"delivery.redeliver": fsm.RoleAdmin, "delivery.purge": fsm.RoleAdmin, "sharednetwork.put": fsm.RoleOperator, "sharednetwork.delete": fsm.RoleOperator,
		"operatorkey.list": fsm.RoleOperator, "operatorkey.create": fsm.RoleOperator, "operatorkey.delete": fsm.RoleOperator,
		"clusteraudit.list": fsm.RoleOperator, "clusterusage.list": fsm.RoleOperator, "backtest.create": fsm.RoleMember, "backtest.delete": fsm.RoleMember, "status.get": fsm.RoleOperator, "health.get": fsm.RoleOperator,
		"node.list": fsm.RoleOperator, "node.get": fsm.RoleOperator, "node.drain": fsm.RoleOperator, "node.undrain": fsm.RoleOperator,
		"lease.list": fsm.RoleOperator, "lease.move": fsm.RoleOperator, "assignment.list": fsm.RoleOperator,
		"placement.get": fsm.RoleOperator, "placement.put": fsm.RoleOperator, "cluster.rebalance": fsm.RoleOperator,
		"script.put": fsm.RoleAdmin, "script.delete": fsm.RoleAdmin, "configuration.put": fsm.RoleAdmin, "version.restore": fsm.RoleAdmin,
		"sharedconfiguration.get": fsm.RoleOperator, "sharedconfiguration.put": fsm.RoleOperator,
	}[o.id]
	if least == 0 {
		if verb != "list" && verb != "get" && verb != "stream" {
			panic("whatever changes something has a role in the test: " + o.id)
		}
		least = fsm.RoleViewer
	}
	ofTenant := strings.Contains(o.path, "{tenant}")
	switch {
	case role == 0:
		return "key"
	case ofTenant && role != fsm.RoleOperator && target != "acme":
		return "not there"
	case role < least:
		return "role"
	case ofTenant && target == "nobody" && o.id != "tenant.put":
		return "not there"
	default:
		return "allowed"
	}
}

// excused is how operations may end that the rig does not have everything for: keys
// with an id known before, coverage, which takes a worker, and what a monitor refers
// to.
func excused(o *operation) int {
	switch o.id {
	case "key.delete", "operatorkey.delete", "coverage.get":
		return http.StatusNotFound
	case "network.delete", "trigger.delete":
		return http.StatusConflict
	default:
		return 0
	}
}

func roleName(r fsm.Role) string {
	if r == 0 {
		return "nobody"
	}
	return r.String()
}
