package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "secret-api-key"

// rig is a pool over endpoints of one chain, the first the heaviest.
type rig struct {
	chain *fakechain.Chain
	at    []*fakechain.Endpoint
	pool  *rpc.Pool
	reg   *prometheus.Registry
	log   *logs.Buffer
}

func newRig(t *testing.T, endpoints int, change func(*rpc.Options)) *rig {
	t.Helper()
	r := &rig{chain: fakechain.New(fakechain.Options{}), reg: prometheus.NewRegistry(), log: &logs.Buffer{}}
	opts := rpc.Options{
		Network: "net", Timeout: 5 * time.Second, Metrics: rpc.NewMetrics(r.reg),
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for i := range endpoints {
		e, err := r.chain.NewEndpoint()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		r.at = append(r.at, e)
		opts.Endpoints = append(opts.Endpoints, rpc.Endpoint{URL: e.URL(), Weight: 100 - i})
	}
	if change != nil {
		change(&opts)
	}
	var err error
	if r.pool, err = rpc.NewPool(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.pool.Close() })
	t.Cleanup(func() {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds the key of a URL:\n%s", r.log.String())
		}
	})
	return r
}

func (r *rig) call(t *testing.T) (string, error) {
	t.Helper()
	reply, err := r.pool.Call(t.Context(), rpc.HeadPoll, "eth_blockNumber")
	if err != nil {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the key of a URL: %v", err)
		}
		return "", err
	}
	defer reply.Release()
	return string(reply.Result), nil
}

func TestCallKeepsToTheHeaviest(t *testing.T) {
	r := newRig(t, 3, nil)
	for range 10 {
		if got, err := r.call(t); err != nil || got != `"0x0"` {
			t.Fatalf("got %s, %v", got, err)
		}
	}
	if n := r.at[0].Calls()["eth_blockNumber"]; n != 10 {
		t.Errorf("the heaviest endpoint was asked %d times of 10", n)
	}
	if c := r.pool.Counters(); c != (rpc.Counters{HeadPoll: 10}) {
		t.Errorf("counted %+v", c)
	}
}

