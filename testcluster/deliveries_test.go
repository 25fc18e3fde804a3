package testcluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// Whichever node is asked knows what all have sent; one that cannot be asked is
// named.
func TestDeliveriesOfAllNodes(t *testing.T) {
	run(t, Options{Tenants: 4}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(5 * time.Second)
		c.Rest()
		choice := api.DeliveryChoice{Statuses: []api.DeliveryStatus{api.DeliverySent}}
		got := map[string]bool{}
		for _, d := range c.Receiver.Deliveries() {
			got[d.Key] = true
		}
		for _, m := range c.Running() {
			list, err := m.Node().ListDeliveries(t.Context(), choice)
			if err != nil || len(list.Silent) > 0 {
				t.Fatalf("%s: %v silent, %v", m.Name, list.Silent, err)
			}
			told := map[string]bool{}
			for _, d := range list.Deliveries {
				if !got[d.Key] {
					t.Errorf("%s tells of %+v, which nobody has received", m.Name, d)
				}
				told[d.Key] = true
			}
			if len(told) != len(got) || len(got) == 0 {
				t.Errorf("%s tells of %d deliveries, %d were received", m.Name, len(told), len(got))
			}
			some := list.Deliveries[0]
			d, err := m.Node().ShowDelivery(t.Context(), some.Key)
			if err != nil || d.Tenant != some.Tenant || len(d.History) == 0 || d.History[0].Outcome != "sent" {
				t.Errorf("%s shows %+v, %v", m.Name, d, err)
			}
		}
		gone := c.Running()[2]
		gone.Kill()
		c.Eventually(30*time.Second, func() error {
			list, err := c.Running()[0].Node().ListDeliveries(t.Context(), choice)
			if err != nil || !slices.Equal(list.Silent, []string{gone.Name}) {
				return fmt.Errorf("%v silent, %w", list.Silent, err)
			}
			return nil
		})
	})
}
