package node_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// A tenant over its quotas is alerted later, and told why; what it has caused is known.
func TestQuotasOfATenant(t *testing.T) {
	r := newRig(t)
	network, trigger, monitor := r.documents()
	r.config = "" // no folder
	r.start()
	operator := r.newKey("", "")
	r.call(operator, "PUT", "/v1/tenants/acme", "", 201)
	admin := r.newKey("acme", "admin")
	r.call(admin, "PUT", "/v1/tenants/acme/networks/fake", network, 201)
	r.call(admin, "PUT", "/v1/tenants/acme/triggers/hook", trigger, 201)
	r.call(admin, "PUT", "/v1/tenants/acme/monitors/an-id", monitor, 201)
	r.call(operator, "PUT", "/v1/tenants/acme/quota", `{"notifications_per_hour":4,"rpc_per_minute":600000}`, 200)
	eventually.Nil(t, func() error {
		if n, ok := r.node.View().Network("acme/fake"); !ok || n.Next < 2 {
			return fmt.Errorf("nothing announced of acme/fake\n%s", r.log)
		}
		return nil
	})
	first := r.transfer(5)
	r.expect("All transfers", first)
	for range 2 {
		r.transfer(6)
	}
	var u v1.TenantUsage
	eventually.Nil(t, func() error {
		body := r.call(admin, "GET", "/v1/tenants/acme/usage", "", 200)
		u = v1.TenantUsage{}
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			return err
		}
		if u.Total.Held != 2 || u.Total.Sent != 1 || u.Total.Matches != 3 || u.Total.Blocks < 3 || u.Stored.Outbox == 0 {
			return fmt.Errorf("usage %s\n%s", body, r.log)
		}
		return nil
	})
	if u.Total.RPCCalls < 4 || u.Total.BytesDelivered == 0 || u.Total.Evaluation <= 0 || u.Missing != 0 {
		t.Errorf("usage %+v", u)
	}
	if n := u.Notifications; n == nil || n.Limit != 4 || n.Left != 0 || n.Again.IsZero() || u.RPC == nil || u.RPC.Limit != 600000 {
		t.Errorf("left %+v, %+v", u.Notifications, u.RPC)
	}

	var list api.DeliveryList
	eventually.Nil(t, func() (err error) { // each is held before it is in the outbox
		if list, err = client.New(r.data).ListDeliveries(t.Context(), api.DeliveryChoice{Tenant: "acme"}); err == nil && len(list.Deliveries) != 2 {
			err = fmt.Errorf("%d deliveries", len(list.Deliveries))
		}
		return err
	})
	for _, d := range list.Deliveries {
		if !strings.Contains(d.Error, "quota of 4 notifications an hour") || d.Attempts != 0 || d.Held == nil || d.Held.Quota != 4 {
			t.Errorf("delivery %+v, held %+v", d, d.Held)
		}
	}
	if body := r.call(admin, "GET", "/v1/tenants/acme/deliveries", "", 200); strings.Count(body, "quota of 4 notifications an hour") != 2 {
		t.Errorf("deliveries %s", body)
	}
	all := r.call(operator, "GET", "/v1/usage?sort=notifications_sent", "", 200)
	if !strings.Contains(all, `"tenant":"acme"`) || !strings.Contains(all, `"notifications_sent":1`) {
		t.Errorf("of all: %s", all)
	}
	page, err := client.New(r.data).TopUsage(t.Context(), u.From, u.To, "rpc_calls", 10)
	if err != nil || len(page.Items) != 1 || page.Items[0].RPCCalls < 4 {
		t.Errorf("of all, over the socket: %+v, %v", page, err)
	}

	// Whoever tries a trigger does not wait for the quota, and what a replay hands over does.
	tried, err := client.New(r.data).TestTrigger(t.Context(), api.TriggerTest{Tenant: "acme", Trigger: "hook"})
	if err != nil || !tried.OK {
		t.Errorf("%+v, %v", tried, err)
	}
	r.call(admin, "PUT", "/v1/tenants/acme/monitors/late", strings.Replace(monitor, "All transfers", "Late", 1), 201)
	n, _ := r.node.View().Network("acme/fake")
	tip, _ := n.Branch.Tip()
	head := tip.Height
	done, err := client.New(r.data).Replay(t.Context(), api.Replay{Tenant: "acme", Monitor: "late", Network: "fake", From: head - 5, To: head - 1, Send: true}, nil, nil)
	if err != nil || done.Sent != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	eventually.Nil(t, func() error {
		body := r.call(admin, "GET", "/v1/tenants/acme/usage", "", 200)
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			return err
		}
		if left := time.Until(u.Notifications.Again); u.Total.Sent != 2 || u.Notifications.Left != 0 || left < 15*time.Minute {
			return fmt.Errorf("%d sent, more in %v: %s", u.Total.Sent, left, body)
		}
		return nil
	})
	if list, err := client.New(r.data).ListDeliveries(t.Context(), api.DeliveryChoice{Tenant: "acme"}); err != nil || len(list.Deliveries) != 5 || r.receiver.count("Late") != 0 {
		t.Errorf("%d wait, %d have come, %v", len(list.Deliveries), r.receiver.count("Late"), err)
	}

	// What is kept outlasts the process.
	r.stop()
	r.start()
	again := r.call(admin, "GET", "/v1/tenants/acme/usage", "", 200)
	if err := json.Unmarshal([]byte(again), &u); err != nil || u.Total.Held < 2 || u.Total.Matches < 3 {
		t.Errorf("after a restart: %v, %s", err, again)
	}
}
