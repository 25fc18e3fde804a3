package fsm

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// job is one of a tenant, of a monitor whose content is put.
func (p *pausing) job(tenant, id string, from, to uint64) *PutBacktest {
	p.Helper()
	p.do(&PutBlobs{Blobs: [][]byte{[]byte("draft"), []byte("abi")}})
	return &PutBacktest{Job: Backtest{
		ID: id, Tenant: tenant, Name: "draft", From: from, To: to,
		Doc: Doc{Kind: DocMonitor, Hash: HashBlob([]byte("draft")), Refs: []Hash{HashBlob([]byte("abi"))}}, Watch: Watch{Network: "base", Slug: "base"},
	}}
}

func (p *pausing) backtest(tenant, id string) *Backtest {
	p.Helper()
	b, ok := p.View().Backtest(tenant, id)
	if !ok {
		p.Fatalf("backtest %s of %s is not there", id, tenant)
	}
	return b
}

// step judges the rest of a part.
func (p *pausing) step(b *Backtest, part int) *WorkBacktest {
	at := b.Parts[part]
	return &WorkBacktest{
		Tenant: b.Tenant, ID: b.ID, Part: part, Epoch: at.Epoch, Seen: at.Next, Next: at.To + 1, Parent: Hash{1}, Last: Hash{1},
		Counts: BacktestCounts{Blocks: at.To + 1 - at.Next}, At: 9,
	}
}

func TestBacktestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, 1<<40).Draw(t, "from")
		to := from + rapid.Uint64Range(0, MaxBacktestBlocks-1).Draw(t, "blocks")
		parts := backtestParts(from, to)
		least, most, next := to, uint64(0), from
		for _, p := range parts {
			if p.From != next || p.To < p.From || p.Next != p.From {
				t.Fatalf("%+v", parts)
			}
			least, most, next = min(least, p.To-p.From+1), max(most, p.To-p.From+1), p.To+1
		}
		if next != to+1 || len(parts) > MaxBacktestParts || most-least > 1 || len(parts) > 1 && least < backtestPartBlocks {
			t.Fatalf("%d to %d: %+v", from, to, parts)
		}
	})
}

func TestBacktestIsFenced(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme")
	p.do(p.job("acme", "one", 100, 199))
	if !p.woken(TopicBacktests, &WorkBacktest{Tenant: "acme", ID: "one", Node: "n1"}) {
		t.Error("a part that is given wakes nobody")
	}
	first := p.step(p.backtest("acme", "one"), 0)
	first.Next, first.Counts.Blocks = 120, 20
	first.Matches = []BacktestMatch{{Block: BlockRef{Height: 110}, Tx: "0x1"}}
	p.do(first)
	p.refused(first, ErrConflict) // told again
	p.do(&WorkBacktest{Tenant: "acme", ID: "one", Epoch: first.Epoch, Node: "n2"})
	late := p.step(p.backtest("acme", "one"), 0)
	late.Epoch = first.Epoch
	p.refused(late, ErrStaleEpoch)
	p.refused(&WorkBacktest{Tenant: "acme", ID: "one", Epoch: first.Epoch, Node: "n3"}, ErrStaleEpoch)
	p.do(p.step(p.backtest("acme", "one"), 0))
	p.do(p.step(p.backtest("acme", "one"), 1))
	p.restart()
	b := p.backtest("acme", "one")
	if matches, _ := b.Found(); b.State != BacktestDone || b.Counts().Blocks != 100 || len(matches) != 1 || b.Ended != 9 {
		t.Errorf("%+v", b)
	}
	p.refused(p.step(b, 1), ErrConflict)
	p.refused(&EndBacktest{Tenant: "acme", ID: "one"}, ErrConflict)
	p.do(&EndBacktest{Tenant: "acme", ID: "one", Forget: true})
	p.refused(&EndBacktest{Tenant: "acme", ID: "one", Forget: true}, ErrNotFound)
}

// Two parts that are of different branches begin anew, and a chain that never rests
// ends the job.
func TestBacktestOfOneChain(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme")
	p.do(p.job("acme", "one", 0, 149))
	for range MaxBacktestRestarts {
		for i := range 3 {
			c := p.step(p.backtest("acme", "one"), i)
			if c.Seen > c.Next-1 {
				continue // that part was of the chain
			}
			if i == 2 {
				c.Parent = Hash{2}
			}
			p.do(c)
		}
		b := p.backtest("acme", "one")
		if b.Parts[0].Next != 50 || b.Parts[1].Next != 50 || b.Parts[2].Next != 100 || b.State.Over() {
			t.Fatalf("%+v", b)
		}
	}
	for i := 1; i < 3; i++ {
		c := p.step(p.backtest("acme", "one"), i)
		c.Parent = Hash{byte(i)}
		p.do(c)
	}
	if b := p.backtest("acme", "one"); b.State != BacktestFailed || !strings.Contains(b.Error, "reorganised again and again") {
		t.Errorf("%+v", b)
	}
}

