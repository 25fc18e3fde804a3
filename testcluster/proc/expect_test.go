package proc

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
)

// facts are what decides whether a monitor fires for a transaction.
type facts struct {
	Transaction
	values []*big.Int // of the Transfer events of the token
}

// kind is a sort of monitor: its conditions and, told by other means than
// ozmo's, which transactions meet them.
type kind struct {
	what  Condition
	wants func(token string, tx *facts) bool
}

const largeValue = "900000000000" // base units: less than every large transfer of the traffic, more than all others

var kinds = map[string]kind{
	"transfers": {Event(""), func(_ string, tx *facts) bool { return len(tx.values) > 0 }},
	"large": {Event("value > " + largeValue), func(_ string, tx *facts) bool {
		limit, _ := new(big.Int).SetString(largeValue, 10)
		return slices.ContainsFunc(tx.values, func(v *big.Int) bool { return v.Cmp(limit) > 0 })
	}},
	"failing": {Failure(), func(token string, tx *facts) bool { return tx.Failed && strings.EqualFold(tx.To, token) }},
	"":        {wants: func(string, *facts) bool { return false }},
	"calls": {Call(""), func(token string, tx *facts) bool {
		return strings.EqualFold(tx.To, token) && strings.HasPrefix(tx.Input, "0xa9059cbb")
	}},
}

// subject is one tenant with its network and monitors.
type subject struct {
	tenant   string
	network  string // key
	slug     string
	depth    uint64
	monitors []string // kinds
	// optional is a kind that comes and goes: what it fires must be true, and the
	// node must be able to prove it.
	optional string
	// late: other tenants have the network begin, maybe before this one is there.
	late bool
}

// setUp writes the folder of the subjects. A network's key with a slash is a
// private one.
func setUp(t testing.TB, f Folder, c *Chain, r *Receiver, subjects []subject) {
	t.Helper()
	for _, s := range subjects {
		own := "tenants/" + s.tenant + "/"
		doc := Network(s.slug, c.ChainID, s.depth, c.RPC, c.WS)
		if s.network == s.slug {
			f.Write(t, "networks/"+s.slug+".json", doc)
		} else {
			f.Write(t, own+"networks/"+s.slug+".json", doc)
		}
		f.Write(t, own+"triggers/receiver.json", Webhooks("receiver", r.URL+"/"+s.tenant, r.Secret))
		for _, m := range s.monitors {
			s.monitor(t, f, c, m)
		}
	}
}

// monitor writes the file of a monitor.
func (s *subject) monitor(t testing.TB, f Folder, c *Chain, kind string) {
	t.Helper()
	f.Write(t, "tenants/"+s.tenant+"/monitors/"+kind+".json", Monitor(kind, s.slug, c.Token, "receiver", kinds[kind].what))
}

// fact is one alert of one block, as it must reach the receiver.
type fact struct {
	tenant, monitor, network string // network: slug
	tx, block                string
}

// chainFacts reads the canonical chain between two heights.
func chainFacts(t testing.TB, c *Chain, from, to uint64) (txs map[string][]*facts, hashes map[uint64]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	list, err := c.Transfers(ctx, from, to)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]*big.Int{}
	for _, event := range list.Transfers {
		v, ok := new(big.Int).SetString(event.Value, 10)
		if !ok {
			t.Fatalf("value %q", event.Value)
		}
		key := event.BlockHash + event.TxHash
		values[key] = append(values[key], v)
	}
	txs, hashes = map[string][]*facts{}, map[uint64]string{}
	for height := from; height <= to; height++ {
		b, err := c.Block(ctx, height)
		if err != nil {
			t.Fatal(err)
		}
		hashes[height] = b.Hash
		for _, tx := range b.Transactions {
			key := b.Hash + tx.Hash
			txs[b.Hash] = append(txs[b.Hash], &facts{Transaction: tx, values: values[key]})
			delete(values, key)
		}
	}
	if len(values) > 0 {
		t.Fatalf("transfers outside the blocks: %v", slices.Collect(maps.Keys(values)))
	}
	return txs, hashes
}

// expected is what a subject's monitors of these kinds have to say of the
// canonical blocks of the heights given.
func (s *subject) expected(c *Chain, txs map[string][]*facts, hashes map[uint64]string, from, to uint64, kindsOf ...string) map[fact]bool {
	out := map[fact]bool{}
	for height := from; height <= to; height++ {
		for _, tx := range txs[hashes[height]] {
			for _, m := range kindsOf {
				if kinds[m].wants(c.Token, tx) {
					out[fact{s.tenant, m, s.slug, tx.Hash, hashes[height]}] = true
				}
			}
		}
	}
	return out
}

