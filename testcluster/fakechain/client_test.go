package fakechain_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

func TestClientServesWholeBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakechain.New(fakechain.Options{First: 7})
		c.Extend(3)
		old := c.Head()
		client := c.Client("a")
		head, err := client.Head(t.Context())
		if err != nil || head.Height != 10 || head.Hash != old.Hash || head.Parent != old.Parent {
			t.Fatalf("%+v, %v", head, err)
		}
		b, err := client.Block(t.Context(), 10)
		if err != nil || b.Ref != old.Ref() || b.Parent != old.Parent {
			t.Fatalf("%+v, %v", b, err)
		}
		decoded, err := evm.Decode(b.Payload)
		if err == nil {
			err = decoded.Complete()
		}
		if err != nil || decoded.Ref() != old.Ref() || len(decoded.Transactions) != 2 {
			t.Fatalf("%+v, %v", decoded, err)
		}
		c.Reorg(1, 2)
		if b, err := client.BlockByHash(chain.Refetch(t.Context()), old.Hash); err != nil || b.Ref != old.Ref() {
			t.Errorf("the block that was replaced: %+v, %v", b, err)
		}
		if b, err := client.Block(t.Context(), 10); err != nil || b.Ref.Hash == old.Hash {
			t.Errorf("the block that replaced it: %+v, %v", b, err)
		}
		if _, err := client.Block(t.Context(), 12); !errors.Is(err, chain.ErrNotFound) {
			t.Errorf("a block that is not there: %v", err)
		}
		c.SetHead(9)
		if _, err := client.Block(t.Context(), 10); !errors.Is(err, chain.ErrNotFound) {
			t.Errorf("a block above a head that was set back: %v", err)
		}
		want := rpc.Counters{HeadPoll: 1, BlockFetch: 8, Refetch: 2}
		if got := client.Counters(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := c.Calls(); got != want {
			t.Errorf("all hosts: %+v, want %+v", got, want)
		}
	})
}

func TestFaultsOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakechain.New(fakechain.Options{})
		site, client, other := c.Site("a"), c.Client("a"), c.Client("b")
		took := func(client *fakechain.Client, within time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			began := time.Now()
			_, err := client.Block(ctx, 0)
			return time.Since(began), err
		}
		site.CutOff()
		if d, err := took(client, time.Second); d != 0 || !errors.Is(err, chain.ErrUnavailable) {
			t.Errorf("cut off: %v after %v", err, d)
		}
		if d, err := took(other, time.Second); d != 0 || err != nil {
			t.Errorf("another host: %v after %v", err, d)
		}
		site.Heal()
		site.Slow(300 * time.Millisecond)
		if d, err := took(client, time.Second); d != 300*time.Millisecond || err != nil {
			t.Errorf("slow: %v after %v", err, d)
		}
		site.Stall()
		if d, err := took(client, time.Second); d != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stalled: %v after %v", err, d)
		}
		go func() {
			<-time.After(2 * time.Second)
			site.Heal()
		}()
		if d, err := took(client, time.Minute); d != 2*time.Second || err != nil {
			t.Errorf("stalled and healed: %v after %v", err, d)
		}
		site.Stall()
		go func() {
			<-time.After(time.Second)
			_ = client.Close()
		}()
		if d, err := took(client, time.Minute); d != time.Second || err == nil {
			t.Errorf("closed: %v after %v", err, d)
		}
	})
}

func TestHeadsArePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakechain.New(fakechain.Options{})
		site, client := c.Site("a"), c.Client("a")
		ctx, cancel := context.WithCancel(t.Context())
		heads, err := client.Heads(ctx)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.Extend(3)
		for want := uint64(1); want <= 3; want++ {
			if h := <-heads; h.Height != want || h.Hash != c.At(want).Hash {
				t.Errorf("head %+v, want height %d", h, want)
			}
		}
		head := c.Reorg(1, 2)
		if h := <-heads; h.Hash != head.Parent {
			t.Errorf("after a reorganisation: %+v", h)
		}
		if h := <-heads; h.Hash != head.Hash {
			t.Errorf("after a reorganisation: %+v", h)
		}
		// What comes while nothing gets through is lost; then there is the newest.
		site.Stall()
		synctest.Wait()
		c.Extend(5)
		synctest.Wait()
		select {
		case h := <-heads:
			t.Errorf("through a stall came %+v", h)
		default:
		}
		site.Heal()
		if h := <-heads; h.Hash != c.Head().Hash {
			t.Errorf("after a stall: %+v, the head is %v", h, c.Head().Ref())
		}
		cancel()
		if h, open := <-heads; open {
			t.Errorf("after its end came %+v", h)
		}
		site.Polled()
		if _, err := client.Heads(t.Context()); !errors.Is(err, chain.ErrNoHeadSource) {
			t.Errorf("without subscriptions: %v", err)
		}
	})
}
