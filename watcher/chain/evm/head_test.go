package evm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
)

func TestHead(t *testing.T) {
	r := newRig(t, 1, func(o *evm.Options) { o.BlockTime = time.Nanosecond })
	r.chain.Extend(4)
	head, err := r.client.Head(t.Context())
	if err != nil || head.Height != 4 || !head.Hash.IsZero() || head.Seen.IsZero() {
		t.Fatalf("first poll: %+v, %v", head, err)
	}
	// The height stands still: what block is it?
	head, err = r.client.Head(t.Context())
	if want := r.chain.Head(); err != nil || head.Hash != want.Hash || head.Parent != want.Parent {
		t.Errorf("second poll: %+v, %v, want %v", head, err, want.Ref())
	}
	want := r.chain.Reorg(2, 2)
	if head, err = r.client.Head(t.Context()); err != nil || head.Hash != want.Hash {
		t.Errorf("after a reorganisation: %+v, %v, want %v", head, err, want.Ref())
	}
	if c := r.client.Counters(); c.BlockFetch != 0 || c.HeadPoll != 5 {
		t.Errorf("counted %+v", c)
	}
	r.at[0].Fault("eth_blockNumber", fakechain.Body(`{"jsonrpc":"2.0","id":1,"result":7}`))
	if _, err := r.client.Head(t.Context()); err == nil {
		t.Error("a number that is none was taken as the height")
	}
}

func TestHeads(t *testing.T) {
	r := newRig(t, 1, nil)
	heads, err := r.client.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for r.at[0].Subscribers() == 0 {
		select {
		case <-deadline:
			t.Fatalf("no subscription within 20 s: %v", r.at[0].Calls())
		case <-time.After(2 * time.Millisecond):
		}
	}
	want := r.chain.Extend(1)
	select {
	case got := <-heads:
		if got.Height != want.Number || got.Hash != want.Hash || got.Parent != want.Parent || got.Seen.IsZero() {
			t.Errorf("got %+v, want %v", got, want.Ref())
		}
	case <-deadline:
		t.Fatal("no head within 20 s")
	}
	_ = r.client.Close()
	for range heads {
		t.Error("a head after Close")
	}
}

func TestNoHeadSource(t *testing.T) {
	r := newRig(t, 1, func(o *evm.Options) { o.Endpoints = o.Endpoints[:1] })
	if _, err := r.client.Heads(t.Context()); !errors.Is(err, chain.ErrNoHeadSource) {
		t.Errorf("got %v", err)
	}
}

// The endpoint that serves the network is stuck: the others are asked when the
// height has been standing still for long, and it is passed over from then on.
func TestStuckEndpoint(t *testing.T) {
	r := newRig(t, 3, func(o *evm.Options) { o.BlockTime = time.Millisecond; o.Survey = 5 * time.Millisecond })
	r.chain.Extend(10)
	r.at[0].Pin(r.chain.At(10))
	r.chain.Extend(5000)
	deadline := time.After(20 * time.Second)
	for {
		head, err := r.client.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if head.Height == 5010 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("after 20 s the head is still %d: %v", head.Height, r.at[1].Calls())
		case <-time.After(time.Millisecond):
		}
	}
	r.chain.Extend(1)
	if head, err := r.client.Head(t.Context()); err != nil || head.Height != 5011 {
		t.Errorf("next head %+v, %v", head, err)
	}
	// Only the stuck one is left: better an old head than none.
	r.at[1].Down()
	r.at[2].Down()
	if head, err := r.client.Head(t.Context()); err != nil || head.Height != 10 {
		t.Errorf("head of the stuck endpoint alone: %+v, %v", head, err)
	}
}
