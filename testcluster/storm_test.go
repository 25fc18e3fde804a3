package testcluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// Blocks are replaced by others while nodes die.
func TestReorgsWhileNodesDie(t *testing.T) {
	run(t, Options{Nodes: 5, Voters: 5, Tenants: 10}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(2 * time.Second)
		for i := range 6 {
			m := c.Members()[i%5]
			switch i {
			case 1, 4:
				m = c.Holder("net")
			case 2:
				m = c.Leader()
			}
			c.Reorg("net", 1+rand.N(4), 1+rand.N(5))
			c.Sleep(rand.N(300 * time.Millisecond))
			m.Kill()
			c.Sleep(rand.N(3 * time.Second))
			c.Reorg("net", 1+rand.N(4), 1+rand.N(5))
			c.Sleep(time.Second)
			m.Restart()
			m.AwaitReady()
		}
		t.Logf("%+v", c.Check())
	})
}

// storm kills nodes at random, one or two at a time: the voters keep a majority.
func storm(t *testing.T, c *Cluster, kills int) {
	t.Helper()
	c.Traffic()
	var down []*Member
	for i := range kills {
		running := c.Running()
		m := running[rand.N(len(running))]
		m.Kill()
		t.Logf("kill %d: %s", i, m.Name)
		down = append(down, m)
		c.Sleep(200*time.Millisecond + rand.N(1500*time.Millisecond))
		for len(down) > rand.N(2) {
			down[0].Restart()
			down[0].AwaitReady()
			down = down[1:]
		}
		c.AwaitLeader(nil)
	}
	for _, m := range down {
		m.Restart()
	}
	c.AwaitReady()
	c.AwaitVoters(c.opts.Voters)
	t.Logf("%+v", c.Check())
}

func TestTwentyNodes(t *testing.T) {
	run(t, Options{Nodes: 20, Voters: 5, Tenants: 20, Networks: []string{"n1", "n2"}, BlockTime: 3 * time.Second}, func(t *testing.T, c *Cluster) {
		storm(t, c, 20)
	})
}

// TestSoak is TestTwentyNodes with as many nodes as OZMO_SOAK_NODES says.
func TestSoak(t *testing.T) {
	text := os.Getenv("OZMO_SOAK_NODES")
	if text == "" {
		t.Skip("OZMO_SOAK_NODES is not set")
	}
	nodes, err := strconv.Atoi(text)
	if err != nil || nodes < 5 {
		t.Fatalf("OZMO_SOAK_NODES=%s: want a number of nodes, 5 or more", text)
	}
	run(t, Options{Nodes: nodes, Voters: 5, Tenants: 4 * nodes, Networks: []string{"n1", "n2", "n3"}, BlockTime: 2 * time.Second}, func(t *testing.T, c *Cluster) {
		storm(t, c, 20)
	})
}

// What the chain is asked for does not grow with nodes or tenants.
func TestFetchCallsPerBlock(t *testing.T) {
	for _, size := range []struct{ nodes, voters, tenants int }{{1, 1, 10}, {3, 3, 10}, {7, 3, 10}, {1, 1, 1000}, {3, 3, 1000}, {7, 3, 1000}} {
		t.Run(fmt.Sprintf("nodes=%d,tenants=%d", size.nodes, size.tenants), func(t *testing.T) {
			if size.tenants > 10 && testing.Short() {
				t.Skip("not in short mode")
			}
			if size.tenants*size.nodes > 3000 && raceDetector {
				t.Skip("the race detector's own runtime crashes on it: SIGSEGV in racegostart below internal/synctest.Run (go1.26.8)")
			}
			o := Options{Nodes: size.nodes, Voters: size.voters, Tenants: size.tenants, Idle: true}
			run(t, o, func(t *testing.T, c *Cluster) {
				before := c.Chain("net").Calls()
				n, _ := c.View().Network("net")
				from := n.Next
				c.Traffic()
				c.Sleep(5 * time.Second)
				c.Check()
				n, _ = c.View().Network("net")
				after := c.Chain("net").Calls()
				announced := n.Next - from
				t.Logf("%d blocks: %d calls for blocks, %d for heads, %d repeated",
					announced, after.BlockFetch-before.BlockFetch, after.HeadPoll-before.HeadPoll, after.Refetch-before.Refetch)
				if calls := after.BlockFetch - before.BlockFetch; announced < 18 || calls != 2*announced || after.Refetch != before.Refetch {
					t.Errorf("%d calls for %d blocks, %d repeated, want 2 each and none repeated", calls, announced, after.Refetch-before.Refetch)
				}
			})
		})
	}
}

