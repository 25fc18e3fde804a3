package watcher_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// httpRig is a watcher with a real client, over endpoints on loopback.
type httpRig struct {
	chain   *fakechain.Chain
	at      []*fakechain.Endpoint
	client  *evm.Client
	journal *journal
	log     *logs.Buffer
	reg     *prometheus.Registry
	opts    watcher.Options
}

type httpSetup struct {
	endpoints int
	sockets   bool
	timeout   time.Duration
	cron      string // instead of a poll every 20 ms
}

func newHTTPRig(t *testing.T, s httpSetup) *httpRig {
	t.Helper()
	r := &httpRig{
		chain: fakechain.New(fakechain.Options{}), log: &logs.Buffer{}, reg: prometheus.NewRegistry(),
		journal: newJournal(blockcache.NewMemory(1<<30, nil)),
	}
	r.chain.Extend(10)
	log := slog.New(slog.NewTextHandler(r.log, nil))
	id := uint64(1)
	o := evm.Options{
		ChainID: &id, BlockTime: 100 * time.Millisecond,
		Options: rpc.Options{
			Network: network, Timeout: max(s.timeout, 5*time.Second), Exclusion: 50 * time.Millisecond,
			Logger: log, Metrics: rpc.NewMetrics(r.reg),
		},
	}
	if s.timeout > 0 {
		o.Timeout = s.timeout
	}
	for i := range s.endpoints {
		e, err := r.chain.NewEndpoint()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		r.at = append(r.at, e)
		o.Endpoints = append(o.Endpoints, rpc.Endpoint{URL: e.URL(), Weight: 10 - i})
		if s.sockets {
			o.Endpoints = append(o.Endpoints, rpc.Endpoint{URL: e.WSURL(), Weight: 10 - i})
		}
	}
	var err error
	if r.client, err = evm.New(o); err != nil {
		t.Fatal(err)
	}
	doc := document()
	doc.BlockTime = 100 * time.Millisecond
	if doc.PollInterval = 20 * time.Millisecond; s.cron != "" {
		doc.PollInterval, doc.Cron = 0, s.cron
	}
	r.opts = watcher.Options{
		Network: network, Spec: doc, Client: r.client, Cache: r.journal.cache, Journal: r.journal, Epoch: 7,
		Logger: log, Metrics: watcher.NewMetrics(r.reg),
	}
	return r
}

// run follows the chain until the test ends.
func (r *httpRig) run(t *testing.T) {
	t.Helper()
	stop := follow(t, r.opts)
	t.Cleanup(func() {
		_ = r.client.Close()
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(r.log.String(), "secret-api-key") {
			t.Errorf("the log holds the key of a URL:\n%s", r.log)
		}
	})
}

// eventually waits until check returns nil.
func (r *httpRig) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: still not after 30 s: %v\n%s", what, err, r.log)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (r *httpRig) caughtUp(t *testing.T) {
	t.Helper()
	r.eventually(t, "catching up", func() error { return r.journal.matches(r.chain) })
}

func (r *httpRig) fault(method string, f fakechain.Fault) {
	for _, e := range r.at {
		e.Fault(method, f)
	}
}