// Every way of failing moves the request on to the next endpoint, is counted
// with its reason, and asks no endpoint twice.
func TestRotationAndReasons(t *testing.T) {
	slow, release := fakechain.Slow()
	defer release()
	for _, tc := range []struct {
		name   string
		fault  fakechain.Fault
		reason string
	}{
		{"error in 200", fakechain.RPCError(-32000, "header not found"), rpc.ReasonRPC},
		{"method missing", fakechain.Missing(), rpc.ReasonMethodMissing},
		{"html", fakechain.HTML(), rpc.ReasonMalformed},
		{"text", fakechain.Body("try again"), rpc.ReasonMalformed},
		{"empty", fakechain.Body(""), rpc.ReasonMalformed},
		{"cut off", fakechain.Body(`{"jsonrpc":"2.0","id":1,"result":"0x`), rpc.ReasonMalformed},
		{"neither", fakechain.Body(`{"jsonrpc":"2.0","id":1}`), rpc.ReasonMalformed},
		{"oversized", fakechain.Oversized(100_000), rpc.ReasonOversized},
		{"429", fakechain.TooMany(time.Minute), rpc.ReasonRateLimited},
		{"500", fakechain.Status(500), rpc.ReasonStatus},
		{"401", fakechain.Status(401), rpc.ReasonStatus},
		{"redirect", fakechain.Status(307), rpc.ReasonStatus},
		{"closed", fakechain.Close(), rpc.ReasonNetwork},
		{"slow", slow, rpc.ReasonTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, 2, func(o *rpc.Options) {
				o.MaxBody = 50_000
				if tc.reason == rpc.ReasonTimeout {
					o.Timeout = 100 * time.Millisecond
				}
			})
			r.at[0].Fault("eth_blockNumber", tc.fault)
			if got, err := r.call(t); err != nil || got != `"0x0"` {
				t.Fatalf("with one good endpoint: got %s, %v", got, err)
			}
			r.at[1].Fault("eth_blockNumber", tc.fault)
			_, err := r.call(t)
			if err == nil {
				t.Fatal("with no good endpoint: no error")
			}
			if got := chain.Reason(err); got != tc.reason {
				t.Errorf("reason %s, want %s: %v", got, tc.reason, err)
			}
			for i, e := range r.at {
				if n := e.Calls()["eth_blockNumber"]; n > 2 {
					t.Errorf("endpoint %d was asked %d times for two requests", i, n)
				}
			}
			if n := testutil.CollectAndCount(r.reg, "ozmo_rpc_rotations_total"); n == 0 {
				t.Error("no rotation was counted")
			}
			r.at[1].Heal()
			if tc.reason != rpc.ReasonRateLimited {
				if _, err := r.call(t); err != nil {
					t.Errorf("healed: %v", err)
				}
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	r := newRig(t, 1, nil)
	r.at[0].Fault("eth_blockNumber", fakechain.TooMany(time.Minute))
	for range 3 {
		_, err := r.call(t)
		e, ok := errors.AsType[*rpc.Error](err)
		if !ok || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
			t.Fatalf("got %v, want an error that says when to come back", err)
		}
	}
	if n := r.at[0].Calls()["eth_blockNumber"]; n != 1 {
		t.Errorf("asked %d times although told to wait", n)
	}
}

// With every breaker open, the endpoint is still tried: it may be up again.
func TestOpenBreakerIsNoOutage(t *testing.T) {
	r := newRig(t, 1, func(o *rpc.Options) { o.BreakerTimeout = time.Hour })
	r.at[0].Down()
	for range 8 {
		if _, err := r.call(t); chain.Reason(err) != rpc.ReasonNetwork {
			t.Fatalf("down: %v", err)
		}
	}
	if !strings.Contains(r.log.String(), "state=open") {
		t.Errorf("the breaker did not open:\n%s", r.log.String())
	}
	r.at[0].Up()
	if _, err := r.call(t); err != nil {
		t.Errorf("up again: %v", err)
	}
}

// An open breaker spares the endpoint while another one answers.
func TestOpenBreakerSparesEndpoint(t *testing.T) {
	r := newRig(t, 2, func(o *rpc.Options) { o.BreakerTimeout = time.Hour })
	r.at[0].Fault(fakechain.Any, fakechain.Status(500))
	r.at[1].Fault(fakechain.Any, fakechain.Status(500))
	for range 8 {
		_, _ = r.call(t)
	}
	r.at[1].Heal()
	before := r.at[0].Calls()["eth_blockNumber"]
	for range 8 {
		_, _ = r.call(t)
	}
	if n := r.at[0].Calls()["eth_blockNumber"] - before; n > 1 {
		t.Errorf("the broken endpoint was asked %d more times", n)
	}
}

func verifyChain(_ context.Context, endpoint string, c rpc.Caller) error {
	reply, err := c.Call(context.Background(), "eth_chainId")
	if err != nil {
		return err
	}
	if string(reply.Result) != `"0x1"` {
		return fmt.Errorf("%w: %s", chain.ErrWrongChain, endpoint)
	}
	return nil
}

func TestVerification(t *testing.T) {
	r := newRig(t, 2, func(o *rpc.Options) { o.Verify = verifyChain })
	r.at[0].Fault("eth_chainId", fakechain.WrongChain(5))
	for range 5 {
		if _, err := r.call(t); err != nil {
			t.Fatal(err)
		}
	}
	if calls := r.at[0].Calls(); calls["eth_blockNumber"] != 0 || calls["eth_chainId"] != 1 {
		t.Errorf("an endpoint of another chain was asked %v", calls)
	}
	if n := strings.Count(r.log.String(), "endpoint excluded"); n != 1 {
		t.Errorf("the exclusion was logged %d times", n)
	}
	if got := r.at[1].Calls()["eth_chainId"]; got != 1 {
		t.Errorf("the good endpoint was verified %d times, want once", got)
	}
	// After a broken connection another node may answer behind the same name.
	r.at[1].Fault("eth_blockNumber", fakechain.Close().Times(2))
	for range 3 {
		_, _ = r.call(t)
	}
	if got := r.at[1].Calls()["eth_chainId"]; got < 2 {
		t.Error("the endpoint was not verified again after its connection broke")
	}
}

func TestOnlyWrongChains(t *testing.T) {
	r := newRig(t, 1, func(o *rpc.Options) { o.Verify = verifyChain })
	r.at[0].Fault("eth_chainId", fakechain.WrongChain(5))
	for range 3 {
		if _, err := r.call(t); !errors.Is(err, chain.ErrWrongChain) {
			t.Fatalf("got %v", err)
		}
	}
	if n := r.at[0].Calls()["eth_chainId"]; n != 1 {
		t.Errorf("verified %d times within the exclusion", n)
	}
}

func TestBatch(t *testing.T) {
	r := newRig(t, 1, nil)
	r.chain.Extend(3)
	r.at[0].Fault("net_version", fakechain.RPCError(-32000, "no"))
	requests := []rpc.Request{
		{Method: "eth_blockNumber"}, {Method: "net_version"}, {Method: "eth_getBlockByNumber", Params: []any{"0x9", false}}, {Method: "eth_chainId"},
	}
	got, err := rpc.Do(t.Context(), r.pool, rpc.BlockFetch, "", func(ctx context.Context, c *rpc.Conn) (string, error) {
		answers, reply, err := c.Batch(ctx, requests)
		if err != nil {
			return "", err
		}
		defer reply.Release()
		text := ""
		for _, a := range answers {
			text += fmt.Sprintf("%s %s;", a.Result, chain.Reason(a.Err))
		}
		return text, nil
	})
	if want := `"0x3" ; rpc-error;null ;"0x1" ;`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if c := r.pool.Counters(); c.BlockFetch != 4 {
		t.Errorf("a batch of 4 was counted as %d", c.BlockFetch)
	}
	r.at[0].Fault("batch", fakechain.RPCError(-32600, "batches are off"))
	lacks, _ := rpc.Do(t.Context(), r.pool, rpc.BlockFetch, "", func(ctx context.Context, c *rpc.Conn) (bool, error) {
		_, _, err := c.Batch(ctx, requests)
		return err != nil && c.Lacks(rpc.Batches), nil
	})
	if !lacks {
		t.Error("an endpoint that refuses batches is not remembered as such")
	}
}

func TestHedge(t *testing.T) {
	slow, release := fakechain.Slow()
	defer release()
	r := newRig(t, 2, func(o *rpc.Options) { o.Hedge = 10 * time.Millisecond })
	r.at[0].Fault("eth_blockNumber", slow)
	if _, err := r.call(t); err != nil {
		t.Fatal(err)
	}
	if c := r.pool.Counters(); c.Hedge != 1 || c.HeadPoll != 1 {
		t.Errorf("counted %+v, want one poll and one hedge", c)
	}
	r.at[0].Heal()
	r.at[0].Fault("eth_blockNumber", fakechain.Status(500))
	r.at[1].Fault("eth_blockNumber", fakechain.Status(500))
	if _, err := r.call(t); err == nil {
		t.Error("both endpoints failed, the call did not")
	}
}

func TestOwnRateLimit(t *testing.T) {
	r := newRig(t, 1, func(o *rpc.Options) { o.Rate, o.Burst, o.Timeout = 0.001, 2, 200*time.Millisecond })
	for i := range 3 {
		_, err := r.call(t)
		if want := i < 2; (err == nil) != want {
			t.Errorf("call %d of a burst of 2: %v", i, err)
		}
	}
	if n := r.at[0].Calls()["eth_blockNumber"]; n != 2 {
		t.Errorf("%d calls were sent, want 2", n)
	}
}

func TestContextAndClose(t *testing.T) {
	slow, release := fakechain.Slow()
	defer release()
	r := newRig(t, 2, nil)
	r.at[0].Fault("eth_blockNumber", slow)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for r.at[0].Calls()["eth_blockNumber"] == 0 {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	if _, err := r.pool.Call(ctx, rpc.HeadPoll, "eth_blockNumber"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := r.at[1].Calls()["eth_blockNumber"]; n != 0 {
		t.Error("a request that was given up went on to the next endpoint")
	}
	_ = r.pool.Close()
	if _, err := r.call(t); !errors.Is(err, context.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNewPoolRefuses(t *testing.T) {
	for name, list := range map[string][]rpc.Endpoint{
		"none":      nil,
		"weight 0":  {{URL: "http://node.example/" + secret, Weight: 0}},
		"no host":   {{URL: "http:///" + secret, Weight: 1}},
		"no URL":    {{URL: "http://node.example/%zz" + secret, Weight: 1}},
		"scheme":    {{URL: "ftp://node.example/" + secret, Weight: 1}},
		"only push": {{URL: "ws://node.example/" + secret, Weight: 1}},
	} {
		_, err := rpc.NewPool(rpc.Options{Network: "net", Endpoints: list})
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "rpc_urls") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// turnstile counts the calls that ask to pass, and lets some through.
type turnstile struct {
	asked, left int
}

var errShut = errors.New("shut")

func (g *turnstile) Wait(_ context.Context, n int) error {
	g.asked += n
	if g.left < n {
		return errShut
	}
	g.left -= n
	return nil
}

// Calls pass the gate before they are counted and sent; each element of a batch does.
func TestGate(t *testing.T) {
	gate := &turnstile{left: 4}
	r := newRig(t, 1, func(o *rpc.Options) { o.Gate = gate })
	ctx := t.Context()
	reply, err := r.pool.Call(ctx, rpc.HeadPoll, "eth_blockNumber")
	if err != nil {
		t.Fatal(err)
	}
	reply.Release()
	batch := func(ctx context.Context, c *rpc.Conn) (int, error) {
		answers, reply, err := c.Batch(ctx, []rpc.Request{{Method: "eth_blockNumber"}, {Method: "eth_chainId"}})
		defer reply.Release()
		return len(answers), err
	}
	if n, err := rpc.Do(ctx, r.pool, rpc.BlockFetch, "", batch); n != 2 || err != nil {
		t.Errorf("%d answers, error %v", n, err)
	}
	if _, err := rpc.Do(ctx, r.pool, rpc.BlockFetch, "", batch); !errors.Is(err, errShut) {
		t.Errorf("error %v", err)
	}
	if c := r.pool.Counters(); gate.asked != 5 || c.HeadPoll != 1 || c.BlockFetch != 2 {
		t.Errorf("%d calls asked to pass, counted are %+v", gate.asked, c)
	}
}
