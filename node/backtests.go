package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// pastBlocks gives backtests the blocks of the past: from the cache where they are
// announced and there, else from whoever watches the network.
type pastBlocks struct{ n *Node }

// Past implements backtest.Blocks.
func (p pastBlocks) Past(ctx context.Context, tenant, network string, height uint64) ([]byte, uint64, error) {
	n, ok := p.n.state.View().Network(network)
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("network %s: %w", network, fsm.ErrNotFound)
	case n.Lease.Holder == "":
		return nil, 0, fmt.Errorf("network %s: nobody watches it at the moment", network)
	}
	if ref, known := n.Branch.At(height); known {
		if payload, ok := p.n.cache.Get(ctx, network, ref.Hash); ok {
			return payload, 0, nil
		}
	}
	if n.Lease.Holder == p.n.opts.Name {
		return p.n.watch.fetchPast(ctx, tenant, network, height)
	}
	return p.n.askPast(ctx, n.Lease.Holder, tenant, network, height)
}

// fetchPast fetches a block of the past of a network that is watched here, and tells how
// many calls that took. They are the tenant's that asks, whoever else wants the network.
func (w *watchers) fetchPast(ctx context.Context, tenant, network string, height uint64) (payload []byte, calls uint64, err error) {
	turn, client, err := w.asideOf(network)
	if err != nil {
		return nil, 0, err
	}
	var count atomic.Uint64
	err = turn.do(ctx, func() error {
		b, err := client.Block(chain.Refetch(chain.Counting(ctx, &count)), height)
		if err == nil {
			payload = b.Payload
		}
		return err
	})
	w.node.meter.called(tenant, network, count.Load())
	return payload, max(count.Load(), 1), err // one that joined another's fetch has made none itself
}

const (
	pathPast    = "/rpc/past"
	callsHeader = "Ozmo-Calls"
)

func (n *Node) servePast(w http.ResponseWriter, r *http.Request) {
	height, err := strconv.ParseUint(r.URL.Query().Get("height"), 10, 64)
	if err != nil {
		fail(w, fmt.Errorf("%w: %w", api.ErrBadRequest, err))
		return
	}
	payload, calls, err := n.watch.fetchPast(r.Context(), r.URL.Query().Get("tenant"), r.URL.Query().Get("network"), height)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(payload)))
	w.Header().Set(callsHeader, strconv.FormatUint(calls, 10))
	_, _ = w.Write(payload) // the peer is gone: nothing to do about it
}

// askPast gets a block of the past from the node that watches its network.
func (n *Node) askPast(ctx context.Context, holder, tenant, network string, height uint64) ([]byte, uint64, error) {
	node, ok := n.state.View().Node(holder)
	if !ok {
		return nil, 0, fmt.Errorf("node %q, which watches %s: %w", holder, network, fsm.ErrNotFound)
	}
	query := url.Values{"tenant": {tenant}, "network": {network}, "height": {strconv.FormatUint(height, 10)}}
	resp, err := n.open(ctx, n.addressOf(consensus.Server{ID: node.Server, Address: node.Address}), http.MethodGet, pathPast, query, nil)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	calls, err := strconv.ParseUint(resp.Header.Get(callsHeader), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("node %s: header %s: %w", holder, callsHeader, err)
	}
	payload, err := io.ReadAll(io.LimitReader(resp.Body, maxBlock))
	return payload, calls, err
}

// backtestsPerNode is how many parts of backtests a node judges side by side. They
// wait for blocks most of the time, and judge one after another.
const backtestsPerNode = 2

// planBacktests gives the parts of backtests that nobody judges to nodes that have
// room, those of tenants that have the fewest under way first, and of a tenant's the
// oldest. A part whose node is lost, or drains, goes to another one, which goes on
// where the state says that it has come to.
func planBacktests(v *fsm.View, nodes map[string]*member, ttl time.Duration, now time.Time) []*fsm.WorkBacktest {
	type waiting struct {
		job  *fsm.Backtest
		part int
	}
	var queue []waiting
	busy, underWay := map[string]int{}, map[string]int{} // by node, by tenant
	for b := range v.ActiveBacktests() {
		for i := range b.Parts {
			p := &b.Parts[i]
			m := nodes[p.Node]
			switch {
			case p.Done():
			case m != nil && m.keepsWork(ttl):
				busy[p.Node]++
				underWay[b.Tenant]++
			default:
				queue = append(queue, waiting{b, i})
			}
		}
	}
	if len(queue) == 0 {
		return nil
	}
	var able []string
	for _, m := range byName(nodes) {
		if m.mayWork(ttl) {
			able = append(able, m.Name)
		}
	}
	var out []*fsm.WorkBacktest
	for len(queue) > 0 && len(able) > 0 {
		to := slices.MinFunc(able, func(a, b string) int { return busy[a] - busy[b] })
		if busy[to] >= backtestsPerNode {
			break
		}
		next := 0
		for i := range queue {
			if underWay[queue[i].job.Tenant] < underWay[queue[next].job.Tenant] {
				next = i
			}
		}
		w := queue[next]
		queue = slices.Delete(queue, next, next+1)
		busy[to]++
		underWay[w.job.Tenant]++
		out = append(out, &fsm.WorkBacktest{
			Tenant: w.job.Tenant, ID: w.job.ID, Part: w.part, Epoch: w.job.Parts[w.part].Epoch, Node: to, At: now.UnixMilli(),
		})
	}
	return out
}
