package node

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// maxVerify bounds the heights of one verification.
const maxVerify = 1_000_000

// Verify judges a range of heights again, each block with the configuration
// that was in force when it was due, and compares with what was fired.
func (n *Node) Verify(ctx context.Context, tenant, network string, from, to uint64, progress func(api.Progress)) (*api.Verification, error) {
	v := n.state.View()
	t, net, err := tenantOn(v, tenant, network)
	if err != nil {
		return nil, err
	}
	tip, _ := net.Branch.Tip()
	from, to = judgedRange(v, t, net, from, to)
	if from > to || to-from >= maxVerify {
		return nil, fmt.Errorf("%w: heights %d to %d: give a range of 1 to %d blocks, not above the head %d", api.ErrBadRequest, from, to, maxVerify, tip.Height)
	}
	client, err := n.watch.clientOf(net.Key)
	if err != nil {
		return nil, err
	}
	check := &verification{
		node: n, view: v, tenant: t, network: net, client: client, cursor: &fsm.Cursor{},
		out: &api.Verification{Tenant: tenant, Network: net.Key, From: from, To: to},
		due: map[uint64]map[uint64]uint64{}, from: from, to: to,
	}
	if c, ok := v.Cursor(net.Key, t.Cohort); ok {
		check.cursor = c
	}
	if err := check.regimes(); err != nil {
		return nil, err
	}
	check.told, check.gone, check.out.Silent = n.gatherAlerts(ctx, tenant, net.Key, from, to)
	for h := from; h <= to; h++ {
		if err := check.height(ctx, h); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(api.Progress{Done: h - from + 1, Total: to - from + 1})
		}
	}
	return check.out, nil
}

// judgedRange fills in what of a range was not given: everything that was judged,
// as far as one verification goes.
func judgedRange(v *fsm.View, t *fsm.Tenant, net *fsm.Network, from, to uint64) (uint64, uint64) {
	tip, _ := net.Branch.Tip()
	if to == 0 {
		to = tip.Height
		if c, ok := v.Cursor(net.Key, t.Cohort); ok {
			if h, known := net.HeightAt(c.Position); known {
				to = min(to, h)
			}
		}
		deepest := uint64(0)
		for _, d := range store.DepthsOn(t.Current, net.Key, net.DepthAt(net.Next)) {
			deepest = max(deepest, d)
		}
		to -= min(to, deepest)
	}
	to = min(to, tip.Height)
	if from == 0 {
		if runs := t.Coverage[net.Key]; len(runs) > 0 {
			from, _ = net.HeightAt(runs[0].From)
		}
		if to >= maxVerify {
			from = max(from, to-maxVerify+1)
		}
	}
	return from, to
}

// verification is one Verify under way.
type verification struct {
	node     *Node
	view     *fsm.View
	tenant   *fsm.Tenant
	network  *fsm.Network
	cursor   *fsm.Cursor
	client   chain.Client
	out      *api.Verification
	from, to uint64

	list []regime
	due  map[uint64]map[uint64]uint64 // depth -> height -> position
	told map[uint64][]api.Fired       // by the other nodes' journals, by height
	gone uint64                       // height up to which some journal has lost alerts; 0: none
}

// regime is a stretch of positions with one version of the tenant's documents
// and one depth of the network's own.
type regime struct {
	from, to uint64 // positions; to is not in it, 0 means that it is in force
	version  uint64
	kept     bool // the version's documents are
	groups   []group
}

// group is the monitors of a regime that judge at one depth.
type group struct {
	depth uint64
	judge *worker.Rejudge
	// raised maps those that judged at a greater depth in the regime before to
	// that depth: what was not due for them there was judged when this one began.
	raised map[string]uint64
}

func (r *regime) contains(position uint64) bool {
	return r.from <= position && (r.to == 0 || position < r.to)
}

