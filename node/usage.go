package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/api/v1"
	"github.com/ozmo-dev/ozmo/node/journal"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// What tenants have caused is in the journals of the nodes on which they have: who
// wants to know all asks all. What a shared network takes is not told by tenant there,
// but once for all; whose part of it is how large is worked out when it is asked.

// usageQuery asks a journal for whole hours of one tenant, or of all.
type usageQuery struct {
	Tenant string    `json:"tenant,omitempty"`
	Born   uint64    `json:"born,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
}

type usageAnswer struct {
	Hours    map[time.Time]journal.Usage                   `json:"hours,omitempty"` // of the tenant
	All      []ownedUsage                                  `json:"all,omitempty"`
	Networks map[time.Time]map[string]journal.NetworkUsage `json:"networks,omitempty"`

	// What the tenant has left, where it is judged here, or its networks are watched.
	Notifications *v1.RateNow `json:"notifications,omitempty"`
	Calls         int         `json:"calls,omitempty"`
}

type ownedUsage struct {
	journal.UsageOwner
	journal.Usage
}

func (n *Node) usageHere(q usageQuery) (out usageAnswer, err error) {
	n.tellUsage() // what was used a moment ago is asked about, too
	v := n.state.View()
	want := func(string) bool { return true }
	if q.Tenant == "" {
		all, err := n.journal.UsageOfAll(q.From, q.To)
		if err != nil {
			return out, err
		}
		for owner, u := range all {
			out.All = append(out.All, ownedUsage{owner, u})
		}
	} else {
		if out.Hours, err = n.journal.UsageOf(journal.UsageOwner{Tenant: q.Tenant, Born: q.Born}, q.From, q.To); err != nil {
			return out, err
		}
		t, ok := v.Tenant(q.Tenant)
		if !ok || t.Born != q.Born {
			return out, nil
		}
		want = func(network string) bool { return t.Coverage[network] != nil }
		n.ratesHere(v, t, &out)
	}
	out.Networks, err = n.journal.UsageOfNetworks(q.From, q.To, want)
	return out, err
}

func (n *Node) ratesHere(v *fsm.View, t *fsm.Tenant, out *usageAnswer) {
	if box := n.outbox.Load(); box != nil && v.Owner(t) == n.opts.Name {
		if left, perHour, again := box.Allowance(t.ID); perHour > 0 {
			out.Notifications = &v1.RateNow{Limit: perHour, Window: 3600, Left: left, Again: again}
		}
	}
	n.watch.mu.Lock()
	g := n.watch.gates[t.ID]
	n.watch.mu.Unlock()
	if g != nil {
		out.Calls = g.left()
	}
}

func (n *Node) serveUsage(w http.ResponseWriter, r *http.Request) {
	var q usageQuery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxErrorBody)).Decode(&q); err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	answer, err := n.usageHere(q)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, answer)
}

// Usage implements v1.Backend.
func (n tenantAPI) Usage(ctx context.Context, t *fsm.Tenant, from, to time.Time) (v1.UsageReport, error) {
	out := v1.UsageReport{Hours: map[time.Time]v1.Consumption{}}
	if err := n.mustBeMember(); err != nil {
		return out, err
	}
	v := n.state.View()
	calls := 0
	out.Silent = gather(ctx, n.Node, "/rpc/usage", usageQuery{t.ID, t.Born, from, to}, n.usageHere, func(a usageAnswer) {
		for at, u := range a.Hours {
			out.Hours[at.UTC()] = out.Hours[at.UTC()].Plus(consumed(u))
		}
		for at, networks := range a.Networks {
			for key, u := range networks {
				out.Hours[at.UTC()] = out.Hours[at.UTC()].Plus(partOf(v, t, key, u))
			}
		}
		if a.Notifications != nil {
			out.Notifications = a.Notifications
		}
		calls += a.Calls
	})
	if quota := t.Quota.OrDefault(); quota.RPCPerMinute > 0 {
		out.RPC = &v1.RateNow{Limit: quota.RPCPerMinute, Window: 60, Left: calls}
	}
	return out, nil
}

// UsageOfAll implements v1.Backend.
func (n tenantAPI) UsageOfAll(ctx context.Context, from, to time.Time) (map[string]v1.Consumption, []string, error) {
	if err := n.mustBeMember(); err != nil {
		return nil, nil, err
	}
	v := n.state.View()
	out := map[string]v1.Consumption{}
	networks := map[string][]journal.NetworkUsage{}
	silent := gather(ctx, n.Node, "/rpc/usage", usageQuery{From: from, To: to}, n.usageHere, func(a usageAnswer) {
		for _, u := range a.All {
			if t, ok := v.Tenant(u.Tenant); ok && t.Born == u.Born {
				out[u.Tenant] = out[u.Tenant].Plus(consumed(u.Usage))
			}
		}
		for _, hour := range a.Networks {
			for key, u := range hour {
				networks[key] = append(networks[key], u)
			}
		}
	})
	for t := range v.Tenants() {
		var sum v1.Consumption
		for key := range t.Coverage {
			for _, u := range networks[key] {
				sum = sum.Plus(partOf(v, t, key, u))
			}
		}
		if total := out[t.ID].Plus(sum); t.ID != fsm.Shared && total != (v1.Consumption{}) {
			out[t.ID] = total
		}
	}
	return out, silent, nil
}

func consumed(u journal.Usage) v1.Consumption {
	return v1.Consumption{
		RPCCalls: float64(u.Calls), Evaluation: float64(u.Evaluation) / float64(time.Millisecond), Matches: u.Matches, Sent: u.Sent, Failed: u.Failed,
		Held: u.OverQuota, BytesDelivered: u.Bytes,
	}
}

// partOf is a tenant's part of what watching a network took in an hour: of a private
// one all, of a shared one as much as of each other that wanted it, for as long as it
// did. The blocks are those judged for it.
func partOf(v *fsm.View, t *fsm.Tenant, key string, u journal.NetworkUsage) (out v1.Consumption) {
	runs := t.Coverage[key]
	upTo := u.To
	if c, ok := v.Cursor(key, t.Cohort); ok && !c.Parked() {
		upTo = min(upTo, c.Position+1)
	}
	out.Blocks = covered(runs, u.From, upTo)
	for i, r := range runs {
		if r.Behind {
			out.Blocks -= covered(runs[i:i+1], u.From, upTo) // left out for it
		}
	}
	if owner, _ := store.Owner(key); owner == t.ID {
		out.RPCCalls = float64(u.Calls)
		return out
	}
	wanted := 0.0
	if u.To > u.From {
		wanted = float64(covered(runs, u.From, u.To)) / float64(u.To-u.From)
	} else if covered(runs, u.From, u.From+1) > 0 {
		wanted = 1 // asked for heads, and there were none
	}
	out.RPCCalls = wanted * float64(u.Calls) / float64(max(1, u.Tenants))
	return out
}

// covered counts the positions of a stretch, without its end, that runs cover.
func covered(runs []fsm.CoverageRun, from, to uint64) (n uint64) {
	for _, r := range runs {
		end := to
		if r.To != 0 {
			end = min(end, r.To)
		}
		if begin := max(from, r.From); begin < end {
			n += end - begin
		}
	}
	return n
}
