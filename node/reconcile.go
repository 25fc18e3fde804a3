package node

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// reconciler brings what is into line with what should be, on the leader. It is
// level-triggered: each pass plans from the state and from who is there now, so
// that a missed event, a restart or another leader needs no special case. Pure
// planners decide: of the Raft group's members, of leases, of assignments, of
// backtests.
type reconciler struct {
	*Node
	ttl time.Duration

	spread     time.Time       // last look at the balance of networks
	watchers   map[string]bool // nodes that took part in it
	rebalanced time.Time       // last look at the balance of tenants
	eligible   map[string]bool // nodes that took part in it
	settled    map[string]time.Time
	peerChange time.Time       // the last change of the Raft group that failed
	replaced   map[string]bool // servers that lost their vote because they were dead
	unplaced   []string        // tenants that found no node then
	placed     time.Time       // the last time that tenants were placed
	examined   uint64          // log index up to which tenants were looked at for pins
	reported   time.Time       // the last time that the balance was measured
}

func newReconciler(n *Node) *reconciler {
	return &reconciler{Node: n, ttl: n.ttl(), spread: time.Now(), rebalanced: time.Now(), settled: map[string]time.Time{}, replaced: map[string]bool{}}
}

// run makes passes until the leadership ends.
func (r *reconciler) run(ctx context.Context) {
	ticker := time.NewTicker(r.ttl / 5)
	defer ticker.Stop()
	for {
		leases := r.state.Changed(fsm.TopicLeases)
		tenants := r.state.Changed(fsm.TopicTenants)
		backtests := r.state.Changed(fsm.TopicBacktests)
		members := r.gossip.Changed()
		r.pass(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-leases:
		case <-tenants:
		case <-backtests:
		case <-members:
		case <-r.nudge:
		case <-ticker.C:
		}
	}
}

// pass makes one look and does what is due.
func (r *reconciler) pass(ctx context.Context, now time.Time) {
	v := r.state.View()
	known, since := r.contacts.all()
	if since.IsZero() {
		return
	}
	nodes := members(v, r.gossip.Members(), known, since, now)
	r.reconcileCluster(ctx, v)
	// Leases first: nothing is announced while they are with nobody.
	grants := planLeases(v, nodes, r.ttl, r.spreadDue(nodes, now))
	propose(ctx, r, "lease", grants)
	if len(grants) > 0 {
		v = r.state.View()
	}
	propose(ctx, r, "assignment", r.planMoves(ctx, v, nodes, now))
	r.passOver(ctx, r.state.View(), now)
	propose(ctx, r, "merge", planMerges(r.state.View(), nodes, r.ttl, r.settled, now))
	propose(ctx, r, "backtest", planBacktests(r.state.View(), nodes, r.ttl, now))
	r.reconcilePeers(nodes)
	r.reportBalance(v, nodes)
}

// propose commits commands side by side. Refusals are no news: the state has
// moved on, and the next pass sees how.
func propose[C fsm.Command](ctx context.Context, r *reconciler, what string, list []C) {
	var all sync.WaitGroup
	for _, c := range list {
		all.Go(func() {
			_, err := r.group.Propose(ctx, c)
			if err != nil && !errors.Is(err, fsm.ErrConflict) && !errors.Is(err, fsm.ErrNotFound) && !errors.Is(err, fsm.ErrStaleEpoch) && ctx.Err() == nil {
				r.log.Warn("the leader's plan could not be committed; it is made again", "what", what, "error", err)
			}
		})
	}
	all.Wait()
}

// reconcileCluster records what the founding node has made.
func (r *reconciler) reconcileCluster(ctx context.Context, v *fsm.View) {
	if v.Cluster().Name != "" {
		return
	}
	record, err := r.membership.record(r.keeper)
	if err != nil {
		r.log.Error("the cluster's keys cannot be read", "error", err)
		return
	}
	propose(ctx, r, "cluster record", []*fsm.SetCluster{{Cluster: record}})
}

