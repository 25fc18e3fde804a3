package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// clusterResult is what a demo with several nodes has shown.
type clusterResult struct {
	count    receiverCount
	refusals []error
	blocks   judgedBlocks // of all tenants together
	expected int          // alerts that judging everything again gives
	lost     []api.Fired
	unproved []string // what could not be judged again, and why
	moved    int      // tenants that changed their node
	calls    float64  // block-fetch calls per announced block
	killed   bool
	gap      time.Duration
	behind   error
	took     []time.Duration // block-to-alert
}

// settle waits until what the chain offered is judged for every tenant, then
// has all of it judged again and compared with what was fired.
func (c *demoCluster) settle(ctx context.Context) (*clusterResult, error) {
	r := &clusterResult{killed: c.opts.killWatch && c.gap.longest > 0, gap: c.gap.longest}
	tip, _ := c.heads.tip()
	patience := settlePatience
	r.behind = c.await(ctx, patience, "all blocks to be judged", func(ctx context.Context) error { return c.judgedUpTo(ctx, tip.number) })
	if err := c.failed(); err != nil {
		return nil, err
	}
	c.showWaiting(ctx)
	r.count, r.refusals = c.receiver.counts()
	r.took = c.latencies
	s, err := c.status(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range s.Tenants {
		if t.Moves > c.moved[t.ID] {
			r.moved++
		}
	}
	if announced := s.Networks[0].Position; announced > 0 {
		r.calls = float64(s.Networks[0].Calls.Plus(c.before).BlockFetch) / float64(announced)
	}
	for _, t := range c.tenants {
		if err := c.verify(ctx, t, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// judgedUpTo reports what is still missing.
func (c *demoCluster) judgedUpTo(ctx context.Context, height uint64) error {
	for _, t := range c.tenants {
		coverage, err := c.anyNode().client().Coverage(ctx, t, demoNetwork, 0, 0)
		if err != nil {
			return err
		}
		if blocks := countBlocks(coverage.Rows); blocks.height < height {
			return fmt.Errorf("the chain has offered block %d, but for %s the cluster has only got to %d", height, t, blocks.height)
		}
	}
	return nil
}

func (c *demoCluster) anyNode() *demoNode {
	i := max(0, slices.IndexFunc(c.nodes, (*demoNode).running))
	return c.nodes[i]
}

func (c *demoCluster) verify(ctx context.Context, tenant string, r *clusterResult) error {
	coverage, err := c.anyNode().client().Coverage(ctx, tenant, demoNetwork, 0, 0)
	if err != nil {
		return err
	}
	blocks := countBlocks(coverage.Rows)
	r.blocks.judged += blocks.judged
	r.blocks.skipped += blocks.skipped
	v, err := c.anyNode().client().Verify(ctx, tenant, demoNetwork, 0, 0, nil)
	if err != nil {
		return fmt.Errorf("judging again for %s: %w", tenant, err)
	}
	r.expected += v.Expected
	r.lost = append(r.lost, v.Missing...)
	for _, u := range v.Unprovable {
		r.unproved = append(r.unproved, fmt.Sprintf("%s: blocks %d to %d: %s", tenant, u.From, u.To, u.Reason))
	}
	for _, name := range v.Silent {
		r.unproved = append(r.unproved, fmt.Sprintf("%s: node %s did not tell what it fired", tenant, name))
	}
	return nil
}

// String is the demo's last lines.
func (r *clusterResult) String() string {
	var b strings.Builder
	signatures := "signatures verified"
	if r.count.refused > 0 {
		signatures = fmt.Sprintf("%d REFUSED", r.count.refused)
	}
	took := ""
	if len(r.took) > 0 {
		sorted := slices.Sorted(slices.Values(r.took))
		took = fmt.Sprintf(", block-to-alert p50 %s p99 %s", milliseconds(percentile(sorted, 50)), milliseconds(percentile(sorted, 99)))
	}
	fmt.Fprintf(&b, "%s received, %s, %s judged, %s skipped, %d of %d alerts lost%s\n",
		count(r.count.alerts, "alert"), signatures, count(r.blocks.judged, "block"), count(r.blocks.skipped, "block"), len(r.lost), r.expected, took)
	if r.killed {
		fmt.Fprintf(&b, "gap after the watcher's node was killed: %s\n", milliseconds(r.gap))
	}
	fmt.Fprintf(&b, "tenants moved: %d\nblock-fetch calls per announced block: %.2f\nduplicates (same key): %d\n", r.moved, r.calls, r.count.repeated)
	return b.String()
}

// problems are the reasons why a demo that ran for its time has failed.
func (r *clusterResult) problems() mistakes {
	wrong := r.lies()
	switch {
	case r.count.alerts == 0:
		wrong.addf("no alert was received")
	case r.blocks.judged == 0:
		wrong.addf("no block was judged")
	}
	if r.behind != nil {
		wrong.addf("%v", r.behind)
	}
	for _, u := range r.unproved {
		wrong.addf("not proved: %s", u)
	}
	return wrong
}

// lies are the reasons why any demo has failed, however soon it was ended.
func (r *clusterResult) lies() mistakes {
	var wrong mistakes
	if r.count.refused > 0 {
		wrong.addf("%s refused by the receiver: %v", count(r.count.refused, "request"), errors.Join(r.refusals...))
	}
	if r.blocks.skipped > 0 {
		wrong.addf("%s skipped", count(r.blocks.skipped, "block"))
	}
	for i, f := range r.lost {
		if i == 10 {
			wrong.addf("… and %d more", len(r.lost)-i)
			break
		}
		wrong.addf("alert lost: %s, transaction %s in block %d", f.Monitor, f.Tx, f.Block.Height)
	}
	return wrong
}
