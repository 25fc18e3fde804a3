package testcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/fakechain"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

// Cluster is nodes with everything around them.
type Cluster struct {
	Net      *memnet.Net
	Receiver *Receiver

	t       testing.TB
	opts    Options
	dir     string
	log     *logs.Buffer
	logger  *slog.Logger
	chains  map[string]*source
	seen    *observed
	members []*Member // in the order they were made
	// restored: an archive has taken the place of what was announced.
	restored bool
	closing  sync.Once
}

// settleWithin is how long, in virtual time, a cluster may take to begin or to
// come to rest.
const settleWithin = 2 * time.Minute

// New starts a cluster and returns when it watches and every tenant has its
// node. It ends with the test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	o.complete()
	c := &Cluster{
		Net: memnet.New(), t: t, opts: o, dir: t.TempDir(), log: &logs.Buffer{}, chains: map[string]*source{}, seen: newObserved(),
	}
	c.logger = slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	c.Net.Delay(Delay)
	c.Receiver = newReceiver(t, c.Net.Host("receiver"))
	t.Cleanup(c.Close)
	for i, slug := range o.Networks {
		c.chains[slug] = newSource(slug, uint64(i)+1, o.BlockTime) //nolint:gosec // not negative
	}
	c.writeFolder()
	addresses := map[string]string{}
	var founders []string
	for i := range o.Nodes {
		addresses[Name(i)] = addressOf(Name(i))
		if i < o.Voters {
			founders = append(founders, Name(i))
		}
	}
	bundles, err := pki.NewBundles("test", addresses)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := pki.WriteBundles(filepath.Join(c.dir, "bundles"), bundles)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for i, b := range bundles {
		byName[b.Node] = paths[i]
	}
	for i := range o.Nodes {
		m := c.newMember(Name(i))
		m.bundle, m.founders = byName[m.Name], founders
		m.start()
	}
	c.AwaitReady()
	if o.Empty {
		return c
	}
	c.Import()
	c.AwaitBegun()
	return c
}

func addressOf(name string) string { return name + ":7000" }

// Import has the folder of documents taken over, by the leader.
func (c *Cluster) Import() {
	c.t.Helper()
	report, err := c.Leader().Node().Import(c.t.Context(), c.Folder())
	if err == nil {
		err = report.Problems.Err()
	}
	if err != nil {
		c.Fatalf("import: %v", err)
	}
}

// AwaitReady waits until every node that should run does its work.
func (c *Cluster) AwaitReady() {
	c.t.Helper()
	c.Eventually(settleWithin, func() error {
		for _, m := range c.Running() {
			if err := m.Ready(); err != nil {
				return err
			}
		}
		leader := c.Leader()
		if leader == nil {
			return errors.New("no leader")
		}
		for _, n := range leader.Node().Status().Nodes {
			if c.Member(n.Name).Node() != nil && n.State != api.NodeReady {
				return fmt.Errorf("the leader calls node %s %s", n.Name, n.State)
			}
		}
		return nil
	})
}

// AwaitBegun waits until every network has a first announcement, and every
// tenant a node that judges it.
func (c *Cluster) AwaitBegun() {
	c.t.Helper()
	c.Eventually(settleWithin, func() error {
		v := c.View()
		for slug := range c.chains {
			n, ok := v.Network(slug)
			if !ok {
				return fmt.Errorf("network %s is not there", slug)
			}
			if _, begun := n.Branch.Tip(); !begun {
				return fmt.Errorf("network %s has not begun", slug)
			}
		}
		return c.Placed(v)
	})
}

// Placed tells which tenant nobody judges.
func (c *Cluster) Placed(v *fsm.View) error {
	for i := range c.opts.Tenants {
		t, ok := v.Tenant(TenantName(i))
		if !ok {
			return fmt.Errorf("tenant %s is not there", TenantName(i))
		}
		if v.Owner(t) == "" {
			return fmt.Errorf("tenant %s: nobody judges it (cohort %q)", t.ID, t.Cohort)
		}
	}
	return nil
}

// Member is the node of a name.
func (c *Cluster) Member(name string) *Member {
	for _, m := range c.members {
		if m.Name == name {
			return m
		}
	}
	panic("there is no node " + name)
}

// Members are all nodes, running or not.
func (c *Cluster) Members() []*Member { return slices.Clone(c.members) }

// Running are the nodes that were started and neither killed nor stopped since.
func (c *Cluster) Running() []*Member {
	return slices.DeleteFunc(c.Members(), func(m *Member) bool { return m.Node() == nil })
}

