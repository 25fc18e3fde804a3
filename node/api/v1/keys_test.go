package v1

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/fsm"
)

func TestKeyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := newKeyText()
		got, ok := parseKeyText(k.reveal())
		if !ok || got != k {
			t.Fatalf("%s came back as %v", k.reveal(), got)
		}
		if strings.Contains(fmt.Sprint(k), k.secret) {
			t.Fatal("the secret is shown")
		}
		text := rapid.String().Draw(t, "text")
		if got, ok := parseKeyText(text); ok && got.reveal() != text {
			t.Fatalf("%q is read as %q", text, got.reveal())
		}
	})
}

func FuzzKeyText(f *testing.F) {
	f.Add(newKeyText().reveal())
	f.Add("ozmo__")
	f.Fuzz(func(t *testing.T, text string) {
		if k, ok := parseKeyText(text); ok && k.reveal() != text {
			t.Fatalf("%q is read as %q", text, k.reveal())
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor("monitor.list", "a monitor"))
	f.Add(cursor("audit.list", "12"))
	f.Fuzz(func(t *testing.T, text string) {
		p := Paging{Cursor: text}
		_, _ = p.after()
		_, _ = p.before()
		_, _ = readPlace(text)
		_, _ = readRank(text, "matches")
		if list, last, ok := readCursor(text); ok {
			if again, end, ok := readCursor(cursor(list, last)); !ok || again != list || end != last {
				t.Errorf("%q is read as %q %q, and again as %q %q", text, list, last, again, end)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	owner, operator := r.key("acme", fsm.RoleOwner), r.key("", fsm.RoleOperator)
	var made NewKey
	expires := r.now.Add(time.Hour)
	body, err := json.Marshal(KeyRequest{Role: "member", Name: "ci", Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	r.do(owner, "POST", "/v1/tenants/acme/keys", string(body)).want(201).decode(&made)
	if k, ok := r.View().Key(made.ID); !ok || k.Role != fsm.RoleMember || k.Tenant != "acme" || !strings.HasPrefix(k.By, "key:") || strings.Contains(made.Text, k.Hash.String()[2:]) {
		t.Fatalf("%+v", k)
	}
	r.do(made.Text, "GET", "/v1/tenants/acme", "").want(200)
	r.do(made.Text, "GET", "/v1/tenants/acme/keys", "").want(403, "takes a key of role owner, this one is of role member")
	list := r.do(owner, "GET", "/v1/tenants/acme/keys", "").want(200, made.ID, `"name":"ci"`)
	if strings.Contains(list.body, made.Text[18:]) {
		t.Error("the secret of a key is shown again")
	}
	r.now = expires.Add(-time.Second)
	r.do(made.Text, "GET", "/v1/tenants/acme", "").want(200)
	r.now = expires
	r.do(made.Text, "GET", "/v1/tenants/acme", "").want(401)
	r.do(owner, "GET", "/v1/tenants/acme/keys", "").want(200, `"expired":true`)
	r.do(owner, "DELETE", "/v1/tenants/acme/keys/"+made.ID, "").want(204)
	r.do(owner, "DELETE", "/v1/tenants/acme/keys/"+made.ID, "").want(404)

	r.do(owner, "POST", "/v1/tenants/acme/keys", `{"role":"operator"}`).want(422, "body.role")
	r.do(owner, "POST", "/v1/tenants/acme/keys", `{"role":"viewer","expires":"2001-01-01T00:00:00Z"}`).want(422, "body.expires")
	r.do(operator, "POST", "/v1/keys", `{"name":"ops"}`).want(201).decode(&made)
	r.do(made.Text, "GET", "/v1/keys", "").want(200, `"role":"operator"`, "ops")
	r.do(operator, "DELETE", "/v1/tenants/acme/keys/"+made.ID, "").want(404) // it is no tenant's
	r.do(operator, "DELETE", "/v1/keys/"+made.ID, "").want(204)
	r.do(made.Text, "GET", "/v1/keys", "").want(401)
	// A tenant's key is not deleted as an operator's.
	k, _ := parseKeyText(owner)
	r.do(operator, "DELETE", "/v1/keys/"+k.id, "").want(404)
}

func TestAuthentication(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key := r.key("acme", fsm.RoleViewer)
	k, _ := parseKeyText(key)
	wrong := keyText{id: k.id, secret: strings.Repeat("a", 32)}.reveal()
	var said string
	for _, header := range []string{
		"Bearer " + wrong, "Bearer " + newKeyText().reveal(), "Basic " + key, "Bearer", "Bearer x", key, "Bearer " + strings.ToUpper(key), "Bearer " + key + "a",
	} {
		got := r.do("", "GET", "/v1/tenants/acme", "", "Authorization: "+header).want(401)
		if got.header.Get("WWW-Authenticate") == "" {
			t.Error("it is not said how to authenticate")
		}
		if said == "" {
			said = got.plainly()
		}
		if got.plainly() != said {
			t.Errorf("%q is refused in another way: %s", header, got.body)
		}
	}
	r.do("", "GET", "/v1/tenants/acme", "", "Authorization: bearer  "+key).want(200)
	r.do("", "GET", "/v1/tenants/acme", "", "Authorization: Bearer "+key, requestHeader+": mine-1").want(200)
	got := r.do("", "GET", "/v1/tenants/acme", "", requestHeader+": mine-1").want(401, "urn:ozmo:request:mine-1")
	if got.header.Get(requestHeader) != "mine-1" {
		t.Errorf("request id %q", got.header.Get(requestHeader))
	}
	if id := r.do(key, "GET", "/v1/tenants/acme", "", requestHeader+": a b\"c").header.Get(requestHeader); len(id) != 16 {
		t.Errorf("request id %q", id)
	}
}

func TestThrottle(t *testing.T) {
	r := newRig(t)
	r.tenant("acme")
	key, other := r.key("acme", fsm.RoleViewer), r.key("acme", fsm.RoleViewer)
	k, _ := parseKeyText(key)
	wrong := func() string { return keyText{id: k.id, secret: newKeyText().secret}.reveal() }
	for range maxFailures {
		r.do(wrong(), "GET", "/v1/tenants/acme", "").want(401)
	}
	got := r.do(wrong(), "GET", "/v1/tenants/acme", "").want(http.StatusTooManyRequests)
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	r.do(key, "GET", "/v1/tenants/acme", "").want(429)   // not looked at
	r.do(other, "GET", "/v1/tenants/acme", "").want(200) // behind the same proxy
	r.now = r.now.Add(time.Second)
	r.do(wrong(), "GET", "/v1/tenants/acme", "").want(401)
	r.do(wrong(), "GET", "/v1/tenants/acme", "").want(429)
	r.now = r.now.Add(time.Second)
	r.do(key, "GET", "/v1/tenants/acme", "").want(200)
	// One that is not there is throttled as one that is.
	id := newKeyText().id
	for range maxFailures {
		r.do(keyText{id, newKeyText().secret}.reveal(), "GET", "/v1/tenants/acme", "").want(401)
	}
	r.do(keyText{id, newKeyText().secret}.reveal(), "GET", "/v1/tenants/acme", "").want(429)
}

func TestThrottleIsBounded(t *testing.T) {
	now := time.UnixMilli(1)
	h := newThrottle(func() time.Time { return now })
	for i := range 3 * keptThrottles {
		h.failed(throttled{key: fmt.Sprint(i)})
		if len(h.buckets) > keptThrottles {
			t.Fatalf("%d buckets", len(h.buckets))
		}
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:99": "192.0.2.1/32", "[::ffff:192.0.2.1]:99": "192.0.2.1/32", "[2001:db8:1:2:3:4:5:6]:9": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:9": "fe80::/64", "@": "invalid Prefix", "": "invalid Prefix",
	} {
		if got := source(remote).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}

// Whom the caller vouches for needs no key, and is named in the audit log.
func TestAs(t *testing.T) {
	r := newRig(t)
	do := func(who Actor, method, path, body string) answer {
		t.Helper()
		req, w := newRequest(method, path, body)
		r.api.ServeHTTP(w, As(req, who))
		return answer{t, w.Code, w.Header(), w.Body.String()}
	}
	socket := Actor{Name: "socket", Role: fsm.RoleOperator}
	afar := Actor{Name: "operator:alice", Role: fsm.RoleOperator, Afar: true}
	do(socket, "POST", "/v1/keys", `{"name":"first"}`).want(201)
	do(afar, "POST", "/v1/keys", `{"name":"second"}`).want(409, "outlast")
	do(afar, "PUT", "/v1/tenants/acme", "").want(201)
	do(afar, "POST", "/v1/tenants/acme/keys", `{"role":"owner"}`).want(201, `"created_by":"operator:alice"`)
	do(socket, "GET", "/v1/audit", "").want(200, `"actor":"socket"`)
}

// The committed document is what the program serves.
func TestOpenAPI(t *testing.T) {
	got, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(committed) {
		t.Error("docs/openapi.json is not what `ozmo openapi` prints: write it anew")
	}
	r := newRig(t)
	if served := r.do("", "GET", "/v1/openapi.json", "").want(200); served.body != string(got) {
		t.Error("another document is served")
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(got, &doc); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range doc.Paths {
		found += len(path)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || found != len(operations) {
		t.Errorf("version %s, %d operations of %d", doc.OpenAPI, found, len(operations))
	}
	for i := range operations {
		if o := &operations[i]; doc.Paths[o.path][strings.ToLower(o.method)].OperationID != o.id {
			t.Errorf("%s is not in the document", o.id)
		}
	}
}
