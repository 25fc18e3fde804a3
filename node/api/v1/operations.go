package v1

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ozmo-dev/ozmo/fsm"
)

// operation is one thing that can be asked for. Of a path with {tenant} in it, a
// tenant's key reaches what is below its own tenant alone.
type operation struct {
	id      string // also the name of the action in the audit log
	method  string
	path    string
	least   fsm.Role // that may; greater ones may too
	summary string
}

// ofTenant reports whether the operation is on what belongs to a tenant.
func (o *operation) ofTenant() bool { return strings.Contains(o.path, "{tenant}") }

// changes reports whether the operation may change anything.
func (o *operation) changes() bool { return o.method != http.MethodGet }

// operations are all there are, with who may do them.
var operations = []operation{
	{"tenant.list", "GET", "/v1/tenants", fsm.RoleOperator, "List the tenants"},
	{"tenant.get", "GET", "/v1/tenants/{tenant}", fsm.RoleViewer, "Show a tenant in short"},
	{"tenant.put", "PUT", "/v1/tenants/{tenant}", fsm.RoleOperator, "Create a tenant"},
	{"tenant.delete", "DELETE", "/v1/tenants/{tenant}", fsm.RoleOperator, "Delete a tenant with all it has"},
	{"quota.get", "GET", "/v1/tenants/{tenant}/quota", fsm.RoleViewer, "Show what a tenant may have, and has"},
	{"quota.put", "PUT", "/v1/tenants/{tenant}/quota", fsm.RoleOperator, "Set what a tenant may have"},
	{"usage.get", "GET", "/v1/tenants/{tenant}/usage", fsm.RoleViewer, "Show what a tenant has caused, by hour or day"},

	{"network.list", "GET", "/v1/tenants/{tenant}/networks", fsm.RoleViewer, "List a tenant's private networks"},
	{"network.get", "GET", "/v1/tenants/{tenant}/networks/{id}", fsm.RoleViewer, "Show a private network"},
	{"network.put", "PUT", "/v1/tenants/{tenant}/networks/{id}", fsm.RoleAdmin, "Create or replace a private network"},
	{"network.delete", "DELETE", "/v1/tenants/{tenant}/networks/{id}", fsm.RoleAdmin, "Delete a private network"},
	{"monitor.list", "GET", "/v1/tenants/{tenant}/monitors", fsm.RoleViewer, "List a tenant's monitors"},
	{"monitor.get", "GET", "/v1/tenants/{tenant}/monitors/{id}", fsm.RoleViewer, "Show a monitor"},
	{"monitor.put", "PUT", "/v1/tenants/{tenant}/monitors/{id}", fsm.RoleMember, "Create or replace a monitor"},
	{"monitor.delete", "DELETE", "/v1/tenants/{tenant}/monitors/{id}", fsm.RoleMember, "Delete a monitor"},
	{"trigger.list", "GET", "/v1/tenants/{tenant}/triggers", fsm.RoleViewer, "List a tenant's triggers"},
	{"trigger.get", "GET", "/v1/tenants/{tenant}/triggers/{id}", fsm.RoleViewer, "Show a trigger"},
	{"trigger.put", "PUT", "/v1/tenants/{tenant}/triggers/{id}", fsm.RoleMember, "Create or replace a trigger"},
	{"trigger.delete", "DELETE", "/v1/tenants/{tenant}/triggers/{id}", fsm.RoleMember, "Delete a trigger"},
	{"script.list", "GET", "/v1/tenants/{tenant}/scripts", fsm.RoleViewer, "List a tenant's stored scripts"},
	{"script.get", "GET", "/v1/tenants/{tenant}/scripts/{id}", fsm.RoleViewer, "Show a stored script"},
	{"script.put", "PUT", "/v1/tenants/{tenant}/scripts/{id}", fsm.RoleAdmin, "Create or replace a stored script"},
	{"script.delete", "DELETE", "/v1/tenants/{tenant}/scripts/{id}", fsm.RoleAdmin, "Delete a stored script"},

	{"configuration.get", "GET", "/v1/tenants/{tenant}/configuration", fsm.RoleViewer, "Show all documents of a tenant in one"},
	{"configuration.put", "PUT", "/v1/tenants/{tenant}/configuration", fsm.RoleAdmin, "Replace or merge all documents of a tenant at once"},
	{"version.list", "GET", "/v1/tenants/{tenant}/versions", fsm.RoleViewer, "List the versions of a tenant's configuration that are kept, the newest first"},
	{"version.get", "GET", "/v1/tenants/{tenant}/versions/{number}", fsm.RoleViewer, "Show all documents of a version"},
	{"version.restore", "POST", "/v1/tenants/{tenant}/versions/{number}/restore", fsm.RoleAdmin, "Put the documents of a version in force again, as a new version"},

	{"secret.list", "GET", "/v1/tenants/{tenant}/secrets", fsm.RoleViewer, "List the names of a tenant's stored secrets"},
	{"secret.put", "PUT", "/v1/tenants/{tenant}/secrets/{name}", fsm.RoleAdmin, "Store a secret"},
	{"secret.delete", "DELETE", "/v1/tenants/{tenant}/secrets/{name}", fsm.RoleAdmin, "Forget a stored secret"},

	{"key.list", "GET", "/v1/tenants/{tenant}/keys", fsm.RoleOwner, "List a tenant's keys"},
	{"key.create", "POST", "/v1/tenants/{tenant}/keys", fsm.RoleOwner, "Make a key, which is shown this once"},
	{"key.delete", "DELETE", "/v1/tenants/{tenant}/keys/{id}", fsm.RoleOwner, "Delete a key"},
	{"audit.list", "GET", "/v1/tenants/{tenant}/audit", fsm.RoleOwner, "List what was changed of a tenant, the newest first"},

	{"coverage.get", "GET", "/v1/tenants/{tenant}/coverage", fsm.RoleViewer, "Show which blocks of a network were judged for a tenant"},
	{"alert.list", "GET", "/v1/tenants/{tenant}/alerts", fsm.RoleViewer, "List a tenant's recent alerts, the newest first"},
	{"alert.get", "GET", "/v1/tenants/{tenant}/alerts/{id}", fsm.RoleViewer, "Show an alert with what became of it"},
	{"alert.stream", "GET", "/v1/tenants/{tenant}/alerts/stream", fsm.RoleViewer, "Tell of a tenant's alerts as they change, as server-sent events"},
	{"delivery.list", "GET", "/v1/tenants/{tenant}/deliveries", fsm.RoleViewer, "List a tenant's pending deliveries and dead letters, the newest first"},
	{"delivery.get", "GET", "/v1/tenants/{tenant}/deliveries/{key}", fsm.RoleViewer, "Show a pending delivery or a dead letter"},
	{"delivery.redeliver", "POST", "/v1/tenants/{tenant}/deliveries/{key}/redeliver", fsm.RoleAdmin, "Have a delivery made at once"},
	{"delivery.purge", "DELETE", "/v1/tenants/{tenant}/deliveries/{key}", fsm.RoleAdmin, "Forget a delivery"},

	{"backtest.list", "GET", "/v1/tenants/{tenant}/backtests", fsm.RoleViewer, "List a tenant's backtests, the newest first"},
	{"backtest.create", "POST", "/v1/tenants/{tenant}/backtests", fsm.RoleMember, "Have a monitor judge blocks of the past; nothing is sent"},
	{"backtest.get", "GET", "/v1/tenants/{tenant}/backtests/{id}", fsm.RoleViewer, "Show a backtest with what it has found"},
	{"backtest.delete", "DELETE", "/v1/tenants/{tenant}/backtests/{id}", fsm.RoleMember, "Cancel a backtest, or forget one that is over"},

	{"sharednetwork.list", "GET", "/v1/networks", fsm.RoleViewer, "List the shared networks"},
	{"sharednetwork.get", "GET", "/v1/networks/{id}", fsm.RoleViewer, "Show a shared network"},
	{"sharednetwork.put", "PUT", "/v1/networks/{id}", fsm.RoleOperator, "Create or replace a shared network"},
	{"sharednetwork.delete", "DELETE", "/v1/networks/{id}", fsm.RoleOperator, "Delete a shared network"},
	{"sharedconfiguration.get", "GET", "/v1/configuration", fsm.RoleOperator, "Show all shared networks in one"},
	{"sharedconfiguration.put", "PUT", "/v1/configuration", fsm.RoleOperator, "Replace or merge all shared networks at once"},
	{"operatorkey.list", "GET", "/v1/keys", fsm.RoleOperator, "List the operators' keys"},
	{"operatorkey.create", "POST", "/v1/keys", fsm.RoleOperator, "Make an operator's key, which is shown this once"},
	{"operatorkey.delete", "DELETE", "/v1/keys/{id}", fsm.RoleOperator, "Delete an operator's key"},
	{"clusteraudit.list", "GET", "/v1/audit", fsm.RoleOperator, "List what was changed of the cluster, the newest first"},
	{"clusterusage.list", "GET", "/v1/usage", fsm.RoleOperator, "List what tenants have caused, those with most first"},
	{"status.get", "GET", "/v1/status", fsm.RoleOperator, "Show the cluster as the node that answers sees it"},
	{"health.get", "GET", "/v1/health", fsm.RoleOperator, "Show whether the node that answers is ready"},

	{"node.list", "GET", "/v1/nodes", fsm.RoleOperator, "List the nodes, as the leader knows them"},
	{"node.get", "GET", "/v1/nodes/{name}", fsm.RoleOperator, "Show a node"},
	{"node.drain", "POST", "/v1/nodes/{name}/drain", fsm.RoleOperator, "Have a node give its work to the others"},
	{"node.undrain", "DELETE", "/v1/nodes/{name}/drain", fsm.RoleOperator, "Have a node take work again"},
	{"lease.list", "GET", "/v1/leases", fsm.RoleOperator, "List the networks with who watches them"},
	{"lease.move", "POST", "/v1/leases/move", fsm.RoleOperator, "Have a network watched by a node, or by any"},
	{"assignment.list", "GET", "/v1/assignments", fsm.RoleOperator, "List the tenants with who judges them"},
	{"placement.get", "GET", "/v1/tenants/{tenant}/placement", fsm.RoleOperator, "Show who judges a tenant, and why"},
	{"placement.put", "PUT", "/v1/tenants/{tenant}/placement", fsm.RoleOperator, "Say where a tenant should be, and what it counts"},
	{"cluster.rebalance", "POST", "/v1/rebalance", fsm.RoleOperator, "Even the nodes out now, or tell what that would do"},
}