// Leader is the node that leads, nil while there is none. Of several that think
// they do, it is the one with the latest term.
func (c *Cluster) Leader() *Member {
	var found *Member
	var latest uint64
	for _, m := range c.Running() {
		if leader, term := m.leads(); leader && term >= latest {
			found, latest = m, term
		}
	}
	return found
}

// AwaitLeader waits for a leader, if need be another than the one given.
func (c *Cluster) AwaitLeader(not *Member) *Member {
	c.t.Helper()
	var found *Member
	c.Eventually(settleWithin, func() error {
		if found = c.Leader(); found == nil || found == not {
			return errors.New("no (other) leader")
		}
		return nil
	})
	return found
}

// View is the newest state that any running node has.
func (c *Cluster) View() *fsm.View {
	newest := fsm.New().View()
	for _, m := range c.Running() {
		if v := m.Node().View(); v.Index() > newest.Index() {
			newest = v
		}
	}
	return newest
}

// Holder is the node that watches a network, nil while there is none.
func (c *Cluster) Holder(network string) *Member {
	n, ok := c.View().Network(network)
	if !ok || n.Lease.Holder == "" {
		return nil
	}
	return c.Member(n.Lease.Holder)
}

// Follower is a running node that neither leads nor watches the network.
func (c *Cluster) Follower(network string) *Member {
	leader, holder := c.Leader(), c.Holder(network)
	for _, m := range c.Running() {
		if m != leader && m != holder {
			return m
		}
	}
	panic("every node leads or watches")
}

// Owned are the tenants that a node judges.
func (c *Cluster) Owned(v *fsm.View, node string) []string {
	var out []string
	for t := range v.Tenants() {
		if t.ID != fsm.Shared && v.Owner(t) == node {
			out = append(out, t.ID)
		}
	}
	return out
}

// Status is what the leader says of the cluster.
func (c *Cluster) Status() api.Status { return c.Leader().Node().Status() }

// Chain is the chain of a network.
func (c *Cluster) Chain(network string) *fakechain.Chain { return c.chains[network].chain }

// Sleep lets virtual time pass.
func (c *Cluster) Sleep(d time.Duration) { <-time.After(d) }

// Eventually waits until check has nothing to say, and fails the test with the
// last thing it said when that takes too long. It returns how long it took.
func (c *Cluster) Eventually(within time.Duration, check func() error) time.Duration {
	c.t.Helper()
	took, err := Eventually(within, check)
	if err != nil {
		c.Fatalf("after %v: %v", within, err)
	}
	return took
}

// step is how often Eventually looks.
const step = 10 * time.Millisecond

// Eventually waits until check has nothing to say. It returns how long that
// took, or else the last thing it said.
func Eventually(within time.Duration, check func() error) (time.Duration, error) {
	began := time.Now()
	for {
		err := check()
		took := time.Since(began)
		if err == nil || took > within {
			return took, err
		}
		<-time.After(step)
	}
}

// Fatalf fails the test and shows the end of the nodes' logs.
func (c *Cluster) Fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf(format, args...)
}

// logTail is how many lines of the nodes' logs a failed test shows.
const logTail = 150

// lingering is how long what a node had under way may take to notice that it is
// over, such as a probe of gossip. Virtual time stands still once the test returns, so
// it is waited for before; where time is real, it ends by itself, and TestMain sees to
// it that it does.
const lingering = 30 * time.Second

// virtual reports whether time is: in a bubble it begins with the year 2000.
func virtual() bool { return time.Now().Year() == 2000 }

// Close ends all nodes and whatever else runs. It may be called again.
func (c *Cluster) Close() {
	c.closing.Do(func() {
		for _, s := range c.chains {
			s.stop()
		}
		c.Net.HealAll()
		for slug := range c.chains {
			for _, m := range c.members {
				c.Chain(slug).Site(m.Name).Heal()
			}
		}
		var all sync.WaitGroup
		for _, m := range c.members {
			all.Go(m.end)
		}
		all.Wait()
		c.Receiver.close()
		if virtual() {
			<-time.After(lingering)
		}
		c.showLog()
	})
}

func (c *Cluster) showLog() {
	text := c.log.String()
	if path := os.Getenv("OZMO_TEST_LOG"); path != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Error(err)
		}
	}
	if !c.t.Failed() {
		return
	}
	lines := strings.Split(text, "\n")
	c.t.Logf("logs:\n%s", strings.Join(lines[max(0, len(lines)-logTail):], "\n"))
}

// within is a context that ends after some virtual time, or with the test.
func (c *Cluster) within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.t.Context(), d)
}