// regimes cuts the tenant's coverage of the network where its own depth changed.
func (c *verification) regimes() error {
	var before map[string]uint64 // monitor -> depth
	for _, run := range c.tenant.Coverage[c.network.Key] {
		bounds := []uint64{run.From}
		for _, d := range c.network.Depths {
			if d.From > run.From && (run.To == 0 || d.From < run.To) {
				bounds = append(bounds, d.From)
			}
		}
		for i, from := range bounds {
			r := regime{from: from, to: run.To, version: run.Version}
			if i+1 < len(bounds) {
				r.to = bounds[i+1]
			}
			version, ok := c.tenant.Number(run.Version)
			if ok {
				var err error
				if before, err = c.compile(&r, version, before); err != nil {
					return err
				}
			} else {
				before = nil
			}
			c.list = append(c.list, r)
		}
	}
	return nil
}

// compile fills a regime and gives the depth of each of its monitors.
func (c *verification) compile(r *regime, version fsm.Version, before map[string]uint64) (map[string]uint64, error) {
	r.kept = true
	own := c.network.DepthAt(r.from)
	depths := map[string]uint64{}
	for _, d := range store.DepthsOn(version, c.network.Key, own) {
		judge, err := worker.NewRejudge(c.view, c.tenant.ID, version, c.network.Key, own, d)
		if err != nil {
			return nil, err
		}
		g := group{depth: d, judge: judge, raised: map[string]uint64{}}
		for _, id := range judge.Monitors() {
			depths[id] = d
			if was, ok := before[id]; ok && was > d {
				g.raised[id] = was
			}
		}
		r.groups = append(r.groups, g)
		for _, depth := range append(slices.Collect(maps.Values(g.raised)), d) {
			if c.due[depth] == nil {
				c.due[depth] = c.network.DueAt(depth, c.from, c.to)
			}
		}
	}
	return depths, nil
}

// judgedAt is the position at which a group judged a height in a regime, and
// with which monitors: nil means all of them.
func (c *verification) judgedAt(r *regime, g *group, h uint64) (position uint64, only map[string]bool, ok bool) {
	position, due := c.due[g.depth][h]
	if !due {
		return 0, nil, false
	}
	if r.contains(position) {
		return position, nil, true
	}
	if position >= r.from {
		return 0, nil, false
	}
	for id, was := range g.raised {
		if at, due := c.due[was][h]; !due || at >= r.from {
			if only == nil {
				only = map[string]bool{}
			}
			only[id] = true
		}
	}
	return r.from, only, only != nil
}

// height judges one height again and compares.
func (c *verification) height(ctx context.Context, h uint64) error {
	if c.gone != 0 && h <= c.gone {
		c.out.Unprovable = addHeight(c.out.Unprovable, h, "the journal no longer keeps the alerts of so long ago")
		return nil
	}
	fired := c.fired(h)
	var err error
	var block *chain.Block
	expected := map[string]api.Fired{}
	judged, reason := false, ""
	for i := range c.list {
		r := &c.list[i]
		if !r.kept {
			if c.dueIn(r, h) {
				c.out.Unprovable = addHeight(c.out.Unprovable, h, fmt.Sprintf("judged with version %d, whose documents are no longer kept", r.version))
				judged = true
			}
			continue
		}
		for j := range r.groups {
			position, only, ok := c.judgedAt(r, &r.groups[j], h)
			if !ok {
				continue
			}
			if why := c.notJudged(position); why != "" {
				reason = why
				continue
			}
			judged = true
			if block == nil {
				if block, err = c.block(ctx, h); err != nil {
					return err
				}
			}
			if err := c.expect(r.groups[j].judge, block, r.version, only, expected); err != nil {
				return err
			}
		}
	}
	if !judged {
		if reason == "" {
			reason = c.whyNotDue(h)
		}
		c.out.NotJudged = addHeight(c.out.NotJudged, h, reason)
		return nil
	}
	c.out.Blocks++
	c.compare(block, expected, fired)
	return nil
}

// dueIn reports whether a height was due, at the network's own depth, in a
// regime whose documents are no longer kept.
func (c *verification) dueIn(r *regime, h uint64) bool {
	own := c.network.DepthAt(r.from)
	if c.due[own] == nil {
		c.due[own] = c.network.DueAt(own, c.from, c.to)
	}
	position, ok := c.due[own][h]
	return ok && r.contains(position)
}

