package node

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/ring"
)

const (
	// movesPerCommand bounds one entry of the log.
	movesPerCommand = 5000
	// joinSteady is how long a node must have been in contact before it takes
	// tenants from others.
	joinSteady = 10 * time.Second
	// mergeLaggards is how long a slow tenant that has caught up stays alone.
	mergeLaggards = time.Minute
	// activityPatience is how long the leader waits for the nodes' measurements.
	activityPatience = time.Second
)

// seat is where a cohort's tenants are, for the planner.
type seat struct {
	node  string // that has them, or is about to; empty: nobody
	force bool   // whoever had them is not waited for
	fixed bool   // they stay: their node is away for a moment, or just starting
}

// seats tells for every cohort with tenants where it is, and whether some need
// another place.
func seats(v *fsm.View, nodes map[string]*member, ttl time.Duration) (out map[string]seat, homeless bool) {
	out = map[string]seat{"": {}}
	homeless = v.TenantCount("") > 0
	for c := range v.Cohorts() {
		if v.TenantCount(c.ID) == 0 {
			continue
		}
		s := seatOf(c, nodes, ttl)
		out[c.ID] = s
		if s.node == "" {
			homeless = true
		}
	}
	return out, homeless
}

func seatOf(c *fsm.Cohort, nodes map[string]*member, ttl time.Duration) seat {
	from, to := nodes[c.Node], nodes[c.To]
	switch {
	case c.Node == "":
		return seat{}
	case from == nil || from.lost(ttl):
		return seat{force: true}
	case c.To != "" && (to == nil || !to.keepsWork(ttl)):
		return seat{force: true} // its target has gone meanwhile
	case c.To != "":
		return seat{node: c.To, fixed: true}
	case !from.keepsWork(ttl):
		return seat{} // it drains: its tenants are handed over
	default:
		return seat{node: c.Node, fixed: !from.mayWork(ttl)}
	}
}

// planMoves places tenants that have no node, and evens the nodes out where it
// is time to.
func (r *reconciler) planMoves(ctx context.Context, v *fsm.View, nodes map[string]*member, now time.Time) []*fsm.Move {
	if _, since := r.contacts.all(); now.Sub(since) < r.ttl && slices.ContainsFunc(byName(nodes), func(m *member) bool { return !m.Heard }) {
		return nil // whoever is heard first must not get everything
	}
	places, homeless := seats(v, nodes, r.ttl)
	pinned := r.pinsMissed(v, places, nodes)
	busy := busyNodes(places)
	rebalance := r.rebalanceDue(nodes, busy, now)
	if !homeless && !pinned && !rebalance || !slices.ContainsFunc(byName(nodes), func(m *member) bool { return m.mayWork(r.ttl) }) {
		return nil
	}
	// One at a time at once; many that come together, together: each command
	// makes cohorts, which have to be merged again.
	if !pinned && !rebalance && (now.Sub(r.placed) < r.ttl/4 && onlyNew(v, places) || now.Sub(r.placed) < r.ttl && len(r.unplaced) > 0) {
		return nil
	}
	r.placed = now
	result := r.place(ctx, v, places, nodes, rebalance)
	if rebalance {
		r.rebalanced = now
	}
	if !slices.Equal(result.Unplaced, r.unplaced) {
		r.unplaced = result.Unplaced
		r.log.Warn("no node has room for some tenants", "tenants", len(r.unplaced), "first", strings.Join(r.unplaced[:min(len(r.unplaced), 10)], ", "))
	}
	return r.moves(v, places, nodes, result.Moves, now)
}

// onlyNew reports whether all tenants without a node have never had one.
func onlyNew(v *fsm.View, places map[string]seat) bool {
	for id, s := range places {
		if id != "" && s.node == "" && v.TenantCount(id) > 0 {
			return false
		}
	}
	return true
}

// pinsMissed looks at what changed since the last pass: it is where operators
// pin tenants.
func (r *reconciler) pinsMissed(v *fsm.View, places map[string]seat, nodes map[string]*member) bool {
	missed, waiting := false, false
	for id := range v.TenantsSince(r.examined) {
		t, ok := v.Tenant(id)
		if !ok || t.Pin == "" || places[t.Cohort].node == t.Pin {
			continue
		}
		if m := nodes[t.Pin]; m != nil && m.mayWork(r.ttl) {
			missed = true
		} else {
			waiting = true // for its node
		}
	}
	if !missed && !waiting {
		r.examined = v.Index()
	}
	return missed
}

