package testcluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

func TestPinnedTenantMovesOnce(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(2 * time.Second)
		for round, to := range []string{"a", "b", "c", "a"} {
			for i := range 5 {
				c.Pin(TenantName(i), to)
			}
			took := c.Eventually(30*time.Second, func() error {
				for i := range 5 {
					if on := c.Owners()[TenantName(i)]; on != to {
						return fmt.Errorf("tenant %s is with %q, not %s", TenantName(i), on, to)
					}
				}
				return nil
			})
			t.Logf("round %d: moved after %v", round, took)
			c.Sleep(2 * time.Second)
		}
		for i := range 5 {
			c.Pin(TenantName(i), "")
		}
		c.CheckOnce()
	})
}

// Much waits for a slow receiver when the tenant moves: some is under way, the
// rest is in the queue.
func TestPinnedTenantWithSlowReceiver(t *testing.T) {
	for _, hold := range []time.Duration{time.Second, 5 * time.Second} {
		t.Run(hold.String(), func(t *testing.T) {
			run(t, Options{Tenants: 3}, func(t *testing.T, c *Cluster) {
				from := c.Owners()[TenantName(0)]
				release := c.Receiver.Hold()
				c.Extend("net", 30)
				c.Extend("net", 1)
				c.Sleep(300 * time.Millisecond)
				to := "a"
				if from == "a" {
					to = "b"
				}
				c.Pin(TenantName(0), to)
				c.Sleep(hold)
				c.Extend("net", 5)
				release()
				c.Eventually(time.Minute, func() error {
					if on := c.Owners()[TenantName(0)]; on != to {
						return fmt.Errorf("the tenant is with %q, not %s", on, to)
					}
					return nil
				})
				c.CheckOnce()
			})
		})
	}
}

func TestJoin(t *testing.T) {
	const tenants = 40
	run(t, Options{Tenants: tenants, BlockTime: 2 * time.Second}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		before := c.Owners()
		m := c.Join("d")
		c.Eventually(time.Minute, func() error {
			if len(c.Owned(c.View(), m.Name)) == 0 {
				return errors.New("the new node gets no tenants")
			}
			return c.Placed(c.View())
		})
		c.Sleep(20 * time.Second)
		moved := 0
		for tenant, now := range c.Owners() {
			if now == before[tenant] {
				continue
			}
			moved++
			if now != m.Name {
				t.Errorf("tenant %s moved from %s to %s", tenant, before[tenant], now)
			}
		}
		if most := tenants * 125 / 400; moved == 0 || moved > most {
			t.Errorf("%d of %d tenants moved, want 1 to %d", moved, tenants, most)
		}
		c.AwaitVoters(3)
		c.CheckOnce()
	})
}

func TestDrainAndRemove(t *testing.T) {
	run(t, Options{Nodes: 4, Tenants: 12}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(time.Second)
		m := c.Follower("net")
		c.MoveLease("net", m)
		if err := c.Leader().Node().DrainNode(t.Context(), m.Name, true); err != nil {
			t.Fatal(err)
		}
		c.Eventually(30*time.Second, func() error {
			if left := c.Owned(c.View(), m.Name); len(left) > 0 || c.Holder("net") == m {
				return fmt.Errorf("%s still has %v, network %v", m.Name, left, c.Holder("net") == m)
			}
			return nil
		})
		c.Remove(m.Name)
		m.Stop()
		c.AwaitVoters(3)
		if n := len(c.Status().Nodes); n != 3 {
			t.Errorf("%d nodes are registered", n)
		}
		c.Sleep(3 * time.Second)
		c.CheckOnce()
	})
}

func TestRemoveLeader(t *testing.T) {
	run(t, Options{Nodes: 4, Tenants: 8}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		m := c.Leader()
		c.Remove(m.Name)
		m.Stop()
		c.AwaitVoters(3)
		c.Sleep(2 * time.Second)
		c.CheckOnce()
	})
}

func TestWipedNode(t *testing.T) {
	run(t, Options{Tenants: 9}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		m := c.Follower("net")
		old, _ := c.View().Node(m.Name)
		m.Kill()
		m.WipeDisk()
		c.Sleep(2 * time.Second)
		m.Restart()
		m.AwaitReady()
		c.AwaitVoters(3)
		if now, _ := c.View().Node(m.Name); now.Server == old.Server {
			t.Errorf("the node without a disk came back as %s", now.Server)
		}
		t.Logf("%+v", c.Check())
		for _, n := range c.Status().Nodes {
			if n.Server == old.Server {
				t.Errorf("%s is still there", old.Server)
			}
		}
	})
}

