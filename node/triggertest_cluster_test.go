package node_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// A sample goes the way of real alerts, once, and stays nowhere.
func TestTriggerTestByANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1})
		n := c.Member("a").Node()
		q := api.TriggerTest{Tenant: "t000", Trigger: "hook", Monitor: "transfers"}
		done, err := n.TestTrigger(t.Context(), q)
		if err != nil || !done.OK || done.Status != http.StatusNoContent || done.Node != "a" {
			t.Fatalf("%+v, %v", done, err)
		}
		got := c.Receiver.Deliveries()
		if len(got) != 1 || got[0].Key != done.Key || got[0].Network != "net" || got[0].State != "fired" {
			t.Errorf("%+v", got)
		}
		// One that is refused is neither repeated nor kept.
		c.Receiver.Refuse(http.StatusServiceUnavailable)
		q.State = "retracted"
		if done, err = n.TestTrigger(t.Context(), q); err != nil || done.OK || done.Status != http.StatusServiceUnavailable || done.Error == "" {
			t.Errorf("%+v, %v", done, err)
		}
		if v := n.View(); v.OutboxLen()+v.DeadLen() != 0 {
			t.Errorf("%d in the outbox, %d dead letters", v.OutboxLen(), v.DeadLen())
		}
		for _, bad := range []struct {
			q    api.TriggerTest
			says string
		}{
			{api.TriggerTest{Tenant: "t00", Trigger: "hook"}, `did you mean "t000"?`},
			{api.TriggerTest{Tenant: "t000", Trigger: "hok"}, `did you mean "hook"?`},
			{api.TriggerTest{Tenant: "t000", Trigger: "hook", Monitor: "transfer"}, `did you mean "transfers"?`},
		} {
			if _, err := n.TestTrigger(t.Context(), bad.q); !errors.Is(err, fsm.ErrNotFound) || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("%+v: %v", bad.q, err)
			}
		}
	})
}
