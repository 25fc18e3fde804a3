package testcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/consensus"
	"github.com/ozmo-dev/ozmo/testcluster/memnet"
	"github.com/ozmo-dev/ozmo/watcher/chain"
)

// Member is a node of a cluster: its host, its disk, and the process while one
// runs.
type Member struct {
	Name string

	cluster  *Cluster
	host     *memnet.Host
	dir      string
	bundle   string // empty: it waits to be told which cluster to join
	founders []string
	stores   consensus.Stores

	mu   sync.Mutex
	life *life // nil: none runs
	last *life // the one before, which may still be ending
}

// life is one run of a node.
type life struct {
	node    *node.Node
	cancel  context.CancelFunc
	started chan struct{} // closed when Start has returned
	err     error         // of Start
	ended   chan struct{} // closed when everything of it is gone
	around  sync.WaitGroup
}

func (c *Cluster) newMember(name string) *Member {
	m := &Member{
		Name: name, cluster: c, host: c.Net.Host(name), dir: filepath.Join(c.dir, name), stores: consensus.MemoryStores(),
	}
	c.members = append(c.members, m)
	return m
}

func (m *Member) options() node.Options {
	o := node.Options{
		DataDir: m.dir, Name: m.Name, ClusterListen: addressOf(m.Name), Advertise: addressOf(m.Name), Cluster: "test",
		Bundle: m.bundle, Voters: m.cluster.opts.Voters, Network: m.host, NoSocket: true, Console: io.Discard, Logger: m.cluster.logger,
		Client: m.client, EgressAllow: []string{memnet.Range},
		Stores: func() (consensus.Stores, error) { return m.stores, nil },
	}
	if m.bundle != "" {
		for _, f := range m.founders {
			if f == m.Name {
				o.Bootstrap = true
				if len(m.founders) > 1 {
					o.Founders = slices.Clone(m.founders)
				}
			}
		}
	}
	if m.cluster.opts.Adjust != nil {
		m.cluster.opts.Adjust(m.Name, &o)
	}
	return o
}

func (m *Member) client(key string, _ *spec.Network) (chain.Client, error) {
	s := m.cluster.chains[key]
	if s == nil {
		return nil, fmt.Errorf("no chain %s", key)
	}
	return s.chain.Client(m.Name), nil
}

// start begins a run of the node. It does not wait until it is ready.
func (m *Member) start() {
	t := m.cluster.t
	t.Helper()
	n, err := node.New(m.options())
	if err != nil {
		m.cluster.Fatalf("node %s: %v", m.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{node: n, cancel: cancel, started: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.started)
		if l.err = n.Start(ctx); l.err != nil && ctx.Err() == nil {
			t.Errorf("node %s: start: %v", m.Name, l.err)
		}
	}()
	l.around.Go(func() { m.cluster.seen.follow(ctx, n, m.cluster.opts.Networks) })
	l.around.Go(func() {
		select {
		case err := <-n.Failed():
			t.Errorf("node %s: %v", m.Name, err)
		case <-ctx.Done():
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life = l
}

// Node is the running node, nil when it does not run.
func (m *Member) Node() *node.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life == nil {
		return nil
	}
	return m.life.node
}

// take ends a run for everybody who asks for the node.
func (m *Member) take() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.life
	if l != nil {
		m.life, m.last = nil, l
	}
	return l
}

// finish ends a run for good.
func (m *Member) finish(l *life, end func() error) {
	defer close(l.ended)
	l.cancel()
	<-l.started
	if err := end(); err != nil {
		m.cluster.t.Errorf("node %s: ending: %v", m.Name, err)
	}
	l.around.Wait()
}

// Kill ends the node as a loss of power does: nobody hears another word of it.
func (m *Member) Kill() {
	l := m.take()
	if l == nil {
		return
	}
	m.host.Vanish()
	m.eachChain(func(s site) { s.CutOff() })
	go m.finish(l, l.node.Kill)
}

// Stop ends the node as SIGTERM does, and waits for it.
func (m *Member) Stop() {
	l := m.take()
	if l == nil {
		return
	}
	<-l.started
	m.finish(l, l.node.Stop)
	m.host.Kill() // as the system does with what a process leaves
}

// end ends the node without ceremony, and waits for it.
func (m *Member) end() {
	if l := m.take(); l != nil {
		m.finish(l, l.node.Kill)
		m.host.Kill()
	}
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last != nil {
		<-last.ended
	}
}

// Restart starts a node that was killed or stopped, on the disk it had.
func (m *Member) Restart() {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last != nil {
		<-last.ended
	}
	m.eachChain(func(s site) { s.Heal() })
	m.start()
}

// WipeDisk takes everything from a node that does not run.
func (m *Member) WipeDisk() {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	<-last.ended
	if err := os.RemoveAll(m.dir); err != nil {
		m.cluster.Fatalf("%v", err)
	}
	m.stores = consensus.MemoryStores()
}

// Pause has nothing come in or go out, of other nodes, chains or receivers. A
// process that stands still is different in that its clocks stand still too.
func (m *Member) Pause() {
	m.cluster.Net.Isolate(m.Name)
	m.eachChain(func(s site) { s.Stall() })
}

// Resume ends a Pause.
func (m *Member) Resume() {
	m.cluster.Net.HealHost(m.Name)
	m.eachChain(func(s site) { s.Heal() })
}

type site interface {
	CutOff()
	Stall()
	Slow(d time.Duration)
	Heal()
}

func (m *Member) eachChain(do func(site)) {
	for _, s := range m.cluster.chains {
		do(s.chain.Site(m.Name))
	}
}

// leads tells whether the node thinks that it leads, and its term.
func (m *Member) leads() (bool, uint64) {
	n := m.Node()
	if n == nil {
		return false, 0
	}
	leader, term := n.Leader()
	return leader == m.Name, term
}

// Ready tells why the node does not do its work yet.
func (m *Member) Ready() error {
	n := m.Node()
	if n == nil {
		return fmt.Errorf("node %s does not run", m.Name)
	}
	for _, check := range n.Ready() {
		if check.Err != nil && !check.Minor && (check.Name == "member" || check.Name == "started" || check.Name == "leader") {
			return fmt.Errorf("node %s: %s: %w", m.Name, check.Name, check.Err)
		}
	}
	return nil
}

// AwaitReady waits until the node does its work.
func (m *Member) AwaitReady() {
	m.cluster.t.Helper()
	m.cluster.Eventually(settleWithin, m.Ready)
}

// Contact tells whether the node may act.
func (m *Member) Contact() error {
	for _, check := range m.Node().Ready() {
		if check.Name == "leader" {
			return check.Err
		}
	}
	return errors.New("the node does not say")
}

// Partition cuts everything between nodes of different groups. Nodes that no
// group names are together in one more.
func (c *Cluster) Partition(groups ...[]string) {
	group := map[string]int{}
	for i, names := range groups {
		for _, name := range names {
			group[name] = i + 1
		}
	}
	for i, m := range c.members {
		for _, o := range c.members[:i] {
			if group[m.Name] != group[o.Name] {
				c.Net.Cut(m.Name, o.Name)
			}
		}
	}
}

// Heal ends all partitions and pauses.
func (c *Cluster) Heal() {
	c.Net.HealAll()
	for _, m := range c.members {
		if m.Node() != nil {
			m.eachChain(func(s site) { s.Heal() })
		}
	}
}
