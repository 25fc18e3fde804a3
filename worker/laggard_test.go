package worker

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match"
)

// A tenant that is over its budget again and again gets a cohort of its own, in
// which it has none.
func TestLaggard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("beta", simple())
		greedy := simple()
		for _, name := range []string{"a", "b", "c", "d"} {
			greedy.monitors[name] = watching{networks: []string{"net"}, address: 1, triggers: []string{"hook"}}
		}
		r.setTenant("greedy", greedy)
		var log strings.Builder
		p := r.start(-1, func(_ *process, o *Options) {
			o.Budget = 25
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		failed := 0
		p.propose = func(c fsm.Command) error {
			if _, ok := c.(*fsm.Move); ok && failed == 0 {
				failed++
				return errors.New("no leader")
			}
			return nil
		}
		for i := range 9 {
			r.extend("net", 1)
			pass(time.Second)
			v := r.state.View()
			apart := mustTenant(t, v, "greedy").Cohort != cohort
			if want := i >= 4; apart != want { // the fourth block is the third over the budget, the fifth the first after the failure
				t.Errorf("after %d blocks: apart %v, want %v", i+1, apart, want)
			}
		}
		r.drained("net")
		v := r.state.View()
		c, _ := v.Cohort(mustTenant(t, v, "greedy").Cohort)
		if c.Node != node || c.To != "" || c.Reason != fsm.ReasonLaggard || v.TenantCount(c.ID) != 1 {
			t.Errorf("cohort %+v of %d tenants", c, v.TenantCount(c.ID))
		}
		for _, name := range []string{"m", "a", "b", "c", "d"} {
			r.wantHeights("greedy", name, span(100, 107)...)
		}
		r.wantHeights("acme", "m", span(100, 107)...)
		if got := p.metric("ozmo_worker_over_budget_total"); got != 4 {
			t.Errorf("%v times over the budget, want 4: in a cohort of one there is none", got)
		}
		if r.repeated() != nil || p.metric("ozmo_worker_laggards_total") != 1 {
			t.Errorf("sent twice: %v; %v laggards", r.repeated(), p.metric("ozmo_worker_laggards_total"))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"cohort taken up", "cohort handed over", "reason=laggard", "tenants=1", "greedy"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
	})
}

// sluggish is an engine that takes a while for one tenant.
type sluggish struct {
	engine
	tenant string
	takes  time.Duration
}

func (e sluggish) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	if only != nil && only(e.tenant) {
		<-time.After(e.takes)
		return e.engine.judge(b, position, budget, only)
	}
	f := e.engine.judge(b, position, budget, func(t string) bool { return t != e.tenant })
	f.over = append(f.over, e.tenant)
	return f
}

// While a slow tenant is judged, what the others were told is recorded; one such
// block is enough to judge it apart.
func TestSlowTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("greedy", simple())
		r.extend("net", 2)
		p := r.prepare(-1)
		pl := p.pipeline("net")
		b, steps := r.planned(pl, 1, 2, func(b *book) { b.engines[1] = sluggish{b.engines[1], "greedy", time.Minute} })
		done := make(chan error)
		go func() { done <- pl.judgeAll(t.Context(), b, steps) }()
		pass(10 * time.Second)
		if len(r.alerts()) != 1 || r.cursor("net") != 0 {
			t.Errorf("%d alerts recorded, the cursor at %d; want 1, 0", len(r.alerts()), r.cursor("net"))
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		v := r.state.View()
		c, _ := v.Cohort(mustTenant(t, v, "greedy").Cohort)
		if c.ID == cohort || c.Reason != fsm.ReasonLaggard || c.From != cohort {
			t.Errorf("the slow tenant is in %+v", c)
		}
		if rate := p.worker.Activity()["greedy"]; rate < 0.1 {
			t.Errorf("a minute of judging is an activity of %v", rate)
		}
	})
}

