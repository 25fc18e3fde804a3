package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// defaultAhead is how many announcements may wait for the slowest cursor before a
// watcher waits for it. The state keeps them.
const defaultAhead = 4096

// What a tenant may be behind that is judged apart since it is slow, in parts of that:
// it is not to hold up a network that others want. What it has not judged by passAt is
// left out for it, so that the watcher does not come to wait at waitAt.
const (
	passAt = 3
	waitAt = 4
)

// roomOf is how many announcements a network may make now, and the cursor that allows
// the fewest; nil without any.
func roomOf(v *fsm.View, n *fsm.Network, ahead int) (room int, slowest *fsm.Cursor) {
	room = ahead
	for c := range v.Cursors(n.Key) {
		most := ahead
		if t, ok := v.SlowTenant(c.Cohort); ok && n.WantedByOthers(t) {
			most = waitAt * ahead
		}
		if left := most - int(n.Next-1-c.Position); left < room || slowest == nil {
			room, slowest = min(room, left), c
		}
	}
	return max(0, room), slowest
}

// planPassOver finds who would soon hold up others, by being too far behind alone.
func planPassOver(v *fsm.View, ahead int, now time.Time) (out []*fsm.PassOver) {
	least := uint64(passAt * ahead)
	for c := range v.Cohorts() {
		t, ok := v.SlowTenant(c.ID)
		if !ok {
			continue
		}
		for network := range t.Coverage {
			if owed, delays := v.Delays(t, network); delays && owed >= least {
				out = append(out, &fsm.PassOver{Tenant: t.ID, Born: t.Born, Network: network, Least: least, At: now.UnixMilli()})
			}
		}
	}
	return out
}

// passOver leaves out what is too much for a tenant, and says so.
func (r *reconciler) passOver(ctx context.Context, v *fsm.View, now time.Time) {
	for _, c := range planPassOver(v, r.opts.MaxAhead, now) {
		log := r.log.With("tenant", c.Tenant, "network", c.Network)
		out, err := r.group.Propose(ctx, c)
		left, _ := out.(uint64)
		switch {
		case errors.Is(err, fsm.ErrConflict), errors.Is(err, fsm.ErrNotFound), ctx.Err() != nil:
			// It has caught up meanwhile, or is gone.
		case err != nil:
			log.Warn("a tenant that is too far behind cannot be passed over yet: all who want the network may have to wait for it", "error", err)
		default:
			r.metrics.passedOver.WithLabelValues(c.Network).Add(float64(left))
			log.Warn("the tenant is so far behind that all others would have to wait: what it has not judged is left out for it; "+
				"its coverage says what, and a replay of its monitors makes up for it", "announcements", left)
		}
	}
}

// Reasons for which a network stands still, in metrics.
const (
	heldBySlow    = "slow-tenant" // one tenant, judged apart, that nobody else is to wait for
	heldByJudging = "judging"     // a cohort that is too far behind
)

const (
	pressureGrace  = 5 * time.Second // what is worth a line
	pressureRepeat = time.Minute     // how often
)

// pressure is since when a watcher waits for whoever judges its network, and for whom.
type pressure struct {
	log *slog.Logger

	mu     sync.Mutex
	since  time.Time // zero: it does not
	reason string
	logged time.Time
}

// note keeps how much room there is, and who leaves so little.
func (p *pressure) note(v *fsm.View, n *fsm.Network, room int, slowest *fsm.Cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if room > 1 || slowest == nil { // a skip or a roll-back takes two
		if !p.logged.IsZero() {
			p.log.Info("the network goes on", "reason", p.reason, "after", now.Sub(p.since).Round(time.Second))
		}
		p.since, p.logged = time.Time{}, time.Time{}
		return
	}
	if p.since.IsZero() {
		p.since = now
	}
	p.reason = heldByJudging
	if _, slow := v.SlowTenant(slowest.Cohort); slow {
		p.reason = heldBySlow
	}
	if now.Sub(p.since) >= pressureGrace && now.Sub(p.logged) >= pressureRepeat {
		p.logged = now
		p.log.Warn("the network stands still: it waits for who is too far behind", "reason", p.reason, "for", now.Sub(p.since).Round(time.Second),
			"who", whoJudges(v, slowest.Cohort), "behind", n.Next-1-slowest.Position)
	}
}

func (p *pressure) held() (reason string, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return "", time.Time{}
	}
	return p.reason, p.since
}

// held is since when a network stands still for want of calls or of room.
func (r *watching) held(g *gate) (reason string, since time.Time) {
	if g != nil {
		reason, since = g.held()
	}
	if other, at := r.pressure.held(); other != "" && (reason == "" || at.Before(since)) {
		reason, since = other, at
	}
	return reason, since
}

// whoJudges names a cohort for people.
func whoJudges(v *fsm.View, cohort string) string {
	where := "without a node"
	if c, ok := v.Cohort(cohort); ok && c.Node != "" {
		where = "of node " + c.Node
	}
	if t, ok := v.SlowTenant(cohort); ok {
		return fmt.Sprintf("tenant %s, judged apart, %s", t.ID, where)
	}
	return fmt.Sprintf("%s %s", counted(v.TenantCount(cohort), "tenant"), where)
}

// behindProblems tells which networks wait for whoever is too far behind, and for whom
// something was left out and who has not caught up since.
func behindProblems(v *fsm.View, ahead int) (out []string) {
	for n := range v.Networks() {
		if n.Wanted == 0 {
			continue
		}
		if room, slowest := roomOf(v, n, ahead); room <= 1 && slowest != nil {
			out = append(out, fmt.Sprintf("network %s waits for %s: %s behind", n.Key, whoJudges(v, slowest.Cohort),
				counted(int(n.Next-1-slowest.Position), "announcement")))
		}
	}
	for c := range v.Cohorts() {
		t, ok := v.SlowTenant(c.ID)
		if !ok {
			continue
		}
		var on []string
		for _, network := range t.LeftOut() {
			on = append(on, fmt.Sprintf("ozmo coverage show %s %s", t.ID, network))
		}
		if len(on) > 0 {
			out = append(out, fmt.Sprintf("tenant %s is judged apart and was so far behind that blocks were left out: see %s", t.ID, strings.Join(on, ", ")))
		}
	}
	return out
}
