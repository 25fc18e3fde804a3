//go:build netns

package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// TestPartitionNetns partitions nodes as a network does: each is in a network
// namespace of its own, and cables are pulled. It needs root and the command ip;
// where it cannot run it says why.
func TestPartitionNetns(t *testing.T) {
	lab := newLab(t)
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15", "--listen", labWorld+"1:0", "--insecure-listen")
	if _, err := chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	receiver := newReceiverAt(t, labWorld+"1:0")
	subjects := clusterSubjects()
	c := lab.cluster(t, dir)
	setUp(t, c.Folder, chain, receiver, subjects)
	d := drive(t, chain, blockTime, 1)
	c.Start(t)
	c.AwaitHealthy(t)
	for i := range 4 {
		victim := c.Leader(t)
		if i%2 == 1 {
			victim = c.Holder(t, subjects[0].network)
		}
		lab.pull(t, victim)
		Eventually(t, "the others going on without "+victim.Name, func(ctx context.Context) error {
			for _, m := range c.Members {
				if m == victim {
					continue
				}
				s, err := m.Local(ctx)
				if err != nil {
					return err
				}
				n, err := networkOf(s, subjects[0].network)
				if err != nil {
					return err
				}
				if s.Leader == "" || s.Leader == victim.Name || n.Holder == victim.Name || n.Holder == "" {
					return fmt.Errorf("node %s: leader %q, watcher %q", m.Name, s.Leader, n.Holder)
				}
			}
			return nil
		})
		// The others may go on before the victim's contact has run out: the epoch fences it.
		Eventually(t, victim.Name+" knowing that it is alone", func(ctx context.Context) error {
			if err := victim.Ready(ctx); err == nil {
				return fmt.Errorf("node %s is ready, although its cable is pulled", victim.Name)
			}
			return nil
		})
		lab.plug(t, victim)
		c.AwaitHealthy(t)
	}
	info := d.rest(t)
	c.AwaitCaughtUp(t, chain)
	got := checkIdentity(t, receiver.Deliveries(t))
	for i := range subjects {
		if o, _ := subjects[i].compare(t, c.Members[i%3].Node, chain, info.Head.Number, got, d.dead); o.lost > 0 || o.skipped > 0 {
			t.Errorf("%d lost, %d skipped", o.lost, o.skipped)
		}
	}
	c.Terminate(t)
}

// lab is two networks with a namespace for each node plugged into both: one is
// between the nodes, the other leads to the chain and the receiver. Their
// addresses are of the range that is set aside for tests of networks.
type lab struct{ nodes, world string } // bridges

const (
	labNodes = "198.18.77."
	labWorld = "198.18.78."
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("network namespaces need the command ip: run `make test`, which installs it where it may, or install the package iproute2")
	}
	prefix := fmt.Sprintf("oz%d", os.Getpid()%100000)
	l := &lab{prefix + "n", prefix + "w"}
	for _, bridge := range []string{l.nodes, l.world} {
		if err := ip("link", "add", bridge, "type", "bridge"); err != nil {
			t.Skipf("network namespaces are not possible here: %v", err)
		}
		t.Cleanup(func() {
			if err := ip("link", "del", bridge); err != nil {
				t.Error(err)
			}
		})
		l.must(t, "link", "set", bridge, "up")
	}
	l.must(t, "addr", "add", labWorld+"1/24", "dev", l.world)
	return l
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (l *lab) must(t *testing.T, args ...string) {
	t.Helper()
	if err := ip(args...); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) space(m *Member) string { return l.nodes + m.Name }

// cluster makes three nodes, each in its namespace.
func (l *lab) cluster(t *testing.T, dir string) *Cluster {
	t.Helper()
	c := &Cluster{Dir: dir, Folder: Folder{filepath.Join(dir, "config")}, founders: "a,b,c"}
	addresses := map[string]string{}
	for i, name := range []string{"a", "b", "c"} {
		m := c.add(t, name)
		space := l.space(m)
		if err := ip("netns", "add", space); err != nil {
			t.Skipf("network namespaces are not possible here: %v", err)
		}
		t.Cleanup(func() {
			if err := ip("netns", "del", space); err != nil {
				t.Error(err)
			}
		})
		for k, cable := range []struct{ bridge, net, end string }{{l.nodes, labNodes, "eth0"}, {l.world, labWorld, "eth1"}} {
			near := fmt.Sprintf("%s%d", space, k)
			l.must(t, "link", "add", near, "type", "veth", "peer", "name", cable.end, "netns", space)
			l.must(t, "link", "set", near, "master", cable.bridge, "up")
			l.must(t, "-n", space, "addr", "add", fmt.Sprintf("%s%d/24", cable.net, 10+i), "dev", cable.end)
			l.must(t, "-n", space, "link", "set", cable.end, "up")
		}
		l.must(t, "-n", space, "link", "set", "lo", "up")
		m.Cluster = fmt.Sprintf("%s%d:7000", labNodes, 10+i)
		m.Address, m.by = m.Cluster, []string{"ip", "netns", "exec", space}
		addresses[name] = m.Address
	}
	bundles, err := pki.NewBundles("test", addresses)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := pki.WriteBundles(filepath.Join(dir, "bundles"), bundles)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range c.Members {
		m.Bundle = paths[i]
	}
	return c
}

// pull takes a node's cable to the others out, plug puts it in again.
func (l *lab) pull(t *testing.T, m *Member) { l.must(t, "link", "set", l.space(m)+"0", "down") }
func (l *lab) plug(t *testing.T, m *Member) { l.must(t, "link", "set", l.space(m)+"0", "up") }
