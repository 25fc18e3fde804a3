package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// checkNames refuses, with fsm.ErrNotFound, a choice that has found nothing and
// names a trigger, monitor or network that no document has and no delivery that is
// kept: it is misspelt. Where a journal cannot be asked, nobody can tell.
func (n *Node) checkNames(ctx context.Context, v *fsm.View, c *api.DeliveryChoice) error {
	for _, f := range []struct {
		what, name string
		kind       fsm.DocKind
		alone      api.DeliveryChoice
	}{
		{"trigger", c.Trigger, fsm.DocTrigger, api.DeliveryChoice{Trigger: c.Trigger}},
		{"monitor", c.Monitor, fsm.DocMonitor, api.DeliveryChoice{Monitor: c.Monitor}},
		{"network", c.Network, fsm.DocNetwork, api.DeliveryChoice{Network: c.Network}},
	} {
		if f.name == "" {
			continue
		}
		known := namesOf(v, c.Tenant, f.kind)
		if known[f.name] {
			continue
		}
		f.alone.Tenant, f.alone.Statuses, f.alone.Limit = c.Tenant, api.DeliveryStatuses, 1
		if kept := n.findDeliveries(ctx, v, &f.alone); len(kept.Deliveries) > 0 || len(kept.Silent) > 0 {
			continue
		}
		whose := "no tenant has a"
		if c.Tenant != "" {
			whose = fmt.Sprintf("tenant %q has no", c.Tenant)
		}
		return fmt.Errorf("%s %s %q, and no delivery of one is kept: %w%s", whose, f.what, f.name, fsm.ErrNotFound, meant(f.name, slices.Collect(maps.Keys(known))))
	}
	return nil
}

// namesOf lists the names that a tenant's documents of a kind go by now, or all
// tenants'; also of the shared networks, which are every tenant's.
func namesOf(v *fsm.View, tenant string, kind fsm.DocKind) map[string]bool {
	names := map[string]bool{}
	for t := range v.Tenants() {
		if tenant != "" && t.ID != tenant && !(t.ID == fsm.Shared && kind == fsm.DocNetwork) {
			continue
		}
		for _, d := range t.Current.Manifest.Docs {
			if d.Kind != kind {
				continue
			}
			names[d.ID] = true
			if kind == fsm.DocNetwork && t.ID != fsm.Shared {
				names[t.ID+"/"+d.ID] = true
			}
		}
	}
	return names
}
