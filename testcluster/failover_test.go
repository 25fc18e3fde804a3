package testcluster

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/consensus"
)

// The bounds of virtual time that failures may cost.
const (
	leaseTTL     = time.Second // contact
	gapKilled    = 2500 * time.Millisecond
	gapSilent    = 3 * time.Second
	gapLeader    = 3 * time.Second
	gapStopped   = 300 * time.Millisecond
	judgedWithin = 4 * time.Second
)

// failover lets something happen to a node while blocks come, and measures.
func failover(t *testing.T, c *Cluster, m *Member, gap time.Duration, fault func()) {
	t.Helper()
	c.Traffic()
	c.Sleep(3 * time.Second)
	owned := c.Owned(c.View(), m.Name)
	if len(owned) == 0 {
		t.Fatalf("%s has no tenants to lose", m.Name)
	}
	at := time.Now()
	fault()
	c.Sleep(10 * time.Second)
	worst := c.Gap("net", at)
	judged := judgedAgain(t, c, owned, at)
	t.Logf("gap %v, tenants judged again after %v", worst, judged)
	if worst > gap {
		t.Errorf("nothing was announced for %v, want at most %v", worst, gap)
	}
	if judged > judgedWithin {
		t.Errorf("tenants were not judged for %v, want at most %v", judged, judgedWithin)
	}
}

// judgedAgain is how long after a moment the last of some tenants heard of a
// block that was not there before.
func judgedAgain(t *testing.T, c *Cluster, tenants []string, at time.Time) time.Duration {
	t.Helper()
	s := c.chains["net"]
	fresh := map[string]bool{}
	for _, ref := range s.chain.Refs() {
		s.mu.Lock()
		if made, ok := s.made[ref.Hash]; ok && !made.Before(at) {
			fresh[ref.Hash.String()] = true
		}
		s.mu.Unlock()
	}
	first := map[string]time.Time{}
	for _, d := range c.Receiver.Deliveries() {
		if _, ok := first[d.Tenant]; !ok && fresh[d.Block] {
			first[d.Tenant] = d.At
		}
	}
	var longest time.Duration
	for _, tenant := range tenants {
		if first[tenant].IsZero() {
			t.Errorf("tenant %s is not judged any more", tenant)
			continue
		}
		longest = max(longest, first[tenant].Sub(at))
	}
	return longest
}

func TestWatcherKilled(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		m := c.Follower("net")
		c.MoveLease("net", m)
		failover(t, c, m, gapKilled, m.Kill)
		m.Restart()
		m.AwaitReady()
		t.Logf("%+v", c.Check())
		c.AwaitVoters(3)
	})
}

func TestLeaderKilled(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		m := c.Leader()
		c.MoveLease("net", c.Follower("net"))
		failover(t, c, m, gapLeader, m.Kill)
		m.Restart()
		t.Logf("%+v", c.Check())
		c.AwaitVoters(3)
	})
}

func TestLeaderThatWatchesKilled(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		m := c.Leader()
		c.MoveLease("net", m)
		failover(t, c, m, gapLeader, m.Kill)
		m.Restart()
		t.Logf("%+v", c.Check())
	})
}

func TestWatcherPaused(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		m := c.Follower("net")
		c.MoveLease("net", m)
		failover(t, c, m, gapSilent, m.Pause) // for 10 s
		m.Resume()
		c.Eventually(10*time.Second, m.Contact)
		t.Logf("%+v", c.Check())
		c.wantLog("node="+m.Name, "watching ended")
	})
}

// wantLog fails unless some line of the logs has all of these parts.
func (c *Cluster) wantLog(parts ...string) {
	c.t.Helper()
	for line := range strings.Lines(c.log.String()) {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(line, part)
		}
		if found {
			return
		}
	}
	c.t.Errorf("no line of the log has %q", parts)
}

