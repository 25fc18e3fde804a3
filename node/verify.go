package node

import (
	"context"
	"fmt"
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
	if to == 0 || to > tip.Height {
		to = tip.Height
	}
	if from > to || to-from >= maxVerify {
		return nil, fmt.Errorf("%w: heights %d to %d: give a range of 1 to %d blocks, not above the head %d", api.ErrBadRequest, from, to, maxVerify, tip.Height)
	}
	client, err := n.watch.clientOf(net.Key)
	if err != nil {
		return nil, err
	}
	check := &verification{
		node: n, view: v, tenant: t, network: net, client: client,
		out:      &api.Verification{Tenant: tenant, Network: net.Key, From: from, To: to},
		versions: map[uint64][]judging{},
		cursor:   &fsm.Cursor{},
	}
	if c, ok := v.Cursor(net.Key, t.Cohort); ok {
		check.cursor = c
	}
	check.depths(from, to)
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

// verification is one Verify under way.
type verification struct {
	node    *Node
	view    *fsm.View
	tenant  *fsm.Tenant
	network *fsm.Network
	cursor  *fsm.Cursor
	client  chain.Client
	out     *api.Verification

	due      map[uint64]map[uint64]uint64 // depth -> height -> position
	versions map[uint64][]judging         // version -> its monitors on the network, by depth
}

// judging is a version's monitors of one depth, compiled.
type judging struct {
	depth uint64
	judge *worker.Rejudge
}

// depths finds at which depths the tenant's versions judge the network.
func (c *verification) depths(from, to uint64) {
	c.due = map[uint64]map[uint64]uint64{}
	for _, run := range c.tenant.Coverage[c.network.Key] {
		version, ok := c.tenant.Number(run.Version)
		if !ok {
			continue
		}
		for _, d := range store.DepthsOn(c.view, version, c.network.Key) {
			if c.due[d] == nil {
				c.due[d] = c.network.DueAt(d, from, to)
			}
		}
	}
}

// inForce is the number of the version that judged a position.
func (c *verification) inForce(position uint64) (uint64, bool) {
	runs := c.tenant.Coverage[c.network.Key]
	i := slices.IndexFunc(runs, func(r fsm.CoverageRun) bool {
		return r.From <= position && (r.To == 0 || position < r.To)
	})
	if i < 0 {
		return 0, false
	}
	return runs[i].Version, true
}

// height judges one height again and compares.
func (c *verification) height(ctx context.Context, h uint64) error {
	fired, err := c.fired(h)
	if err != nil {
		return err
	}
	var block *chain.Block
	expected := map[string]api.Fired{}
	judged, reason := false, ""
	for depth, due := range c.due {
		position, ok := due[h]
		if !ok {
			reason = c.whyNotDue(h, depth)
			continue
		}
		number, ok := c.inForce(position)
		switch {
		case !ok:
			reason = string(fsm.NotWanted)
			continue
		case position > c.cursor.Position:
			reason = string(fsm.Pending)
			continue
		case slices.ContainsFunc(c.cursor.Superseded, func(s fsm.Span) bool { return s.From <= position && position <= s.To }):
			reason = string(fsm.Superseded)
			continue
		}
		judgings, kept, err := c.version(number)
		if err != nil {
			return err
		}
		if !kept {
			c.out.Unprovable = addHeight(c.out.Unprovable, h, fmt.Sprintf("judged with version %d, whose documents are no longer kept", number))
			judged = true
			continue
		}
		for _, j := range judgings {
			if j.depth != depth {
				continue
			}
			judged = true
			if block == nil {
				if block, err = c.block(ctx, h); err != nil {
					return err
				}
			}
			if err := c.expect(j.judge, block, number, expected); err != nil {
				return err
			}
		}
	}
	if !judged {
		if reason == "" {
			reason = string(fsm.NotWanted)
		}
		c.out.NotJudged = addHeight(c.out.NotJudged, h, reason)
		return nil
	}
	c.out.Blocks++
	c.compare(block, expected, fired)
	return nil
}

func (c *verification) whyNotDue(h, depth uint64) string {
	for run := range c.network.Runs() {
		if run.Kind == fsm.Skip && run.Height <= h && h <= run.ToHeight {
			return string(fsm.Skipped)
		}
	}
	tip, _ := c.network.Branch.Tip()
	if h+depth > tip.Height {
		return string(fsm.Pending)
	}
	return string(fsm.NotWanted)
}

// block fetches the canonical block of a height. Where the window still knows
// its hash, another one is refused.
func (c *verification) block(ctx context.Context, h uint64) (*chain.Block, error) {
	b, err := c.client.Block(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("network %s: block %d: %w", c.network.Key, h, err)
	}
	if known, ok := c.network.Branch.At(h); ok && known != b.Ref {
		return nil, fmt.Errorf("network %s: the chain is being reorganised at block %d (%s is announced, %s is served): try again",
			c.network.Key, h, known.Hash.Short(), b.Ref.Hash.Short())
	}
	return b, nil
}

// version compiles a version's monitors, once.
func (c *verification) version(number uint64) (list []judging, kept bool, err error) {
	if list, ok := c.versions[number]; ok {
		return list, list != nil, nil
	}
	version, ok := c.tenant.Number(number)
	if !ok {
		c.versions[number] = nil
		return nil, false, nil
	}
	list = []judging{}
	for _, d := range store.DepthsOn(c.view, version, c.network.Key) {
		judge, err := worker.NewRejudge(c.view, c.tenant.ID, version, c.network.Key, d)
		if err != nil {
			return nil, false, err
		}
		list = append(list, judging{d, judge})
	}
	c.versions[number] = list
	return list, true, nil
}

func (c *verification) expect(j *worker.Rejudge, b *chain.Block, version uint64, into map[string]api.Fired) error {
	hits, err := j.Judge(b.Payload)
	if err != nil {
		return fmt.Errorf("block %v: %w", b.Ref, err)
	}
	for _, h := range hits {
		id := alert.NewID(c.tenant.ID, h.Monitor, c.network.Key, h.Transaction).String()
		into[id] = api.Fired{ID: id, Monitor: h.MonitorName, Block: b.Ref, Tx: h.Transaction, Version: version}
	}
	return nil
}

// fired is what journal and ledger have of a height.
func (c *verification) fired(h uint64) (map[string]api.Fired, error) {
	out := map[string]api.Fired{}
	for a, err := range c.node.journal.Alerts(c.tenant.ID, c.network.Key, h, h) {
		if err != nil {
			return nil, err
		}
		out[a.ID+a.Block.Hash.String()] = api.Fired{ID: a.ID, Monitor: a.MonitorName, Block: a.Block, Tx: a.Tx, Version: a.Version}
	}
	for f := range c.view.FiredBetween(c.network.Key, h, h) {
		if f.Tenant == c.tenant.ID {
			key := f.Alert + f.Block.Hash.String()
			if _, known := out[key]; !known {
				out[key] = api.Fired{ID: f.Alert, Monitor: f.Monitor, Block: f.Block, Tx: f.Tx, Version: f.Version}
			}
		}
	}
	return out, nil
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