// Whatever endpoints answer, the network is held back at the last good block,
// the log and the metric say why, and nothing is lost when it is over.
func TestBadAnswersHoldTheHeadBack(t *testing.T) {
	slow, release := fakechain.Slow()
	t.Cleanup(release)
	for name, tc := range map[string]struct {
		method  string
		fault   fakechain.Fault
		reason  string
		timeout time.Duration
	}{
		"JSON-RPC error inside HTTP 200": {"eth_getBlockByNumber", fakechain.RPCError(-32000, "header not found"), "rpc-error", 0},
		"JSON-RPC error for receipts":    {"eth_getBlockReceipts", fakechain.RPCError(-32603, "internal error"), "rpc-error", 0},
		"HTML instead of JSON":           {"eth_getBlockByNumber", fakechain.HTML(), "malformed", 0},
		"HTML instead of a head":         {"eth_blockNumber", fakechain.HTML(), "malformed", 0},
		"null block":                     {"eth_getBlockByNumber", fakechain.Null(), "not-found", 0},
		"null head":                      {"eth_blockNumber", fakechain.Null(), "other", 0},
		"partial receipts":               {"eth_getBlockReceipts", fakechain.PartialReceipts(), "incomplete", 0},
		"null receipts":                  {"eth_getBlockReceipts", fakechain.Null(), "incomplete", 0},
		"receipts of another block":      {"eth_getBlockReceipts", fakechain.ForeignReceipts(), "incomplete", 0},
		"logs missing against the bloom": {"eth_getBlockReceipts", fakechain.MissingLogs(), "incomplete", 0},
		"another block than asked for":   {"eth_getBlockByNumber", fakechain.WrongBlock(), "incomplete", 0},
		"slow endpoint":                  {"eth_getBlockByNumber", slow, "timeout", 100 * time.Millisecond},
		"slow heads":                     {"eth_blockNumber", slow, "timeout", 100 * time.Millisecond},
		"closed connections":             {"eth_getBlockByNumber", fakechain.Close(), "network", 0},
		"HTTP 500":                       {"eth_getBlockByNumber", fakechain.Status(500), "http-status", 0},
		"HTTP 429 for a while":           {"eth_getBlockByNumber", fakechain.TooMany(time.Second), "rate-limited", 0},
		"null single receipt":            {"eth_getTransactionReceipt", fakechain.Null(), "incomplete", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHTTPRig(t, httpSetup{endpoints: 2, timeout: tc.timeout})
			if tc.method == "eth_getTransactionReceipt" {
				r.fault("eth_getBlockReceipts", fakechain.Missing())
			}
			r.run(t)
			r.caughtUp(t)
			r.fault(tc.method, tc.fault)
			before := r.chain.Head().Ref()
			r.chain.ExtendWith(
				fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 3), fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, 4))
			r.chain.Extend(4)
			r.eventually(t, "saying why", func() error {
				var errs []error
				if metric(t, r.reg, "ozmo_watcher_stalled_seconds", tc.reason) <= 0 {
					errs = append(errs, fmt.Errorf("ozmo_watcher_stalled_seconds has no reason %q", tc.reason))
				}
				if metric(t, r.reg, "ozmo_watcher_retries_total", tc.reason) < 3 {
					errs = append(errs, fmt.Errorf("less than 3 retries because of %q", tc.reason))
				}
				if !strings.Contains(r.log.String(), "reason="+tc.reason) {
					errs = append(errs, fmt.Errorf("no log line with reason=%s", tc.reason))
				}
				return errors.Join(errs...)
			})
			if got := r.journal.tip(); got != before {
				t.Errorf("tip %v, want it held back at %v", got, before)
			}
			for _, e := range r.at {
				e.Heal()
			}
			r.chain.Extend(1)
			r.caughtUp(t)
			r.eventually(t, "the stall's end", func() error {
				if d := metric(t, r.reg, "ozmo_watcher_stalled_seconds"); d != 0 {
					return fmt.Errorf("ozmo_watcher_stalled_seconds is %v", d)
				}
				return nil
			})
		})
	}
}

// One good endpoint is enough, whatever the heavier one answers.
func TestOneGoodEndpointIsEnough(t *testing.T) {
	slow, release := fakechain.Slow()
	t.Cleanup(release)
	for name, tc := range map[string]struct {
		method string
		fault  fakechain.Fault
	}{
		"error":            {fakechain.Any, fakechain.RPCError(-32000, "no")},
		"html":             {fakechain.Any, fakechain.HTML()},
		"slow":             {"eth_getBlockReceipts", slow},
		"wrong chain":      {"eth_chainId", fakechain.WrongChain(4)},
		"partial receipts": {"eth_getBlockReceipts", fakechain.PartialReceipts()},
		"null block":       {"eth_getBlockByNumber", fakechain.Null()},
		"no receipts":      {"eth_getBlockReceipts", fakechain.Missing()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHTTPRig(t, httpSetup{endpoints: 2, timeout: 100 * time.Millisecond})
			r.at[0].Fault(tc.method, tc.fault)
			r.run(t)
			r.caughtUp(t)
			for range 3 {
				r.chain.Extend(2)
				r.caughtUp(t)
			}
			r.chain.Reorg(3, 4)
			r.caughtUp(t)
		})
	}
}

func TestMissingBlockReceiptsLosesNothing(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 1})
	r.fault("eth_getBlockReceipts", fakechain.Missing())
	r.run(t)
	r.caughtUp(t)
	r.chain.Extend(5)
	r.caughtUp(t)
	if n := metric(t, r.reg, "ozmo_rpc_errors_total", "method-missing"); n != 1 {
		t.Errorf("the missing method was met %v times, want once an hour", n)
	}
}

