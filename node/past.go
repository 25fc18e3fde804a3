package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// past is what is known of a range of heights of a network for a tenant: which
// configuration judged them when, and what was fired.
type past struct {
	view     *fsm.View
	tenant   *fsm.Tenant
	network  *fsm.Network
	cursor   *fsm.Cursor
	client   chain.Client
	from, to uint64
	monitor  string // id of the only one asked about; empty: all

	list    []regime
	due     map[uint64]map[uint64]uint64 // depth -> height -> position
	told    map[uint64][]told            // by the nodes' journals, by height
	dropped uint64                       // height up to which some journal has dropped alerts for its bounds; 0: none
	gone    uint64                       // height up to which what no journal has may have been in one; 0: none
	// accepted are the keys of deliveries that were, of those that went by the
	// outbox. Only a replay looks for them.
	accepted map[string]bool
	silent   []string // nodes whose journals could not be asked
}

// pastOf gathers it. client reads the network's chain.
func (n *Node) pastOf(ctx context.Context, v *fsm.View, t *fsm.Tenant, net *fsm.Network, client chain.Client, from, to uint64, monitor string) (*past, error) {
	p := &past{
		view: v, tenant: t, network: net, client: client, cursor: &fsm.Cursor{}, from: from, to: to, monitor: monitor,
		due: map[uint64]map[uint64]uint64{},
	}
	if c, ok := v.Cursor(net.Key, t.Cohort); ok {
		p.cursor = c
	}
	if err := p.regimes(); err != nil {
		return nil, err
	}
	var lost uint64
	p.told, p.dropped, lost, p.silent = n.gatherAlerts(ctx, t.ID, net.Key, from, to)
	p.gone = max(p.dropped, lost)
	return p, nil
}

// only is a version with the document of one monitor alone, or without any.
func only(version fsm.Version, monitor string) fsm.Version {
	d, ok := version.Manifest.Find(fsm.DocMonitor, monitor)
	version.Manifest = &fsm.Manifest{}
	if ok {
		version.Manifest.Docs = []fsm.Doc{d}
	}
	return version
}

// regime is a stretch of positions with one version of the tenant's documents
// and one depth of the network's own.
type regime struct {
	from, to uint64 // positions; to is not in it, 0 means that it is in force
	version  uint64
	kept     bool // the version's documents are
	behind   bool // nothing was judged: the tenant was too far behind
	groups   []group
}

// group is the monitors of a regime that judge at one depth.
type group struct {
	depth uint64
	judge *worker.Rejudge
	// raised maps those that judged at a greater depth in the regime before to
	// that depth: what was not due for them there was judged when this one began.
	raised map[worker.Phase]uint64
}

func (r *regime) contains(position uint64) bool {
	return r.from <= position && (r.to == 0 || position < r.to)
}

// regimes cuts the tenant's coverage of the network where one of its own depths
// changed.
func (c *past) regimes() error {
	var before map[worker.Phase]uint64 // depth
	changes := slices.Concat(c.network.Depths, c.network.Windows)
	for _, run := range c.tenant.Coverage[c.network.Key] {
		bounds := []uint64{run.From}
		for _, d := range changes {
			if d.From > run.From && (run.To == 0 || d.From < run.To) {
				bounds = append(bounds, d.From)
			}
		}
		slices.Sort(bounds)
		bounds = slices.Compact(bounds)
		for i, from := range bounds {
			r := regime{from: from, to: run.To, version: run.Version, behind: run.Behind}
			if i+1 < len(bounds) {
				r.to = bounds[i+1]
			}
			version, ok := c.tenant.Number(run.Version)
			if ok {
				if c.monitor != "" {
					version = only(version, c.monitor)
				}
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

// compile fills a regime and gives the depth of each phase of its monitors.
func (c *past) compile(r *regime, version fsm.Version, before map[worker.Phase]uint64) (map[worker.Phase]uint64, error) {
	r.kept = true
	own, finality := c.network.DepthAt(r.from), c.network.FinalityAt(r.from)
	depths := map[worker.Phase]uint64{}
	for _, d := range store.DepthsOn(version, c.network.Key, own, finality) {
		judge, err := worker.NewRejudge(c.view, c.tenant.ID, version, c.network.Key, own, finality, d)
		if err != nil {
			return nil, err
		}
		g := group{depth: d, judge: judge, raised: map[worker.Phase]uint64{}}
		for _, p := range judge.Phases() {
			depths[p] = d
			if was, ok := before[p]; ok && was > d {
				g.raised[p] = was
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
func (c *past) judgedAt(r *regime, g *group, h uint64) (position uint64, only map[string]bool, ok bool) {
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
	for p, was := range g.raised {
		if at, due := c.due[was][h]; !due || at >= r.from {
			if only == nil {
				only = map[string]bool{}
			}
			only[p.Monitor] = true
		}
	}
	return r.from, only, only != nil
}

// mayHaveJudged reports whether a height was due, at any depth that a monitor can
// have, in a regime whose documents are no longer kept. others are depths that the
// networks' documents and the leases do not give.
func (c *past) mayHaveJudged(r *regime, h uint64, others ...uint64) bool {
	for _, depth := range append(others, c.network.DepthAt(r.from), 0, c.network.FinalityAt(r.from)) {
		if c.due[depth] == nil {
			c.due[depth] = c.network.DueAt(depth, c.from, c.to)
		}
		if position, ok := c.due[depth][h]; ok && r.contains(position) {
			return true
		}
	}
	return false
}

// notJudged tells why what was due at a position is not judged; empty if it is.
func (c *past) notJudged(position uint64) string {
	switch {
	case slices.ContainsFunc(c.cursor.Superseded, func(s fsm.Span) bool { return s.From <= position && position <= s.To }):
		return string(fsm.Superseded)
	case c.tenant.Behind(c.network.Key, position):
		return string(fsm.Behind)
	case position > c.cursor.Position && !c.cursor.Parked():
		return string(fsm.Pending)
	}
	return ""
}

// unprovable tells why it proves nothing that no journal has an alert of a height;
// empty if it does. Of blocks that are not final, the ledger knows in any case.
func (c *past) unprovable(h uint64) string {
	switch {
	case !c.final(h):
	case h <= c.gone:
		return "not every alert is in a journal that is left, and since then a node was removed or has lost its disk"
	case len(c.silent) > 0:
		return "not every alert is in a journal that could be asked; no answer from " + strings.Join(c.silent, ", ")
	}
	return ""
}

// final reports whether the ledger may have forgotten what was fired for a height:
// the window may have been narrower when the block was announced.
func (c *past) final(h uint64) bool {
	tip, _ := c.network.Branch.Tip()
	window := c.network.FinalityAt(c.network.Next)
	for _, w := range c.network.Windows {
		window = min(window, w.Depth)
	}
	return h+window <= tip.Height
}

// block fetches the canonical block of a height. Where the window still knows
// its hash, another one is refused.
func (c *past) block(ctx context.Context, h uint64) (*chain.Block, error) {
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