// busyNodes are the nodes that have tenants, or are about to.
func busyNodes(places map[string]seat) map[string]bool {
	out := map[string]bool{}
	for _, s := range places {
		if s.node != "" {
			out[s.node] = true
		}
	}
	return out
}

// rebalanceDue reports whether the balance is to be looked at: now and then, and
// when a node has joined. It decides on who takes part: the ring gives an empty
// node its share at once, so a node that has just come has to stay for a while
// first, unless everybody is empty.
func (r *reconciler) rebalanceDue(nodes map[string]*member, busy map[string]bool, now time.Time) bool {
	eligible := map[string]bool{}
	joined := false
	for _, m := range nodes {
		switch {
		case !m.mayWork(r.ttl):
			continue
		case busy[m.Name] || len(busy) == 0 || r.eligible[m.Name]:
		case m.Steady < joinSteady:
			continue
		default:
			joined = true
		}
		eligible[m.Name] = true
	}
	if len(eligible) > 0 {
		r.eligible = eligible
	}
	return joined || now.Sub(r.rebalanced) >= r.opts.Placement.Interval
}

// place asks the ring.
func (r *reconciler) place(ctx context.Context, v *fsm.View, places map[string]seat, nodes map[string]*member, rebalance bool) ring.Result {
	var in []ring.Node
	leaving, listed := map[string]bool{}, map[string]bool{}
	all := !slices.ContainsFunc(byName(nodes), func(m *member) bool { return r.eligible[m.Name] && m.mayWork(r.ttl) })
	for _, m := range byName(nodes) {
		if m.mayWork(r.ttl) && (all || r.eligible[m.Name]) {
			listed[m.Name] = true
			in = append(in, ring.Node{Name: m.Name, Weight: float64(m.Weight) / 100, MaxTenants: r.opts.Placement.MaxTenants})
		}
		leaving[m.Name] = m.Drain != fsm.DrainNone
	}
	if r.opts.strategy == ring.ActivityBased && (rebalance || r.activity.Load() == nil) {
		activity := r.gatherActivity(ctx, nodes)
		r.activity.Store(&activity)
	}
	var tenants []ring.Tenant
	for t := range v.Tenants() {
		s, known := places[t.Cohort]
		if t.ID == fsm.Shared || !known || s.fixed && !listed[s.node] {
			continue
		}
		tenants = append(tenants, ring.Tenant{
			ID: t.ID, Weight: weightOf(t, r.activity.Load()), Priority: int(t.Priority), Pin: t.Pin, Node: formerly(v, t, s), Moving: s.fixed,
		})
	}
	return ring.Plan(in, tenants, ring.Options{
		Strategy: r.opts.strategy, Threshold: r.opts.Placement.Threshold, Rebalance: rebalance, Leaving: leaving,
	})
}

// formerly is the node that a tenant has or had, so that the reason of its move
// can be told.
func formerly(v *fsm.View, t *fsm.Tenant, s seat) string {
	if s.node != "" {
		return s.node
	}
	if c, ok := v.Cohort(t.Cohort); ok {
		return c.Node
	}
	return ""
}

// weightOf is what a tenant counts: what the operator says, or what it is
// measured to cost, or as much as any other.
func weightOf(t *fsm.Tenant, activity *map[string]float64) float64 {
	if t.Weight > 0 {
		return float64(t.Weight) / 100
	}
	if activity != nil {
		if w := (*activity)[t.ID]; w > 0 {
			return w
		}
	}
	return 1
}