func TestBacktestsAreBounded(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme", "bolt")
	long := p.job("acme", "long", 1, MaxBacktestBlocks)
	p.do(long)
	p.do(long) // the same again
	p.refused(p.job("acme", "long", 1, 2), ErrConflict)
	p.do(p.job("acme", "two", 5, 5))
	p.refused(p.job("acme", "three", 5, 5), ErrTooMany)
	p.refused(p.job("bolt", "more", 0, MaxBacktestBlocks), ErrQuota)
	p.refused(p.job("bolt", "none", 6, 5), ErrQuota)
	p.refused(p.job("none", "one", 5, 5), ErrNotFound)
	p.refused(p.job(Shared, "one", 5, 5), ErrNotFound)
	p.do(&SetTenantVersion{Tenant: "wide", Source: SourceAPI})
	p.do(&SetQuota{Tenant: "wide", Quota: Quota{BacktestBlocks: 200_000}})
	p.do(p.job("wide", "one", 1, 200_000))
	p.refused(p.job("wide", "two", 0, 200_000), ErrQuota)
	unknown := p.job("bolt", "one", 5, 5)
	unknown.Job.Doc.Hash = Hash{9}
	p.refused(unknown, ErrNotFound)

	// What is found is kept as far as there is room.
	c := p.step(p.backtest("acme", "two"), 0)
	for i := range 300 {
		c.Matches = append(c.Matches, BacktestMatch{Tx: fmt.Sprint(i), On: []string{strings.Repeat("x", 800)}})
		c.Misses = append(c.Misses, BacktestMiss{Tx: fmt.Sprint(i), Elsewhere: i < 15, Reasons: []BacktestReason{{Message: strings.Repeat("y", 1500)}}})
	}
	p.do(c)
	b := p.backtest("acme", "two")
	matches, misses := b.Found()
	if len(matches) != MaxBacktestMatches || len(misses) != MaxBacktestMisses || misses[0].Elsewhere || matches[99].Tx != "99" {
		t.Errorf("%d matches, %d near misses", len(matches), len(misses))
	}
	if n := b.Size(); n > MaxBacktestResult+4096 {
		t.Errorf("%d bytes", n)
	}

	// Of too many, the oldest that are over go.
	for i := range KeepBacktests {
		id := fmt.Sprint("job", i)
		p.do(p.job("acme", id, 5, 5))
		p.do(&EndBacktest{Tenant: "acme", ID: id})
	}
	count := 0
	for range p.View().BacktestsOf("acme") {
		count++
	}
	if _, ok := p.View().Backtest("acme", "two"); count != KeepBacktests || ok {
		t.Errorf("%d are kept, the oldest: %t", count, ok)
	}
	p.backtest("acme", "long") // which is not over
}

// The content of a monitor is kept as long as it is judged, and jobs go with their
// tenant.
func TestBacktestsEnd(t *testing.T) {
	p := newPausing(t)
	p.fresh("acme")
	there := func(want bool) {
		t.Helper()
		p.do(&CollectBlobs{Before: 1 << 60})
		for _, text := range []string{"draft", "abi"} {
			if _, ok := p.View().Blob(HashBlob([]byte(text))); ok != want {
				t.Errorf("%s is kept: %t", text, ok)
			}
		}
	}
	p.do(p.job("acme", "one", 5, 5))
	there(true)
	p.restart()
	there(true)
	p.do(&EndBacktest{Tenant: "acme", ID: "one", At: 7})
	there(false)
	p.do(p.job("acme", "two", 5, 5))
	p.do(&WorkBacktest{Tenant: "acme", ID: "two", Seen: 5, Error: "the network is gone"})
	if b := p.backtest("acme", "two"); b.State != BacktestFailed || b.Error != "the network is gone" {
		t.Errorf("%+v", b)
	}
	there(false)
	p.do(p.job("acme", "three", 5, 5))
	if !p.woken(TopicBacktests, &DeleteTenant{Tenant: "acme", Expect: 1}) {
		t.Error("jobs that go with a tenant wake nobody")
	}
	there(false)
	p.fresh("acme")
	v := p.View()
	if _, ok := v.Backtest("acme", "one"); ok || v.backtests.Len()+v.activeTests.Len()+v.backtestSizes.Len()+v.backtestSums.Len() != 0 || v.BacktestBytes() != 0 {
		t.Error("the next of the name has jobs")
	}
}