// What only a lost journal had is not provable, and not missing: also when nodes
// were removed, and after later losses.
func TestLostJournal(t *testing.T) {
	run(t, Options{Nodes: 4, Tenants: 4}, func(t *testing.T, c *Cluster) {
		tip := c.Chain("net").Head().Number
		from := tip + 1
		for range 20 {
			c.Extend("net", 1)
		}
		to := from + 19
		for range 2 * fsm.DefaultWindow { // so that they are final
			c.Extend("net", 0)
		}
		c.Extend("net", 1) // a command that prunes
		c.Sleep(5 * time.Second)
		verify := func() (confirmed, unproved int) {
			t.Helper()
			for i := range 4 {
				v, err := c.Holder("net").Node().Verify(t.Context(), TenantName(i), "net", from, to, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(v.Missing) > 0 || v.Expected != v.Confirmed+v.Unproved || v.Proved() != (v.Unproved == 0) {
					t.Fatalf("tenant %s: %+v", TenantName(i), v)
				}
				confirmed, unproved = confirmed+v.Confirmed, unproved+v.Unproved
			}
			return confirmed, unproved
		}
		expected, unproved := verify()
		if expected != 4*20 || unproved != 0 {
			t.Fatalf("%d confirmed, %d not provable", expected, unproved)
		}
		with := map[string]int{}
		for _, node := range c.Owners() {
			with[node] += 20
		}
		lost := 0
		lose := func(m *Member) { t.Helper(); lost += with[m.Name] }
		check := func() {
			t.Helper()
			if confirmed, unproved := verify(); unproved != lost || confirmed != expected-lost {
				t.Errorf("%d confirmed, %d not provable, want %d and %d", confirmed, unproved, expected-lost, lost)
			}
		}
		for _, name := range []string{"a", "b"} {
			m := c.Member(name)
			lose(m)
			m.Kill()
			m.WipeDisk()
			c.Sleep(3 * time.Second)
			m.Restart()
			m.AwaitReady()
			c.AwaitVoters(3)
			check()
		}
		d := c.Member("d")
		lose(d)
		c.Remove("d")
		d.Stop()
		c.AwaitVoters(3)
		check()
		if lost == 0 {
			t.Error("none of the nodes had any tenant")
		}
	})
}

func TestRollingRestart(t *testing.T) {
	run(t, Options{Nodes: 5, Tenants: 10}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		began := time.Now()
		for _, m := range c.Members() {
			m.Stop()
			m.Restart()
			m.AwaitReady()
			c.AwaitVoters(3)
		}
		gap := c.Gap("net", began)
		t.Logf("gap %v in %v", gap, time.Since(began))
		if gap > gapStopped {
			t.Errorf("nothing was announced for %v, want at most %v", gap, gapStopped)
		}
		c.CheckOnce()
	})
}

// All nodes at once, as after a loss of power.
func TestAllRestart(t *testing.T) {
	run(t, Options{Tenants: 6}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(3 * time.Second)
		for _, m := range c.Members() {
			m.Kill()
		}
		c.Sleep(3 * time.Second)
		for _, m := range c.Members() {
			m.Restart()
		}
		c.AwaitReady()
		c.Sleep(3 * time.Second)
		t.Logf("%+v", c.Check())
	})
}

func TestKeyring(t *testing.T) {
	run(t, Options{}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		change := func(what, key string) api.Keyring {
			t.Helper()
			ring, err := c.Leader().Node().ChangeKeyring(t.Context(), what, key)
			if err != nil {
				t.Fatalf("keyring %s %s: %v", what, key, err)
			}
			return ring
		}
		old := change("install", "").Keys
		fresh := old[1].ID
		c.Eventually(10*time.Second, func() error {
			ring, err := c.Leader().Node().Keyring(t.Context())
			if err == nil && len(ring.Keys[1].Missing) > 0 {
				err = fmt.Errorf("missing on %v", ring.Keys[1].Missing)
			}
			return err
		})
		change("use", fresh)
		c.Sleep(3 * time.Second)
		change("remove", old[0].ID)
		c.Sleep(3 * time.Second)
		for _, m := range c.Members() {
			if err := m.Contact(); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
		// A node that starts again has the new key alone.
		m := c.Follower("net")
		m.Stop()
		m.Restart()
		m.AwaitReady()
		c.AwaitVoters(3)
		ring, err := c.Leader().Node().Keyring(t.Context())
		if err != nil || len(ring.Keys) != 1 || ring.Keys[0].ID != fresh || len(ring.Keys[0].Missing) > 0 {
			t.Errorf("%+v, %v", ring, err)
		}
		c.CheckOnce()
	})
}

