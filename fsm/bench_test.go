package fsm

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
)

// The size of the cluster that benchmarks look at.
const (
	benchTenants  = 100_000
	benchMonitors = 10 // each tenant's
	benchNetworks = 50
	benchCohorts  = 20
	benchDocument = 300 // bytes of a monitor's document
	benchMove     = 5_000
)

type benchState struct {
	*State
	index  uint64
	height uint64
	heap   uint64 // bytes that the state holds
}

func (s *benchState) apply(tb testing.TB, c Command) any {
	tb.Helper()
	return s.applyEntry(tb, mustEncode(tb, c))
}

func (s *benchState) applyEntry(tb testing.TB, entry []byte) any {
	s.index++
	result, err := s.Apply(s.index, entry)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

func benchNetwork(i int) string { return fmt.Sprintf("network_%02d", i%benchNetworks) }

func benchTenant(i int) string { return fmt.Sprintf("tenant-%06d", i) }

func benchCohort(i int) string { return fmt.Sprintf("node-%02d", i%benchCohorts) }

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// loaded is built once: every tenant watches two networks, every cohort watches
// all of them, 50 000 alerts lie in the fired ledger.
var loaded = sync.OnceValue(func() *benchState {
	var tb testing.TB = new(testing.B)
	before := heapInUse()
	s := &benchState{State: New(), height: 1000}
	for i := range benchCohorts {
		s.apply(tb, &RegisterNode{Name: benchCohort(i)})
	}
	for i := range benchTenants {
		c := &SetTenantVersion{Tenant: benchTenant(i)}
		put := &PutBlobs{}
		for m := range benchMonitors {
			doc := fmt.Appendf(nil, "%0*d", benchDocument, i*benchMonitors+m)
			put.Blobs = append(put.Blobs, doc)
			c.Manifest.Docs = append(c.Manifest.Docs, Doc{
				Kind: DocMonitor, ID: fmt.Sprintf("monitor-%d", m), Hash: HashBlob(doc),
				Watches: []Watch{{Network: benchNetwork(i + m%2), Slug: benchNetwork(i + m%2)}},
			})
		}
		c.Manifest.Normalize()
		s.apply(tb, put)
		s.apply(tb, c)
	}
	for _, c := range benchMoves() {
		s.apply(tb, c)
	}
	s.mergeAll(tb)
	for i := range benchNetworks {
		s.apply(tb, &GrantLease{Network: benchNetwork(i), Holder: benchCohort(i), Window: 64})
		s.announce(tb, benchNetwork(i), s.height)
	}
	key := benchNetwork(0)
	for i := range 5_000 {
		c := &Progress{Network: key, Cohort: benchCohort(i)}
		cohort, _ := s.View().Cohort(c.Cohort)
		c.Epoch, c.Fired = cohort.Epoch, benchFired(key, ref(s.height, "a"), i*10)
		s.apply(tb, c)
	}
	for i := range uint64(100) { // puts those alerts below the final height
		s.announce(tb, key, s.height+1+i)
	}
	s.heap = heapInUse() - before
	return s
})

// benchMoves assigns every tenant.
func benchMoves() []*Move {
	var out []*Move
	for i := range benchTenants {
		if i%benchMove == 0 {
			out = append(out, &Move{At: 1})
		}
		c := out[len(out)-1]
		c.Moves = append(c.Moves, Moved{Tenant: benchTenant(i), To: benchCohort(i / benchNetworks), Reason: ReasonInitial})
	}
	return out
}

// merges are those of every cohort into its node's main one.
func (s *benchState) merges() []*Merge {
	var out []*Merge
	for c := range s.View().Cohorts() {
		if main, _ := s.View().Cohort(c.Node); c.ID != main.ID {
			out = append(out, &Merge{From: c.ID, Into: main.ID, FromEpoch: c.Epoch, IntoEpoch: main.Epoch})
		}
	}
	return out
}

func (s *benchState) mergeAll(tb testing.TB) {
	for _, c := range s.merges() {
		s.apply(tb, c)
	}
}

func benchFired(network string, block BlockRef, from int) []Fired {
	var fired []Fired
	for i := range 10 {
		alert := HashBlob(fmt.Append(nil, from+i)).String()
		fired = append(fired, Fired{
			Network: network, Block: block, Alert: alert, Tenant: "tenant-000001", Monitor: "monitor-1", Tx: alert, Position: 1, Version: 1,
			Deliveries: []Delivered{{Key: alert, Trigger: "slack", Outcome: Sent}},
		})
	}
	return fired
}

func (s *benchState) announce(tb testing.TB, network string, height uint64) {
	n, _ := s.View().Network(network)
	s.applyEntry(tb, mustEncode(tb, &Announce{Network: network, Epoch: n.Lease.Epoch, Entries: []Entry{
		{Kind: Extend, Ref: ref(height, "a"), Parent: ref(height-1, "a").Hash, Time: 1, Seen: 2},
	}}))
}

func (s *benchState) progress(tb testing.TB, network string, fired []Fired) {
	n, _ := s.View().Network(network)
	for i := range benchCohorts {
		cohort, _ := s.View().Cohort(benchCohort(i))
		s.apply(tb, &Progress{Cohort: cohort.ID, Epoch: cohort.Epoch, Network: network, To: n.Next - 1, Fired: fired})
	}
}

func big(b *testing.B) *benchState {
	if testing.Short() {
		b.Skip("builds a state of 100 000 tenants")
	}
	s := loaded()
	b.ReportAllocs()
	return s
}

func BenchmarkApplyAnnounce(b *testing.B) {
	s := big(b)
	key := benchNetwork(1)
	for b.Loop() {
		n, _ := s.View().Network(key)
		tip, _ := n.Branch.Tip()
		s.announce(b, key, tip.Height+1)
		b.StopTimer()
		s.progress(b, key, nil) // keeps the entries few, as in life
		b.StartTimer()
	}
}

// BenchmarkApplyAnnounceBehind announces while a cohort stands still: the cost of
// what is kept for it must not grow with every block.
func BenchmarkApplyAnnounceBehind(b *testing.B) {
	s := big(b)
	key := benchNetwork(2)
	for b.Loop() {
		n, _ := s.View().Network(key)
		tip, _ := n.Branch.Tip()
		s.announce(b, key, tip.Height+1)
	}
	n, _ := s.View().Network(key)
	b.ReportMetric(float64(len(n.Entries)), "entries-kept")
}

// BenchmarkApplyAnnounceLedger announces on a network with 50 000 alerts that
// are final by height, but not judged by all.
func BenchmarkApplyAnnounceLedger(b *testing.B) {
	s := big(b)
	key := benchNetwork(0)
	for b.Loop() {
		n, _ := s.View().Network(key)
		tip, _ := n.Branch.Tip()
		s.announce(b, key, tip.Height+1)
	}
}

func BenchmarkApplyProgress(b *testing.B) {
	s := big(b)
	key := benchNetwork(3)
	cohort, _ := s.View().Cohort(benchCohort(0))
	alerts := 0
	for b.Loop() {
		b.StopTimer()
		n, _ := s.View().Network(key)
		tip, _ := n.Branch.Tip()
		s.announce(b, key, tip.Height+1)
		fired := benchFired(key, ref(tip.Height+1, "a"), alerts)
		alerts += len(fired)
		entry := mustEncode(b, &Progress{Cohort: cohort.ID, Epoch: cohort.Epoch, Network: key, To: n.Next, Fired: fired})
		b.StartTimer()
		s.applyEntry(b, entry)
	}
}

func BenchmarkApplySetTenantVersion(b *testing.B) {
	s := big(b)
	i := 0
	for b.Loop() {
		id := fmt.Sprintf("tenant-%06d", i%benchTenants)
		t, _ := s.View().Tenant(id)
		s.apply(b, &SetTenantVersion{Tenant: id, Expect: t.Current.Number, Manifest: *t.Current.Manifest})
		i += 7919
	}
}

func BenchmarkApplyCollectBlobs(b *testing.B) {
	s := big(b)
	for b.Loop() {
		s.apply(b, &CollectBlobs{})
	}
}

func BenchmarkView(b *testing.B) {
	s := big(b)
	for b.Loop() {
		v := s.View()
		if _, ok := v.Tenant("tenant-054321"); !ok {
			b.Fatal("the tenant is gone")
		}
	}
	b.ReportMetric(float64(s.heap)/1e6, "state-MB")
}

func BenchmarkSnapshotWrite(b *testing.B) {
	s := big(b)
	var n int64
	for b.Loop() {
		var err error
		if n, err = s.View().WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/1e6, "snapshot-MB")
}

func BenchmarkRestore(b *testing.B) {
	s := big(b)
	written := snapshot(b, s.View())
	for b.Loop() {
		if err := New().Restore(bytes.NewReader(written)); err != nil {
			b.Fatal(err)
		}
	}
}

// assigned is a small state of as many tenants: assigned to nobody, and moved,
// but not merged.
var assigned = sync.OnceValues(func() (*View, *View) {
	var tb testing.TB = new(testing.B)
	s := &benchState{State: New()}
	for i := range benchCohorts {
		s.apply(tb, &RegisterNode{Name: benchCohort(i)})
	}
	for i := range benchTenants {
		s.apply(tb, &SetTenantVersion{Tenant: benchTenant(i), Manifest: Manifest{Wanted: []string{benchNetwork(i), benchNetwork(i + 1)}}})
	}
	for i := range benchNetworks {
		s.apply(tb, &GrantLease{Network: benchNetwork(i), Holder: benchCohort(i)})
		s.announce(tb, benchNetwork(i), 1)
	}
	before := s.View()
	for _, c := range benchMoves() {
		s.apply(tb, c)
	}
	for c := range s.View().AllCursors() {
		cohort, _ := s.View().Cohort(c.Cohort)
		s.apply(tb, &Progress{Cohort: c.Cohort, Epoch: cohort.Epoch, Network: c.Network, To: 1})
	}
	return before, s.View()
})

// BenchmarkMove assigns 100 000 tenants, 5 000 in a command.
func BenchmarkMove(b *testing.B) {
	if testing.Short() {
		b.Skip("builds a state of 100 000 tenants")
	}
	before, _ := assigned()
	var entries [][]byte
	for _, c := range benchMoves() {
		entries = append(entries, mustEncode(b, c))
	}
	b.ReportAllocs()
	for b.Loop() {
		s := &benchState{State: New(), index: before.index}
		s.view.Store(before)
		for _, e := range entries {
			s.applyEntry(b, e)
		}
		if n := s.View().TenantCount(""); n != 0 {
			b.Fatal(n, "tenants were not moved")
		}
	}
}

// BenchmarkHandOver moves and releases the tenants of one node: 5 000.
func BenchmarkHandOver(b *testing.B) {
	s := big(b)
	c := &Move{}
	for t := range s.View().TenantsOf(benchCohort(0)) {
		c.Moves = append(c.Moves, Moved{Tenant: t.ID, Cohort: t.Cohort, To: benchCohort(1), Reason: ReasonScaling})
	}
	start, index := s.View(), s.index
	for b.Loop() {
		s.view.Store(start)
		s.index = index
		s.apply(b, c)
		id := fmt.Sprintf("@%d.0", s.index)
		s.apply(b, &Release{Cohort: id, Epoch: s.index})
	}
	s.view.Store(start)
	s.index = index
}

// BenchmarkMerge unites the cohorts of 100 000 tenants with their nodes' main ones.
func BenchmarkMerge(b *testing.B) {
	if testing.Short() {
		b.Skip("builds a state of 100 000 tenants")
	}
	_, after := assigned()
	s := &benchState{State: New()}
	s.view.Store(after)
	var entries [][]byte
	for _, c := range s.merges() {
		entries = append(entries, mustEncode(b, c))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.view.Store(after)
		s.index = after.index
		for _, e := range entries {
			s.applyEntry(b, e)
		}
	}
	if n := len(s.merges()); n != 0 {
		b.Fatal(n, "cohorts are left")
	}
	b.ReportMetric(float64(len(entries)), "merges")
}