// TestChaos lets anything happen in any order.
func TestChaos(t *testing.T) {
	faults := 12
	if text := os.Getenv("OZMO_CHAOS_FAULTS"); text != "" {
		var err error
		if faults, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	run(t, Options{Nodes: 5, Voters: 5, Tenants: 12, Networks: []string{"n1", "n2"}, BlockTime: 500 * time.Millisecond}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(5 * time.Second)
		began := time.Now()
		for range faults {
			c.Net.Delay(rand.N(10 * time.Millisecond))
			chaos(t, c, began, nil)
			c.Sleep(rand.N(3 * time.Second))
		}
		c.AwaitVoters(5)
		t.Logf("%+v", c.Check())
	})
}

// chaos does something to a node, and undoes it; meanwhile something may happen
// to another one.
func chaos(t *testing.T, c *Cluster, began time.Time, hurt *Member) {
	t.Helper()
	all := slices.DeleteFunc(c.Members(), func(m *Member) bool { return m == hurt })
	m, network, tenant := all[rand.N(len(all))], c.opts.Networks[rand.N(2)], TenantName(rand.N(c.opts.Tenants))
	switch rand.N(3) { // those that matter more often
	case 0:
		if leader := c.AwaitLeader(nil); leader != hurt {
			m = leader
		}
	case 1:
		if holder := c.Holder(network); holder != nil && holder != hurt {
			m = holder
		}
	default:
	}
	say := func(format string, args ...any) {
		t.Helper()
		t.Logf("%v: "+format, append([]any{time.Since(began)}, args...)...)
	}
	ctx, cancel := c.within(time.Minute)
	defer cancel()
	wait := func() {
		if hurt == nil && rand.N(3) == 0 {
			c.Sleep(rand.N(2 * time.Second))
			chaos(t, c, began, m)
		}
		c.Sleep(rand.N(5 * time.Second))
	}
	kinds := 10
	if hurt != nil {
		kinds = 8 // of what needs all the others
	}
	switch rand.N(kinds) {
	case 0, 1:
		say("kill %s", m.Name)
		m.Kill()
		wait()
		m.Restart()
		m.AwaitReady()
	case 2:
		say("stop %s", m.Name)
		m.Stop()
		wait()
		m.Restart()
		m.AwaitReady()
	case 3:
		say("pause %s", m.Name)
		m.Pause()
		wait()
		m.Resume()
	case 4:
		say("slow chain for %s", m.Name)
		m.eachChain(func(s site) { s.Slow(rand.N(2 * time.Second)) })
		wait()
		m.eachChain(func(s site) { s.Heal() })
	case 5:
		say("reorganisation of %s", network)
		c.Reorg(network, 1+rand.N(3), 1+rand.N(4))
	case 6:
		say("network %s to %s", network, m.Name)
		if err := c.AwaitLeader(nil).Node().MoveLease(ctx, api.LeaseMove{Network: network, To: m.Name}); err != nil {
			say("refused: %v", err)
		}
	case 7:
		say("tenant %s to %s", tenant, m.Name)
		if err := c.AwaitLeader(nil).Node().PlaceTenant(ctx, api.Placement{Tenant: tenant, Pin: &m.Name}); err != nil {
			say("refused: %v", err)
		}
	case 8:
		other := all[rand.N(len(all))]
		say("partition of %s and %s", m.Name, other.Name)
		c.Partition([]string{m.Name, other.Name})
		c.Sleep(rand.N(5 * time.Second))
		c.Heal()
	case 9:
		say("%s loses its disk", m.Name)
		c.AwaitVoters(5)
		m.Kill()
		m.WipeDisk()
		c.Sleep(rand.N(5 * time.Second))
		m.Restart()
		m.AwaitReady()
		c.AwaitVoters(5)
	}
}
