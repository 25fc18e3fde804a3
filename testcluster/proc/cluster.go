package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/redis"
)

// ClusterOptions say what a cluster is made of.
type ClusterOptions struct {
	Nodes int  // that found it together, called a, b, c, …
	Redis bool // with a shared block cache
	Wires bool // with forwarders, so that nodes can be cut off; see Wires
	// Args are more arguments of every node.
	Args []string
}

// Cluster is nodes that found a cluster together from bundles, all with one
// folder of documents.
type Cluster struct {
	Dir     string
	Folder  Folder
	Members []*Member     // in the order of their names
	Redis   *redis.Server // nil: without
	Wires   *Wires        // nil: without
	Bundles string        // folder of the bundles

	founders string
	args     []string
}

// Member is a node of a cluster.
type Member struct {
	*Node
	Name    string
	Cluster string // address where it listens for the others
	Address string // that it advertises
	Bundle  string // file

	cluster *Cluster
	by      []string // command that runs the program; empty: none is needed
	client  *client.Client
	pid     atomic.Int64 // of its process; 0 while there is none
	paused  atomic.Bool
}

// NewCluster makes folders and bundles of a cluster in a folder. No node runs
// yet.
func NewCluster(t testing.TB, dir string, o ClusterOptions) *Cluster {
	t.Helper()
	c := &Cluster{Dir: dir, Folder: Folder{filepath.Join(dir, "config")}, Bundles: filepath.Join(dir, "bundles"), args: o.Args}
	if o.Redis {
		c.Redis = redis.Start(t, redis.Options{})
		c.args = append(slices.Clone(c.args), "--redis-url", c.Redis.URL())
	}
	if o.Wires {
		c.Wires = NewWires(t)
	}
	addresses := map[string]string{}
	var names []string
	for i := range o.Nodes {
		m := c.add(t, string(rune('a'+i)))
		addresses[m.Name] = m.Address
		names = append(names, m.Name)
	}
	c.founders = strings.Join(names, ",")
	bundles, err := pki.NewBundles("test", addresses)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := pki.WriteBundles(c.Bundles, bundles)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range c.Members {
		m.Bundle = paths[i]
	}
	return c
}

// add makes a node's folders.
func (c *Cluster) add(t testing.TB, name string) *Member {
	t.Helper()
	dir := filepath.Join(c.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m := &Member{Node: NewNode(t, dir), Name: name, Cluster: fixedAddress(t), cluster: c}
	m.Folder, m.Listen = c.Folder, ""
	m.client = client.New(m.Data)
	m.Address = m.Cluster
	if c.Wires != nil {
		m.Address = c.Wires.Add(t, name, m.Cluster, func() int { return int(m.pid.Load()) })
	}
	c.Members = append(c.Members, m)
	return m
}

// Node is the member of a name.
func (c *Cluster) Node(name string) *Member {
	for _, m := range c.Members {
		if m.Name == name {
			return m
		}
	}
	panic("no node " + name)
}

// Start runs every node that does not run.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	for _, m := range c.Members {
		if !m.Up() {
			m.Start(t)
		}
	}
}

// Start runs the node, as a founder when it has a bundle.
func (m *Member) Start(t testing.TB, more ...string) {
	t.Helper()
	args := []string{
		"serve", "--node", m.Name, "--data", m.Data, "--config", m.Folder.Dir, "--listen", "",
		"--cluster-listen", m.Cluster, "--advertise", m.Address,
	}
	switch {
	case m.Bundle != "" && m.cluster.founders == m.Name:
		args = append(args, "--bootstrap") // alone, it needs no bundle
	case m.Bundle != "":
		args = append(args, "--bundle", m.Bundle, "--bootstrap", m.cluster.founders)
	}
	args = append(args, m.cluster.args...)
	m.paused.Store(false)
	m.Process = startUnder(t, m.Log, m.by, "ozmo", append(args, more...)...)
	m.pid.Store(int64(m.Pid()))
}

// Client is a client of the node's socket, through all its starts.
func (m *Member) Client() *client.Client { return m.client }

// Up reports whether the node's process runs, if only frozen.
func (m *Member) Up() bool { return m.Process != nil && m.Running() == nil }

// Answers reports whether the node runs and is not frozen.
func (m *Member) Answers() bool { return m.Up() && !m.paused.Load() }

// Kill ends the node with SIGKILL.
func (m *Member) Kill() {
	m.pid.Store(0)
	m.Process.Kill()
}

// Pause freezes the node with SIGSTOP.
func (m *Member) Pause(t testing.TB) {
	t.Helper()
	m.paused.Store(true)
	m.Signal(t, syscall.SIGSTOP)
}

// Resume lets a frozen node go on.
func (m *Member) Resume(t testing.TB) {
	t.Helper()
	m.Signal(t, syscall.SIGCONT)
	m.paused.Store(false)
}

// WipeDisk removes everything a stopped node has; it keeps its bundle.
func (m *Member) WipeDisk(t testing.TB) {
	t.Helper()
	if m.Up() {
		t.Fatalf("node %s runs: its disk cannot be wiped", m.Name)
	}
	if err := os.RemoveAll(m.Data); err != nil {
		t.Fatal(err)
	}
	m.Log.notef("disk of %s wiped", m.Name)
}