// What a tenant costs fades away, and goes with it.
func TestActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("beta", tenantDoc{})
		p := r.start(-1)
		for range 100 {
			r.extend("net", 1)
			pass(time.Second)
		}
		was := p.worker.Activity()
		if len(was) != 1 || was["acme"] <= 0 || p.worker.Load() < was["acme"]*(1-1e-9) {
			t.Fatalf("activity %v, load %v", was, p.worker.Load())
		}
		pass(halfLife)
		if now := p.worker.Activity(); now["acme"] > was["acme"]*0.51 || now["acme"] < was["acme"]*0.49 {
			t.Errorf("activity %v, then %v after its half-life", was, now)
		}
		r.move("node-2", true, "acme")
		if now := p.worker.Activity(); len(now) != 0 {
			t.Errorf("activity %v of a tenant that is elsewhere", now)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestLateness(t *testing.T) {
	over, fine := []string{"a"}, []string(nil)
	for name, tt := range map[string]struct {
		blocks [][]string
		want   []int // blocks, from 0, at which a is a laggard
	}{
		"never":              {[][]string{fine, fine, fine}, nil},
		"twice":              {[][]string{over, over}, nil},
		"three in a row":     {[][]string{over, over, over}, []int{2}},
		"and again":          {[][]string{over, over, over, over}, []int{2, 3}},
		"three in ten":       {[][]string{over, fine, fine, fine, over, fine, fine, fine, fine, over}, []int{9}},
		"three in eleven":    {[][]string{over, fine, fine, fine, over, fine, fine, fine, fine, fine, over}, nil},
		"others do not help": {[][]string{{"b"}, over, {"b"}, over, {"c"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var l lateness
			var got []int
			for i, late := range tt.blocks {
				if slices.Contains(l.note(late), "a") {
					got = append(got, i)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("a laggard at %v, want %v", got, tt.want)
			}
			for range laggardWindow {
				l.note(nil)
			}
			if len(l.late) != 0 {
				t.Errorf("%v is remembered after %d blocks", l.late, laggardWindow)
			}
		})
	}
}

// What a tenant may cost in a block is its own quota; others' are not touched by it.
func TestEvaluationQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.setTenant("beta", simple())
		r.must(&fsm.SetTenantVersion{Tenant: "api", Source: fsm.SourceAPI})
		r.must(&fsm.SetQuota{Tenant: "api", Quota: fsm.Quota{EvaluationMillis: 3}})
		run := r.prepare(-1).pipeline("net")
		budget := run.budget()
		for tenant, want := range map[string]int{"acme": 200_000, "api": 30_000, "none": 200_000} {
			if got := budget(tenant); got != want {
				t.Errorf("%s may cost %d, want %d", tenant, got, want)
			}
		}
	})
}

// costly is an engine whose alerts take a while to build.
type costly struct {
	engine
	takes time.Duration
}

func (e costly) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	f := e.engine.judge(b, position, budget, only)
	for i, h := range f.hits {
		f.hits[i].build = func() *match.Match {
			<-time.After(e.takes)
			return h.build()
		}
	}
	return f
}

// A laggard rests for as long as it works, often rather than for long: after each few
// alerts, so that others' never stand behind many of its own.
func TestLaggardRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.noisy("noisy", 4)
		r.crowdedBlock(40)
		r.extend("net", 1)
		p := r.prepare(-1)
		b, steps := r.planned(p.pipeline("net"), 1, 2, func(b *book) { b.engines[1] = costly{b.engines[1], 10 * time.Millisecond} })
		r.must(&fsm.Move{Moves: []fsm.Moved{{Tenant: "noisy", Cohort: cohort, To: node, Reason: fsm.ReasonLaggard}}, Force: true, At: 1})
		v := r.state.View()
		c, _ := v.Cohort(mustTenant(t, v, "noisy").Cohort)
		run := p.worker.newRunner(t.Context(), t.Context(), c.ID, c.Epoch)
		defer run.end()
		pl := newPipeline(run, "net", run.log)
		done := make(chan error)
		go func() { done <- pl.judgeAll(t.Context(), b, steps) }()
		began := time.Now()
		const each = launchEach * 10 * time.Millisecond
		for i := range 4 { // each works for as long as it rests before the next
			pass(time.Until(began.Add(each*time.Duration(2*i+1) + time.Millisecond)))
			if n := r.countOf("noisy"); n != (i+1)*launchEach {
				t.Errorf("%d alerts sent after %v, want %d", n, time.Since(began), (i+1)*launchEach)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
