package backtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/worker/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a state with a tenant's monitor of a fake chain, and runners on it.
type rig struct {
	*fsm.State
	t     *testing.T
	chain *fakechain.Chain
	// address is the monitor's, in hexadecimal.
	address string

	mu     sync.Mutex
	index  uint64
	refuse func(fsm.Command) error   // in place of committing
	past   func(height uint64) error // before a block is given
	asked  map[uint64]int            // by height
	judged map[string]int            // blocks, by tenant
	told   []*fsm.WorkBacktest       // committed
}

func newRig(t *testing.T) *rig {
	return &rig{State: fsm.New(), t: t, chain: fakechain.New(fakechain.Options{First: 100}), asked: map[uint64]int{}, judged: map[string]int{}, address: fmt.Sprintf("%x", fakechain.Token[:])}
}

func (r *rig) Propose(_ context.Context, c fsm.Command) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(c); err != nil {
			return nil, err
		}
	}
	entry, err := fsm.Encode(c)
	if err != nil {
		return nil, err
	}
	r.index++
	out, err := r.Apply(r.index, entry)
	if w, ok := c.(*fsm.WorkBacktest); ok && err == nil {
		r.told = append(r.told, w)
	}
	return out, err
}

func (r *rig) must(c fsm.Command) any {
	r.t.Helper()
	out, err := r.Propose(r.t.Context(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// Past implements Blocks: every second block comes from the chain, with two calls.
func (r *rig) Past(ctx context.Context, _, _ string, height uint64) ([]byte, uint64, error) {
	r.mu.Lock()
	r.asked[height]++
	past := r.past
	r.mu.Unlock()
	if past != nil {
		if err := past(height); err != nil {
			return nil, 0, err
		}
	}
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	b, err := r.chain.Client("a").Block(ctx, height)
	if err != nil {
		return nil, 0, err
	}
	return b.Payload, 2 * (height % 2), nil
}

// Evaluated implements Meter.
func (r *rig) Evaluated(tenant string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged[tenant]++
}

// count is how many heights were asked for.
func (r *rig) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

type plain struct{}

func (plain) SealAll(context.Context, string, []*spec.Secret) error { return nil }

// begin makes a job of a monitor of transfers above a value.
func (r *rig) begin(id string, from, to uint64, expression string) {
	r.t.Helper()
	n, problems := spec.ParseNetwork([]byte(`{"network_type":"EVM","slug":"net","name":"net","chain_id":1,"block_time_ms":1000,"confirmation_blocks":1,
		"cron_schedule":"*/1 * * * * *","rpc_urls":[{"type_":"rpc","url":{"type":"plain","value":"https://net.example"},"weight":100}]}`))
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	m, problems := spec.ParseMonitor(fmt.Appendf(nil, `{"name":"transfers","paused":true,"networks":["net"],"triggers":["hook"],"trigger_conditions":[],
		"addresses":[{"address":"0x%s","contract_spec":[{"type":"event","name":"Transfer","anonymous":false,"inputs":[
			{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256","indexed":false}]}]}],
		"match_conditions":{"functions":[],"transactions":[],"events":[{"signature":"Transfer(address,address,uint256)","expression":%q}]}}`, r.address, expression))
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	if _, ok := r.View().Tenant("acme"); !ok {
		shared, err := store.PackShared(r.t.Context(), map[string]*spec.Network{"net": n}, plain{})
		if err != nil {
			r.t.Fatal(err)
		}
		r.must(&fsm.PutBlobs{Blobs: shared.Blobs})
		r.must(&fsm.SetTenantVersion{Tenant: fsm.Shared, Manifest: shared.Manifest})
		r.must(&fsm.SetTenantVersion{Tenant: "acme", Source: fsm.SourceAPI})
	}
	p, err := store.PackMonitor(r.t.Context(), "acme", "draft", m, nil, map[string]*spec.Network{"net": n}, plain{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.must(&fsm.PutBlobs{Blobs: p.Blobs})
	r.must(&fsm.PutBacktest{Job: fsm.Backtest{
		ID: id, Tenant: "acme", Name: "transfers", Doc: p.Manifest.Docs[0], Watch: fsm.Watch{Network: "net", Slug: "net"}, From: from, To: to, At: time.Now().UnixMilli(),
	}})
}

// give has a node judge a part.
func (r *rig) give(id string, part int, node string) {
	r.t.Helper()
	b := r.job(id)
	r.must(&fsm.WorkBacktest{Tenant: "acme", ID: id, Part: part, Epoch: b.Parts[part].Epoch, Node: node})
}

func (r *rig) job(id string) *fsm.Backtest {
	r.t.Helper()
	b, ok := r.View().Backtest("acme", id)
	if !ok {
		r.t.Fatalf("backtest %s is not there", id)
	}
	return b
}

// run has a node's runner work until the test's part of the bubble ends.
func (r *rig) run(node string) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	runner := New(Options{Node: node, Log: r, Blocks: r, Meter: r, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	done := make(chan struct{})
	go func() { defer close(done); runner.Run(ctx) }()
	return func() { cancel(); <-done }
}

// await waits, in virtual time, until the job is over.
func (r *rig) await(id string, within time.Duration) *fsm.Backtest {
	r.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		if b := r.job(id); b.State.Over() {
			return b
		}
	}
	r.t.Fatalf("after %v: %+v", within, r.job(id))
	return nil
}

// grow adds blocks with one transfer each, of 1, 2, 3 …
func (r *rig) grow(blocks int) {
	for i := range blocks {
		r.chain.ExtendWith(fakechain.Transfer(fakechain.Address{1}, fakechain.Address{2}, uint64(i)+1)) //nolint:gosec // not negative
	}
}

func TestPartIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(60)
		r.begin("one", 101, 160, "value > 50")
		stop := r.run("n1")
		r.give("one", 0, "n1")
		b := r.await("one", time.Minute)
		stop()
		c := b.Counts()
		c.Micros = 0
		if r.judged["acme"] != 60 || len(r.judged) != 1 {
			t.Errorf("judged for %v", r.judged)
		}
		if want := (fsm.BacktestCounts{Blocks: 60, Fetched: 30, Calls: 60, Candidates: 60, Matches: 10, Misses: 50}); b.State != fsm.BacktestDone || c != want {
			t.Errorf("%v %q: %+v, want %+v", b.State, b.Error, c, want)
		}
		matches, misses := b.Found()
		if len(matches) != 10 || matches[0].Block != r.chain.At(151).Ref() || !strings.HasSuffix(matches[0].On[0], ", value = 51") || !strings.HasPrefix(matches[0].On[0], "Transfer(address,address,uint256): from = 0x01") {
			t.Errorf("%+v", matches)
		}
		if len(misses) != fsm.MaxBacktestMisses || misses[19].Reasons[0].Values[0] != "value > 50: does not hold, the value is 20" {
			t.Errorf("%+v", misses)
		}
		for h, n := range r.asked {
			if n != 1 {
				t.Errorf("block %d was asked for %d times", h, n)
			}
		}
		// Two seconds of blocks that take 100 ms each are told together.
		if n := len(r.told) - 1; n > 6 {
			t.Errorf("%d commands", n)
		}
	})
}

// What cannot be told, or is told and not answered, is judged again and counts once.
func TestPartIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(120)
		r.begin("one", 101, 220, "value > 0")
		times := 0
		r.refuse = func(c fsm.Command) error {
			w, ok := c.(*fsm.WorkBacktest)
			if !ok || w.Node != "" {
				return nil
			}
			if times++; times%2 == 0 {
				return nil
			}
			if times%4 == 1 {
				return errors.New("no leader")
			}
			entry, err := fsm.Encode(c) // committed, but nobody hears of it
			if err == nil {
				r.index++
				_, err = r.Apply(r.index, entry)
			}
			return errors.Join(errors.New("uncertain"), err)
		}
		defer r.run("n1")()
		defer r.run("n2")()
		r.give("one", 0, "n1")
		r.give("one", 1, "n2")
		b := r.await("one", 5*time.Minute)
		if c := b.Counts(); b.State != fsm.BacktestDone || c.Blocks != 120 || c.Matches != 120 {
			t.Errorf("%v: %+v", b.State, c)
		}
		var heights []uint64
		for _, p := range b.Parts {
			for _, m := range p.Matches {
				heights = append(heights, m.Block.Height)
			}
		}
		if !slices.IsSorted(heights) || len(slices.Compact(heights)) != fsm.MaxBacktestMatches {
			t.Errorf("%v", heights)
		}
	})
}