// gatherActivity asks every node what its tenants cost, as shares of the
// average tenant.
func (r *reconciler) gatherActivity(ctx context.Context, nodes map[string]*member) map[string]float64 {
	ctx, cancel := context.WithTimeout(ctx, activityPatience)
	defer cancel()
	var (
		mu  sync.Mutex
		all sync.WaitGroup
		out = map[string]float64{}
		sum float64
	)
	for _, m := range nodes {
		all.Go(func() {
			var costs map[string]float64
			address := r.addressOf(consensus.Server{ID: m.Server, Address: m.Address})
			if err := r.call(ctx, address, http.MethodGet, "/rpc/activity", nil, nil, &costs); err != nil {
				return // its tenants count as much as any other
			}
			mu.Lock()
			defer mu.Unlock()
			for t, c := range costs {
				out[t] += c
				sum += c
			}
		})
	}
	all.Wait()
	for t := range out {
		// Nobody is free: idle tenants still have monitors to hold.
		out[t] = 0.1 + 0.9*out[t]/max(sum/float64(len(out)), 1e-9)
	}
	return out
}

// moves makes commands of the ring's answer.
func (r *reconciler) moves(v *fsm.View, places map[string]seat, nodes map[string]*member, list []ring.Move, now time.Time) []*fsm.Move {
	// By target: each command makes a cohort for each that it has tenants for.
	type target struct {
		force bool
		to    string
	}
	targets := map[target][]fsm.Moved{}
	for _, m := range list {
		t, ok := v.Tenant(m.Tenant)
		if !ok {
			continue
		}
		at := target{places[t.Cohort].force, m.To}
		targets[at] = append(targets[at], fsm.Moved{Tenant: m.Tenant, Cohort: t.Cohort, To: m.To, Reason: reasonOf(m.Reason)})
	}
	byForce := map[bool][]fsm.Moved{}
	for _, at := range slices.SortedFunc(maps.Keys(targets), func(a, b target) int { return strings.Compare(a.to, b.to) }) {
		byForce[at.force] = append(byForce[at.force], targets[at]...)
	}
	var out []*fsm.Move
	for _, force := range []bool{false, true} {
		for moves := range slices.Chunk(byForce[force], movesPerCommand) {
			out = append(out, &fsm.Move{Moves: moves, Force: force, At: now.UnixMilli()})
		}
	}
	for _, c := range out {
		r.metrics.moves.Add(float64(len(c.Moves)))
		counts := map[string]int{}
		for _, m := range c.Moves {
			counts[m.To]++
		}
		for _, to := range slices.Sorted(maps.Keys(counts)) {
			r.log.Info("tenants move", "to", to, "tenants", counts[to], "forced", c.Force)
		}
	}
	return out
}

func reasonOf(r ring.Reason) fsm.Reason {
	switch r {
	case ring.ReasonInitial:
		return fsm.ReasonInitial
	case ring.ReasonNodeFailure:
		return fsm.ReasonNodeFailure
	case ring.ReasonManual:
		return fsm.ReasonManual
	case ring.ReasonScaling:
		return fsm.ReasonScaling
	case ring.ReasonPriorityChange:
		return fsm.ReasonPriorityChange
	default:
		return fsm.ReasonLoadRebalance
	}
}

// planMerges unites the cohorts of each node with its main one, once they have
// judged equally far. settled remembers since when a cohort could be united.
func planMerges(v *fsm.View, nodes map[string]*member, ttl time.Duration, settled map[string]time.Time, now time.Time) []*fsm.Merge {
	var out []*fsm.Merge
	seen := map[string]bool{}
	for c := range v.Cohorts() {
		main, ok := v.Cohort(c.Node)
		if !ok || c.ID == main.ID || c.To != "" || main.To != "" || nodes[c.Node] == nil || !nodes[c.Node].keepsWork(ttl) {
			continue
		}
		// Nobody can tell yet whether what came here can be judged at all: it must not
		// hold up what is.
		if nodes[c.Node].Said.Unreached {
			continue
		}
		if !v.CanMerge(c.ID, main.ID) {
			continue
		}
		seen[c.ID] = true
		if _, known := settled[c.ID]; !known {
			settled[c.ID] = now
		}
		if c.Reason == fsm.ReasonLaggard && now.Sub(settled[c.ID]) < mergeLaggards {
			continue
		}
		out = append(out, &fsm.Merge{From: c.ID, Into: main.ID, FromEpoch: c.Epoch, IntoEpoch: main.Epoch})
	}
	maps.DeleteFunc(settled, func(id string, _ time.Time) bool {
		_, exists := v.Cohort(id)
		return !exists
	})
	return out
}
