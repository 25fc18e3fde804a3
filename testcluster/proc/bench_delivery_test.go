package proc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// TestBenchDelivery measures delivery; `make bench-delivery` runs it. Figures are
// no reason to fail: what is lost is.
//
// OZMO_DELIVERY_BENCH says how many seconds each part lasts; without it there
// are none.
func TestBenchDelivery(t *testing.T) {
	seconds := int(setting(t, "OZMO_DELIVERY_BENCH", 0))
	if seconds == 0 {
		t.Skip("it takes minutes: make bench-delivery")
	}
	t.Run("latency", func(t *testing.T) { benchLatency(t, seconds, "") })
	t.Run("latency of mode instant", func(t *testing.T) { benchLatency(t, seconds, "instant") })
	t.Run("rate", func(t *testing.T) { benchRate(t, seconds) })
}

// steady are customers with healthy receivers of webhooks.
func steady(n int, mode string) (out []customer) {
	for i := range n {
		out = append(out, customer{name: fmt.Sprintf("t%03d", i), way: rawHook, mode: mode})
	}
	return out
}

const (
	benchInterval = 250 * time.Millisecond // between blocks
	warmUp        = 5 * time.Second        // is not counted
)

// benchLatency has three nodes with Redis deliver 50 alerts a second and prints
// how long after its block each was sent and received, with the stages between.
//
// Available, asked and given are the endpoint's own times, of the block: when
// subscribers were told of it, when a node first asked for it, when it had been
// given with its receipts. Signed is what the request says of itself, in
// milliseconds; received is the receiver's time. What happens between given and
// signed the nodes' metrics tell, over all blocks: quantiles of histograms. The
// block is the one that made an alert due: of monitors without a mode, the one on
// top of the transaction's.
func benchLatency(t *testing.T, seconds int, mode string) {
	// 10 tenants at 5 transfers in 4 blocks, 4 blocks a second.
	d := newDeliveryRun(t, ClusterOptions{Nodes: 3, Redis: true}, steady(10, mode), nil)
	meter := lateTimers(t)
	blocks := int(time.Duration(seconds) * time.Second / benchInterval)
	warm := int(warmUp / benchInterval)
	var from uint64
	var before samples
	ticker := time.NewTicker(benchInterval)
	defer ticker.Stop()
	for i := range warm + blocks {
		<-ticker.C
		if i == warm {
			from, before = d.mint.Head()+1, d.metrics(t)
			meter.reset()
		}
		transfers := 1
		if i%4 == 0 {
			transfers = 2
		}
		d.mint.Block(transfers)
	}
	after := d.metrics(t)
	d.awaitJudged(t, Patience)
	d.awaitEmpty(t, Patience)
	late := meter.stop()
	r := d.count(t, func(int) bool { return true })
	r.check(t)
	d.cluster.Terminate(t)

	s := d.stages(from)
	which := "documents without a mode, depth 1"
	if mode != "" {
		which = "mode " + mode
	}
	fmt.Printf("\ndelivery, three nodes with Redis, ws heads, a block every %v, %s, %.0f alerts/s for %d s:\n", benchInterval, which, float64(len(s.sent))/float64(seconds), seconds)
	row := func(name string, list []time.Duration, target string, p50, p99 time.Duration) {
		met := ""
		if target != "" {
			met = "met"
			if farm.Quantile(list, 0.5) > p50 || farm.Quantile(list, 0.99) > p99 {
				met = "MISSED"
			}
			target = "; target " + target + ": "
		}
		fmt.Printf("  %-46s p50 %8v  p99 %8v  max %8v  (%d)%s%s\n", name, ms(farm.Quantile(list, 0.5)), ms(farm.Quantile(list, 0.99)), ms(farm.Quantile(list, 1)), len(list), target, met)
	}
	row("block available -> request sent (signed)", s.sent, "p50 <= 15 ms, p99 <= 50 ms", 15*time.Millisecond, 50*time.Millisecond)
	row("block available -> request received", s.received, "", 0, 0)
	row("  available -> head seen, block asked for", s.asked, "", 0, 0)
	row("  asked for -> block and receipts given", s.given, "", 0, 0)
	row("  given -> request signed", s.signed, "", 0, 0)
	for _, h := range []struct{ name, metric string }{
		{"    head learned -> announced (watcher)", "ozmo_watcher_announce_seconds"},
		{"    proposed -> committed and applied (leader)", "ozmo_consensus_commit_seconds"},
		{"    block judged (matching alone)", "ozmo_worker_judge_seconds"},
		{"    head learned -> accepted by the receiver", "ozmo_worker_block_to_alert_seconds"},
	} {
		list := after.histogram(h.metric).minus(before.histogram(h.metric))
		fmt.Printf("  %-46s p50 %8v  p99 %8v  (%d, of a histogram)\n", h.name, ms(list.quantile(0.5)), ms(list.quantile(0.99)), list.count())
	}
	row("  signed -> received", s.arrived, "", 0, 0)
	fmt.Printf("  timers of this process came late by p99 %v, at most %v\n  %v\n", ms(farm.Quantile(late, 0.99)), ms(farm.Quantile(late, 1)), r)
}

