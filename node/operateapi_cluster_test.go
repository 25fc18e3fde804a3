package node_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// Operators run the cluster over the API of any node: the leader does it, and the audit
// log says who had it done.
func TestOperateFromAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 3, Voters: 3, Tenants: 3})
		leader := c.Leader()
		var followers []*testcluster.Member
		for _, m := range c.Members() {
			if m != leader {
				followers = append(followers, m)
			}
		}
		by, other := followers[0], followers[1]
		var nodes v1.Page[api.NodeStatus]
		if err := json.Unmarshal(asked(t, by, "", "GET", "/v1/nodes", "", 200).Body.Bytes(), &nodes); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes.Items {
			if n.State != api.NodeReady || n.Contact < 0 {
				t.Errorf("a follower tells of %s: %s, contact %v", n.Name, n.State, n.Contact)
			}
		}
		if len(nodes.Items) != 3 {
			t.Errorf("%d nodes", len(nodes.Items))
		}

		asked(t, by, "", "POST", "/v1/nodes/"+other.Name+"/drain", "", 204)
		if n, _ := by.Node().View().Node(other.Name); n.Drain != fsm.DrainOperator {
			t.Errorf("drain %v", n.Drain)
		}
		c.Eventually(time.Minute, func() error {
			if owned := c.Owned(c.View(), other.Name); len(owned) > 0 {
				return fmt.Errorf("%s still has %v", other.Name, owned)
			}
			return nil
		})
		refused := asked(t, by, "", "POST", "/v1/leases/move", fmt.Sprintf(`{"network":%q,"to":%q}`, network(c), other.Name), 409)
		if !strings.Contains(refused.Body.String(), "is drained") {
			t.Errorf("%s", refused.Body)
		}
		asked(t, by, "", "POST", "/v1/nodes/nobody/drain", "", 404)
		asked(t, by, "", "DELETE", "/v1/nodes/"+other.Name+"/drain", "", 204)
		asked(t, by, "", "POST", "/v1/leases/move", fmt.Sprintf(`{"network":%q,"to":%q}`, network(c), other.Name), 204)
		if n, _ := by.Node().View().Network(network(c)); n.Lease.Holder != other.Name || !n.Lease.Pinned {
			t.Errorf("lease %+v", n.Lease)
		}
		placed := asked(t, by, "", "PUT", "/v1/tenants/t001/placement", fmt.Sprintf(`{"pin":%q,"priority":3}`, other.Name), 200)
		if !strings.Contains(placed.Body.String(), `"priority":3`) {
			t.Errorf("%s", placed.Body)
		}
		c.Eventually(time.Minute, func() error {
			list := asked(t, by, "", "GET", "/v1/assignments?node="+other.Name, "", 200).Body.String()
			if !strings.Contains(list, `"tenant":"t001"`) {
				return fmt.Errorf("%s", list)
			}
			return nil
		})
		asked(t, by, "", "POST", "/v1/rebalance?dry_run=true", "", 200)

		log := asked(t, by, "", "GET", "/v1/audit", "", 200).Body.String()
		for _, action := range []string{"node.drain", "node.undrain", "lease.move"} {
			if n := strings.Count(log, `"action":"`+action+`"`); n != 1 {
				t.Errorf("%s is there %d times: %s", action, n, log)
			}
		}
		if !strings.Contains(log, `"actor":"socket"`) {
			t.Errorf("nobody did it: %s", log)
		}
		// By the command, which says as much.
		if err := by.Node().MoveLease(t.Context(), api.LeaseMove{Network: network(c)}); err != nil {
			t.Fatal(err)
		}
		if log := asked(t, by, "", "GET", "/v1/audit", "", 200).Body.String(); !strings.Contains(log, `"after":"to `+other.Name+`"`) || !strings.Contains(log, `"after":"to any node"`) {
			t.Errorf("it is not said where the network went: %s", log)
		}
		if own := asked(t, by, "", "GET", "/v1/tenants/t001/audit", "", 200).Body.String(); !strings.Contains(own, `"placement.put"`) {
			t.Errorf("%s", own)
		}
	})
}

// network is the one that the cluster watches.
func network(c *testcluster.Cluster) string {
	for n := range c.View().Networks() {
		return n.Key
	}
	return ""
}
