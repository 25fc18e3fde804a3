package node

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// gate keeps a tenant's private networks to its quota of calls a minute. Those watched
// here share this node's part of it.
type gate struct {
	perMinute func() float64 // this node's part now; 0: no bound
	log       *slog.Logger

	mu      sync.Mutex
	limiter *rate.Limiter
	limit   float64   // the limiter's
	over    time.Time // since when calls wait; zero: they do not
}

const (
	// gateBurst is the part of a minute's calls that may be made at once.
	gateBurst = 6
	// gateGrace is how long a call may wait before the tenant counts as over its quota.
	gateGrace = time.Second
	// gateLook is how often those who wait look whether there is more to have.
	gateLook = 5 * time.Second
	// heldByQuota is the reason of a network that stands still, in metrics.
	heldByQuota = "rpc-quota"
)

// Wait implements rpc.Gate: first come, first served.
func (g *gate) Wait(ctx context.Context, n int) error {
	for n > 0 {
		limit := g.perMinute()
		if limit <= 0 {
			g.note(0, limit)
			return nil
		}
		taken, r := g.reserve(n, limit)
		if !g.await(ctx, r, limit) {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue // there is another limit
		}
		n -= taken
	}
	return nil
}

// reserve takes as many tokens as there may be at once.
func (g *gate) reserve(n int, limit float64) (taken int, r *rate.Reservation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	burst := max(1, int(math.Ceil(limit/gateBurst)))
	switch {
	case g.limiter == nil:
		g.limiter = rate.NewLimiter(rate.Limit(limit/60), burst)
	case g.limit != limit:
		g.limiter.SetLimitAt(now, rate.Limit(limit/60))
		g.limiter.SetBurstAt(now, burst)
	}
	g.limit = limit
	taken = min(n, burst)
	return taken, g.limiter.ReserveN(now, taken)
}

// await waits for a reservation's time; false gives it back, since ctx has ended or
// the limit has changed.
func (g *gate) await(ctx context.Context, r *rate.Reservation, limit float64) bool {
	for {
		delay := r.Delay()
		g.note(delay, limit)
		if delay <= 0 {
			return true
		}
		timer := time.NewTimer(min(delay, gateLook))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			r.Cancel()
			return false
		}
		if delay > gateLook && g.perMinute() != limit {
			r.Cancel()
			return false
		}
		if delay <= gateLook {
			return true
		}
	}
}

// note keeps since when calls wait.
func (g *gate) note(delay time.Duration, limit float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case delay > gateGrace && g.over.IsZero():
		g.over = time.Now()
		g.log.Warn("calls to the tenant's private networks wait: it is over its quota of calls; nothing is left out, but heads are seen late", "here_per_minute", limit)
	case delay <= 0 && !g.over.IsZero() && (limit <= 0 || g.limiter.Tokens() >= float64(g.limiter.Burst()-1)/2): // not just for a moment
		g.log.Info("the tenant is within its quota of calls again", "after", time.Since(g.over).Round(time.Second))
		g.over = time.Time{}
	}
}

func (g *gate) held() (reason string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over.IsZero() {
		return "", time.Time{}
	}
	return heldByQuota, g.over
}

// left is how many calls may be made at once now.
func (g *gate) left() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limiter == nil {
		return 0
	}
	return max(0, int(g.limiter.Tokens()))
}

// spare reports whether the watchers would still have half of what may be called at
// once.
func (g *gate) spare() bool {
	limit := g.perMinute()
	g.mu.Lock()
	defer g.mu.Unlock()
	return limit <= 0 || g.limiter == nil || g.limiter.Tokens() >= float64(g.limiter.Burst())/2
}

// spare is that of a network; of one without a quota, there always is some.
func (w *watchers) spare(key string) bool {
	g := w.gateOf(key)
	return g == nil || g.spare()
}

// gate is what calls to a network's endpoints pass; nil for a shared one.
func (w *watchers) gate(key string) rpc.Gate {
	if g := w.gateOf(key); g != nil {
		return g
	}
	return nil
}

// held is since when a network that is watched here is held back.
func (w *watchers) held(key string, r *watching) func() (string, time.Time) {
	g := w.gateOf(key)
	return func() (string, time.Time) { return r.held(g) }
}

func (w *watchers) gateOf(key string) *gate {
	owner, _ := store.Owner(key)
	if owner == fsm.Shared {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gates == nil {
		w.gates = map[string]*gate{}
	}
	g := w.gates[owner]
	if g == nil {
		g = &gate{
			perMinute: func() float64 { return callsHere(w.node.state.View(), owner, w.node.opts.Name) },
			log:       w.node.log.With("tenant", owner),
		}
		w.gates[owner] = g
	}
	return g
}

// callsHere is how many calls a minute a node may make to a tenant's private networks:
// each takes a part of the quota by how many of them it watches. 0 is no bound.
func callsHere(v *fsm.View, tenant, node string) float64 {
	t, ok := v.Tenant(tenant)
	if !ok {
		return 0
	}
	quota := t.Quota.OrDefault().RPCPerMinute
	if quota == 0 {
		return 0
	}
	all, here := 0, 0
	for _, d := range t.Current.Manifest.Docs {
		if d.Kind != fsm.DocNetwork {
			continue
		}
		switch n, _ := v.Network(tenant + "/" + d.ID); {
		case n == nil || n.Lease.Holder == "":
		case n.Lease.Holder == node:
			here++
			all++
		default:
			all++
		}
	}
	if here == 0 {
		return float64(quota) // asked in between: what there is left is not much
	}
	return float64(quota) * float64(here) / float64(all)
}