// describe is the operation as the OpenAPI document has it.
func (o *operation) describe() huma.Operation {
	tag, _, _ := strings.Cut(o.id, ".")
	var body *huma.RequestBody
	if o.method == http.MethodPut && strings.HasSuffix(o.path, "/{id}") {
		body = &huma.RequestBody{Description: "A document as OpenZeppelin Monitor has it. A secret is {\"type\": \"plain\", \"value\": ...}, which is sealed, " +
			"{\"type\": \"stored\", \"value\": NAME}, or, to keep one, what was shown in its place."}
	}
	limit := int64(maxBody)
	wait := time.Duration(0) // huma's default
	if o.method == http.MethodPut && strings.HasSuffix(o.path, "/configuration") {
		limit, wait = maxConfiguration, configurationPatience
		body = &huma.RequestBody{Description: "Documents by kind, then by id: {\"networks\": {...}, \"monitors\": {...}, \"triggers\": {...}, \"scripts\": {...}}, " +
			"each as it is put alone. Of a kind that is left out there must be no documents, unless with mode=merge. A version is passed over."}
	}
	status := 0 // huma's default
	if strings.HasSuffix(o.id, ".create") {
		status = http.StatusCreated
	}
	return huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{tag},
		Description: "Least role: " + o.least.String() + ".",
		RequestBody: body, DefaultStatus: status, MaxBodyBytes: limit, BodyReadTimeout: wait, Security: []map[string][]string{{"key": {}}},
		RejectUnknownQueryParameters: true,
		Metadata:                     map[string]any{"operation": o},
		Errors:                       o.errors(),
		Responses:                    o.responses(),
	}
}

