package proc

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/sha3"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// TestNoisyNeighbours measures what one tenant does to the latency of twenty others on
// its node: with a hundred thousand alerts a block, with expensive expressions over
// huge arrays, with a receiver that never answers. `make bench-noisy` runs it. Figures
// are no reason to fail: what is lost is.
//
// OZMO_NOISY_BENCH says how many seconds each part lasts; without it there are none.
func TestNoisyNeighbours(t *testing.T) {
	seconds := int(setting(t, "OZMO_NOISY_BENCH", 0))
	if seconds == 0 {
		t.Skip("it takes minutes: make bench-noisy")
	}
	for _, n := range []noise{
		{name: "100 000 alerts a block", monitors: noisyMonitors, blocks: transfersTo},
		{name: "expressions over huge arrays", monitors: arrayMonitors, blocks: arraysTo},
		{name: "a receiver that never answers", monitors: deadMonitors, blocks: fewTransfersTo, dead: true},
	} {
		t.Run(n.name, func(t *testing.T) { n.bench(t, seconds) })
	}
}

const (
	noisyTenant   = "noisy"
	quietTenants  = 20
	noisyInterval = 500 * time.Millisecond // between blocks
	noisyTargets  = 2.0                    // the greatest ratio of latencies with and without
	quietValue    = 1 << 20                // below: for the quiet ones
	noisyValue    = 1 << 40                // above: for the noisy one
)

// noise is what a tenant does to the others.
type noise struct {
	name     string
	monitors func(token string) []Doc
	blocks   func(loud bool, nonce func() uint64) []fakechain.Tx // of a block, beside what is the others'
	dead     bool                                                // its receiver
}

func transfer(nonce, value uint64) fakechain.Tx {
	var from fakechain.Address
	binary.BigEndian.PutUint64(from[12:], nonce)
	return fakechain.Transfer(from, fakechain.Address{1}, value)
}

// noisyMonitors match each of a thousand transfers, a hundred times.
func noisyMonitors(token string) (out []Doc) {
	for i := range 100 {
		out = append(out, Monitor(fmt.Sprintf("m%03d", i), deliveryNetwork, token, "receiver", Event(fmt.Sprintf("value > %d", noisyValue))))
	}
	return out
}

func transfersTo(loud bool, nonce func() uint64) []fakechain.Tx { return transfers(1000, loud, nonce) }

// deadMonitors match each of two hundred transfers.
func deadMonitors(token string) []Doc { return noisyMonitors(token)[:1] }

func fewTransfersTo(loud bool, nonce func() uint64) []fakechain.Tx {
	return transfers(200, loud, nonce)
}

func transfers(n int, loud bool, nonce func() uint64) (out []fakechain.Tx) {
	for range n {
		k := nonce()
		value := quietValue + k
		if loud {
			value += noisyValue
		}
		out = append(out, transfer(k, value))
	}
	return out
}

const arrayLength = 2000

// arrayMonitors look in the arrays of twenty calls for what is not there.
func arrayMonitors(token string) (out []Doc) {
	for i := range 500 {
		m := Monitor(fmt.Sprintf("m%03d", i), deliveryNetwork, token, "receiver", func(match Doc) {
			match["functions"] = []Doc{condition("batch(uint256[])", fmt.Sprintf("amounts contains %d AND amounts contains %d", i+1, i+2))}
		})
		m["addresses"] = []Doc{{"address": token, "contract_spec": []Doc{{
			"type": "function", "name": "batch", "stateMutability": "nonpayable", "inputs": []Doc{param("amounts", "uint256[]", nil)}, "outputs": []Doc{},
		}}}}
		out = append(out, m)
	}
	return out
}

func arraysTo(loud bool, nonce func() uint64) (out []fakechain.Tx) {
	h := sha3.NewLegacyKeccak256()
	h.Write([]byte("batch(uint256[])"))
	input := binary.BigEndian.AppendUint64(append(h.Sum(nil)[:4:4], make([]byte, 24)...), 32)
	input = binary.BigEndian.AppendUint64(append(input, make([]byte, 24)...), arrayLength)
	for i := range uint64(arrayLength) {
		input = binary.BigEndian.AppendUint64(append(input, make([]byte, 24)...), quietValue+i)
	}
	to := fakechain.Token
	if !loud {
		to = fakechain.Address{7}
	}
	for range 20 {
		tx := transfer(nonce(), 0)
		tx.To, tx.Input, tx.Logs = &to, input, nil
		out = append(out, tx)
	}
	return out
}

