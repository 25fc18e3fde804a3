package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A block may bring one tenant more alerts than memory, log and outbox are to hold at
// once. They go out in parts, each recorded before much of the next begins; a tenant
// with many gets a cohort of its own, so that nobody else waits for that, and there it
// waits until its outbox has room.
const (
	// maxPart and maxPartBytes bound the alerts that are built and recorded together: by
	// their number, and by the size of the match objects for all their deliveries.
	maxPart      = 512
	maxPartBytes = 1 << 20
	// maxAmong is how many alerts of one tenant in one block are too many to be delivered
	// among others.
	maxAmong = 1000
	// A tenant with a quota of notifications whose outbox is as full as crowdedBox is
	// judged apart as well: what comes waits, rather than become dead letters. It goes on
	// when there is no more in it than roomyBox.
	crowdedBox = fsm.MaxOutboxTenant * 3 / 4
	roomyBox   = fsm.MaxOutboxTenant / 2
	// launchEach is how many alerts are built before their deliveries begin.
	launchEach = 32
	// maxBehind is how many announcements a tenant may wait that way: the log keeps
	// them for it, and a network waits for whoever is too far behind. After that what
	// does not fit becomes dead letters.
	maxBehind = 4096
	// leastRest is what is not worth a rest.
	leastRest = time.Millisecond
)

// crowded takes out the hits of tenants that are to be judged apart, and names these.
// In a cohort of one there are none.
func (p *pipeline) crowded(hits []hit) (rest []hit, tenants []string) {
	v := p.opts.Log.View()
	if len(hits) == 0 || v.TenantCount(p.cohort) == 1 {
		return hits, nil
	}
	count := map[string]int{}
	for _, h := range hits {
		count[h.Tenant]++
	}
	for tenant, n := range count {
		if n > maxAmong || held(v, tenant, crowdedBox) {
			tenants = append(tenants, tenant)
		}
	}
	if len(tenants) == 0 {
		return hits, nil
	}
	slices.Sort(tenants)
	rest = slices.DeleteFunc(hits, func(h hit) bool {
		_, found := slices.BinarySearch(tenants, h.Tenant)
		return found
	})
	return rest, tenants
}

// held reports whether a tenant's quota keeps more in its outbox than so many bytes.
func held(v *fsm.View, tenant string, size int64) bool {
	return v.Box(tenant).Bytes > size && v.QuotaOf(tenant).NotificationsPerHour > 0
}

// parting is how long a pipeline waits for a tenant to leave its cohort: as long as
// the log takes. Where it cannot leave, it is judged here after all.
const parting = 5 * time.Second

// part has a tenant get a cohort of its own and waits until it has gone there.
func (p *pipeline) part(ctx context.Context, tenant string) {
	limit := time.After(parting)
	for {
		changed := p.opts.Log.Changed(fsm.TopicLeases)
		v := p.opts.Log.View()
		if t, ok := v.Tenant(tenant); !ok || t.Cohort != p.cohort || p.fenced(v) {
			return
		}
		p.split(tenant, fmt.Sprintf("more than %d alerts in a block, or its outbox is full", maxAmong))
		select {
		case <-changed:
		case <-time.After(parting / 10): // it may have to be asked for again
		case <-limit:
			return
		case <-p.rounds.failed.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// order puts what is to be confirmed after what fires, since of an alert that comes
// first, and otherwise tenants with few alerts before those with many: these are sent
// while those are built.
func (j *judged) order() {
	count := map[string]int{}
	for _, h := range j.hits {
		count[h.Tenant]++
	}
	slices.SortStableFunc(j.hits, func(a, b hitAt) int {
		if x, y := a.about.confirms(), b.about.confirms(); x != y {
			if y {
				return -1
			}
			return 1
		}
		return cmp.Compare(count[a.Tenant], count[b.Tenant])
	})
}

// errPassedOver ends a step whose block is left out for its tenant, with what of it is
// not told yet: begun again, the pipeline passes over it.
var errPassedOver = errors.New("the tenant is too far behind: the block is left out")

// breathe waits until a part of a step may be built: what came before it is recorded,
// most of it, and its tenant's outbox has room. The error says that nothing more is to
// begin.
func (p *pipeline) breathe(ctx context.Context, position uint64, part judged, further bool) error {
	if len(part.hits) == 0 {
		return nil
	}
	if further {
		if p.alone() {
			p.rounds.settle(ctx) // or the outbox would not be known to have room
		}
		p.rounds.room(ctx)
	}
	p.roomFor(ctx, part.hits[0].Tenant, further)
	if p.opts.Log.View().IsPassedOver(p.network, p.cohort, position) {
		return errPassedOver
	}
	for _, over := range []context.Context{ctx, p.ctx, p.rounds.failed} {
		if further && over.Err() != nil {
			return context.Cause(over)
		}
	}
	return nil
}

// alone reports whether the cohort is a laggard's. Nobody waits for it, and it is to
// leave time for the others.
func (p *pipeline) alone() bool {
	_, slow := p.opts.Log.View().SlowTenant(p.cohort)
	return slow
}

// rest has a laggard pause for as long as it has worked since it began, and returns when
// it is to begin again. Many short rests keep others waiting less than a long one does.
func (p *pipeline) rest(ctx context.Context, began time.Time) time.Time {
	worked := time.Since(began)
	if worked < leastRest || !p.alone() || p.behindTooFar(p.opts.Log.View()) {
		return began
	}
	select {
	case <-time.After(worked):
	case <-p.ctx.Done():
	case <-ctx.Done():
	}
	return time.Now()
}

// roomFor has a tenant in a cohort of its own wait while its outbox is full: of one
// with a quota, always; of another only with further parts of a block, since one dead
// receiver does not make its others wait.
func (p *pipeline) roomFor(ctx context.Context, tenant string, further bool) {
	for {
		changed, configured := p.opts.Log.Changed(fsm.TopicOutbox), p.opts.Log.Changed(fsm.TopicTenants)
		v := p.opts.Log.View()
		if v.TenantCount(p.cohort) != 1 || p.fenced(v) || p.behindTooFar(v) {
			return
		}
		if full := further && v.Box(tenant).Bytes > roomyBox; !full && !held(v, tenant, roomyBox) {
			return
		}
		select {
		case <-changed:
		case <-configured:
		case <-p.ctx.Done():
			return
		case <-p.rounds.failed.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// behindTooFar reports whether a tenant is not to wait any longer: it is far behind, or
// what it waits with is left out for it.
func (p *pipeline) behindTooFar(v *fsm.View) bool {
	n, c, err := p.cursor(v)
	return err != nil || n.Next-1-c.Position > maxBehind || v.IsPassedOver(p.network, p.cohort, c.Position+1)
}
