package testcluster

import (
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/farm"
)

// Whatever the depth and whatever becomes of the transfers: what each receiver
// believes in the end is what the canonical chain says. The second time the
// endpoint denies dead blocks, so that nothing can be read of them any more.
func TestReorgDepths(t *testing.T) {
	fates := []fate{reincluded, moved, dropped, mixed}
	test := func(t *testing.T, forget bool, shift int) {
		runDelivering(t, Options{}, reorgTenants(), func(t *testing.T, d *delivering) {
			if forget {
				d.chain().ForgetDead()
			}
			d.grow(2)
			for depth := 1; depth <= 20; depth++ {
				f := fates[(depth+shift)%len(fates)]
				d.grow(depth)
				if depth%2 == 0 {
					d.Sleep(2 * time.Second) // everything is judged and delivered
				}
				dead := d.reorganise(depth, f)
				d.Sleep(d.opts.BlockTime)
				if depth%5 == 0 || depth < 5 {
					d.Sleep(2 * time.Second)
					d.heard(t, d.tenant("instant"), dead[0], "retracted")
					d.heard(t, d.tenant("both"), dead[0], "retracted")
					if f == reincluded || f == moved {
						d.heard(t, d.tenant("instant"), dead[0], "reinstated")
					}
				}
			}
			d.checkReorgs(t)
		})
	}
	t.Run("dead blocks known", func(t *testing.T) { test(t, false, 0) })
	t.Run("dead blocks gone", func(t *testing.T) { test(t, true, 2) })
}

// Two branches take turns: what was retracted comes back in the very block that
// it was retracted from, again and again.
func TestReorgCompeting(t *testing.T) {
	runDelivering(t, Options{}, reorgTenants(), func(t *testing.T, d *delivering) {
		c, s := d.chain(), d.chains[slug]
		for _, depth := range []int{1, 2, 5, 9} {
			d.grow(depth + 1)
			d.Sleep(time.Second)
			a := c.Head()
			txs := a.Txs
			dead := d.reorganise(depth, dropped)
			b := c.Head()
			for turn := range 4 {
				d.Sleep([]time.Duration{time.Second, 20 * time.Millisecond, 250 * time.Millisecond, 3 * time.Second}[turn])
				if turn%2 == 0 {
					a = c.Switch(a, s.transfer(), s.transfer())
				} else {
					b = c.Switch(b, s.transfer(), s.transfer())
				}
			}
			d.Sleep(2 * time.Second)
			d.heard(t, d.tenant("instant"), txs[0], "retracted")
			d.heard(t, d.tenant("instant"), txs[0], "reinstated")
			d.heard(t, d.tenant("both"), dead[0], "retracted")
		}
		d.checkReorgs(t)
	})
}

// The watcher's node dies in the moment of a reorganisation, and another goes on.
func TestReorgWatcherKilled(t *testing.T) {
	killed := func(t *testing.T, forget bool, wait time.Duration) {
		runDelivering(t, Options{}, reorgTenants(), func(t *testing.T, d *delivering) {
			if forget {
				d.chain().ForgetDead()
			}
			d.grow(12)
			m := d.Holder(slug)
			d.reorganise(7, mixed)
			d.Sleep(wait)
			m.Kill()
			d.grow(4)
			d.reorganise(3, moved)
			d.grow(16)
			d.reorganise(5, reincluded)
			m.Restart()
			m.AwaitReady()
			d.grow(4)
			d.checkReorgs(t)
		})
	}
	t.Run("at once", func(t *testing.T) { killed(t, false, 0) })
	t.Run("in the middle", func(t *testing.T) { killed(t, true, 3*time.Millisecond) })
	t.Run("after the roll-back", func(t *testing.T) { killed(t, true, 8*time.Millisecond) })
}

// The node that judges a tenant dies in the middle: another takes over, with what
// the first had fired, and with what it had retracted.
func TestReorgWorkerKilled(t *testing.T) {
	killed := func(t *testing.T, wait time.Duration) {
		runDelivering(t, Options{}, reorgTenants(), func(t *testing.T, d *delivering) {
			d.chain().ForgetDead()
			d.grow(12)
			m := d.owner("instant")
			if d.Holder(slug) == m {
				d.MoveLease(slug, d.Follower(slug))
			}
			d.grow(2)
			d.reorganise(8, mixed)
			d.Sleep(wait)
			m.Kill()
			d.grow(20) // another node has the tenants now
			d.reorganise(10, dropped)
			d.grow(3)
			m.Restart()
			m.AwaitReady()
			d.reorganise(2, moved)
			d.grow(4)
			d.checkReorgs(t)
		})
	}
	t.Run("at once", func(t *testing.T) { killed(t, 0) })
	t.Run("in the middle", func(t *testing.T) { killed(t, 6*time.Millisecond) })
	t.Run("while it sends", func(t *testing.T) { killed(t, 12*time.Millisecond) })
}

// A receiver that is down hears everything afterwards, of each alert in the order
// in which it came to be.
func TestReorgWhileReceiverIsDown(t *testing.T) {
	schedule := doc{"retry_schedule": []string{"1s", "2s", "5s", "10s", "10s", "10s", "10s", "10s"}}
	tenants := []subscriber{{name: "instant", mode: "instant", more: schedule}, {name: "both", mode: "both", more: schedule}}
	runDelivering(t, Options{}, tenants, func(t *testing.T, d *delivering) {
		d.grow(6)
		for _, s := range tenants {
			d.fault(s, farm.Fault{Kind: farm.Broken})
		}
		d.grow(6)
		dead := d.reorganise(4, reincluded)
		d.grow(2)
		d.reorganise(6, mixed)
		d.grow(2)
		for _, s := range tenants {
			d.fault(s, farm.Fault{})
		}
		d.awaitSettled(settleWithin)
		d.checkReorgs(t)
		d.heard(t, 0, dead[0], "retracted")
		for i, s := range tenants {
			last := map[string]farm.Delivery{}
			for _, got := range d.of(s) {
				if before, ok := last[got.Alert]; ok && got.Position < before.Position {
					t.Errorf("%s: %s of position %d came after %s of %d", TenantName(i), got.State, got.Position, before.State, before.Position)
				}
				last[got.Alert] = got
			}
		}
	})
}

// What was rolled back before anybody judged it is not heard of at all.
func TestReorgBeforeJudging(t *testing.T) {
	runDelivering(t, Options{}, reorgTenants(), func(t *testing.T, d *delivering) {
		d.grow(8)
		var dead []fakechain.Tx
		for range 5 {
			d.Extend(slug, 1)
			dead = append(dead, d.reorganise(1, dropped)...)
		}
		d.grow(4)
		d.checkReorgs(t)
		for _, name := range []string{"plain", "confirmed", "finalized"} {
			for _, got := range d.of(d.tenants[d.tenant(name)]) {
				for _, tx := range dead {
					if got.Tx == tx.Hash.String() {
						t.Errorf("%s: %s of block %s, which was gone before it lay deep enough", name, got.State, got.Block)
					}
				}
			}
		}
	})
}
