package worker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// A cohort that is taken away without being asked for: what is recorded under it
// does not count, and nothing more is begun.
func TestTakenAway(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			p := r.start(-1)
			r.extend("net", 3)
			r.drained("net")
			r.move("node-2", true, "acme")
			r.extend("net", 5)
			pass(time.Minute)
			r.wantHeights("acme", "m", span(100, 101)...)
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("while judging", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			d := simple()
			d.monitors["quiet"] = watching{networks: []string{"net"}}
			r.setTenant("acme", d)
			r.extend("net", 3)
			var move sync.Once
			p := r.start(-1, func(p *process, o *Options) {
				o.Blocks = blocksFunc(func(ctx context.Context, network string, ref fsm.BlockRef) ([]byte, error) {
					move.Do(func() { r.move("node-2", true, "acme") })
					return p.Block(ctx, network, ref)
				})
			})
			pass(time.Minute)
			r.wantHeights("acme", "m") // another worker sends it
			if got := len(r.alerts()); got != 0 {
				t.Errorf("%d alerts recorded of what another worker judges", got)
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			r.extend("net", 40)
			// The assignment moves between sending and recording, before the next batch can
			// be judged.
			r.hide(r.chain("net").branch[batchSteps-1].Hash)
			var moved bool
			p := r.start(-1, func(p *process, _ *Options) {
				p.propose = func(fsm.Command) error {
					if !moved {
						moved = true
						r.move("node-2", true, "acme")
						r.found()
					}
					return nil
				}
			})
			pass(time.Minute)
			if err := p.stop(); err != nil {
				t.Error(err)
			}
			if got := r.cursor("net"); got != 0 {
				t.Errorf("the cursor moved to %d", got)
			}
			// One batch was on its way: nothing of the next.
			r.wantHeights("acme", "m", span(100, 100+batchSteps-2)...)
			p = r.prepareOn("node-2", -1)
			p.run()
			r.drained("net")
			if got := slices.Compact(r.heights("acme", "m")); !slices.Equal(got, span(100, 138)) {
				t.Errorf("told of %v, want 100-138", got)
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("by another process of the node", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.setShared("net", 1)
			r.setTenant("acme", simple())
			r.extend("net", 40)
			r.hide(r.chain("net").branch[batchSteps-1].Hash)
			var p *process
			registered := false
			p = r.start(-1, func(p *process, o *Options) {
				o.Grace = time.Hour
				p.propose = func(fsm.Command) error {
					if !registered {
						registered = true
						r.register(node)
						r.found()
					}
					return nil
				}
			})
			r.drained("net") // by the next runner, under the epoch that is in force
			if got := slices.Compact(r.heights("acme", "m")); !slices.Equal(got, span(100, 138)) {
				t.Errorf("told of %v, want 100-138", got)
			}
			if got, want := len(r.repeated()), batchSteps-1; got != want {
				t.Errorf("%d deliveries were made twice, want the %d of the batch on its way", got, want)
			}
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		p := r.start(-1)
		r.extend("net", 5)
		r.drained("net")
		r.setTenant("acme", simple("other"))
		pass(time.Minute)
		if c, _ := r.state.View().Cursor("net", cohort); !c.Parked() {
			t.Errorf("the cursor %+v is not parked", c)
		}
		for restart := range 2 {
			// Wanted again, far above: what lies between is nobody's.
			gap := uint64(1000 * (restart + 1))
			r.setTenant("acme", simple("net", "other"))
			r.chain("net").branch = []fsm.BlockRef{{Height: gap, Hash: fsm.Hash{byte(restart + 1)}}}
			r.extend("net", 4)
			r.drained("net")
			// Not wanted and wanted again before anybody looks.
			r.setTenant("acme", simple("other"))
		}
		r.wantHeights("acme", "m", slices.Concat(span(100, 103), span(1001, 1003), span(2001, 2003))...)
		if got := p.metric("ozmo_worker_restarts_total"); got != 0 {
			t.Errorf("%v restarts", got)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWantedAgainAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		hold, held := make(chan struct{}), make(chan struct{})
		var stopped atomic.Bool // no sync.Once: the next caller would wait for its lock, out of the bubble's sight
		p := r.start(-1, func(p *process, _ *Options) {
			p.viewed = func(v *fsm.View) {
				if c, ok := v.Cursor("net", cohort); ok && c.Parked() && calledBy("(*pipeline)") && stopped.CompareAndSwap(false, true) {
					close(held)
					<-hold
				}
			}
		})
		r.extend("net", 2)
		r.drained("net")
		r.setTenant("acme", simple("other"))
		// Parked cursors wake the pipeline with the next change of the network.
		<-held
		r.setTenant("acme", simple("net", "other"))
		r.chain("net").branch = nil
		r.chain("net").salt++
		r.extend("net", 3)
		synctest.Wait()
		close(hold)
		r.drained("net")
		r.wantHeights("acme", "m", 100, 100, 101)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNotWantedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setShared("other", 1)
		r.setTenant("acme", simple())
		r.extend("net", 4)
		last := r.chain("net").branch[2]
		r.hide(last.Hash)
		p := r.start(-1)
		synctest.Wait()
		r.setTenant("acme", simple("other")) // positions up to 4 are still owed
		r.extend("net", 4)
		never := r.chain("net").branch[5]
		r.hide(never.Hash)
		r.locked(func() { delete(r.missing, last.Hash) })
		pass(time.Minute)
		if c, _ := r.state.View().Cursor("net", cohort); !c.Parked() {
			t.Errorf("the cursor %+v is not parked", c)
		}
		r.setTenant("acme", simple("net", "other"))
		r.chain("net").branch = []fsm.BlockRef{{Height: 500}}
		r.extend("net", 3)
		r.drained("net")
		r.wantHeights("acme", "m", slices.Concat(span(100, 102), span(501, 502))...)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestEndsGracefully(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.setShared("net", 1)
		r.setTenant("acme", simple())
		gate := make(chan struct{})
		r.silent["hook"] = gate
		p := r.start(-1, func(_ *process, o *Options) { o.Grace, o.Patience = time.Minute, time.Hour })
		r.extend("net", 2)
		synctest.Wait()
		p.cancel()
		pass(30 * time.Second)
		close(gate)
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if r.cursor("net") != 2 || len(r.alerts()) != 1 {
			t.Errorf("the cursor is at %d, %d alerts recorded; want 2, 1", r.cursor("net"), len(r.alerts()))
		}
	})
}
