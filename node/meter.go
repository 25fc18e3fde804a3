package node

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/notify"
)

// meterPause is how often what was used is written: what a crash loses at most.
const meterPause = 5 * time.Second

// meter adds up what tenants cause on this node. What it costs grows with what they
// cause: a tenant that does nothing is not in it.
type meter struct {
	mu   sync.Mutex
	used map[string]journal.Usage // by tenant, since it was written last
	own  map[string]uint64        // by network: calls that a tenant is told to have made, ever

	telling  sync.Mutex
	networks networkMeter // under telling
}

func (m *meter) add(tenant string, u journal.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used == nil {
		m.used = map[string]journal.Usage{}
	}
	m.used[tenant] = m.used[tenant].Plus(u)
}

// Evaluated implements worker.Meter.
func (m *meter) Evaluated(tenant string, took time.Duration) {
	m.add(tenant, journal.Usage{Evaluation: took})
}

// Matched implements worker.Meter.
func (m *meter) Matched(tenant string, n int) {
	m.add(tenant, journal.Usage{Matches: uint64(max(n, 0))})
}

// OverQuota implements worker.Meter.
func (m *meter) OverQuota(tenant string) { m.add(tenant, journal.Usage{OverQuota: 1}) }

// attempted counts an attempt at a notification that was made.
func (m *meter) attempted(tenant string, res notify.Result, err error) {
	u := journal.Usage{Sent: 1, Bytes: uint64(max(res.Bytes, 0))}
	if err != nil {
		u.Sent, u.Failed = 0, 1
	}
	m.add(tenant, u)
}

// called counts calls of a network's endpoints for what one tenant has asked for.
func (m *meter) called(tenant, network string, n uint64) {
	if tenant == "" || n == 0 {
		return
	}
	m.add(tenant, journal.Usage{Calls: n})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.own == nil {
		m.own = map[string]uint64{}
	}
	m.own[network] += n
}

// others are the calls to networks that nobody alone has asked for, of all there were.
func (m *meter) others(all map[string]uint64) map[string]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for network, n := range all {
		all[network] = n - min(m.own[network], n)
	}
	return all
}

// take gives what was used, and begins anew. Of tenants that are gone, nothing is kept.
func (m *meter) take(v *fsm.View) map[journal.UsageOwner]journal.Usage {
	m.mu.Lock()
	used := m.used
	m.used = nil
	m.mu.Unlock()
	out := make(map[journal.UsageOwner]journal.Usage, len(used))
	for tenant, u := range used {
		if t, ok := v.Tenant(tenant); ok {
			out[journal.UsageOwner{Tenant: tenant, Born: t.Born}] = u
		}
	}
	return out
}

// networkMeter tells what watching networks has taken since it was asked last.
type networkMeter struct {
	calls map[string]uint64 // as counted last, of all networks ever watched here
	next  map[string]uint64 // Network.Next as seen last, of those watched here
}

// take looks at what was called and announced. node is this one.
func (m *networkMeter) take(v *fsm.View, node string, calls map[string]uint64) map[string]journal.NetworkUsage {
	out := map[string]journal.NetworkUsage{}
	next := map[string]uint64{}
	for key, n := range calls {
		network, ok := v.Network(key)
		if !ok {
			continue
		}
		// Those of a fetch that was under way were counted, and may be a tenant's now.
		n = max(n, m.calls[key])
		calls[key] = n
		u := journal.NetworkUsage{Calls: n - m.calls[key], From: network.Next, To: network.Next, Tenants: network.Wanted}
		if network.Lease.Holder == node {
			if before, known := m.next[key]; known {
				u.From = min(before, u.To)
			}
			next[key] = network.Next
		}
		if u.Calls > 0 || u.To > u.From {
			out[key] = u
		}
	}
	m.calls, m.next = maps.Clone(calls), next
	return out
}

// tellUsage has written what was used since it was told last.
func (n *Node) tellUsage() {
	n.meter.telling.Lock()
	defer n.meter.telling.Unlock()
	v := n.state.View()
	calls := map[string]uint64{}
	for key, c := range n.watch.allCalls() {
		calls[key] = c.BlockFetch + c.HeadPoll + c.Connect + c.Hedge + c.Refetch
	}
	u := journal.Used{Hour: time.Now(), Tenants: n.meter.take(v), Networks: n.meter.networks.take(v, n.opts.Name, n.meter.others(calls))}
	if len(u.Tenants)+len(u.Networks) > 0 {
		n.journal.RecordUsage(u)
	}
}

// meterUsage writes what was used, every few seconds and at the end.
func (n *Node) meterUsage(ctx context.Context) {
	ticker := time.NewTicker(meterPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			n.tellUsage()
			return
		case <-ticker.C:
			n.tellUsage()
		}
	}
}
