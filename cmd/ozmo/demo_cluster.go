package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
	"github.com/ozmo-dev/ozmo/node/pki"
)

const (
	maxDemoNodes   = 9
	clusterTenants = 6

	clusterPatience = 60 * time.Second // for the nodes to be ready
	defaultKillAt   = 20 * time.Second // where the demo has no end
	restartAfter    = 15 * time.Second // after a node was killed
	gapPoll         = 10 * time.Millisecond
	gapPatience     = 10 * time.Second // for another node to take over
)

// demoCluster is several nodes as processes.
type demoCluster struct {
	*demo
	nodes   []*demoNode
	tenants []string

	killed *demoNode
	gap    gapMeter
	before api.Calls // of the killed node, which takes them with it
	moved  map[string]uint64
}

type demoNode struct {
	*child
	name string
	args []string
	data string
	log  string
}

func (n *demoNode) client() *client.Client { return client.New(n.data) }

func (n *demoNode) running() bool {
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// runCluster is the demo with several nodes, from its start to its last line.
func (d *demo) runCluster(ctx context.Context) (err error) {
	c := &demoCluster{demo: d}
	defer func() { err = errors.Join(err, d.end()) }()
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := c.watch(ctx); err != nil {
		return err
	}
	result, err := c.settle(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	d.screen.show(result.String())
	if ctx.Err() != nil {
		return errors.Join(d.screen.err, result.lies().err())
	}
	return errors.Join(d.screen.err, result.problems().err())
}

func (c *demoCluster) start(ctx context.Context) error {
	if err := c.startAround(ctx); err != nil {
		return err
	}
	if err := c.writeDocuments(); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	redisURL, err := c.startRedis()
	if err != nil {
		return err
	}
	if err := c.startNodes(redisURL); err != nil {
		return err
	}
	c.screen.show(fmt.Sprintf("%s: a simulated chain, %d ozmo nodes, %d tenants and a receiver of webhooks\n\n"+
		"  chain     %s  a block every %v\n  nodes     %s\n  redis     %s\n  data      %s\n\n",
		c.screen.paint(bold, "ozmo demo"), len(c.nodes), len(c.tenants), c.chain.RPC, c.opts.blockTime,
		strings.Join(c.names(), ", "), orNone(redisURL), c.folder.root))
	return c.await(ctx, clusterPatience, "the cluster to be ready", c.ready)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (c *demoCluster) names() []string {
	out := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		out[i] = n.name
	}
	return out
}

// writeDocuments makes tenants that share a network, each with its own
// monitors and its own URL at the receiver.
func (c *demoCluster) writeDocuments() error {
	values := demoValues{
		RPC: c.chain.RPC, WS: c.chain.WS, ChainID: c.chain.ChainID, Token: c.chain.Token,
		BlockTimeMS: c.opts.blockTime.Milliseconds(), Secret: c.receiver.secret,
	}
	for i := range clusterTenants {
		name := fmt.Sprintf("tenant-%d", i+1)
		c.tenants = append(c.tenants, name)
		dir := filepath.Join(c.folder.config(), "tenants", name)
		values.Receiver = c.receiver.url + name
		if err := writeDocuments(dir, values); err != nil {
			return err
		}
		networks := filepath.Join(dir, "networks")
		if i == 0 {
			if err := os.Rename(networks, filepath.Join(c.folder.config(), "networks")); err != nil {
				return err
			}
			continue
		}
		if err := os.RemoveAll(networks); err != nil {
			return err
		}
	}
	return nil
}

// startRedis starts a Redis on a socket in the demo's folder, if one is asked for.
func (c *demoCluster) startRedis() (url string, err error) {
	if !c.opts.redis {
		return "", nil
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return "", errors.New("--redis needs redis-server in PATH: install it (on Debian and Ubuntu: the package redis-server), or leave --redis out")
	}
	socket := c.folder.path("redis.sock")
	p, err := startChild("Redis", c.folder.path("redis.log"), program,
		"--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", c.folder.root, "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru")
	if err != nil {
		return "", err
	}
	c.onEnd(p.stop)
	return "unix://" + socket, nil
}

// startNodes founds a cluster of processes.
func (c *demoCluster) startNodes(redisURL string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addresses := map[string]string{}
	for i := range c.opts.nodes {
		if addresses[string(rune('a'+i))], err = freeAddress(); err != nil {
			return err
		}
	}
	bundles, err := pki.NewBundles("demo", addresses)
	if err != nil {
		return err
	}
	files, err := pki.WriteBundles(c.folder.path("bundles"), bundles)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(addresses))
	for i, name := range names {
		n := &demoNode{name: name, data: c.folder.path(name), log: c.folder.path(name + ".log")}
		n.args = []string{
			"serve", "--node", name, "--data", n.data, "--config", c.folder.config(), "--bundle", files[i],
			"--cluster-listen", addresses[name], "--listen", "", "--bootstrap=" + strings.Join(names, ","),
			"--egress-allow", strings.Join(demoEgress, ","),
		}
		if redisURL != "" {
			n.args = append(n.args, "--redis-url", redisURL)
		}
		if n.child, err = startChild("node "+name, n.log, self, n.args...); err != nil {
			return err
		}
		c.onEnd(func() error { return n.stop() }) // of the process that runs then
		c.nodes = append(c.nodes, n)
	}
	return nil
}

// freeAddress finds a port that is free for TCP and UDP.
func freeAddress() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		address := l.Addr().String()
		p, err := net.ListenPacket("udp", address)
		closing := l.Close()
		if err == nil {
			return address, errors.Join(closing, p.Close())
		}
	}
}

