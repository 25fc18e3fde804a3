package worker

import (
	"math"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// halfLife is the time in which what a tenant cost loses half of its weight.
const halfLife = 5 * time.Minute

// deliveryCost is what one delivery counts, in seconds of work.
const deliveryCost = 0.001

// activity measures what tenants cost, in seconds of work per second, as a
// moving average. It is told once per judgement and alert, not per evaluation.
type activity struct {
	mu      sync.Mutex
	all     decaying
	tenants map[string]*decaying
}

// decaying is a sum whose parts lose half of their weight every halfLife.
type decaying struct {
	sum float64
	at  time.Time
}

func (d *decaying) add(now time.Time, x float64) {
	if !d.at.IsZero() {
		d.sum *= math.Exp2(-float64(now.Sub(d.at)) / float64(halfLife))
	}
	d.sum, d.at = d.sum+x, now
}

// rate is the sum's average per second: what came steadily at that rate would
// add up to the same.
func (d *decaying) rate(now time.Time) float64 {
	d.add(now, 0)
	return d.sum * math.Ln2 / halfLife.Seconds()
}

// judged counts the time that a block took. It belongs to the tenants with
// matches in it, by their number; where there are none, to nobody.
func (a *activity) judged(took time.Duration, hits []hit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.all.add(now, took.Seconds())
	share := took.Seconds() / float64(len(hits))
	for i := 0; i < len(hits); {
		next := i + 1
		for next < len(hits) && hits[next].Tenant == hits[i].Tenant {
			next++
		}
		a.tenant(hits[i].Tenant).add(now, share*float64(next-i))
		i = next
	}
}

// late counts the time that one tenant took by itself.
func (a *activity) late(took time.Duration, tenant string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.all.add(now, took.Seconds())
	a.tenant(tenant).add(now, took.Seconds())
}

// delivered counts deliveries of a tenant.
func (a *activity) delivered(tenant string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.all.add(now, float64(n)*deliveryCost)
	a.tenant(tenant).add(now, float64(n)*deliveryCost)
}

func (a *activity) tenant(id string) *decaying {
	if a.tenants == nil {
		a.tenants = map[string]*decaying{}
	}
	t := a.tenants[id]
	if t == nil {
		t = &decaying{}
		a.tenants[id] = t
	}
	return t
}

// Activity is what each tenant of this node costs here of late, in seconds of
// work per second: its share of the time that judging takes, and a fixed part for
// each delivery. Tenants that cost nothing are left out.
func (w *Worker) Activity() map[string]float64 {
	v := w.opts.Log.View()
	a := &w.activity
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	out := make(map[string]float64, len(a.tenants))
	for id, t := range a.tenants {
		rate := t.rate(now)
		if rate < leastRate || !w.holds(v, id) {
			delete(a.tenants, id)
			continue
		}
		out[id] = rate
	}
	return out
}

// leastRate is what does not count any more.
const leastRate = 1e-9

func (w *Worker) holds(v *fsm.View, tenant string) bool {
	t, ok := v.Tenant(tenant)
	if !ok {
		return false
	}
	c, ok := v.Cohort(t.Cohort)
	return ok && c.Node == w.opts.Node
}

// Load is what this node's judging and delivering costs of late in all, in
// seconds of work per second.
func (w *Worker) Load() float64 {
	w.activity.mu.Lock()
	defer w.activity.mu.Unlock()
	return w.activity.all.rate(time.Now())
}