// ask is how long a question to one node may take: nodes may be frozen.
const ask = 2 * time.Second

// Status asks nodes one after the other for the leader's view of the cluster;
// an error when none knows the leader.
func (c *Cluster) Status(ctx context.Context) (api.Status, error) {
	err := errors.New("no node runs")
	for _, m := range c.Members {
		if !m.Answers() {
			continue
		}
		s, failed := m.status(ctx)
		if failed == nil && s.Leader != "" && s.Leader == s.Node {
			return s, nil
		}
		if failed == nil {
			failed = fmt.Errorf("node %s knows no leader that answers", m.Name)
		}
		err = failed
	}
	return api.Status{}, err
}

func (m *Member) status(ctx context.Context) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	return m.client.Status(ctx)
}

// Local asks the node what it knows itself.
func (m *Member) Local(ctx context.Context) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	return m.client.LocalStatus(ctx)
}

// Leader waits for a leader and returns it.
func (c *Cluster) Leader(t testing.TB) *Member {
	t.Helper()
	var name string
	Eventually(t, "a leader", func(ctx context.Context) error {
		s, err := c.Status(ctx)
		name = s.Leader
		return err
	})
	return c.Node(name)
}

// Holder waits until a network is watched and returns who watches it.
func (c *Cluster) Holder(t testing.TB, network string) *Member {
	t.Helper()
	var name string
	Eventually(t, "a watcher of "+network, func(ctx context.Context) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		n, err := networkOf(s, network)
		if name = n.Holder; err == nil && name == "" {
			err = errors.New("nobody has the lease")
		}
		return err
	})
	return c.Node(name)
}

func networkOf(s api.Status, key string) (api.NetworkStatus, error) {
	i := slices.IndexFunc(s.Networks, func(n api.NetworkStatus) bool { return n.Key == key })
	if i < 0 {
		return api.NetworkStatus{}, fmt.Errorf("no network %s in %+v", key, s.Networks)
	}
	return s.Networks[i], nil
}

// Healthy is nil when all nodes run and are ready, vote as far as voters are
// wanted, and do all the work there is.
func (c *Cluster) Healthy(ctx context.Context) error {
	for _, m := range c.Members {
		if err := m.Ready(ctx); err != nil {
			return fmt.Errorf("node %s: %w", m.Name, err)
		}
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	voters := 0
	for _, n := range s.Nodes {
		if n.State != api.NodeReady || n.Raft == api.RaftNone {
			return fmt.Errorf("node %s: %s, %s in the Raft group", n.Name, n.State, n.Raft)
		}
		if n.Raft != api.RaftNonvoter {
			voters++
		}
	}
	switch {
	case len(s.Nodes) != len(c.Members):
		return fmt.Errorf("%d nodes are known, there are %d", len(s.Nodes), len(c.Members))
	case voters != min(3, len(c.Members)) || s.Voters != voters:
		return fmt.Errorf("%d of %d voters are there; due: %q", voters, s.Voters, s.Pending)
	case s.Unassigned > 0:
		return fmt.Errorf("%d tenants are with nobody", s.Unassigned)
	case len(s.Networks) == 0:
		return errors.New("no network")
	}
	for _, n := range s.Networks {
		if n.Holder == "" || n.Position == 0 {
			return fmt.Errorf("network %s is not watched: %+v", n.Key, n)
		}
		if n.Position-n.Judged > maxLag {
			return fmt.Errorf("network %s: judged to position %d of %d", n.Key, n.Judged, n.Position)
		}
	}
	return nil
}

// maxLag is how many announcements of a network may wait in a healthy cluster
// under load.
const maxLag = 16

// AwaitHealthy waits for Healthy.
func (c *Cluster) AwaitHealthy(t testing.TB) {
	t.Helper()
	Eventually(t, "the cluster's health", func(ctx context.Context) error {
		for _, m := range c.Members {
			if m.Process != nil && !m.Answers() {
				if err := m.Running(); err != nil {
					return fmt.Errorf("node %s: %w", m.Name, err)
				}
			}
		}
		return c.Healthy(ctx)
	})
}

// AwaitCaughtUp waits until every node has announced the chain's head, judged
// and delivered everything. The chain must stand still.
func (c *Cluster) AwaitCaughtUp(t testing.TB, chain *Chain) {
	t.Helper()
	for _, m := range c.Members {
		Eventually(t, "node "+m.Name+" catching up with the chain", func(ctx context.Context) error {
			_, err := m.CaughtUp(ctx, chain)
			return err
		})
	}
}

// Terminate ends all nodes with SIGTERM, all at once, and wants exit code 0.
func (c *Cluster) Terminate(t testing.TB) {
	t.Helper()
	for _, m := range c.Members {
		m.Signal(t, syscall.SIGTERM)
	}
	for _, m := range c.Members {
		if code := m.Exit(t, Patience); code != 0 {
			t.Errorf("node %s: after SIGTERM the exit code is %d", m.Name, code)
		}
	}
}
