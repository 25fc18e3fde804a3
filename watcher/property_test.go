package watcher_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// step is one thing that happens to a network.
type step struct {
	what  string
	n, m  int
	pause time.Duration
}

func (s step) String() string { return fmt.Sprintf("%s(%d,%d)+%s", s.what, s.n, s.m, s.pause) }

func drawSteps(t *rapid.T, kinds []string, depth int) []step {
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			what:  rapid.SampledFrom(kinds).Draw(t, "what"),
			n:     rapid.IntRange(1, depth).Draw(t, "n"),
			m:     rapid.IntRange(0, 6).Draw(t, "m"),
			pause: time.Duration(rapid.IntRange(0, 12_000).Draw(t, "pause")) * time.Millisecond,
		}
	})
	return rapid.SliceOfN(one, 1, 25).Draw(t, "steps")
}

// play runs a script against a watcher and returns what is wrong at the end.
func play(t *testing.T, steps []step, push bool) (err error) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		if push {
			r.client.heads = make(chan chain.Head)
		}
		r.chain.Extend(30)
		top := r.chain.Head().Number
		start := uint64(5)
		r.opts.Start = &start
		// Reorganisations that the watcher holds back from add up to more than
		// the usual window; a fork below it has tests of its own.
		r.opts.Window, r.journal.window = 1024, 1024
		stop := follow(t, r.opts)
		elapse(time.Millisecond)
		for _, s := range steps {
			head := r.chain.Head()
			switch s.what {
			case "extend":
				head = r.chain.Extend(s.n)
			case "reorg":
				head = r.chain.Reorg(min(s.n, int(head.Number)-1), s.n+s.m)
			case "shorter":
				head = r.chain.Reorg(min(s.n, int(head.Number)-1), s.m)
			case "behind":
				r.client.setCeiling(head.Number - uint64(min(s.n, int(head.Number)-1)))
			case "caught up":
				r.client.setCeiling(0)
			case "block errors":
				for range s.n {
					r.client.failBlocks([]error{chain.ErrIncomplete, chain.ErrNotFound, errors.New("down"), errPanicNow}[s.m%4])
				}
			case "poll errors":
				for range s.n {
					r.client.failPolls(errors.New("down"))
				}
			case "journal errors":
				r.journal.fail([]journalFault{refuse, loseAnswer, panics}[s.m%3])
			case "restart":
				if err = stop(); err != nil {
					return
				}
				stop = follow(t, r.opts)
			}
			top = max(top, head.Number)
			if push {
				select {
				case r.client.heads <- headOf(head):
				case <-time.After(time.Millisecond): // between two runs
				}
			}
			elapse(s.pause)
		}
		r.client.heal()
		r.journal.heal()
		if head := r.chain.Head(); head.Number <= top {
			r.chain.Extend(int(top-head.Number) + 1)
		}
		elapse(10 * time.Minute)
		synctest.Wait()
		if err = errors.Join(r.journal.matches(r.chain), stop()); err != nil {
			err = fmt.Errorf("%w\n%s", err, r.log)
		}
	})
	return err
}

// Whatever depth a reorganisation has, the journal ends on the chain's branch.
// That positions are without gaps and roll-backs lead to ancestors is what the
// journal insists on.
func TestReorganisations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt, []string{"extend", "reorg", "reorg", "shorter"}, 20)
		if err := play(t, steps, rapid.Bool().Draw(rt, "push")); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestReorganisationsAmongFaults(t *testing.T) {
	kinds := []string{
		"extend", "reorg", "shorter", "behind", "caught up", "block errors", "poll errors", "journal errors", "restart",
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := drawSteps(rt, kinds, 20)
		if err := play(t, steps, rapid.Bool().Draw(rt, "push")); err != nil {
			rt.Fatal(err)
		}
	})
}

// Every depth once, seen by one roll-back to the right ancestor.
func TestReorgDepths(t *testing.T) {
	for depth := 1; depth <= 20; depth++ {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(0)
			start := uint64(0)
			r.opts.Start = &start
			r.chain.Extend(40)
			stop := follow(t, r.opts)
			synctest.Wait()
			before := len(r.journal.log())
			ancestor := r.chain.At(uint64(40 - depth)).Ref()
			r.chain.Reorg(depth, depth+1)
			elapse(6 * time.Second)
			synctest.Wait()
			r.mustMatch(t)
			added := r.journal.log()[before:]
			if len(added) != depth+2 || added[0].Kind != watcher.Rollback || added[0].Ref != ancestor {
				t.Errorf("depth %d: announced %v", depth, added)
			}
			if n := metric(t, r.reg, "ozmo_watcher_rolled_back_blocks_total"); n != float64(depth) {
				t.Errorf("depth %d: %v blocks counted as rolled back", depth, n)
			}
			if last := r.journal.batches[len(r.journal.batches)-1]; last != depth+2 {
				t.Errorf("depth %d: the roll-back was announced apart from its branch (%v)", depth, r.journal.batches)
			}
			_ = stop()
		})
	}
}
