package watcher_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// rig is everything around one watcher, in virtual time.
type rig struct {
	chain   *fakechain.Chain
	client  *client
	journal *journal
	log     *syncBuffer
	reg     *prometheus.Registry
	opts    watcher.Options
}

func newRig(first uint64) *rig {
	c := fakechain.New(fakechain.Options{TxPerBlock: -1, First: first})
	cache := blockcache.NewMemory(1<<30, nil)
	r := &rig{chain: c, client: newClient(c), journal: newJournal(cache), log: &syncBuffer{}, reg: prometheus.NewRegistry()}
	r.opts = watcher.Options{
		Network: network, Spec: document(), Client: r.client, Cache: cache, Journal: r.journal, Epoch: 7,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: watcher.NewMetrics(r.reg),
	}
	return r
}

// metric sums the samples of a metric whose labels contain the given values.
func metric(t testing.TB, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			ok := true
			for _, l := range labels {
				ok = ok && slices.ContainsFunc(m.GetLabel(), func(p *dto.LabelPair) bool { return p.GetValue() == l })
			}
			if ok {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func (r *rig) mustMatch(t *testing.T) {
	t.Helper()
	if err := r.journal.matches(r.chain); err != nil {
		t.Errorf("%v\n%s", err, r.log)
	}
}

func TestStartsAtTheTipAndFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(100)
		r.chain.Extend(5)
		stop := follow(t, r.opts)
		synctest.Wait() // the first poll waits for no tick
		if got, want := r.journal.tip(), r.chain.Head().Ref(); got != want {
			t.Fatalf("tip %v, want %v", got, want)
		}
		r.chain.Extend(3)
		elapse(5 * time.Second) // virtual: one tick of the schedule
		synctest.Wait()
		r.mustMatch(t)
		if got := r.journal.log()[0].Ref.Height; got != 105 {
			t.Errorf("the first announced block is %d, want the tip at the start, 105", got)
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := metric(t, r.reg, "ozmo_watcher_tip_height"); n != 0 {
			t.Errorf("the tip's height is still reported after the end: %v", n)
		}
	})
}

func TestStartHeightAndBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.chain.Extend(1000)
		start := uint64(10)
		r.opts.Start = &start
		stop := follow(t, r.opts)
		synctest.Wait()
		r.mustMatch(t)
		if got := r.journal.log()[0].Ref.Height; got != start {
			t.Errorf("started at %d, want %d", got, start)
		}
		if n := len(r.journal.batches); n > 991/2 {
			t.Errorf("991 blocks took %d announcements", n)
		}
		if calls := r.client.calls; calls["block"] != 991 || calls["refetch"] != 0 {
			t.Errorf("calls %v, want each block once", calls)
		}
		_ = stop()
	})
}

func TestStartAboveTheHeadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		start := uint64(3)
		r.opts.Start = &start
		stop := follow(t, r.opts)
		elapse(time.Minute)
		if n := len(r.journal.log()); n != 0 {
			t.Errorf("%d announcements before the chain reached the start", n)
		}
		r.chain.Extend(4)
		elapse(time.Minute)
		r.mustMatch(t)
		_ = stop()
	})
}

func TestPushedHeadsAreTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.client.heads = make(chan chain.Head)
		r.opts.Spec.Cron = "0 0 * * * *" // hourly
		stop := follow(t, r.opts)
		synctest.Wait()
		for range 10 {
			r.client.heads <- headOf(r.chain.Extend(1))
			synctest.Wait()
			if got, want := r.journal.tip(), r.chain.Head().Ref(); got != want {
				t.Fatalf("tip %v right after the head %v was pushed", got, want)
			}
		}
		if n := r.client.calls["block"]; n != 11 {
			t.Errorf("11 blocks took %d fetches", n)
		}
		_ = stop()
	})
}

func TestPollIntervalOverridesCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.opts.Spec.Cron = "0 0 0 1 1 *"
		r.opts.Spec.PollInterval = 100 * time.Millisecond
		stop := follow(t, r.opts)
		elapse(10*time.Second + time.Millisecond)
		if n := r.client.calls["head"]; n != 101 {
			t.Errorf("%d polls in 10 s, want 101", n)
		}
		_ = stop()
	})
}

// A poll that takes longer than the schedule's interval is followed by one
// poll, not by all those that were due.
func TestTicksDoNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.opts.Spec.PollInterval = time.Second
		slow := &slowPolls{client: r.client, takes: 10 * time.Second}
		r.opts.Client = slow
		stop := follow(t, r.opts)
		elapse(100*time.Second + time.Millisecond)
		if n := r.client.calls["head"]; n != 10 {
			t.Errorf("%d polls of 10 s in 100 s, want 10", n)
		}
		_ = stop()
	})
}

type slowPolls struct {
	*client
	takes time.Duration
}

func (s *slowPolls) Head(ctx context.Context) (chain.Head, error) {
	select {
	case <-ctx.Done():
		return chain.Head{}, ctx.Err()
	case <-time.After(s.takes):
		return s.client.Head(ctx)
	}
}

func TestHeadMovingBackwardsIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.chain.Extend(50)
		stop := follow(t, r.opts)
		synctest.Wait()
		before := len(r.journal.log())
		r.client.setCeiling(30)
		elapse(time.Minute)
		if n := len(r.journal.log()); n != before {
			t.Errorf("a lagging node led to %v", r.journal.log()[before:])
		}
		if !strings.Contains(r.log.String(), "head is below the tip") {
			t.Error("the log says nothing of it")
		}
		r.client.setCeiling(0)
		r.chain.Extend(2)
		elapse(time.Minute)
		r.mustMatch(t)
		_ = stop()
	})
}

func TestShorterBranchIsHeldUntilItReachesTheTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.chain.Extend(20)
		stop := follow(t, r.opts)
		synctest.Wait()
		r.chain.Extend(10)
		elapse(10 * time.Second)
		before := len(r.journal.log())
		r.chain.Reorg(6, 4)
		elapse(2 * time.Minute)
		if n := len(r.journal.log()); n != before {
			t.Errorf("a shorter branch led to %v", r.journal.log()[before:])
		}
		r.chain.Extend(2) // now of the tip's height
		elapse(2 * time.Minute)
		r.mustMatch(t)
		added := r.journal.log()[before:]
		if len(added) != 7 || added[0].Kind != watcher.Rollback || added[0].Ref != r.chain.At(24).Ref() {
			t.Errorf("announced %v, want one roll-back to block 24 and six blocks", added)
		}
		_ = stop()
	})
}

// Two nodes on different branches of one height: one replacement at most.
func TestNoFlappingBetweenBranchesOfOneHeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.client.heads = make(chan chain.Head)
		a := r.chain.Extend(10)
		stop := follow(t, r.opts)
		synctest.Wait()
		b := r.chain.Reorg(1, 1)
		r.client.heads <- headOf(b)
		synctest.Wait()
		if got := r.journal.tip(); got != b.Ref() {
			t.Fatalf("tip %v, want the new canonical block %v", got, b.Ref())
		}
		before := len(r.journal.log())
		for range 20 {
			r.client.heads <- headOf(a)
			synctest.Wait()
			r.client.heads <- headOf(b)
			synctest.Wait()
		}
		if n := len(r.journal.log()); n != before {
			t.Errorf("%d announcements by flapping", n-before)
		}
		r.mustMatch(t)
		_ = stop()
	})
}

// A pushed head of a branch that the endpoint which serves blocks does not
// hold canonical is looked at once, not at every poll.
func TestForeignHeadOfTipHeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.client.heads = make(chan chain.Head)
		b := r.chain.Extend(10)
		stop := follow(t, r.opts)
		synctest.Wait()
		before := r.client.calls["block"]
		foreign := headOf(b)
		foreign.Hash[0]++
		for range 10 {
			r.client.heads <- foreign
			synctest.Wait()
		}
		if n := r.client.calls["block"] - before; n != 1 {
			t.Errorf("%d blocks fetched because of a foreign head, want 1", n)
		}
		r.mustMatch(t)
		_ = stop()
	})
}

func TestMaxPastBlocks(t *testing.T) {
	for name, tc := range map[string]struct {
		limit   *spec.PastBlocks
		outage  int
		skipped uint64
	}{
		"absent":         {nil, 500, 0},
		"unlimited":      {&spec.PastBlocks{Unlimited: true}, 500, 0},
		"within":         {&spec.PastBlocks{N: 100}, 103, 0},
		"one too many":   {&spec.PastBlocks{N: 100}, 104, 1},
		"far too many":   {&spec.PastBlocks{N: 100}, 500, 397},
		"as a peer does": {&spec.PastBlocks{N: 1}, 10, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(0)
				r.opts.Spec.MaxPastBlocks, r.opts.Spec.ConfirmationBlocks = tc.limit, 3
				r.chain.Extend(10)
				stop := follow(t, r.opts)
				synctest.Wait()
				r.client.failPolls(slices.Repeat([]error{errors.New("down")}, 5)...)
				r.chain.Extend(tc.outage)
				elapse(10 * time.Minute)
				r.mustMatch(t)
				if n := metric(t, r.reg, "ozmo_watcher_skipped_blocks_total"); n != float64(tc.skipped) {
					t.Errorf("%v blocks counted as skipped, want %d", n, tc.skipped)
				}
				var skips []watcher.Announcement
				for _, a := range r.journal.log() {
					if a.Kind == watcher.Skip {
						skips = append(skips, a)
					}
				}
				switch {
				case tc.skipped == 0 && len(skips) != 0:
					t.Errorf("skipped %v", skips)
				case tc.skipped > 0 && (len(skips) != 1 || skips[0].From != 11 || skips[0].To != 10+tc.skipped):
					t.Errorf("skipped %v, want 11 to %d", skips, 10+tc.skipped)
				case tc.skipped > 0 && !strings.Contains(r.log.String(), "blocks skipped"):
					t.Error("the log says nothing of it")
				}
				// A reorganisation right after the skip must find its way.
				r.chain.Reorg(2, 3)
				elapse(time.Minute)
				r.mustMatch(t)
				_ = stop()
			})
		})
	}
}

func TestForkBelowTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.opts.Window, r.journal.window = 8, 8
		r.chain.Extend(5)
		stop := follow(t, r.opts)
		synctest.Wait()
		r.chain.Extend(30)
		elapse(time.Minute)
		r.mustMatch(t)
		r.chain.Reorg(7, 9) // the ancestor is the oldest block of the window
		elapse(time.Minute)
		r.mustMatch(t)
		before := len(r.journal.log())
		r.chain.Reorg(8, 10) // one deeper
		elapse(10 * time.Minute)
		if n := len(r.journal.log()); n != before {
			t.Errorf("announced %v across a fork below the window", r.journal.log()[before:])
		}
		if metric(t, r.reg, "ozmo_watcher_fork_below_window") != 1 {
			t.Error("ozmo_watcher_fork_below_window is not 1")
		}
		if metric(t, r.reg, "ozmo_watcher_stalled_seconds", "fork-below-window") < 500 {
			t.Error("the stall does not grow or lacks its reason")
		}
		lines := strings.Count(r.log.String(), "level=ERROR")
		if lines < 2 || lines > 12 {
			t.Errorf("%d error lines in 10 minutes, want one a minute or so", lines)
		}
		// Walking back again and again must not cost a fetch of the branch each time.
		if n := r.client.calls["byhash"]; n > 30 {
			t.Errorf("%d blocks were fetched by hash", n)
		}
		_ = stop()
	})
}

// A young network may be rolled back altogether.
func TestReorgBelowTheFirstBlock(t *testing.T) {
	for _, depth := range []int{1, 3, 6} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(0)
			r.chain.Extend(20)
			stop := follow(t, r.opts)
			synctest.Wait()
			r.chain.Reorg(depth, depth+2)
			elapse(time.Minute)
			r.mustMatch(t)
			r.chain.Reorg(depth+2, depth+3) // and again
			elapse(time.Minute)
			r.mustMatch(t)
			_ = stop()
		})
	}
}

func TestAnotherGenesisIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		start := uint64(0)
		r.opts.Start = &start
		stop := follow(t, r.opts)
		synctest.Wait()
		other := fakechain.New(fakechain.Options{Seed: 9})
		other.Extend(3)
		r.client.chain = other
		elapse(time.Minute)
		if n := len(r.journal.log()); n != 1 || metric(t, r.reg, "ozmo_watcher_fork_below_window") != 1 {
			t.Errorf("%d announcements; want the first block only, and the alarm", n)
		}
		_ = stop()
	})
}

func TestFencedWatcherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.opts.Epoch = 6
		if err := watch(t, r.opts); !errors.Is(err, watcher.ErrFenced) {
			t.Errorf("Run: %v, want ErrFenced", err)
		}
	})
}

func watch(t *testing.T, o watcher.Options) error {
	w, err := watcher.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w.Run(t.Context())
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		room := 0
		start := uint64(0)
		r.opts.Start = &start
		r.opts.Room = func() int {
			r.journal.mu.Lock()
			defer r.journal.mu.Unlock()
			return room - len(r.journal.entries)
		}
		r.chain.Extend(99)
		stop := follow(t, r.opts)
		for _, room2 := range []int{0, 1, 30, 64} {
			r.journal.mu.Lock()
			room = room2
			r.journal.mu.Unlock()
			elapse(time.Second)
			if n := len(r.journal.log()); n != room2 {
				t.Errorf("%d announcements with room for %d", n, room2)
			}
		}
		r.journal.mu.Lock()
		room = 1000
		r.journal.mu.Unlock()
		elapse(time.Second)
		r.mustMatch(t)
		if metric(t, r.reg, "ozmo_watcher_backpressure_seconds_total") < 3 {
			t.Error("the waiting was not counted")
		}
		_ = stop()
	})
}

func TestPanicsAreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.client.failPolls(errPanicNow)
		r.client.failBlocks(errPanicNow, errPanicNow)
		r.journal.fail(panics)
		stop := follow(t, r.opts)
		elapse(time.Minute)
		r.chain.Extend(3)
		elapse(time.Minute)
		r.mustMatch(t)
		if !strings.Contains(r.log.String(), "reason=panic") {
			t.Error("the log says nothing of the panics")
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	r := newRig(0)
	for name, change := range map[string]func(*watcher.Options){
		"no document": func(o *watcher.Options) { o.Spec = nil },
		"no client":   func(o *watcher.Options) { o.Client = nil },
		"no cache":    func(o *watcher.Options) { o.Cache = nil },
		"no journal":  func(o *watcher.Options) { o.Journal = nil },
		"bad cron":    func(o *watcher.Options) { o.Spec = document(); o.Spec.Cron = "every day" },
	} {
		o := r.opts
		change(&o)
		if _, err := watcher.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