// reconcilePeers makes at most one change of the Raft group.
func (r *reconciler) reconcilePeers(nodes map[string]*member) {
	if time.Since(r.peerChange) < r.ttl {
		return
	}
	peers, err := r.group.Peers()
	if err != nil {
		return // not leading any more
	}
	in := peersInput(nodes, peers, serverID(r.opts.Name, r.instance), r.opts.Voters, r.ttl, r.group.Committed())
	in.Replaced = r.replaced
	plan := consensus.PlanPeers(in)
	r.pending.Store(&plan)
	if len(plan) == 0 {
		return
	}
	change := plan[0]
	r.log.Info("raft group", "change", change.String(), "reason", change.Reason)
	switch err := r.group.Change(change); {
	case err != nil:
		r.peerChange = time.Now()
		r.log.Warn("the raft group could not be changed", "change", change.String(), "error", err)
	case change.Kind == consensus.DemotePeer && !in.Members[change.Server.ID].Alive:
		r.replaced[change.Server.ID] = true
	}
}

// spreadDue reports whether networks may move for balance: when a watcher has
// joined, and now and then.
func (r *reconciler) spreadDue(nodes map[string]*member, now time.Time) bool {
	due := now.Sub(r.spread) >= r.opts.Placement.Interval
	watchers := map[string]bool{}
	for _, m := range nodes {
		if !m.mayWatch(r.ttl) {
			continue
		}
		if r.watchers != nil && !r.watchers[m.Name] {
			if m.Steady < joinSteady {
				continue
			}
			due = true
		}
		watchers[m.Name] = true
	}
	if len(watchers) > 0 {
		r.watchers = watchers
	}
	if due {
		r.spread = now
	}
	return due
}

// reportBalance sets the metrics of placement.
func (r *reconciler) reportBalance(v *fsm.View, nodes map[string]*member) {
	r.metrics.unassigned.Set(float64(unassigned(v)))
	capacity := map[string]float64{}
	watchers := 0
	for _, m := range nodes {
		if m.mayWork(r.ttl) {
			capacity[m.Name] = float64(m.Weight)
		}
		if m.mayWatch(r.ttl) {
			watchers++
		}
	}
	r.metrics.able.WithLabelValues("watcher").Set(float64(watchers))
	r.metrics.able.WithLabelValues("worker").Set(float64(len(capacity)))
	if now := time.Now(); now.Sub(r.reported) >= balanceEvery { // it takes a look at every tenant
		r.reported = now
		r.metrics.imbalance.Set(imbalance(v, capacity, r.Node.activity.Load()))
	}
}

// balanceEvery is how often the leader measures how even the load is.
const balanceEvery = 5 * time.Second

// imbalance is (max - min) / average of what nodes of the given capacities have to
// judge, each relative to its capacity: what ring.Plan measures.
func imbalance(v *fsm.View, capacity map[string]float64, activity *map[string]float64) float64 {
	loads := map[string]float64{}
	sum, all := 0.0, 0.0
	for t := range v.Tenants() {
		c, ok := v.Cohort(t.Cohort)
		if !ok || t.ID == fsm.Shared || capacity[c.Node] == 0 {
			continue
		}
		w := weightOf(t, activity)
		loads[c.Node] += w
		sum += w
	}
	least, most := math.Inf(1), 0.0
	for node, c := range capacity {
		level := loads[node] / c
		least, most, all = min(least, level), max(most, level), all+c
	}
	if sum == 0 {
		return 0
	}
	return (most - least) / (sum / all)
}

// unassigned counts the tenants that nobody judges now.
func unassigned(v *fsm.View) int {
	count := v.TenantCount("")
	for c := range v.Cohorts() {
		if c.Node == "" || c.To != "" {
			count += v.TenantCount(c.ID)
		}
	}
	return count
}
