package v1

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

func TestDocumentsComeIntoForce(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	tenant, _ := r.View().Tenant("acme")
	d, ok := tenant.Current.Manifest.Find(fsm.DocMonitor, "mon")
	if !ok || len(d.Watches) != 1 || d.Watches[0].Network != "acme/net" || d.Watches[0].Depth != 2 {
		t.Fatalf("monitor %+v", d)
	}
	if n, ok := r.View().Network("acme/net"); !ok || n.Wanted != 1 {
		t.Fatalf("network %+v", n)
	}

	t.Run("idempotent", func(t *testing.T) {
		r.t = t
		index := r.View().Index()
		var w Written
		got := r.do(key, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("monitor of acme", "net", "value > 1", "hook")).want(200).decode(&w)
		if w.Changed || w.Version != tenant.Current.Number || r.View().Index() != index || got.header.Get("ETag") == "" {
			t.Errorf("%+v at %d, was at %d", w, r.View().Index(), index)
		}
	})
	t.Run("effect", func(t *testing.T) {
		r.t = t
		var w Written
		got := r.do(key, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("renamed", "net", "value > 2", "hook")).want(200).decode(&w)
		if !w.Changed || w.ID != "mon" || w.Version != tenant.Current.Number+1 || len(w.Effect) != 1 || w.Effect[0].Network != "acme/net" || w.Effect[0].Position != 1 {
			t.Errorf("%s", got.body)
		}
		if got.header.Get("X-Ozmo-Index") != fmt.Sprint(r.View().Index()) {
			t.Errorf("index %s, state %d", got.header.Get("X-Ozmo-Index"), r.View().Index())
		}
		r.do(key, "GET", "/v1/tenants/acme/monitors/mon", "").want(200, `"name":"renamed"`)
		r.do(key, "GET", "/v1/tenants/acme/monitors", "").want(200, `"id":"mon","name":"renamed"`)
	})
	t.Run("a network's depth reaches its monitors", func(t *testing.T) {
		r.t = t
		r.do(key, "PUT", "/v1/tenants/acme/networks/net", strings.Replace(networkDoc("net", "https://x.example/k", 1), `"confirmation_blocks":2`, `"confirmation_blocks":7`, 1)).want(200)
		tenant, _ := r.View().Tenant("acme")
		d, _ := tenant.Current.Manifest.Find(fsm.DocMonitor, "mon")
		if len(d.Watches) != 1 || d.Watches[0].Depth != 7 {
			t.Errorf("watches %+v", d.Watches)
		}
	})
	t.Run("round trip", func(t *testing.T) {
		r.t = t
		for _, path := range []string{"networks/net", "monitors/mon", "triggers/hook"} {
			got := r.do(key, "GET", "/v1/tenants/acme/"+path, "").want(200)
			var w Written
			again := r.do(key, "PUT", "/v1/tenants/acme/"+path, got.body).want(200).decode(&w)
			if w.Changed || again.header.Get("ETag") != got.header.Get("ETag") {
				t.Errorf("%s: what was shown came back as another document: %s", path, again.body)
			}
		}
	})
	t.Run("in use", func(t *testing.T) {
		r.t = t
		r.do(key, "DELETE", "/v1/tenants/acme/triggers/hook", "").want(409, `monitor \"mon\"`)
		r.do(key, "DELETE", "/v1/tenants/acme/networks/net", "").want(409, `monitor \"mon\"`)
		r.do(key, "DELETE", "/v1/tenants/acme/monitors/mon", "").want(200)
		r.do(key, "DELETE", "/v1/tenants/acme/monitors/mon", "").want(404)
		r.do(key, "DELETE", "/v1/tenants/acme/triggers/hook", "").want(200)
		r.do(key, "DELETE", "/v1/tenants/acme/networks/net", "").want(200)
		if n, ok := r.View().Network("acme/net"); ok && n.Wanted != 0 {
			t.Errorf("network %+v", n)
		}
	})
	t.Run("another chain", func(t *testing.T) {
		r.t = t
		r.do(key, "PUT", "/v1/tenants/acme/networks/net", networkDoc("net", "https://x.example/k", 99)).want(409, "chain_id cannot change from 1 to 99")
	})
}