// A part that another node has got is left alone at once, and so is a job that was
// cancelled.
func TestPartIsAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(200)
		r.begin("one", 101, 140, "value > 0")
		r.begin("two", 141, 180, "value > 0")
		defer r.run("n1")()
		r.give("one", 0, "n1")
		r.give("two", 0, "n1")
		<-time.After(3 * time.Second)
		r.give("one", 0, "n2")
		r.must(&fsm.EndBacktest{Tenant: "acme", ID: "two"})
		synctest.Wait()
		asked := r.count()
		<-time.After(time.Minute)
		if n := r.count(); n != asked {
			t.Errorf("%d more blocks were asked for", n-asked)
		}
		before := r.job("one").Parts[0].Next
		if before <= 101 || before > 140 {
			t.Fatalf("%+v", r.job("one"))
		}
		defer r.run("n2")()
		if b := r.await("one", time.Minute); b.State != fsm.BacktestDone || b.Counts().Matches != 40 {
			t.Errorf("%+v", b)
		}
		if b := r.job("two"); b.State != fsm.BacktestCancelled || b.Counts().Blocks == 0 {
			t.Errorf("%+v", b)
		}
	})
}

func TestPartOfAReorganisedChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(40)
		r.begin("one", 101, 140, "value > 0")
		defer r.run("n1")()
		r.give("one", 0, "n1")
		<-time.After(3 * time.Second)
		var branch [][]fakechain.Tx
		for range 25 {
			branch = append(branch, nil) // the transfers are gone
		}
		r.chain.ReorgWith(25, branch...)
		b := r.await("one", time.Minute)
		if c := b.Counts(); b.State != fsm.BacktestDone || b.Restarts != 1 || c.Blocks != 40 || c.Matches != 15 {
			t.Errorf("%v, %d restarts: %+v", b.State, b.Restarts, c)
		}
	})
}