// await asks until there is no error any more, and shows alerts meanwhile.
func (c *demoCluster) await(ctx context.Context, patience time.Duration, what string, check func(context.Context) error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if err := c.failed(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("waited %v for %s: %w", patience, what, err)
		case <-ticker.C:
		}
	}
}

// failed tells of what has ended that should not have.
func (c *demoCluster) failed() error {
	select {
	case <-c.chain.exited:
		return c.chain.exitError()
	case err := <-c.headsDone:
		return err
	default:
	}
	for _, n := range c.nodes {
		if n != c.killed && !n.running() {
			return n.exitError()
		}
	}
	return nil
}

// status is the cluster's, from any node that answers.
func (c *demoCluster) status(ctx context.Context) (api.Status, error) {
	failed := errors.New("no node runs")
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		s, err := n.client().Status(ctx)
		if err == nil && s.Leader != "" {
			return s, nil
		}
		failed = errors.Join(err, fmt.Errorf("node %s knows no leader", n.name))
	}
	return api.Status{}, failed
}

// ready reports whether all nodes and tenants have found their places.
func (c *demoCluster) ready(ctx context.Context) error {
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		i := slices.IndexFunc(s.Nodes, func(o api.NodeStatus) bool { return o.Name == n.name })
		if i < 0 || s.Nodes[i].State != api.NodeReady {
			return fmt.Errorf("node %s is not ready", n.name)
		}
	}
	if len(s.Tenants) != len(c.tenants) || s.Unassigned > 0 {
		return fmt.Errorf("%d of %d tenants are placed", len(s.Tenants)-s.Unassigned, len(c.tenants))
	}
	if len(s.Networks) == 0 || s.Networks[0].Position == 0 {
		return errors.New("no block is announced yet")
	}
	c.moved = map[string]uint64{}
	for _, t := range s.Tenants {
		c.moved[t.ID] = t.Moves
	}
	return nil
}