// Whoever has the most bytes makes room.
func TestBacktestsOfAllAreBounded(t *testing.T) {
	p := newPausing(t)
	heavy := func(tenant, id string) {
		p.do(p.job(tenant, id, 5, 5))
		c := p.step(p.backtest(tenant, id), 0)
		for range MaxBacktestMatches {
			c.Matches = append(c.Matches, BacktestMatch{On: []string{strings.Repeat("x", 1100)}})
		}
		p.do(c)
	}
	p.fresh("small")
	heavy("small", "only")
	for i := range 40 {
		tenant := fmt.Sprintf("t%02d", i)
		p.fresh(tenant)
		for n := range KeepBacktests {
			heavy(tenant, fmt.Sprint(n))
		}
		if n := p.View().BacktestBytes(); n > MaxBacktests {
			t.Fatalf("%d bytes after %s", n, tenant)
		}
	}
	p.backtest("small", "only")
	if _, ok := p.View().Backtest("t00", "0"); ok {
		t.Error("nothing made room")
	}
}

func TestNamesOfBacktestStates(t *testing.T) {
	for s, want := range []string{"queued", "running", "done", "failed", "cancelled", "state 5"} {
		if got := BacktestState(s).String(); got != want || BacktestState(s).Over() != (s > 1) {
			t.Errorf("%s, %t", got, BacktestState(s).Over())
		}
	}
}

// goldenBacktest has a value in every field.
func goldenBacktest() Backtest {
	return Backtest{
		ID: "bt1", Tenant: "acme", Born: 38, Index: 98, Monitor: "large-transfers", Version: 3, Name: "Large transfers",
		Doc:   Doc{Sizes: []int64{7}, Kind: DocMonitor, ID: "large-transfers", Hash: HashBlob([]byte("monitor")), Refs: []Hash{HashBlob([]byte("abi"))}, Watches: []Watch{{Network: "base"}}, Depth: 1},
		Watch: Watch{Network: "ethereum_mainnet", Slug: "ethereum_mainnet", Depth: 12, Mode: ModeInstant}, Confirms: true, Triggers: []string{"slack"}, Filters: 2,
		From: 100, To: 199, By: "key:abcdefghij23 (ci)", At: 1_700_000_001_000,
		State: BacktestFailed, Ended: 1_700_000_001_100, Error: "the network is gone", Restarts: 2,
		Parts: []BacktestPart{{
			From: 100, To: 149, Next: 101, Parent: ref(99, "a").Hash, Last: ref(100, "a").Hash, Node: "node-1", Epoch: 120,
			Counts:  BacktestCounts{Blocks: 1, Fetched: 2, Calls: 3, Candidates: 4, Matches: 5, Misses: 6, Micros: 7},
			Matches: []BacktestMatch{{Block: ref(100, "a"), Tx: "0xfeed", On: []string{"Transfer(address,address,uint256)"}}},
			Misses: []BacktestMiss{{Block: ref(100, "a"), Tx: "0xbeef", Elsewhere: true, Reasons: []BacktestReason{{
				Path: "match_conditions.events[0].expression", Signature: "Transfer(address,address,uint256)", Message: "the expression is false", Values: []string{"value > 5: 4"},
			}}}},
		}},
	}
}

// goldenBacktests gives the golden state a backtest that has begun anew and has found
// something, and one that has failed.
func goldenBacktests() []Command {
	put, work := fixturesV1()["put-backtest"].(*PutBacktest), fixturesV1()["work-backtest"].(*WorkBacktest)
	put.Job.Tenant, work.Tenant, work.Node, work.Error, work.Part, work.Epoch = "corp", "corp", "", "", 0, 0
	put.Job.Doc.Refs = nil // it went with what had it
	put.Job.Doc.Hash = HashBlob([]byte("draft"))
	found, given, second := *work, &WorkBacktest{Tenant: "corp", ID: "bt1", Node: "node-1"}, *put
	found.Anew, second.Job.ID = false, "bt2"
	failed := &WorkBacktest{Tenant: "corp", ID: "bt2", Seen: 100, Error: "the network is gone", At: 1_700_000_001_400}
	return []Command{&PutBlobs{Blobs: [][]byte{[]byte("draft")}}, put, work, &found, given, &second, failed}
}