// receiver answers everybody without reading much.
func (n *noise) receiver(t *testing.T) (url string, taken *atomic.Int64) {
	t.Helper()
	taken = &atomic.Int64{}
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n.dead {
			select {
			case <-r.Context().Done():
			case <-over:
			}
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			taken.Add(1)
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	return s.URL, taken
}

// write adds the noisy tenant, and has the others match less than everything.
func (n *noise) write(t *testing.T, d *deliveryRun, url string) {
	t.Helper()
	f := d.cluster.Folder
	for _, c := range d.customers {
		f.Write(t, "tenants/"+c.name+"/monitors/"+deliveryMonitor+".json",
			Monitor(deliveryMonitor, deliveryNetwork, d.mint.Token(), "receiver", Event(fmt.Sprintf("value < %d", quietValue))))
	}
	for i, m := range n.monitors(d.mint.Token()) {
		f.Write(t, fmt.Sprintf("tenants/%s/monitors/m%03d.json", noisyTenant, i), m)
	}
	f.Write(t, "tenants/"+noisyTenant+"/triggers/receiver.json", Doc{"receiver": Doc{
		"name": "receiver", "trigger_type": "webhook",
		"config": Doc{"url": plain(url), "method": "POST", "payload_mode": "raw", "retry_policy": Doc{"max_retries": 0}},
	}})
}

func (n *noise) bench(t *testing.T, seconds int) {
	url, taken := n.receiver(t)
	d := newDeliveryRun(t, ClusterOptions{Nodes: 1}, steady(quietTenants, ""), nil, func(d *deliveryRun) { n.write(t, d, url) })
	m := d.cluster.Members[0]

	nonce := uint64(0)
	next := func() uint64 { nonce++; return nonce }
	ticker := time.NewTicker(noisyInterval)
	defer ticker.Stop()
	produce := func(blocks int, loud bool) (from, to uint64, rss int64) {
		from = d.mint.Head() + 1
		for range blocks {
			<-ticker.C
			d.mint.With(append(n.blocks(loud, next), transfer(next(), next()))...)
			rss = max(rss, residentBytes(t, m.Pid()))
		}
		return from, d.mint.Head(), rss
	}
	produce(int(warmUp/noisyInterval), false)
	blocks := int(time.Duration(seconds) * time.Second / noisyInterval)
	qf, qt, quietRSS := produce(blocks, false)
	before := d.metrics(t)
	lf, lt, loudRSS := produce(blocks, true)
	produce(2, false)
	after := d.metrics(t)
	quiet, missing := d.latencies(qf, qt)
	loud, missed := d.latencies(lf, lt)
	fmt.Printf("\nnoisy neighbours, one node, %d quiet tenants, a block every %v for %d s without and with: %s\n", quietTenants, noisyInterval, seconds, n.name)
	for _, row := range []struct {
		name string
		list []time.Duration
	}{{"without", quiet}, {"with", loud}} {
		fmt.Printf("  %-8s p50 %8v  p99 %8v  max %8v  (%d)\n", row.name, ms(farm.Quantile(row.list, 0.5)), ms(farm.Quantile(row.list, 0.99)), ms(farm.Quantile(row.list, 1)), len(row.list))
	}
	ratio := func(q float64) float64 { return float64(farm.Quantile(loud, q)) / float64(farm.Quantile(quiet, q)) }
	met := "met"
	if ratio(0.5) > noisyTargets || ratio(0.99) > noisyTargets {
		met = "MISSED"
	}
	s, err := d.cluster.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	delta := func(name string) float64 { return after.sum(name) - before.sum(name) }
	fmt.Printf("  ratio p50 %.2f, p99 %.2f; target %.0f: %s\n", ratio(0.5), ratio(0.99), noisyTargets, met)
	fmt.Printf("  the noisy one: %d taken by its receiver, %d in the outbox, %.0f dead letters, forgotten %.0f; judged apart %.0f times, laggard %.0f times\n",
		taken.Load(), s.Outbox, after.sum("ozmo_outbox_dead_letters"), after.sum("ozmo_outbox_forgotten_total"),
		delta("ozmo_worker_crowded_total")+delta("ozmo_worker_over_budget_total"), delta("ozmo_worker_laggards_total"))
	fmt.Printf("  RSS at most %.0f MiB without, %.0f MiB with; log %.1f MiB with; disk %.1f MiB at the end\n",
		mib(quietRSS), mib(loudRSS), mib(int64(delta("ozmo_consensus_log_bytes_total"))), mib(folderSize(t, m.Data)))
	if missing+missed > 0 {
		t.Errorf("%d alerts of quiet tenants have not come without the noise, %d with it", missing, missed)
	}
	d.cluster.Terminate(t)
}

// latencies are how long after the block that made it due was available each alert of
// the quiet tenants came, of blocks from one height up to another; missing have not
// come. What is theirs is the last of each block.
func (d *deliveryRun) latencies(from, to uint64) (out []time.Duration, missing int) {
	due := map[string]time.Time{}
	for key, o := range d.owed() {
		if h := o.due.Height; h > from && h <= to+d.depth {
			due[key] = o.due.At
		}
	}
	theirs := map[string]bool{}
	for _, b := range d.mint.Blocks() {
		if b.Height >= from && b.Height <= to {
			theirs[b.Txs[len(b.Txs)-1]] = true
		}
	}
	for _, got := range d.farm.Deliveries() {
		if at, ok := due[got.Key]; ok && theirs[got.Tx] {
			out = append(out, got.At.Sub(at))
			delete(due, got.Key)
		}
	}
	return out, len(theirs)*len(d.customers) - len(out)
}
