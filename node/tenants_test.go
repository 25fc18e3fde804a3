package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// call asks the HTTP port and expects a status.
func (r *rig) call(key, method, path, body string, status int) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.node.Listen()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != status {
		r.t.Fatalf("%s %s: %s, want %d: %s\n%s", method, path, resp.Status, status, data, r.log)
	}
	return string(data)
}

// file is a document of the rig's folder.
func (r *rig) file(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.config, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// documents are those that the rig would have in its folder.
func (r *rig) documents() (network, trigger, monitor string) {
	var byID map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.file("triggers/hook.json")), &byID); err != nil {
		r.t.Fatal(err)
	}
	return r.file("networks/fake.json"), string(byID["hook"]), r.file("monitors/all.json")
}

func (r *rig) newKey(tenant, role string) string {
	r.t.Helper()
	k, err := client.New(r.data).CreateKey(r.t.Context(), tenant, v1.KeyRequest{Role: role, Name: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	return k.Text
}

// TestTenantOverHTTP makes a tenant with all it takes to be alerted, over HTTP alone.
func TestTenantOverHTTP(t *testing.T) {
	r := newRig(t)
	network, trigger, monitor := r.documents()
	r.config = "" // no folder
	r.start()
	r.call("", "GET", "/v1/tenants", "", 401)
	operator := r.newKey("", "")
	r.call(operator, "GET", "/v1/status", "", 200)
	r.call(operator, "GET", "/v1/health", "", 200)
	r.call(operator, "PUT", "/v1/tenants/acme", "", 201)
	admin := r.newKey("acme", "admin")
	r.call(admin, "PUT", "/v1/tenants/acme/networks/fake", network, 201)
	r.call(admin, "PUT", "/v1/tenants/acme/triggers/hook", trigger, 201)
	r.call(admin, "PUT", "/v1/tenants/acme/monitors/an-id", monitor, 201)
	eventually.Nil(t, func() error {
		if n, ok := r.node.View().Network("acme/fake"); !ok || n.Next < 2 {
			return fmt.Errorf("nothing announced of acme/fake\n%s", r.log)
		}
		return nil
	})
	r.expect("All transfers", r.transfer(5))

	// A new name for the same monitor, and its secrets as they were shown.
	hook := r.call(admin, "GET", "/v1/tenants/acme/triggers/hook", "", 200)
	if strings.Contains(hook, signingSecret) || strings.Contains(hook, r.receiver.URL) {
		t.Errorf("the trigger is shown with its secrets: %s", hook)
	}
	r.call(admin, "PUT", "/v1/tenants/acme/triggers/hook", strings.Replace(hook, `"Hook"`, `"Another"`, 1), 200)
	answered := r.call(admin, "PUT", "/v1/tenants/acme/monitors/an-id", strings.Replace(monitor, "All transfers", "Renamed", 1), 200)
	var w v1.Written
	if err := json.Unmarshal([]byte(answered), &w); err != nil || len(w.Effect) != 1 || w.Effect[0].Position < 3 || w.Effect[0].Height <= 1000 {
		t.Errorf("%v: %s", err, answered)
	}
	r.expect("Renamed", r.transfer(6))
	eventually.Nil(t, func() error {
		if body := r.call(admin, "GET", "/v1/tenants/acme/coverage?network=fake", "", 200); !strings.Contains(body, `"judged"`) {
			return fmt.Errorf("coverage: %s", body)
		}
		return nil
	})

	// A delivery that fails is listed, and made once it can be.
	r.receiver.set(503)
	missed := r.transfer(7)
	var list v1.Page[struct {
		Key, Trigger string
	}]
	eventually.Nil(t, func() error {
		body := r.call(admin, "GET", "/v1/tenants/acme/deliveries", "", 200)
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Items) != 1 {
			return fmt.Errorf("%w: %s", err, body)
		}
		return nil
	})
	r.call(admin, "GET", "/v1/tenants/acme/deliveries/"+list.Items[0].Key, "", 200)
	r.receiver.set(0)
	r.call(admin, "POST", "/v1/tenants/acme/deliveries/"+list.Items[0].Key+"/redeliver", "", 204)
	r.expect("Renamed", missed)

	// All of it outlives a restart.
	r.stop()
	r.start()
	r.call(admin, "GET", "/v1/tenants/acme/monitors/an-id", "", 200)
	r.expect("Renamed", r.transfer(8))
	owner := r.newKey("acme", "owner")
	if log := r.call(owner, "GET", "/v1/tenants/acme/audit", "", 200); !strings.Contains(log, `"monitor.put"`) || !strings.Contains(log, `"socket"`) || strings.Contains(log, signingSecret) {
		t.Errorf("audit log: %s", log)
	}
	r.call(operator, "DELETE", "/v1/tenants/acme", "", 204)
	r.call(admin, "GET", "/v1/tenants/acme", "", 401)
}

// TestFolderAndAPI has a folder beside tenants of the API: neither changes what is
// the other's.
func TestFolderAndAPI(t *testing.T) {
	r := newRig(t)
	network, trigger, monitor := r.documents()
	r.start()
	operator := r.newKey("", "")
	r.call(operator, "PUT", "/v1/tenants/acme", "", 201)
	r.call(operator, "PUT", "/v1/tenants/acme/triggers/hook", trigger, 201)
	r.call(operator, "PUT", "/v1/tenants/acme/monitors/mine", strings.Replace(monitor, "All transfers", "Mine", 1), 201) // on the folder's network
	r.call(operator, "PUT", "/v1/tenants/default/monitors/x", monitor, 409)
	r.call(operator, "PUT", "/v1/networks/other", r.file("networks/fake.json"), 409)
	r.expect("Mine", r.transfer(3))

	c := client.New(r.data)
	if err := c.SetSecret(t.Context(), api.Secret{Tenant: "default", Name: "s", Value: "never told"}); err != nil {
		t.Fatal(err)
	}
	log := r.call(operator, "GET", "/v1/tenants/default/audit", "", 200)
	for _, text := range []string{`"actor":"folder","address":"test","action":"tenant.put"`, `"actor":"socket","role":"operator","action":"secret.put","object":"s"`} {
		if !strings.Contains(log, text) {
			t.Errorf("%s is not in the audit log %s", text, log)
		}
	}
	if strings.Contains(log, "never told") {
		t.Errorf("audit log: %s", log)
	}

	// The folder does not know acme, and takes its network away.
	if err := os.Remove(filepath.Join(r.config, "networks/fake.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.config, "monitors/all.json")); err != nil {
		t.Fatal(err)
	}
	if done, err := c.Reload(t.Context()); err != nil || len(done.Removed) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	r.call(operator, "GET", "/v1/tenants/acme/monitors/mine", "", 200)
	r.expect("Mine", r.transfer(4))

	// A tenant of the folder cannot take over the one of the API.
	r.write("tenants/acme/networks/fake.json", network)
	r.write("tenants/acme/triggers/hook.json", r.file("triggers/hook.json"))
	r.write("tenants/acme/monitors/m.json", monitor)
	done, err := c.Reload(t.Context())
	if err != nil || len(done.Refused) != 1 || done.Refused[0] != "acme" || !strings.Contains(r.log.String(), "was made over the API") {
		t.Errorf("%+v, %v\n%s", done, err, r.log)
	}
	if tenant, _ := r.node.View().Tenant("acme"); tenant.Current.Number != 3 {
		t.Errorf("acme has version %d", tenant.Current.Number)
	}
}