func (d *Delivery) fact() fact {
	return fact{strings.TrimPrefix(d.Path, "/"), d.Monitor, d.Network, d.Tx, d.BlockHash}
}

// received is what a receiver got, put in order.
type received struct {
	facts      map[fact]int // how often
	duplicates int          // deliveries after the first one of their key
}

// checkIdentity puts deliveries in order and checks their names: one key for
// one fact and the other way round, one alert for one transaction.
func checkIdentity(t testing.TB, list []Delivery) received {
	t.Helper()
	r := received{facts: map[fact]int{}}
	keys, named := map[fact]string{}, map[string]fact{}
	type about struct{ tenant, monitor, network, tx string }
	alerts, meant := map[about]string{}, map[string]about{}
	said := 0
	complain := func(format string, args ...any) {
		t.Helper()
		if said++; said <= 20 { // one mistake may concern everything
			t.Errorf(format, args...)
		}
	}
	for i := range list {
		d := &list[i]
		f := d.fact()
		a := about{f.tenant, f.monitor, f.network, f.tx}
		if d.State != "fired" {
			complain("%+v: state %q", f, d.State)
		}
		if key, ok := keys[f]; ok && key != d.Key {
			complain("%+v came with two keys, %s and %s", f, key, d.Key)
		}
		if other, ok := named[d.Key]; ok && other != f {
			complain("key %s stands for %+v and for %+v", d.Key, other, f)
		}
		if id, ok := alerts[a]; ok && id != d.Alert {
			complain("%+v has two alert ids, %s and %s", a, id, d.Alert)
		}
		if other, ok := meant[d.Alert]; ok && other != a {
			complain("alert id %s stands for %+v and for %+v", d.Alert, other, a)
		}
		keys[f], named[d.Key], alerts[a], meant[d.Alert] = d.Key, f, d.Alert, a
		if r.facts[f]++; r.facts[f] > 1 {
			r.duplicates++
		}
	}
	return r
}

// missing lists the facts that were not received.
func (r *received) missing(expected map[fact]bool) (out []fact) {
	for f := range expected {
		if r.facts[f] == 0 {
			out = append(out, f)
		}
	}
	return out
}

// checkTruth checks that everything received of a subject is true: of the
// canonical block and expected, or of a block that was canonical once.
func (s *subject) checkTruth(t testing.TB, r received, expected map[fact]bool, hashes map[uint64]string, dead map[string]bool) {
	t.Helper()
	canonical := map[string]bool{}
	for _, hash := range hashes {
		canonical[hash] = true
	}
	for f := range r.facts {
		switch {
		case f.tenant != s.tenant:
		case !slices.Contains(s.monitors, f.monitor) && f.monitor != s.optional || f.network != s.slug:
			t.Errorf("nobody asked for %+v", f)
		case !canonical[f.block] && !dead[f.block]:
			t.Errorf("%+v is of a block that never was on the chain", f)
		case canonical[f.block] && !expected[f]:
			t.Errorf("%+v is not so on the chain", f)
		}
	}
}

// checkCoverage checks that a subject's coverage has no gap and no exception
// and reaches the last announcement. It returns the first height announced and
// how many positions were skipped.
func (s *subject) checkCoverage(t testing.TB, n *Node) (first, skipped uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	status, err := n.Client().Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Networks, func(a api.NetworkStatus) bool { return a.Key == s.network })
	if i < 0 {
		t.Fatalf("no network %s in %+v", s.network, status)
	}
	c, err := n.Client().Coverage(ctx, s.tenant, s.network, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A tenant that was imported after another had the network begin did not want
	// the first announcements.
	if s.late {
		c.Rows = dropLeading(c.Rows)
	}
	next, skipped := s.checkRows(t, c.Rows, fsm.Judged, fsm.Superseded, fsm.RolledBack)
	if last := status.Networks[i].Position; next != last+1 {
		t.Errorf("tenant %s, network %s: coverage ends at position %d of %d", s.tenant, s.network, next-1, last)
		skipped++
	}
	return firstHeight(c.Rows), skipped
}

// firstHeight is the height of the first block that was announced. What a
// roll-back names may lie below it: a reorganisation right at the beginning.
func firstHeight(rows []fsm.CoverageRow) uint64 {
	for _, r := range rows {
		if r.Status != fsm.RolledBack {
			return r.FromHeight
		}
	}
	return 0
}

// dropLeading leaves out what a tenant did not want before it was there.
func dropLeading(rows []fsm.CoverageRow) []fsm.CoverageRow {
	for len(rows) > 1 && rows[0].Status == fsm.NotWanted {
		rows = rows[1:]
	}
	return rows
}