// streams reports whether the answer goes on until somebody ends it.
func (o *operation) streams() bool { return o.id == "alert.stream" }

// responses are those that huma cannot find out about.
func (o *operation) responses() map[string]*huma.Response {
	if !o.streams() {
		return nil
	}
	return map[string]*huma.Response{"200": {
		Description: "Server-sent events: `alert` for each change of an alert, `gap` where something may be missing, `end` before the node ends the stream. " +
			"A comment every 15 s says that it lives.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

// errors are the statuses of its problems.
func (o *operation) errors() []int {
	out := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if strings.Contains(o.path, "{") {
		out = append(out, http.StatusNotFound)
	}
	if o.changes() {
		out = append(out, http.StatusConflict)
	}
	return out
}

// complete has the document tell of the answers that follow from how an operation is
// asked.
func (o *operation) complete(doc *huma.OpenAPI) {
	op := o.in(doc)
	problem := *op.Responses[strconv.Itoa(http.StatusUnauthorized)]
	tell := func(like huma.Response, statuses ...int) {
		for _, status := range statuses {
			one := like
			one.Description = http.StatusText(status)
			op.Responses[strconv.Itoa(status)] = &one
		}
	}
	if op.RequestBody != nil {
		tell(problem, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "If-Match" }) {
		tell(problem, http.StatusPreconditionFailed)
		if o.method == http.MethodGet {
			tell(huma.Response{}, http.StatusNotModified)
		}
	}
	if o.makes() {
		tell(*op.Responses[strconv.Itoa(http.StatusOK)], http.StatusCreated)
	}
}

// in is the operation in a document.
func (o *operation) in(doc *huma.OpenAPI) *huma.Operation {
	item := doc.Paths[o.path]
	return map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodDelete: item.Delete}[o.method]
}

// makes reports whether what is put may be new, which 201 says.
func (o *operation) makes() bool {
	return o.method == http.MethodPut && (strings.HasSuffix(o.path, "/{id}") || o.id == "tenant.put" || o.id == "configuration.put")
}

// operationCalled finds one of the table; another name is a mistake in the program.
func operationCalled(id string) *operation {
	for i := range operations {
		if operations[i].id == id {
			return &operations[i]
		}
	}
	panic("no operation " + id)
}