// notJudged tells why what was due at a position is not judged; empty if it is.
func (c *verification) notJudged(position uint64) string {
	switch {
	case position > c.cursor.Position && !c.cursor.Parked():
		return string(fsm.Pending)
	case slices.ContainsFunc(c.cursor.Superseded, func(s fsm.Span) bool { return s.From <= position && position <= s.To }):
		return string(fsm.Superseded)
	}
	return ""
}

func (c *verification) whyNotDue(h uint64) string {
	for run := range c.network.Runs() {
		if run.Kind == fsm.Skip && run.Height <= h && h <= run.ToHeight {
			return string(fsm.Skipped)
		}
	}
	tip, _ := c.network.Branch.Tip()
	for i := range c.list {
		r := &c.list[i]
		for _, g := range r.groups {
			if r.to == 0 && h+g.depth > tip.Height {
				return string(fsm.Pending)
			}
		}
	}
	return string(fsm.NotWanted)
}

// block fetches the canonical block of a height. Where the window still knows
// its hash, another one is refused.
func (c *verification) block(ctx context.Context, h uint64) (*chain.Block, error) {
	b, err := c.client.Block(chain.Refetch(ctx), h)
	if err != nil {
		return nil, fmt.Errorf("network %s: block %d: %w", c.network.Key, h, err)
	}
	if known, ok := c.network.Branch.At(h); ok && known != b.Ref {
		return nil, fmt.Errorf("network %s: the chain is being reorganised at block %d (%s is announced, %s is served): try again",
			c.network.Key, h, known.Hash.Short(), b.Ref.Hash.Short())
	}
	return b, nil
}

// expect adds the alerts that judging a block gives, for all monitors or some.
func (c *verification) expect(j *worker.Rejudge, b *chain.Block, version uint64, only map[string]bool, into map[string]api.Fired) error {
	hits, err := j.Judge(b.Payload)
	if err != nil {
		return fmt.Errorf("block %v: %w", b.Ref, err)
	}
	for _, h := range hits {
		if only != nil && !only[h.Monitor] {
			continue
		}
		id := alert.NewID(c.tenant.ID, h.Monitor, c.network.Key, h.Transaction).String()
		into[id] = api.Fired{ID: id, Monitor: h.MonitorName, Block: b.Ref, Tx: h.Transaction, Version: version}
	}
	return nil
}

// fired is what journals and ledger have of a height.
func (c *verification) fired(h uint64) map[string]api.Fired {
	out := map[string]api.Fired{}
	for _, f := range c.told[h] {
		out[f.ID+f.Block.Hash.String()] = f
	}
	for f := range c.view.FiredBetween(c.network.Key, h, h) {
		if f.Tenant == c.tenant.ID {
			key := f.Alert + f.Block.Hash.String()
			if _, known := out[key]; !known {
				out[key] = api.Fired{ID: f.Alert, Monitor: f.Monitor, Block: f.Block, Tx: f.Tx, Version: f.Version}
			}
		}
	}
	return out
}

func (c *verification) compare(b *chain.Block, expected, fired map[string]api.Fired) {
	for id, e := range expected {
		c.out.Expected++
		if _, ok := fired[id+b.Ref.Hash.String()]; ok {
			c.out.Confirmed++
		} else {
			c.out.Missing = append(c.out.Missing, e)
		}
	}
	for _, f := range fired {
		switch _, ok := expected[f.ID]; {
		case b == nil: // judged with a version that is no longer kept
		case f.Block.Hash != b.Ref.Hash:
			c.out.RolledBack++
		case !ok:
			c.out.Unexpected = append(c.out.Unexpected, f)
		}
	}
}

// addHeight adds a height to a list of ranges.
func addHeight(list []api.Heights, h uint64, reason string) []api.Heights {
	if last := len(list) - 1; last >= 0 && list[last].Reason == reason && list[last].To+1 == h && h != math.MaxUint64 {
		list[last].To = h
		return list
	}
	return append(list, api.Heights{From: h, To: h, Reason: reason})
}