// checkRows checks that rows of coverage follow each other from position 1 on
// and say nothing but what is allowed.
func (s *subject) checkRows(t testing.TB, rows []fsm.CoverageRow, allowed ...fsm.CoverageStatus) (next, skipped uint64) {
	t.Helper()
	next = 1
	if len(rows) > 0 && s.late {
		next = rows[0].FromPosition
	}
	for i, row := range rows {
		bad := func(why string) {
			t.Errorf("tenant %s, network %s: %s: row %d %+v", s.tenant, s.network, why, i, row)
			skipped += row.ToPosition - row.FromPosition + 1
		}
		switch {
		case row.FromPosition != next || row.ToPosition < row.FromPosition:
			bad(fmt.Sprintf("gap in the positions, %d expected", next))
		case !slices.Contains(allowed, row.Status):
			bad("not judged")
		}
		next = row.ToPosition + 1
	}
	return next, skipped
}

// checkProof has the node judge a range again. Of versions that are no longer
// kept it may say that it cannot.
func (s *subject) checkProof(t testing.TB, n *Node, from, to uint64, expected map[fact]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	v, err := n.Client().Verify(ctx, s.tenant, s.network, from, to, nil)
	switch {
	case err != nil:
		t.Errorf("tenant %s, network %s: verify: %v", s.tenant, s.network, err)
	case s.optional != "" && len(v.Missing)+len(v.Unexpected)+len(v.NotJudged) == 0:
	case !v.Proved():
		t.Errorf("tenant %s, network %s, heights %d to %d: not proved: %+v", s.tenant, s.network, from, to, v)
	case v.Expected != len(expected) || v.Confirmed != len(expected) || uint64(v.Blocks) != to-from+1:
		t.Errorf("tenant %s, network %s: verify found %d of %d alerts in %d blocks, there are %d in %d",
			s.tenant, s.network, v.Confirmed, v.Expected, v.Blocks, len(expected), to-from+1)
	}
}

// outcome is what became of a subject's blocks and alerts.
type outcome struct {
	first           uint64 // height
	blocks, skipped uint64
	lost            int
}

// check compares what a subject got with what it was owed, and has the node prove
// it; see compare.
func (s *subject) check(t testing.TB, n *Node, c *Chain, head uint64, got received, dead map[string]bool) (o outcome) {
	t.Helper()
	o, expected := s.compare(t, n, c, head, got, dead)
	if o.blocks > 0 {
		s.checkProof(t, n, o.first, head-s.depth, expected)
	}
	return o
}

// compare compares what a subject got with what it was owed, from the first
// height that was announced up to what the head makes due. The chain must stand
// still, the node must have caught up.
func (s *subject) compare(t testing.TB, n *Node, c *Chain, head uint64, got received, dead map[string]bool) (o outcome, expected map[fact]bool) {
	t.Helper()
	var first uint64
	first, o.skipped = s.checkCoverage(t, n)
	to := head - s.depth
	if first == 0 || first > to {
		t.Errorf("tenant %s, network %s: judging began at height %d, the head is at %d", s.tenant, s.network, first, head)
		return o, nil
	}
	o.first, o.blocks = first, to-first+1
	txs, hashes := chainFacts(t, c, 1, head)
	expected = s.expected(c, txs, hashes, first, to, s.monitors...)
	for i, f := range got.missing(expected) {
		if o.lost++; i < 20 {
			t.Errorf("lost: %+v", f)
		}
	}
	s.checkTruth(t, got, s.expected(c, txs, hashes, 1, head, append(slices.Clone(s.monitors), s.optional)...), hashes, dead)
	t.Logf("tenant %s, network %s: heights %d to %d, %d alerts of canonical blocks", s.tenant, s.network, first, to, len(expected))
	if len(expected) == 0 {
		t.Errorf("tenant %s: nothing was expected, so nothing was tested", s.tenant)
	}
	return o, expected
}

// checkRest waits for the node to catch up and checks a subject entirely.
func (s *subject) checkRest(t testing.TB, n *Node, c *Chain, r *Receiver) {
	t.Helper()
	status := n.AwaitCaughtUp(t, c)
	if status.DeadLetter > 0 {
		t.Errorf("%d deliveries were given up", status.DeadLetter)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := s.check(t, n, c, info.Head.Number, checkIdentity(t, r.Deliveries(t)), nil)
	if o.skipped > 0 || o.lost > 0 {
		t.Errorf("%d skipped, %d lost", o.skipped, o.lost)
	}
}
