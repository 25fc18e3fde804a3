package worker

import (
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A tenant is a laggard, and gets a cohort of its own, when it was over its
// budget in laggardBlocks of the last laggardWindow blocks, or once kept
// the others waiting for longer than laggardTime.
const (
	laggardBlocks = 3
	laggardWindow = 10
	laggardTime   = time.Second
)

// lateness remembers in which blocks tenants were over their budget.
type lateness struct {
	blocks uint64
	late   map[string][]uint64 // by tenant: the newest blocks, at most laggardBlocks
}

// note counts a block and tells which tenants are laggards with it.
func (l *lateness) note(over []string) (laggards []string) {
	l.blocks++
	for _, tenant := range over {
		if l.late == nil {
			l.late = map[string][]uint64{}
		}
		list := slices.Concat(l.late[tenant], []uint64{l.blocks})
		list = list[max(0, len(list)-laggardBlocks):]
		l.late[tenant] = list
		if len(list) == laggardBlocks && l.blocks-list[0] < laggardWindow {
			laggards = append(laggards, tenant)
		}
	}
	for tenant, list := range l.late {
		if l.blocks-list[len(list)-1] >= laggardWindow {
			delete(l.late, tenant)
		}
	}
	return laggards
}

// split asks for a cohort of one for a laggard. Nobody waits for the answer: as
// long as the tenant stays, it is asked for again.
func (r *runner) split(tenant string, why string) {
	if _, asked := r.splitting.LoadOrStore(tenant, true); asked {
		return
	}
	r.aside.Go(func() {
		defer r.splitting.Delete(tenant)
		log := r.log.With("tenant", tenant, "why", why)
		taken, err := r.opts.Log.Propose(r.ctx, &fsm.Move{
			Moves: []fsm.Moved{{Tenant: tenant, Cohort: r.cohort, To: r.opts.Node, Reason: fsm.ReasonLaggard}},
			At:    time.Now().UnixMilli(),
		})
		switch {
		case err != nil:
			log.Warn("a slow tenant cannot be judged apart yet", "error", err)
		case taken != 0:
			r.metrics.laggards.Inc()
			log.Info("a slow tenant gets a cohort of its own")
		}
	})
}

// lateAlone is how many announcements behind a tenant that shares its cohort with nobody
// counts as slow: before the network waits for it.
const lateAlone = maxBehind * 3 / 4

// lagsAlone has the only tenant of a cohort judged apart that comes to hold up others, who
// are in other cohorts. It has no budget that it could exceed, so nothing else tells.
func (p *pipeline) lagsAlone(v *fsm.View, n *fsm.Network, at uint64) {
	behind := n.Next - 1 - at
	if behind <= lateAlone || v.TenantCount(p.cohort) != 1 {
		return
	}
	if _, slow := v.SlowTenant(p.cohort); slow {
		return
	}
	for t := range v.TenantsOf(p.cohort) {
		if n.WantedByOthers(t) {
			p.split(t.ID, fmt.Sprintf("%d announcements behind", behind))
		}
	}
}

// budget is what tenants may cost in a block: nobody else waits for a tenant that has
// a cohort of its own.
func (r *runner) budget() func(tenant string) int {
	v := r.opts.Log.View()
	if v.TenantCount(r.cohort) == 1 {
		return func(string) int { return 0 }
	}
	if r.opts.Budget != 0 {
		return func(string) int { return r.opts.Budget }
	}
	return func(tenant string) int { return v.QuotaOf(tenant).EvaluationMillis * fsm.EvaluationsPerMilli }
}
