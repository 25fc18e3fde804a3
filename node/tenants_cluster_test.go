package node_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// asked is a request to a node's API; without a key it is the local socket's.
func asked(t *testing.T, m *testcluster.Member, key, method, path, body string, status int) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if key == "" {
		r = v1.As(r, v1.Actor{Name: "socket", Role: fsm.RoleOperator})
	}
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	m.Node().TenantAPI().ServeHTTP(w, r)
	if w.Code != status {
		t.Fatalf("%s %s by %s: %d, want %d: %s", method, path, m.Name, w.Code, status, w.Body)
	}
	return w
}

// A tenant is made through one node, configured through others, and alerted by
// whichever it is given to, also after the leader is gone.
func TestTenantOnAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 1})
		c.AwaitBegun()
		c.Traffic()
		members := c.Members()
		index := asked(t, members[0], "", "PUT", "/v1/tenants/acme", "", 201).Header().Get("X-Ozmo-Index")
		made := asked(t, members[1], "", "POST", "/v1/tenants/acme/keys?index="+index, `{"role":"admin"}`, 201)
		var k v1.NewKey
		if err := json.Unmarshal(made.Body.Bytes(), &k); err != nil {
			t.Fatal(err)
		}
		document := func(path string) string {
			data, err := os.ReadFile(filepath.Join(c.Folder(), "tenants/t000", path))
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(string(data), "t000", "acme")
		}
		var hook map[string]json.RawMessage
		if err := json.Unmarshal([]byte(document("triggers/hook.json")), &hook); err != nil {
			t.Fatal(err)
		}
		// The key may not be everywhere yet.
		c.Eventually(5*time.Second, func() error {
			if _, ok := members[2].Node().View().Key(k.ID); !ok {
				return fmt.Errorf("key %s is not known", k.ID)
			}
			return nil
		})
		asked(t, members[2], k.Text, "PUT", "/v1/tenants/acme/triggers/hook", string(hook["hook"]), 201)
		w := asked(t, members[0], k.Text, "PUT", "/v1/tenants/acme/monitors/m-1", document("monitors/transfers.json"), 201)
		for _, m := range members {
			asked(t, m, k.Text, "GET", "/v1/tenants/acme/monitors/m-1?index="+w.Header().Get("X-Ozmo-Index"), "", 200)
		}
		alerted := func(after int) {
			t.Helper()
			c.Eventually(time.Minute, func() error {
				n := 0
				for _, d := range c.Receiver.Deliveries() {
					if d.Tenant == "acme" {
						n++
					}
				}
				if n <= after {
					return fmt.Errorf("%d alerts for acme, want more than %d", n, after)
				}
				return nil
			})
		}
		alerted(0)

		leader := c.Leader()
		leader.Kill()
		seen := len(c.Receiver.Deliveries())
		for _, m := range c.Running() {
			changed := strings.Replace(document("monitors/transfers.json"), `"transfers"`, fmt.Sprintf("%q", "by "+m.Name), 1)
			// Held until there is a leader again.
			asked(t, m, k.Text, "PUT", "/v1/tenants/acme/monitors/m-1", changed, 200)
		}
		alerted(seen)
	})
}

// A log index is waited for on any node, also by one that was cut off.
func TestIndexIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 1})
		c.AwaitBegun()
		for _, m := range c.Members() {
			began := time.Now()
			w := asked(t, m, "", "GET", fmt.Sprintf("/v1/tenants/t000?index=%d", c.View().Index()+1000), "", 503)
			if took := time.Since(began); took < 5*time.Second || took > 6*time.Second || w.Header().Get("Retry-After") != "1" {
				t.Errorf("node %s: after %v, %v", m.Name, took, w.Header())
			}
		}
		leader := c.Leader()
		var behind *testcluster.Member
		var others []string
		for _, m := range c.Members() {
			if m != leader && behind == nil {
				behind = m
			} else {
				others = append(others, m.Name)
			}
		}
		c.Partition([]string{behind.Name}, others)
		index := asked(t, leader, "", "PUT", "/v1/tenants/acme", "", 201).Header().Get("X-Ozmo-Index")
		asked(t, behind, "", "GET", "/v1/tenants/acme", "", 404)
		time.AfterFunc(2*time.Second, c.Heal)
		asked(t, behind, "", "GET", "/v1/tenants/acme?index="+index, "", 200)
	})
}