func TestPartThatCannotBeJudged(t *testing.T) {
	for name, tc := range map[string]struct {
		past   func(height uint64) error
		says   string
		within time.Duration
	}{
		"nobody has it":  {func(uint64) error { return fmt.Errorf("block 120: %w", chain.ErrNotFound) }, "network net, block 101: block 120: block not found", 2 * time.Minute},
		"nobody answers": {func(uint64) error { return errors.New("no endpoint available") }, "network net, block 101: no endpoint available", 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.grow(40)
				r.begin("one", 101, 140, "value > 0")
				r.past = tc.past
				defer r.run("n1")()
				r.give("one", 0, "n1")
				if b := r.await("one", tc.within); b.State != fsm.BacktestFailed || b.Error != tc.says {
					t.Errorf("%v: %q", b.State, b.Error)
				}
			})
		})
	}
	// Who is only asked to wait waits.
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(40)
		r.begin("one", 101, 140, "value > 0")
		busy := time.Now().Add(time.Hour)
		r.past = func(uint64) error {
			if time.Now().Before(busy) {
				return ErrBusy
			}
			return nil
		}
		defer r.run("n1")()
		r.give("one", 0, "n1")
		if b := r.await("one", 2*time.Hour); b.State != fsm.BacktestDone || b.Counts().Matches != 40 {
			t.Errorf("%v: %q", b.State, b.Error)
		}
	})
	// A network that is gone.
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(40)
		r.begin("one", 101, 140, "value > 0")
		r.must(&fsm.DeleteTenant{Tenant: fsm.Shared, Expect: 1})
		defer r.run("n1")()
		r.give("one", 0, "n1")
		if b := r.await("one", time.Minute); b.State != fsm.BacktestFailed || !strings.Contains(b.Error, `network "net": not found`) {
			t.Errorf("%v: %q", b.State, b.Error)
		}
	})
}

// What strangers write is cut off.
func TestTextsAreBounded(t *testing.T) {
	for _, s := range []string{strings.Repeat("ä", 1000), strings.Repeat("\xff", 1000), "short"} {
		if got := clip(s); len(got) > maxText || !strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), strings.TrimSuffix(got, "…")) {
			t.Errorf("%q", got)
		}
	}
}

// While no transaction involves the monitor's addresses, it is told where else the
// wanted event is, a few times.
func TestSeenElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.grow(40)
		r.address = strings.Repeat("ab", 20)
		r.begin("one", 101, 140, "value > 0")
		defer r.run("n1")()
		r.give("one", 0, "n1")
		b := r.await("one", time.Minute)
		_, misses := b.Found()
		if c := b.Counts(); c.Candidates != 0 || c.Misses != 0 || len(misses) != maxElsewhere {
			t.Fatalf("%+v, %d near misses", c, len(misses))
		}
		if m := misses[0]; !m.Elsewhere || !strings.Contains(m.Reasons[0].Message, "which is not among the addresses") {
			t.Errorf("%+v", m)
		}
	})
}