func TestDocumentProblems(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	put := func(path, doc string, status int, texts ...string) answer {
		t.Helper()
		index := r.View().Index()
		got := r.do(key, "PUT", "/v1/tenants/acme/"+path, doc).want(status, texts...)
		if r.View().Index() != index {
			t.Errorf("%s was refused, and something was proposed", path)
		}
		if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("content type %q", ct)
		}
		return got
	}
	put("monitors/x", `{"name":"x","networks":["nett"],"paused":3,"match_conditions":{"functions":[],"events":[],"transactions":[]},"triggers":["hok"],"more":1}`, 422,
		`"location":"body.paused"`, `"location":"body.more"`)
	put("monitors/x", monitorDoc("x", "nett", "", "hok"), 422, `did you mean \"net\"`, `"location":"body.triggers[0]"`, `did you mean \"hook\"`)
	put("monitors/x", monitorDoc("x", "net", "valu > 1", "hook"), 422, "body.match_conditions.events[0].expression")
	put("monitors/x", `{"name":`, 400)
	put("monitors/x", ``, 400)
	put("monitors/x", `[]`, 422)
	put("monitors/%20x", monitorDoc("x", "net", "", "hook"), 422, "path.id")
	put("networks/other", networkDoc("net", "https://x.example/k", 1), 422, `"location":"body.slug"`)
	put("triggers/x", strings.Replace(triggerDoc("x", "https://x.example"), `{"type":"plain","value":"https://x.example"}`, `{"type":"environment","value":"HOME"}`, 1), 422, "only the operator's folder")
	put("triggers/x", `{"name":"x","trigger_type":"script","config":{"language":"Bash","script_path":"/bin/sh","arguments":[],"timeout_ms":1000}}`, 422)
	put("triggers/x", strings.Replace(triggerDoc("x", "secret-in-a-scheme://x"), "https", "http", 1), 422)
	put("triggers/x", strings.Replace(triggerDoc("x", "https://x.example"), `{"type":"plain","value":"https://x.example"}`, `{"type":"sealed","value":"00"}`, 1), 422, `the document in force does not have`)
	put("monitors/x", `{"name":"`+strings.Repeat("x", maxBody)+`"}`, http.StatusRequestEntityTooLarge)
	got := put("quota/x", `{}`, 404)
	if strings.Contains(got.body, "quota") {
		t.Errorf("%s", got.body)
	}
	// Nothing that was sent is told back.
	got = r.do(r.key("acme", fsm.RoleAdmin), "PUT", "/v1/tenants/acme/secrets/s", `{"value":["very secret"]}`).want(422, "body.value")
	if strings.Contains(got.body, "very secret") {
		t.Errorf("the problem tells the secret: %s", got.body)
	}
	r.do(key, "PUT", "/v1/tenants/acme/secrets/s", `{"value":"x","more":1}`).want(422, "body.more")
	r.do(key, "GET", "/v1/tenants/acme/monitors?curser=x", "").want(422, "query.curser")
	r.do(key, "GET", "/v1/tenants/acme/monitors?limit=9999", "").want(422, "query.limit")
	r.do(key, "GET", "/v1/tenants/acme/monitors?cursor=%25", "").want(422, "query.cursor")
	r.do(key, "GET", "/v1/nothing", "").want(404)
}

func TestConditionalRequests(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	path := "/v1/tenants/acme/triggers/hook"
	old := r.do(key, "GET", path, "").want(200).header.Get("ETag")
	r.do(key, "GET", path, "", "If-None-Match: "+old).want(304)
	r.do(key, "GET", path, "", `If-None-Match: "x"`).want(200)
	r.do(key, "GET", path, "", "If-None-Match: W/"+old).want(304)
	r.do(key, "GET", path, "", "If-Match: "+old).want(200)
	r.do(key, "GET", path, "", `If-Match: "x"`).want(412, "headers.If-Match", "it has changed")
	r.do(key, "GET", path, "", "If-Modified-Since: Mon, 01 Jan 2035 00:00:00 GMT").want(200) // nobody knows since when it is like that
	doc := func(n int) string { return triggerDoc(fmt.Sprint("hook", n), "https://x.example/h") }
	fresh := r.do(key, "PUT", path, doc(1), "If-Match: "+old).want(200).header.Get("ETag")
	if fresh == old || r.do(key, "GET", path, "").header.Get("ETag") != fresh {
		t.Errorf("tags %s, %s", old, fresh)
	}
	r.do(key, "PUT", path, doc(2), "If-Match: "+old).want(412)
	r.do(key, "DELETE", path, "", "If-Match: "+old).want(412)
	r.do(key, "PUT", path, doc(2), "If-None-Match: *").want(412)
	r.do(key, "PUT", path, doc(2), "If-Match: *").want(200)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/new", doc(3), "If-Match: *").want(412)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/new", doc(3), "If-None-Match: *").want(201)
	// What changes beside does not count.
	tag := r.do(key, "GET", path, "").header.Get("ETag")
	r.do(key, "DELETE", "/v1/tenants/acme/triggers/new", "").want(200)
	r.do(key, "PUT", path, doc(4), "If-Match: "+tag).want(200)
}

