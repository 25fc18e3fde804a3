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
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/blockcache"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// rig is everything around one watcher, in virtual time.
type rig struct {
	chain   *fakechain.Chain
	client  *client
	journal *journal
	log     *logs.Buffer
	reg     *prometheus.Registry
	opts    watcher.Options
}

func newRig(first uint64) *rig {
	c := fakechain.New(fakechain.Options{TxPerBlock: -1, First: first})
	cache := blockcache.NewMemory(1<<30, nil)
	r := &rig{chain: c, client: newClient(c), journal: newJournal(cache), log: &logs.Buffer{}, reg: prometheus.NewRegistry()}
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
		if n := metric(t, r.reg, "ozmo_watcher_reorgs_total"); n != 0 {
			t.Errorf("%v roll-backs on a chain without reorganisations", n)
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

// When the endpoints answer again, the network does not wait for the end of a
// back-off that grew while they were down.
func TestRecoveryIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.opts.Spec.BlockTime, r.opts.Spec.PollInterval = time.Minute, time.Second
		r.chain.Extend(5)
		stop := follow(t, r.opts)
		synctest.Wait()
		for range 20 {
			r.chain.Extend(1)
			r.client.setMissing(r.chain.Head().Number)
			elapse(5 * time.Minute) // the back-off is at its cap
			r.client.failPolls(slices.Repeat([]error{errors.New("down")}, 100)...)
			elapse(10 * time.Second)
			r.client.setMissing(0)
			r.client.heal()
			elapse(time.Second + time.Millisecond)
			r.mustMatch(t)
		}
		_ = stop()
	})
}

// While a block cannot be had, those after it are not fetched over and over.
func TestStalledWatcherFetchesOnlyWhatIsInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.chain.Extend(5)
		stop := follow(t, r.opts)
		synctest.Wait()
		r.client.setMissing(8)
		r.chain.Extend(30)
		elapse(10 * time.Minute)
		if got := r.journal.tip().Height; got != 7 {
			t.Errorf("tip %d, want it held back at 7", got)
		}
		tries := int(metric(t, r.reg, "ozmo_watcher_retries_total"))
		if n := r.client.calls["refetch"]; tries < 20 || n > tries+10 {
			t.Errorf("%d refetches in %d tries", n, tries)
		}
		r.client.setMissing(0)
		elapse(time.Minute)
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
