package node_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// What a tenant names is not connected to where the operator has not allowed it,
// and says so: a webhook in its dead letter, an endpoint as the reason why the
// network stands still. The operator's own endpoints are not guarded.
func TestTenantsAddressesAreGuarded(t *testing.T) {
	r := newRig(t)
	r.allow = nil
	r.monitor("tenants/acme/monitors/own.json", "Own", "")
	monitor := filepath.Join(r.config, "tenants/acme/monitors/own.json")
	text, err := os.ReadFile(monitor)
	if err != nil {
		t.Fatal(err)
	}
	r.write("tenants/acme/monitors/own.json", strings.Replace(string(text), `"fake"`, `"own"`, 1))
	r.write("tenants/acme/networks/own.json", fmt.Sprintf(`{"network_type":"EVM","slug":"own","name":"Own",
		"rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":%q},"weight":100},{"type_":"rpc","url":{"type":"plain","value":%q},"weight":50}],
		"chain_id":1,"block_time_ms":1000,"confirmation_blocks":1,"cron_schedule":"*/1 * * * * *","poll_interval":"100ms"}`, r.endpoint.URL(), r.endpoint.WSURL()))
	hook, err := os.ReadFile(filepath.Join(r.config, "triggers/hook.json"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("tenants/acme/triggers/hook.json", string(hook))
	r.begin()

	eventually.Nil(t, func() error {
		const want = `ozmo_watcher_stalled_seconds{network="acme/own",reason="forbidden"}`
		resp, err := http.Get("http://" + r.node.Listen() + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		metrics, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(metrics), want) {
			err = fmt.Errorf("no %s in the metrics", want)
		}
		return err
	})
	if log := r.log.String(); !strings.Contains(log, "--egress-allow 127.0.0.1") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}
	eventually.Nil(t, func() error {
		r.transfer(1) // of the shared network, which is watched
		for d := range r.node.View().DeadLetters() {
			if d.Tenant != "default" || !strings.Contains(d.Reason, "a loopback address") || !strings.Contains(d.Reason, "--egress-allow") {
				return fmt.Errorf("dead letter of %s: %s", d.Tenant, d.Reason)
			}
			return nil
		}
		return fmt.Errorf("no dead letter\n%s", r.log)
	})
	if n := r.receiver.count("All transfers"); n != 0 {
		t.Errorf("%d deliveries went through", n)
	}
}
