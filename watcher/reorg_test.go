package watcher_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/watcher"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

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

// The endpoints themselves are of different minds: each is asked in turn.
func TestNoFlappingBetweenEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(0)
		r.client.heads = make(chan chain.Head)
		a := r.chain.Extend(10)
		stop := follow(t, r.opts)
		synctest.Wait()
		b := r.chain.Reorg(1, 1)
		before := len(r.journal.log())
		for range 20 {
			for _, head := range []*fakechain.Block{b, a} {
				r.client.setPin(head)
				r.client.heads <- headOf(head)
				elapse(10 * time.Second)
			}
		}
		if n := len(r.journal.log()); n != before+2 {
			t.Errorf("%d announcements by flapping, want one roll-back and one block", n-before)
		}
		r.client.setPin(nil)
		r.client.heads <- headOf(r.chain.Extend(1))
		synctest.Wait()
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
		_ = stop()
		r.client.chain = other
		stop = follow(t, r.opts)
		elapse(time.Minute)
		if n := len(r.journal.log()); n != 1 || metric(t, r.reg, "ozmo_watcher_fork_below_window") != 1 {
			t.Errorf("%d announcements; want the first block only, and the alarm", n)
		}
		_ = stop()
	})
}