// The leader and the watcher are cut off from the others, but not from chain
// and receivers: the most tempting way to do harm.
func TestLeaderAndWatcherPartitioned(t *testing.T) {
	run(t, Options{Nodes: 5, Voters: 5, Tenants: 10}, func(t *testing.T, c *Cluster) {
		leader, watcher := c.Leader(), c.Follower("net")
		c.MoveLease("net", watcher)
		minority := []string{leader.Name, watcher.Name}
		c.Traffic()
		c.Sleep(3 * time.Second)
		at, epoch := time.Now(), c.seen.epoch("net")
		c.Partition(minority)
		c.Sleep(leaseTTL + 100*time.Millisecond)
		next := func(m *Member) uint64 {
			n, _ := m.Node().View().Network("net")
			return n.Next
		}
		before := next(watcher)
		c.Sleep(8 * time.Second)
		if after := next(watcher); after != before {
			t.Errorf("the minority went on announcing: position %d, then %d", before, after)
		}
		for _, m := range []*Member{leader, watcher} {
			if m.Contact() == nil {
				t.Errorf("%s thinks that it is in contact", m.Name)
			}
		}
		healed := time.Now()
		if sent := c.Receiver.From(minority, at.Add(leaseTTL+10*Delay), healed); len(sent) > 0 {
			t.Errorf("the minority began %d sends without contact, the first %v after the partition: %+v", len(sent), sent[0].Begun.Sub(at), sent[0])
		}
		if gap := c.Gap("net", at); gap > gapLeader {
			t.Errorf("nothing was announced for %v", gap)
		}
		c.Heal()
		for _, m := range []*Member{leader, watcher} {
			c.Eventually(10*time.Second, m.Contact)
		}
		if now := c.seen.epoch("net"); now <= epoch {
			t.Errorf("the network has epoch %d, before the partition it had %d", now, epoch)
		}
		c.wantLog("node="+watcher.Name, "watching ended")
		t.Logf("%+v", c.Check())
	})
}

// A node that reaches receivers and chain, but no other node, begins no send:
// not of what it has in its outbox, and not of what waits for slow receivers.
func TestNoSendWithoutContact(t *testing.T) {
	lose := func(t *testing.T, c *Cluster, meanwhile func()) {
		m := c.Follower("net")
		owned := c.Owned(c.View(), m.Name)
		if len(owned) == 0 {
			t.Fatalf("%s has no tenants", m.Name)
		}
		at := time.Now()
		if sent := c.Receiver.From([]string{m.Name}, time.Time{}, at); len(sent) == 0 {
			t.Fatalf("%s has never sent anything", m.Name)
		}
		c.Partition([]string{m.Name})
		meanwhile()
		c.Sleep(10 * time.Second)
		sent := c.Receiver.From([]string{m.Name}, at.Add(leaseTTL+10*Delay), time.Now())
		if len(sent) > 0 {
			t.Errorf("%d sends began without contact, the first %v after it was lost", len(sent), sent[0].Begun.Sub(at))
		}
		c.Heal()
		c.Eventually(5*time.Second, m.Contact)
		t.Logf("%+v", c.Check())
	}
	t.Run("blocks", func(t *testing.T) {
		run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
			c.Traffic()
			c.Sleep(3 * time.Second)
			owned, at := c.Owned(c.View(), c.Follower("net").Name), time.Now()
			lose(t, c, func() {})
			if judged := judgedAgain(t, c, owned, at); judged > judgedWithin {
				t.Errorf("its tenants were judged again after %v", judged)
			}
		})
	})
	t.Run("outbox", func(t *testing.T) {
		run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
			c.Receiver.Refuse(503)
			c.Extend("net", 1)
			c.Extend("net", 1)
			c.Sleep(2 * time.Second)
			if n := c.View().OutboxLen(); n != 9 {
				t.Fatalf("%d deliveries are in the outbox, want 9", n)
			}
			lose(t, c, func() { c.Receiver.Refuse(0) })
		})
	})
	t.Run("queue", func(t *testing.T) {
		run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
			release := c.Receiver.Hold()
			c.Extend("net", 30)
			c.Extend("net", 1)
			c.Sleep(500 * time.Millisecond)
			lose(t, c, func() {
				c.Sleep(leaseTTL + 500*time.Millisecond)
				release()
			})
		})
	})
}

