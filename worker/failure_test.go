package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// panicky is an engine that panics at one position.
type panicky struct {
	engine
	at uint64
}

func (e panicky) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	if position == e.at {
		panic("engine")
	}
	return e.engine.judge(b, position, budget, only)
}

// A panic of an engine fails its own step; what came before is recorded.
func TestEnginePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 6)
		p := r.prepare(-1)
		pl := p.pipeline("net")
		b, steps := r.planned(pl, 0, 6, func(b *book) { b.engines[1] = panicky{b.engines[1], 4} })
		if err := pl.judgeAll(t.Context(), b, steps); err == nil || !strings.Contains(err.Error(), "position 4") {
			t.Errorf("error %v, want one that names position 4", err)
		}
		if got := r.cursor("net"); got != 3 {
			t.Errorf("the cursor is at %d, want 3", got)
		}
		r.wantHeights("acme", "m", 100, 101)
	})
}

// Nothing of an attempt to judge a step that fails again and again is repeated
// but the step itself.
func TestBrokenBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		r.extend("net", 10)
		bad := r.chain("net").branch[5].Hash
		good := r.payloads[bad]
		r.payloads[bad] = []byte(`{"block":`)
		p := r.start(-1)
		pass(time.Hour)
		if got := r.cursor("net"); got != 6 { // 105 is due at position 7
			t.Errorf("the cursor is at %d, want 6", got)
		}
		if p.metric("ozmo_worker_restarts_total") < 100 {
			t.Errorf("%v restarts in an hour: judging is to begin again", p.metric("ozmo_worker_restarts_total"))
		}
		r.wantHeights("acme", "m", span(100, 104)...)
		r.mu.Lock()
		r.payloads[bad] = good
		r.mu.Unlock()
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 108)...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestPanicsAreContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		panics := 3
		p := r.start(-1, func(p *process, o *Options) {
			o.Blocks = blocksFunc(func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
				r.mu.Lock()
				panicking := panics > 0
				panics--
				r.mu.Unlock()
				if panicking {
					panic("blocks")
				}
				return p.Block(ctx, network, ref)
			})
		})
		r.extend("net", 4)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 102)...)
		if p.metric("ozmo_worker_panics_total") != 3 {
			t.Errorf("%v panics counted, want 3", p.metric("ozmo_worker_panics_total"))
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

type blocksFunc func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error)

func (f blocksFunc) Block(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
	return f(ctx, network, ref)
}

// A tenant over its budget is judged apart; it loses nothing and neither do
// the others.
func TestOverBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		greedy := simple()
		for _, name := range []string{"a", "b", "c", "d"} {
			greedy.monitors[name] = watching{networks: []string{"net"}, address: 1, triggers: []string{"hook"}}
		}
		r.setTenant("greedy", greedy)
		p := r.start(-1, func(_ *process, o *Options) { o.Budget = 25 })
		r.extend("net", 5)
		r.drained("net")
		r.wantHeights("acme", "m", span(100, 103)...)
		for _, name := range []string{"m", "a", "b", "c", "d"} {
			r.wantHeights("greedy", name, span(100, 103)...)
		}
		// The fourth block may find it in a cohort of its own already.
		if got := p.metric("ozmo_worker_over_budget_total"); got != 3 && got != 4 {
			t.Errorf("%v times over the budget, want 3 or 4", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