// A change that others come before is checked again on top of theirs.
func TestConcurrentChanges(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	r.apart = true // theirs come out of turn
	key := r.key("acme", fsm.RoleAdmin)
	r.before = func() {
		r.mu.Unlock() // the proposal is still to come
		defer r.mu.Lock()
		r.elsewhere().do(key, "PUT", "/v1/tenants/acme/triggers/quick", triggerDoc("quick", "https://x.example/q")).want(201)
	}
	r.do(key, "PUT", "/v1/tenants/acme/triggers/slow", triggerDoc("slow", "https://x.example/s")).want(201)
	r.do(key, "GET", "/v1/tenants/acme/triggers", "").want(200, `"quick"`, `"slow"`, `"hook"`)

	tag := r.do(key, "GET", "/v1/tenants/acme/triggers/slow", "").header.Get("ETag")
	r.before = func() {
		r.mu.Unlock()
		defer r.mu.Lock()
		r.elsewhere().do(key, "PUT", "/v1/tenants/acme/triggers/slow", triggerDoc("theirs", "https://x.example/s")).want(200)
	}
	r.do(key, "PUT", "/v1/tenants/acme/triggers/slow", triggerDoc("mine", "https://x.example/s"), "If-Match: "+tag).want(412)
}

func TestPages(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	want := []string{"hook"}
	for i := range 7 {
		id := fmt.Sprintf("t %d/ü", i)
		r.do(key, "PUT", "/v1/tenants/acme/triggers/"+fmt.Sprintf("t%%20%d%%2F%%C3%%BC", i), triggerDoc(fmt.Sprint(i), "https://x.example/h")).want(201)
		want = append(want, id)
	}
	pages := func(path string, id func(json.RawMessage) string) (got []string) {
		t.Helper()
		next, n := "", 0
		for {
			var p Page[json.RawMessage]
			r.do(key, "GET", path+"?limit=3&cursor="+next, "").want(200).decode(&p)
			for _, item := range p.Items {
				got = append(got, id(item))
			}
			if n++; p.Next == "" || n > 50 {
				return got
			}
			if len(p.Items) != 3 {
				t.Errorf("%d items, and there are more", len(p.Items))
			}
			next = p.Next
		}
	}
	field := func(name string) func(json.RawMessage) string {
		return func(item json.RawMessage) string {
			var m map[string]any
			if err := json.Unmarshal(item, &m); err != nil {
				t.Error(err)
			}
			return fmt.Sprint(m[name])
		}
	}
	if got := pages("/v1/tenants/acme/triggers", field("id")); !slices.Equal(got, want) {
		t.Errorf("triggers %v, want %v", got, want)
	}
	if got := pages("/v1/tenants/acme/audit", field("object")); len(got) != 12 || got[0] != "t 6/ü" || got[11] != "net" {
		t.Errorf("audit log %v", got)
	}
	r.do(key, "GET", "/v1/tenants/acme/triggers/t%203%2F%C3%BC", "").want(200)

	born, _ := r.View().Tenant("acme")
	var keys []string
	for i := range 8 {
		// Several of one time, and the newest first.
		k := fmt.Sprintf("%032x", i)
		keys = append(keys, k)
		r.owe("acme", fsm.Outgoing{Key: k, Tenant: "acme", Born: born.Born, Trigger: "hook", At: r.now.Add(-time.Duration(i/3)*time.Second).UnixMilli() - 1})
	}
	keys = append([]string{deliveryKey}, keys...)
	if got := pages("/v1/tenants/acme/deliveries", field("key")); !slices.Equal(got, keys) {
		t.Errorf("deliveries %v\nwant %v", got, keys)
	}
	r.do(key, "DELETE", "/v1/tenants/acme/deliveries/"+keys[1], "").want(204)
	r.do(key, "POST", "/v1/tenants/acme/deliveries/"+keys[2]+"/redeliver", "").want(204)
	r.do(key, "GET", "/v1/tenants/acme/audit?limit=2", "").want(200, "delivery.redeliver", "delivery.purge")
}

