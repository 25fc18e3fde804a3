package node

import (
	"context"
	"fmt"
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
	p, err := n.pastOf(ctx, v, t, net, client, from, to, "")
	if err != nil {
		return nil, err
	}
	check := &verification{past: p, out: &api.Verification{Tenant: tenant, Network: net.Key, From: from, To: to, Silent: p.silent}}
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
		for _, d := range store.DepthsOn(t.Current, net.Key, net.DepthAt(net.Next), net.FinalityAt(net.Next)) {
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
	*past
	out *api.Verification
}

// height judges one height again and compares.
func (c *verification) height(ctx context.Context, h uint64) error {
	if c.dropped != 0 && h <= c.dropped {
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
			switch may := c.mayHaveJudged(r, h); {
			case may && r.behind:
				reason = string(fsm.Behind)
			case may:
				c.out.Unprovable = addHeight(c.out.Unprovable, h, fmt.Sprintf("may have been judged with version %d, whose documents are no longer kept", r.version))
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
	if block != nil {
		c.out.Blocks++
	}
	c.compare(h, block, expected, fired)
	return nil
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
		if !f.Replayed {
			out[f.ID+f.Block.Hash.String()] = f.Fired
		}
	}
	for f := range c.view.FiredBetween(c.network.Key, h, h) {
		if f.Tenant == c.tenant.ID && f.Born == c.tenant.Born {
			key := f.Alert + f.Block.Hash.String()
			if _, known := out[key]; !known {
				out[key] = api.Fired{ID: f.Alert, Monitor: f.Monitor, Block: f.Block, Tx: f.Tx, Version: f.Version}
			}
		}
	}
	return out
}

func (c *verification) compare(h uint64, b *chain.Block, expected, fired map[string]api.Fired) {
	for id, e := range expected {
		c.out.Expected++
		if _, ok := fired[id+b.Ref.Hash.String()]; ok {
			c.out.Confirmed++
		} else if why := c.unprovable(h); why != "" {
			c.out.Unproved++
			c.out.Unprovable = addHeight(c.out.Unprovable, h, why)
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

// addHeight adds a height, none less than those before, to a list of ranges. A height may
// have several reasons.
func addHeight(list []api.Heights, h uint64, reason string) []api.Heights {
	for i := range slices.Backward(list) {
		last := &list[i]
		if last.Reason != reason {
			continue
		}
		if last.To == h || last.To+1 == h && h != 0 {
			last.To = h
			return list
		}
		break
	}
	return append(list, api.Heights{From: h, To: h, Reason: reason})
}
