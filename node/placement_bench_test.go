package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/node/gossip"
	"github.com/ozmo-dev/ozmo/ring"
)

// BenchmarkPlacement plans and commits the first placement of many tenants on
// many nodes, through a log on disk.
func BenchmarkPlacement(b *testing.B) {
	for _, size := range []struct{ tenants, nodes int }{{10_000, 10}, {100_000, 100}} {
		b.Run(fmt.Sprintf("tenants=%d/nodes=%d", size.tenants, size.nodes), func(b *testing.B) {
			prepared := unplaced(b, size.tenants, size.nodes)
			var plan, commit time.Duration
			for b.Loop() {
				b.StopTimer()
				n := placementNode(b, prepared)
				v := n.state.View()
				nodes := everybodyWell(v)
				r := newReconciler(n)
				n.contacts.reset(time.Now().Add(-time.Hour))
				runtime.GC() // of what preparing has left behind
				b.StartTimer()
				start := time.Now()
				moves := r.planMoves(b.Context(), v, nodes, time.Now())
				planned := time.Now()
				propose(b.Context(), r, "assignment", moves)
				plan, commit = plan+planned.Sub(start), commit+time.Since(planned)
				b.StopTimer()
				if left := n.state.View().TenantCount(""); left != 0 {
					b.Fatalf("%d tenants are left without a node", left)
				}
				if err := n.clean.run(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(plan.Seconds()/float64(b.N), "plan-s")
			b.ReportMetric(commit.Seconds()/float64(b.N), "commit-s")
		})
	}
}

// unplaced is the snapshot of a state with nodes, and tenants that have none.
func unplaced(b *testing.B, tenants, nodes int) []byte {
	b.Helper()
	s := fsm.New()
	index := uint64(0)
	apply := func(c fsm.Command) {
		entry, err := fsm.Encode(c)
		if err != nil {
			b.Fatal(err)
		}
		index++
		if _, err := s.Apply(index, entry); err != nil {
			b.Fatal(err)
		}
	}
	for i := range nodes {
		apply(&fsm.RegisterNode{Name: fmt.Sprintf("node-%03d", i), Server: fmt.Sprintf("node-%03d@1", i), Roles: fsm.AllRoles, Weight: 100})
	}
	doc := []byte("{}")
	apply(&fsm.PutBlobs{Blobs: [][]byte{doc}})
	for i := range tenants {
		m := fsm.Manifest{Docs: []fsm.Doc{{Kind: fsm.DocMonitor, ID: "m", Hash: fsm.HashBlob(doc), Watches: []fsm.Watch{{Network: fmt.Sprintf("net-%02d", i%20)}}}}}
		m.Normalize()
		apply(&fsm.SetTenantVersion{Tenant: fmt.Sprintf("tenant-%06d", i), Manifest: m})
	}
	var out bytes.Buffer
	if _, err := s.View().WriteTo(&out); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func placementNode(b *testing.B, snapshot []byte) *Node {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	n := &Node{log: log, state: fsm.New(), metrics: newMetrics(prometheus.NewRegistry())}
	n.opts.strategy = ring.ConsistentHashing
	n.opts.RaftMultiplier = 1
	n.opts.Placement = Placement{Threshold: 0.2, Interval: time.Hour}
	group, err := consensus.Open(consensus.Options{
		Dir: b.TempDir(), Server: "node-000@1", Address: "node-000", State: n.state, Logger: log,
		Registerer: prometheus.NewRegistry(), Fatal: func(err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	n.group = group
	n.clean.push(group.Close)
	if err := group.Bootstrap([]consensus.Server{{ID: "node-000@1", Address: "node-000"}}); err != nil {
		b.Fatal(err)
	}
	if err := group.Barrier(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := group.Restore(b.Context(), 1, 1, int64(len(snapshot)), bytes.NewReader(snapshot)); err != nil {
		b.Fatal(err)
	}
	return n
}

func everybodyWell(v *fsm.View) map[string]*member {
	out := map[string]*member{}
	for node := range v.Nodes() {
		out[node.Name] = &member{
			Node: node, Gossip: gossip.Alive, Heard: true, Steady: time.Hour, Said: heartbeat{Applied: v.Index() + 1<<20},
		}
	}
	return out
}
