package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

func withSockets(r *[]*fakechain.Endpoint) func(*rpc.Options) {
	return func(o *rpc.Options) {
		for i, e := range *r {
			o.Endpoints = append(o.Endpoints, rpc.Endpoint{URL: e.WSURL(), Weight: 100 - i})
		}
		o.Verify = verifyChain
	}
}

func newSocketRig(t *testing.T, endpoints int) (*rig, <-chan json.RawMessage) {
	t.Helper()
	var at []*fakechain.Endpoint
	c := fakechain.New(fakechain.Options{})
	for range endpoints {
		e, err := c.NewEndpoint()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		at = append(at, e)
	}
	r := newRig(t, 1, withSockets(&at))
	r.chain, r.at = c, at
	ctx, cancel := context.WithCancel(t.Context())
	heads, err := r.pool.Subscribe(ctx, "eth_subscribe", "newHeads")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range heads { // wait until it is closed
		}
	})
	return r, heads
}

func number(t *testing.T, heads <-chan json.RawMessage) string {
	t.Helper()
	select {
	case text := <-heads:
		var h struct{ Number string }
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		return h.Number
	case <-time.After(20 * time.Second):
		t.Fatal("no head within 20 s")
		return ""
	}
}

func waitSubscribed(t *testing.T, e *fakechain.Endpoint) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for e.Subscribers() == 0 {
		select {
		case <-deadline:
			t.Fatalf("no subscription within 20 s; calls so far: %v", e.Calls())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestSubscribeDeliversAndReconnects(t *testing.T) {
	r, heads := newSocketRig(t, 1)
	waitSubscribed(t, r.at[0])
	for _, want := range []string{"0x1", "0x2"} {
		r.chain.Extend(1)
		if got := number(t, heads); got != want {
			t.Errorf("head %s, want %s", got, want)
		}
	}
	r.at[0].Down()
	r.chain.Extend(1) // nobody hears of this one
	for r.at[0].Subscribers() > 0 {
		<-time.After(time.Millisecond)
	}
	r.at[0].Up()
	waitSubscribed(t, r.at[0])
	r.chain.Extend(1)
	if got := number(t, heads); got != "0x4" {
		t.Errorf("head after reconnecting: %s, want 0x4", got)
	}
	if c := r.pool.Counters(); c.Connect < 4 || c.HeadPoll != 0 || c.BlockFetch != 0 {
		t.Errorf("two connections counted as %+v", c)
	}
}

func TestSubscribeFallsBackToNextEndpoint(t *testing.T) {
	for name, fault := range map[string]struct {
		method string
		fault  fakechain.Fault
	}{
		"refuses":     {"eth_subscribe", fakechain.RPCError(-32601, "the method does not exist")},
		"wrong chain": {"eth_chainId", fakechain.WrongChain(9)},
		"closes":      {"eth_subscribe", fakechain.Close()},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakechain.New(fakechain.Options{})
			var at []*fakechain.Endpoint
			for range 2 {
				e, err := c.NewEndpoint()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.Close)
				at = append(at, e)
			}
			at[0].Fault(fault.method, fault.fault)
			r := newRig(t, 1, withSockets(&at))
			heads, err := r.pool.Subscribe(t.Context(), "eth_subscribe", "newHeads")
			if err != nil {
				t.Fatal(err)
			}
			waitSubscribed(t, at[1])
			c.Extend(1)
			if got := number(t, heads); got != "0x1" {
				t.Errorf("head %s", got)
			}
			_ = r.pool.Close()
			for range heads {
				t.Error("a head after Close")
			}
		})
	}
}

func TestSubscribeWithoutSocket(t *testing.T) {
	r := newRig(t, 1, nil)
	if _, err := r.pool.Subscribe(t.Context(), "eth_subscribe", "newHeads"); !errors.Is(err, chain.ErrNoHeadSource) {
		t.Errorf("got %v", err)
	}
}