// watch shows alerts until the time is over, which is no error, and kills and
// restarts the watcher's node on the way.
func (c *demoCluster) watch(ctx context.Context) error {
	var over, kill, restart <-chan time.Time
	killAt := defaultKillAt
	if c.opts.duration > 0 {
		over = time.After(c.opts.duration)
		killAt = c.opts.duration / 3
	}
	if c.opts.killWatch {
		kill = time.After(killAt)
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return c.restart()
		case <-kill:
			if err := c.killWatcher(ctx); err != nil {
				return err
			}
			restart = time.After(restartAfter)
		case <-restart:
			restart = nil
			if err := c.restart(); err != nil {
				return err
			}
		case <-c.receiver.wake:
			c.showWaiting(ctx)
		case <-ticker.C:
		}
		if err := errors.Join(c.failed(), c.screen.err); err != nil {
			return err
		}
	}
}

// killWatcher kills the node that holds the lease, and measures how long blocks
// that the chain offers then take to be announced.
func (c *demoCluster) killWatcher(ctx context.Context) error {
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	holder := s.Networks[0].Holder
	i := slices.IndexFunc(c.nodes, func(n *demoNode) bool { return n.name == holder })
	if i < 0 {
		return fmt.Errorf("nobody watches the chain")
	}
	c.killed, c.before = c.nodes[i], s.Networks[0].Calls
	led := ""
	if s.Leader == holder {
		led = ", which also leads the cluster"
	}
	c.screen.show(c.screen.paint(red, "KILL -9") + " node " + holder + ", which watches the chain" + led + "\n\n")
	if err := c.killed.kill(); err != nil {
		return err
	}
	var survivor *demoNode
	for _, n := range c.nodes {
		if n != c.killed {
			survivor = n
		}
	}
	c.gap = gapMeter{killed: time.Now()}
	err = c.gap.measure(ctx, c.heads, func(ctx context.Context) (uint64, error) {
		s, err := survivor.client().LocalStatus(ctx)
		if err != nil || len(s.Networks) == 0 {
			return 0, err
		}
		return s.Networks[0].Head.Height, nil
	})
	if err != nil {
		return err
	}
	s, err = c.status(ctx)
	if err != nil {
		return err
	}
	c.screen.show(fmt.Sprintf("%s node %s watches the chain; no block waited longer than %s\n\n",
		c.screen.paint(green, "TAKEN OVER"), s.Networks[0].Holder, milliseconds(c.gap.longest)))
	return nil
}

func (c *demoCluster) restart() error {
	if c.killed == nil || c.killed.running() {
		return nil
	}
	n := c.killed
	again, err := startChild("node "+n.name, n.log, n.cmd.Path, n.args...)
	if err != nil {
		return err
	}
	n.child, c.killed = again, nil
	c.screen.show("node " + n.name + " is started again\n\n")
	return nil
}

// gapMeter finds the longest time from a block being offered by the chain to
// its announcement on a surviving node.
type gapMeter struct {
	killed  time.Time
	longest time.Duration
}

// measure ends once the blocks of a while after the take-over were announced.
func (g *gapMeter) measure(ctx context.Context, heads *headLog, announced func(context.Context) (uint64, error)) error {
	ctx, cancel := context.WithTimeout(ctx, gapPatience)
	defer cancel()
	waiting := map[uint64]time.Time{} // height -> offered
	var last uint64
	ticker := time.NewTicker(gapPoll)
	defer ticker.Stop()
	for passed := 0; ; {
		if tip, ok := heads.tip(); ok && tip.number > last && tip.at.After(g.killed) {
			for h := max(last+1, tip.number); h <= tip.number; h++ {
				waiting[h] = tip.at
			}
			last = tip.number
		}
		height, err := announced(ctx)
		if err == nil {
			now := time.Now()
			for h, at := range waiting {
				if h <= height {
					g.longest = max(g.longest, now.Sub(at))
					delete(waiting, h)
					passed++
				}
			}
		}
		if passed >= 3 && len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no node has taken over within %v (%d blocks wait): %w", gapPatience, len(waiting), errors.Join(err, context.Cause(ctx)))
		case <-ticker.C:
		}
	}
}