func TestWrongChainIsNotWatched(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 1})
	r.fault("eth_chainId", fakechain.WrongChain(5))
	r.run(t)
	r.eventually(t, "saying why", func() error {
		if metric(t, r.reg, "ozmo_watcher_stalled_seconds", "wrong-chain") <= 0 {
			return errors.New("no stall because of wrong-chain")
		}
		if !strings.Contains(r.log.String(), "chain id 5, the network 1") {
			return errors.New("the log does not name the chain ids")
		}
		return nil
	})
	if n := len(r.journal.log()); n != 0 {
		t.Errorf("%d announcements of another chain", n)
	}
	r.at[0].Heal()
	r.caughtUp(t)
}

func TestAllEndpointsDownAtTheStart(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 2, sockets: true, cron: "0 0 0 1 1 *"})
	for _, e := range r.at {
		e.Down()
	}
	r.run(t)
	r.eventually(t, "saying why", func() error {
		if metric(t, r.reg, "ozmo_watcher_stalled_seconds", "network") <= 0 || !strings.Contains(r.log.String(), "no head from any endpoint") {
			return errors.New("no stall because of network")
		}
		return nil
	})
	r.at[1].Up()
	r.caughtUp(t) // although the schedule's next tick is months away
}

func TestHeadMovingBackwardsOverHTTP(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 1})
	r.run(t)
	r.caughtUp(t)
	before := len(r.journal.log())
	r.chain.SetHead(4)
	r.eventually(t, "noticing", func() error {
		if !strings.Contains(r.log.String(), "head is below the tip") {
			return errors.New("not logged")
		}
		return nil
	})
	if n := len(r.journal.log()); n != before {
		t.Errorf("announced %v", r.journal.log()[before:])
	}
	r.chain.ClearHead()
	r.chain.Extend(3)
	r.caughtUp(t)
	for _, a := range r.journal.log() {
		if a.Kind == watcher.Rollback {
			t.Errorf("announced %v", a)
		}
	}
}

// A tip replaced by a block of the same height is found although no new block
// comes, by polling alone.
func TestTipReplacedAtItsHeight(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 1})
	r.run(t)
	r.caughtUp(t)
	for depth := 1; depth <= 3; depth++ {
		r.chain.Reorg(depth, depth)
		r.caughtUp(t)
		r.chain.Extend(depth)
		r.caughtUp(t)
	}
}

// A silent subscription is no outage: polling goes on.
func TestMutedSubscription(t *testing.T) {
	r := newHTTPRig(t, httpSetup{endpoints: 1, sockets: true})
	r.run(t)
	r.at[0].Mute(true)
	for range 3 {
		r.chain.Extend(1)
		r.caughtUp(t)
	}
}

// The budget of the design: two calls for each announced block.
func TestCallsPerBlock(t *testing.T) {
	for name, s := range map[string]httpSetup{
		"pushed heads": {endpoints: 2, sockets: true, cron: "* * * * * *"},
		"cron":         {endpoints: 2, cron: "* * * * * *"},
		"poll":         {endpoints: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newHTTPRig(t, s)
			r.run(t)
			r.caughtUp(t)
			if s.sockets {
				r.eventually(t, "subscribing", func() error {
					if r.at[0].Subscribers() == 0 {
						return errors.New("no subscription")
					}
					return nil
				})
			}
			rounds := 40
			if s.cron != "" && !s.sockets {
				rounds = 3 // of a second each
			}
			for range rounds {
				r.chain.Extend(2)
				r.caughtUp(t)
			}
			blocks := uint64(len(r.journal.log()))
			c := r.client.Counters()
			t.Logf("%d blocks: block-fetch %d (%.2f a block), head-poll %d, connect %d, hedge %d, refetch %d",
				blocks, c.BlockFetch, float64(c.BlockFetch)/float64(blocks), c.HeadPoll, c.Connect, c.Hedge, c.Refetch)
			if c.BlockFetch > 2*blocks || c.Refetch != 0 || c.Hedge != 0 {
				t.Errorf("%+v for %d blocks", c, blocks)
			}
			served := 0
			for _, e := range r.at {
				calls := e.Calls()
				served += calls["eth_getBlockByNumber"] + calls["eth_getBlockReceipts"] + calls["eth_getBlockByHash"]
			}
			looks := int(c.HeadPoll) - r.at[0].Calls()["eth_blockNumber"] - r.at[1].Calls()["eth_blockNumber"]
			if uint64(served-looks) != c.BlockFetch {
				t.Errorf("the endpoints served %d calls for blocks (%d of them looks at the tip), counted were %d", served, looks, c.BlockFetch)
			}
		})
	}
}