// Without a quorum nobody waits for ever for a backup, and what a node has can be
// saved.
func TestBackupWithoutAQuorum(t *testing.T) {
	run(t, Options{Idle: true}, func(t *testing.T, c *Cluster) {
		left := c.Members()[0]
		for _, m := range c.Members()[1:] {
			m.Kill()
		}
		c.Eventually(time.Minute, func() error {
			if leader, _ := left.Node().Leader(); leader != "" {
				return fmt.Errorf("%s is still taken for the leader", leader)
			}
			return nil
		})
		var archive bytes.Buffer
		began := time.Now()
		err := left.Node().Backup(t.Context(), &archive, false)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "ozmo backup --stale") || took > 10*time.Second || archive.Len() > 0 {
			t.Errorf("after %v: %v, %d bytes", took, err, archive.Len())
		}
		if err := left.Node().Backup(t.Context(), &archive, true); err != nil {
			t.Fatal(err)
		}
		if a, err := client.CheckArchive(&archive); err != nil || !a.Stale || a.Index != left.Node().View().Index() {
			t.Errorf("%+v, %v", a, err)
		}
		for _, m := range c.Members()[1:] {
			m.Restart()
		}
		c.AwaitReady()
	})
}

func TestBackupAndRestore(t *testing.T) {
	run(t, Options{Tenants: 6}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(3 * time.Second)
		var archive bytes.Buffer
		if err := c.Follower("net").Node().Backup(t.Context(), &archive, false); err != nil {
			t.Fatal(err)
		}
		c.Sleep(3 * time.Second)
		before, _ := c.View().Network("net")
		epochs := map[string]uint64{}
		for cohort := range c.View().Cohorts() {
			epochs[cohort.ID] = cohort.Epoch
		}
		done := c.Restore(&archive)
		if done.Tenants != 6 || done.Networks != 1 {
			t.Errorf("%+v", done)
		}
		c.Eventually(time.Minute, func() error { return c.Placed(c.View()) })
		c.Sleep(5 * time.Second)
		v := c.View()
		after, _ := v.Network("net")
		if after.Next <= before.Next || after.Lease.Epoch <= before.Lease.Epoch {
			t.Errorf("position %d, epoch %d; before the restore %d, %d", after.Next, after.Lease.Epoch, before.Next, before.Lease.Epoch)
		}
		for cohort := range v.Cohorts() {
			if v.TenantCount(cohort.ID) > 0 && cohort.Epoch <= epochs[cohort.ID] {
				t.Errorf("cohort %s has epoch %d, before the restore %d", cohort.ID, cohort.Epoch, epochs[cohort.ID])
			}
		}
		t.Logf("%+v", c.Check())
	})
}

func TestRoles(t *testing.T) {
	roles := map[string]string{"d": "worker", "e": "watcher"}
	o := Options{Nodes: 5, Tenants: 10, BlockTime: time.Second, Adjust: func(name string, o *node.Options) { o.Roles = roles[name] }}
	run(t, o, func(t *testing.T, c *Cluster) {
		c.Traffic()
		sawWatcher := false
		look := func(d time.Duration) {
			t.Helper()
			for until := time.Now().Add(d); time.Now().Before(until); c.Sleep(50 * time.Millisecond) {
				v := c.View()
				for cohort := range v.Cohorts() {
					if slices.Contains([]string{cohort.Node, cohort.To}, "e") && v.TenantCount(cohort.ID) > 0 {
						t.Fatalf("a node that only watches has tenants: %+v", cohort)
					}
				}
				n, _ := v.Network("net")
				if n.Lease.Holder == "d" {
					t.Fatal("a node that only works holds a lease")
				}
				sawWatcher = sawWatcher || n.Lease.Holder == "e"
			}
		}
		look(3 * time.Second)
		for _, name := range []string{"a", "b", "c"} {
			m := c.Member(name)
			m.Kill()
			look(5 * time.Second)
			m.Restart()
			m.AwaitReady()
			look(3 * time.Second)
			c.AwaitVoters(3)
		}
		c.MoveLease("net", c.Member("e"))
		look(time.Second)
		if err := c.Leader().Node().MoveLease(t.Context(), api.LeaseMove{Network: "net", To: "d"}); !errors.Is(err, api.ErrRefused) {
			t.Errorf("a lease for a node that only works: %v", err)
		}
		if !sawWatcher {
			t.Error("the node that only watches never did")
		}
		if len(c.Owned(c.View(), "d")) == 0 {
			t.Error("the node that only works has nothing to do")
		}
		t.Logf("%+v", c.Check())
	})
}