// Secrets go in, and never come out: not in documents, lists, the audit log or logs.
func TestSecretsStayIn(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleOwner)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/hook", triggerDoc("again", "https://acme.example/hook-key-2")).want(200)
	sealed := func() *spec.Trigger {
		tenant, _ := r.View().Tenant("acme")
		d, _ := tenant.Current.Manifest.Find(fsm.DocTrigger, "hook")
		doc, err := store.Trigger(r.View(), d)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	before := sealed()
	shown := r.do(key, "GET", "/v1/tenants/acme/triggers/hook", "").want(200, `"type":"sealed"`)
	// A document comes back changed, with what stands for its secrets.
	r.do(key, "PUT", "/v1/tenants/acme/triggers/hook", strings.Replace(shown.body, `"again"`, `"third"`, 1)).want(200)
	after := sealed()
	if after.Name != "third" || after.Webhook.URL != before.Webhook.URL || *after.Webhook.Headers["Authorization"] != *before.Webhook.Headers["Authorization"] {
		t.Error("the secrets did not stay")
	}
	// What stands for one is no use elsewhere.
	r.do(key, "PUT", "/v1/tenants/acme/triggers/copy", shown.body).want(422)

	r.do(key, "GET", "/v1/tenants/acme/secrets", "").want(200, `"name":"sec"`)
	var all strings.Builder
	for i := range operations {
		o := &operations[i]
		if o.method == http.MethodGet {
			path, _ := request(o, "acme")
			all.WriteString(r.do(key, "GET", path, "").body)
			all.WriteString(r.do(r.key("", fsm.RoleOperator), "GET", path, "").body)
		}
	}
	all.WriteString(r.log.String())
	for _, secret := range []string{"rpc-key", "hook-key", "token-of", "stored of acme", "sealed:", key[18:]} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%q is told", secret)
		}
	}
	r.do(key, "GET", "/v1/tenants/acme/audit", "").want(200, "trigger.put", "third", "again", "(k)", "192.0.2.1", `"version":`)
}

func TestStoredSecretsInUse(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	key := r.key("acme", fsm.RoleAdmin)
	doc := strings.Replace(triggerDoc("h", "U"), `{"type":"plain","value":"U"}`, `{"type":"stored","value":"sec"}`, 1)
	r.do(key, "PUT", "/v1/tenants/acme/triggers/hook", doc).want(200)
	r.do(key, "DELETE", "/v1/tenants/acme/secrets/sec", "").want(409, `trigger \"hook\"`)
	index := r.View().Index()
	r.do(key, "PUT", "/v1/tenants/acme/secrets/sec", `{"value":"stored of acme"}`).want(204)
	if r.View().Index() != index {
		t.Error("the same secret was stored again")
	}
	r.do(key, "DELETE", "/v1/tenants/acme/secrets/sec?force=true", "").want(204)
	r.do(key, "DELETE", "/v1/tenants/acme/secrets/sec", "").want(404)
	r.do(key, "PUT", "/v1/tenants/acme/secrets/a%20b", `{"value":"x"}`).want(422, "path.name")
}

func TestFolderTenantsAreReadOnly(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	tenant, _ := r.View().Tenant("acme")
	r.must(&fsm.SetTenantVersion{Tenant: "files", Manifest: fsm.Manifest{Docs: tenant.Current.Manifest.Docs[1:2]}})
	r.must(&fsm.SetTenantVersion{Tenant: fsm.Shared})
	owner, operator := r.key("files", fsm.RoleOwner), r.key("", fsm.RoleOperator)
	r.do(owner, "GET", "/v1/tenants/files", "").want(200, `"source":"folder"`)
	for _, try := range [][3]string{
		{"PUT", "/v1/tenants/files/triggers/x", triggerDoc("x", "https://x.example")},
		{"PUT", "/v1/tenants/files/networks/x", networkDoc("x", "https://x.example", 1)},
		{"DELETE", "/v1/tenants/files/monitors/mon", ""},
		{"PUT", "/v1/networks/x", networkDoc("x", "https://x.example", 1)},
		{"PUT", "/v1/tenants/files/quota", `{"monitors":1}`},
		{"PUT", "/v1/tenants/files", ""},
		{"DELETE", "/v1/tenants/files", ""},
	} {
		r.do(operator, try[0], try[1], try[2]).want(409, "folder")
	}
	// What is not of the folder is its own.
	r.do(owner, "PUT", "/v1/tenants/files/secrets/s", `{"value":"x"}`).want(204)
	r.do(owner, "POST", "/v1/tenants/files/keys", `{"role":"viewer"}`).want(201)
}