// stages are the times of alerts, and of blocks.
type stages struct{ sent, received, asked, given, signed, arrived []time.Duration }

// stages are those of the blocks from a height on.
func (d *deliveryRun) stages(from uint64) (s stages) {
	all := d.owed()
	seen := map[string]bool{}
	for _, b := range d.mint.Blocks() {
		if b.Height >= from && len(b.Txs) > 0 && !b.Asked.IsZero() {
			s.asked = append(s.asked, b.Asked.Sub(b.At))
			s.given = append(s.given, b.Given.Sub(b.Asked))
		}
	}
	for _, got := range d.farm.Deliveries() {
		o, ok := all[got.Key]
		if !ok || o.due.Height < from || seen[got.Key] {
			continue
		}
		seen[got.Key] = true
		s.sent = append(s.sent, got.Signed.Sub(o.due.At))
		s.received = append(s.received, got.At.Sub(o.due.At))
		s.signed = append(s.signed, got.Signed.Sub(o.due.Given))
		s.arrived = append(s.arrived, got.At.Sub(got.Signed))
	}
	return s
}

const (
	rateTenants = 100
	ratePerS    = 1000
	rateEvery   = 200 * time.Millisecond // between blocks of two transfers
)

// benchRate has one node deliver a thousand alerts a second and prints what it
// keeps up with, and what that costs in memory, log and disk.
func benchRate(t *testing.T, seconds int) {
	d := newDeliveryRun(t, ClusterOptions{Nodes: 1}, steady(rateTenants, ""), nil)
	m := d.cluster.Members[0]
	disk := folderSize(t, m.Data)
	before := d.metrics(t)
	fmt.Printf("\ndelivery, one node, %d tenants, %d alerts/s offered for %d s:\n", rateTenants, ratePerS, seconds)
	fmt.Printf("  %6s %10s %12s %10s %12s %12s\n", "s", "received", "behind", "outbox", "RSS MiB", "disk MiB")
	began := time.Now()
	ticker := time.NewTicker(rateEvery)
	defer ticker.Stop()
	perBlock := int(ratePerS * rateEvery.Seconds() / rateTenants)
	var most int64
	var backlog []uint64
	for i := range seconds * int(time.Second/rateEvery) {
		<-ticker.C
		d.mint.Block(perBlock)
		if every := int(5 * time.Second / rateEvery); i%every == every-1 {
			rss := residentBytes(t, m.Pid())
			most = max(most, rss)
			s, err := d.cluster.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n, err := networkOf(s, deliveryNetwork)
			if err != nil {
				t.Fatal(err)
			}
			backlog = append(backlog, n.Position-n.Judged)
			fmt.Printf("  %6.0f %10d %12d %10d %12.1f %12.1f\n", time.Since(began).Seconds(), d.farm.Taken(), n.Position-n.Judged, s.Outbox, mib(rss), mib(folderSize(t, m.Data)))
		}
	}
	offered := time.Since(began)
	d.mint.Block(0)
	d.awaitJudged(t, Patience)
	d.awaitEmpty(t, Patience)
	r := d.count(t, func(int) bool { return true })
	r.check(t)
	after := d.metrics(t)
	last := began
	for _, got := range d.farm.Deliveries() {
		if got.At.After(last) {
			last = got.At
		}
	}
	met := "met"
	rate := float64(r.sent) / last.Sub(began).Seconds()
	if rate < 0.97*ratePerS {
		met = "MISSED"
	}
	logged := after.sum("ozmo_consensus_log_bytes_total") - before.sum("ozmo_consensus_log_bytes_total")
	fmt.Printf("  %d alerts offered at %.0f/s; the last came %.1f s after the end of the offer: %.0f alerts/s; target %d: %s\n",
		r.sent, float64(r.owed)/offered.Seconds(), last.Sub(began.Add(offered)).Seconds(), rate, ratePerS, met)
	fmt.Printf("  at most %d announcements behind; RSS at most %.0f MiB; log %.0f bytes per alert; disk %.1f MiB before, %.1f MiB after\n",
		slices.Max(backlog), mib(most), logged/float64(r.sent), mib(disk), mib(folderSize(t, m.Data)))
	fmt.Printf("  %v\n  %s\n", r, r.latency())
	d.cluster.Terminate(t)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// metrics reads the metrics of all nodes.
func (d *deliveryRun) metrics(t *testing.T) (all samples) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for _, m := range d.cluster.Members {
		text, err := m.get(ctx, "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			all.add(strings.TrimSpace(line))
		}
	}
	return all
}