func TestStoppedNodeHandsOver(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leads=%v", leads), func(t *testing.T) {
			run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
				m := c.Leader()
				if !leads {
					m = c.Follower("net")
				}
				c.MoveLease("net", m)
				failover(t, c, m, gapStopped, m.Stop)
				if leads {
					c.wantOrder("msg=\"this node leads\"", "msg=watching ")
				}
				m.Restart()
				m.AwaitReady()
				c.CheckOnce()
			})
		})
	}
}

// wantOrder fails unless the last line of the logs with the second part comes
// after the last one with the first.
func (c *Cluster) wantOrder(first, second string) {
	c.t.Helper()
	log := c.log.String()
	if a, b := strings.LastIndex(log, first), strings.LastIndex(log, second); a < 0 || b < a {
		c.t.Errorf("the log has %q at %d and %q at %d", first, a, second, b)
	}
}

// The leader that watches is killed, and is back before its death is noticed, but
// needs long to read its disk: its network does not wait for it.
func TestLeaderComesBackSlowly(t *testing.T) {
	var killed atomic.Bool
	slow := func(_ string, o *node.Options) {
		open, opened := o.Stores, 0
		o.Stores = func() (consensus.Stores, error) {
			// The first time is a look whether there is a log, before gossip begins.
			if opened++; opened > 1 && killed.Load() {
				<-time.After(10 * time.Second)
			}
			return open()
		}
	}
	run(t, Options{Tenants: 9, Adjust: slow}, func(t *testing.T, c *Cluster) {
		m := c.Leader()
		c.MoveLease("net", m)
		c.Traffic()
		c.Sleep(3 * time.Second)
		killed.Store(true)
		at := time.Now()
		m.Kill()
		c.Sleep(400 * time.Millisecond)
		m.Restart()
		c.AwaitLeader(m)
		took := c.Eventually(gapSilent, func() error {
			if c.Holder("net") == m {
				return errors.New("the network is with the node that is starting")
			}
			return nil
		})
		c.Sleep(10 * time.Second)
		t.Logf("gap %v, the lease was granted after %v of the new leadership", c.Gap("net", at), took)
		if took > 3*leaseTTL/4 {
			t.Errorf("the network waited %v for a node that was starting", took)
		}
		m.AwaitReady()
		c.Check()
	})
}

// The node is killed after the receiver has taken what it sent, and before it
// could record that: the other sends it once more, with the same key.
func TestKilledBetweenSendingAndRecording(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		m := c.Follower("net")
		c.Traffic()
		c.Sleep(2 * time.Second)
		release := c.Receiver.Hold()
		c.Sleep(600 * time.Millisecond)
		m.Kill()
		release()
		c.Sleep(5 * time.Second)
		m.Restart()
		r := c.Check()
		t.Logf("%+v", r)
		if r.Duplicates == 0 {
			t.Error("nothing was sent again: the test tests nothing")
		}
	})
}

// The watcher is cut off with an announcement in its hands, and comes back when
// another has the lease and has announced nothing: only the epoch tells that it
// comes too late.
func TestLateAnnouncementIsRefused(t *testing.T) {
	run(t, Options{}, func(t *testing.T, c *Cluster) {
		for range 5 {
			m := c.Follower("net")
			c.MoveLease("net", m)
			c.Extend("net", 1)
			c.Eventually(10*time.Second, c.atRest)
			for _, o := range c.Members() {
				if o != m {
					o.eachChain(func(s site) { s.Stall() })
				}
			}
			c.Partition([]string{m.Name})
			c.Sleep(50 * time.Millisecond)
			block := c.Extend("net", 1)
			c.Eventually(10*time.Second, func() error {
				if h := c.Holder("net"); h == nil || h == m {
					return errors.New("nobody else has the lease")
				}
				return nil
			})
			epoch := c.seen.epoch("net")
			c.Net.HealAll() // not the chains
			c.Sleep(3 * time.Second)
			if at, ok := c.seen.appliedAt(block.Hash); ok && c.seen.epoch("net") == epoch {
				t.Errorf("block %v was announced by a watcher whose lease had gone, %v ago", block.Ref(), time.Since(at))
			}
			c.Heal()
			c.Eventually(10*time.Second, c.atRest)
		}
		t.Logf("%+v", c.Check())
	})
}