func TestSharedNetworks(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	operator, member := r.key("", fsm.RoleOperator), r.key("acme", fsm.RoleAdmin)
	r.do(operator, "PUT", "/v1/networks/main", networkDoc("main", "https://main.example/key", 5)).want(201)
	r.do(operator, "PUT", "/v1/networks/stored", strings.Replace(networkDoc("stored", "U", 5), `{"type":"plain","value":"U"}`, `{"type":"stored","value":"x"}`, 1)).want(422, "body.rpc_urls[0].url")
	r.do(member, "PUT", "/v1/tenants/acme/monitors/two", monitorDoc("two", "main", "", "hook")).want(201, `"network":"main"`)
	r.do(operator, "DELETE", "/v1/networks/main", "").want(409, `tenant \"acme\"`)
	// A private one of the same slug comes first from now on.
	r.do(member, "PUT", "/v1/tenants/acme/networks/main", networkDoc("main", "https://acme.example/own", 7)).want(201)
	tenant, _ := r.View().Tenant("acme")
	if d, _ := tenant.Current.Manifest.Find(fsm.DocMonitor, "two"); d.Watches[0].Network != "acme/main" {
		t.Errorf("watches %+v", d.Watches)
	}
	r.do(operator, "DELETE", "/v1/networks/main", "").want(200)
	r.do(operator, "GET", "/v1/networks", "").want(200, `"items":[]`)
	r.do(operator, "GET", "/v1/audit", "").want(200, "sharednetwork.put", "sharednetwork.delete")
}

func TestQuotas(t *testing.T) {
	r := newRig(t)
	r.furnish("acme")
	operator, member := r.key("", fsm.RoleOperator), r.key("acme", fsm.RoleAdmin)
	r.do(member, "GET", "/v1/tenants/acme/quota", "").want(200, `"monitors":10000`, `"used":{"monitors":1,"networks":1,"triggers":1,`)
	r.do(operator, "PUT", "/v1/tenants/acme/quota", `{"monitors":1,"triggers_per_monitor":2}`).want(200, `"monitors":1,"networks":100`, `"own":{"monitors":1,"triggers_per_monitor":2}`)
	got := r.do(member, "GET", "/v1/tenants/acme/quota", "").want(200)
	r.do(operator, "PUT", "/v1/tenants/acme/quota", `{}`, `If-Match: "0"`).want(412, "headers.If-Match", strings.Trim(got.header.Get("ETag"), `"`))
	r.do(operator, "PUT", "/v1/tenants/acme/quota", `{"monitors":-1}`).want(422, "body.monitors")
	r.do(member, "PUT", "/v1/tenants/acme/monitors/two", monitorDoc("two", "net", "", "hook")).want(409, "2 monitors, allowed are 1")
	r.do(member, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("mon", "net", "", "hook", "hook", "hook")).want(409, "3 triggers of the monitor, allowed are 2")
	r.do(member, "PUT", "/v1/tenants/acme/monitors/mon", monitorDoc("mon", "net", "", "hook", "hook")).want(200)
}

func TestTenants(t *testing.T) {
	r := newRig(t)
	operator := r.key("", fsm.RoleOperator)
	for _, id := range []string{"b", "a", "c"} {
		r.do(operator, "PUT", "/v1/tenants/"+id, "").want(201, `"version":1`)
	}
	r.do(operator, "PUT", "/v1/tenants/a", "").want(200, `"version":1`)
	r.do(operator, "PUT", "/v1/tenants/Not%20a%20name", "").want(422, "path.tenant")
	var p Page[Tenant]
	r.do(operator, "GET", "/v1/tenants?limit=2", "").want(200).decode(&p)
	if len(p.Items) != 2 || p.Items[0].ID != "a" || p.Items[1].ID != "b" || p.Next == "" {
		t.Errorf("%+v", p)
	}
	r.do(operator, "GET", "/v1/tenants?cursor="+p.Next, "").want(200, `"id":"c"`)
	r.do(operator, "DELETE", "/v1/tenants/c", "").want(204)
	r.do(operator, "GET", "/v1/tenants/c", "").want(404)
	r.do(operator, "GET", "/v1/audit", "").want(200, "tenant.delete", `"object":"c"`)
	r.do(operator, "GET", "/v1/tenants/a/audit", "").want(200, "tenant.put")
}
