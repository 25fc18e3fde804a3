package node_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// What was handed to the outbox was delivered only if somebody accepted it. What was
// purged since can be sent after all, before and after its block is final.
func TestReplayOfWhatWasPurged(t *testing.T) {
	for name, final := range map[string]bool{"in the ledger": false, "final": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testcluster.New(t, testcluster.Options{Tenants: 1})
				c.Receiver.Refuse(http.StatusServiceUnavailable)
				from := c.Extend("net", 2).Number
				c.Extend("net", 0) // what the monitor judges lies one deep
				c.Eventually(settle, func() error {
					if n := c.View().OutboxLen(); n != 2 {
						return fmt.Errorf("%d in the outbox", n)
					}
					return nil
				})
				q := api.Replay{Tenant: "t000", Monitor: "transfers", Network: "net", From: from, To: from}
				replay(t, c, q).want(t, 2, api.BeforeYes, "in the outbox")
				one := ""
				for o := range c.View().OutboxOf("t000") {
					one = o.Key
				}
				n := c.Leader().Node()
				if done, err := n.ChangeDeliveries(t.Context(), "purge", api.DeliveryOrder{Keys: []string{one}}); err != nil || done.Done != 1 {
					t.Fatalf("%+v, %v", done, err)
				}
				c.Receiver.Refuse(0)
				c.Eventually(settle, func() error { return countKeys(c, 1) })
				if final {
					for range 2 * fsm.DefaultWindow {
						c.Extend("net", 0)
					}
					c.Extend("net", 0)
					c.Rest()
				}
				dry := replay(t, c, q)
				if dry.Before != 1 || dry.Unknown != 1 {
					t.Errorf("of one accepted and one purged: %+v", dry.Replayed)
				}
				for _, m := range dry.matches {
					for _, d := range m.Deliveries {
						if want := map[bool]api.Before{true: api.BeforeUnknown, false: api.BeforeYes}[d.Key == one]; d.Before != want {
							t.Errorf("%s: %s, want %s", d.How, d.Before, want)
						}
					}
				}
				q.Send = true
				if out := replay(t, c, q); out.Sent != 0 {
					t.Errorf("what is not known was sent: %+v", out.Replayed)
				}
				q.IncludeUnknown = true
				if out := replay(t, c, q); out.Sent != 1 {
					t.Errorf("sent %+v, want the purged one", out.Replayed)
				}
				c.Eventually(settle, func() error { return countKeys(c, 2) })
				again := replay(t, c, q)
				again.want(t, 2, api.BeforeYes, "journal: accepted")
				if again.Sent != 0 || deliveredKeys(c)[one] != 1 {
					t.Errorf("%+v, %d times", again.Replayed, deliveredKeys(c)[one])
				}
			})
		})
	}
}
