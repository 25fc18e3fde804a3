package watcher_test

import (
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// BenchmarkCatchUp follows a chain of blocks of about 50 KB over HTTP from its
// first block on; the figure includes the serving side.
func BenchmarkCatchUp(b *testing.B) {
	c := fakechain.New(fakechain.Options{TxPerBlock: 20})
	c.Extend(500)
	e, err := c.NewEndpoint()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	blocks, calls := 0, 0.0
	for b.Loop() {
		client, err := evm.New(evm.Options{Options: rpc.Options{Network: network, Endpoints: []rpc.Endpoint{{URL: e.URL(), Weight: 1}}}})
		if err != nil {
			b.Fatal(err)
		}
		start := uint64(0)
		j := newJournal(blockcache.NewMemory(1<<30, nil))
		stop := follow(b, watcher.Options{
			Network: network, Spec: document(), Client: client, Cache: j.cache, Journal: j, Epoch: 7, Start: &start,
		})
		for j.matches(c) != nil {
			<-time.After(time.Millisecond)
		}
		_ = client.Close()
		if err := stop(); err != nil {
			b.Fatal(err)
		}
		blocks += len(j.log())
		calls += float64(client.Counters().BlockFetch)
	}
	b.ReportMetric(float64(blocks)/b.Elapsed().Seconds(), "blocks/s")
	b.ReportMetric(calls/float64(blocks), "calls/block")
}

// BenchmarkTip measures from a block coming into being, told by a pushed head,
// to its announcement.
func BenchmarkTip(b *testing.B) {
	c := fakechain.New(fakechain.Options{TxPerBlock: 20})
	e, err := c.NewEndpoint()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	client, err := evm.New(evm.Options{Options: rpc.Options{
		Network: network, Endpoints: []rpc.Endpoint{{URL: e.URL(), Weight: 1}, {URL: e.WSURL(), Weight: 1}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	j := newJournal(blockcache.NewMemory(1<<30, nil))
	stop := follow(b, watcher.Options{Network: network, Spec: document(), Client: client, Cache: j.cache, Journal: j, Epoch: 7})
	for e.Subscribers() == 0 || j.tip().Height != c.Head().Number {
		<-time.After(time.Millisecond)
	}
	for b.Loop() {
		head := c.Extend(1).Ref()
		for j.tip() != head {
			<-time.After(50 * time.Microsecond)
		}
	}
	_ = client.Close()
	if err := stop(); err != nil {
		b.Fatal(err)
	}
}
