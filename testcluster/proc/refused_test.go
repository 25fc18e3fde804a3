package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// TestRefused has nodes come to a cluster in ways they should not: each is told
// why, and the cluster is none the worse for it.
func TestRefused(t *testing.T) {
	dir := Dir(t)
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "15")
	receiver := NewReceiver(t)
	subjects := clusterSubjects()[:3]
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3})
	setUp(t, c.Folder, chain, receiver, subjects)
	if _, err := chain.Commit(t.Context(), 2*deepest); err != nil {
		t.Fatal(err)
	}
	d := drive(t, chain, blockTime, 1)
	c.Start(t)
	c.AwaitHealthy(t)
	a := c.Members[0]

	t.Run("token of a cluster with another CA", func(t *testing.T) {
		ca, err := pki.NewCA("test")
		if err != nil {
			t.Fatal(err)
		}
		n := newStranger(t, c, "d")
		n.refused(t, api.Join{Token: pki.NewToken(ca.Fingerprint()).Reveal(), Address: a.Address}, "CA")
	})
	t.Run("unknown token", func(t *testing.T) {
		made, err := a.client.CreateToken(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		token, err := pki.ParseToken(made.Token)
		if err != nil {
			t.Fatal(err)
		}
		n := newStranger(t, c, "d")
		n.refused(t, api.Join{Token: pki.NewToken(token.Fingerprint).Reveal(), Address: a.Address}, "token")
	})
	t.Run("expired token", func(t *testing.T) {
		made, err := a.client.CreateToken(t.Context(), time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Until(made.Expires) + 10*time.Millisecond)
		newStranger(t, c, "d").refused(t, api.Join{Token: made.Token, Address: a.Address}, "expired")
	})
	t.Run("used token", func(t *testing.T) {
		made, err := a.client.CreateToken(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		join := api.Join{Token: made.Token, Address: a.Address}
		d := newStranger(t, c, "d")
		if _, err := d.client.Join(t.Context(), join, nil); err != nil {
			t.Fatal(err)
		}
		newStranger(t, c, "e").refused(t, join, "used")
		d.Terminate(t, Patience)
		Eventually(t, "removal of d", func(ctx context.Context) error {
			return c.Leader(t).client.RemoveNode(ctx, "d")
		})
	})
	t.Run("name of a running node", func(t *testing.T) {
		made, err := a.client.CreateToken(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		newStranger(t, c, "b").refused(t, api.Join{Token: made.Token, Address: a.Address}, `"b" is running at `+c.Node("b").Address)
	})
	t.Run("name of a running node, with its bundle", func(t *testing.T) {
		n := newStranger(t, c, "b", "--bundle", c.Node("b").Bundle, "--bootstrap", c.founders)
		n.ends(t, `"b" is running at `+c.Node("b").Address)
	})
	t.Run("bundle of another cluster", func(t *testing.T) {
		addresses := map[string]string{"d": fixedAddress(t)}
		for _, m := range c.Members {
			addresses[m.Name] = m.Address
		}
		bundles, err := pki.NewBundles("other", addresses)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := pki.WriteBundles(filepath.Join(Dir(t), "bundles"), bundles)
		if err != nil {
			t.Fatal(err)
		}
		n := newStranger(t, c, "d", "--bundle", paths[3], "--bootstrap", c.founders+",d")
		Eventually(t, "a word on the refused connections", func(context.Context) error {
			if err := n.Running(); err != nil {
				return err
			}
			_, err := n.Log.Line(0, "waiting for the other founders", `belongs to cluster \"test\", this one to \"other\"`)
			return err
		})
		Eventually(t, "the cluster's word on them", func(context.Context) error {
			_, err := a.Log.Line(0, "connection to the cluster port refused")
			return err
		})
		n.Kill()
	})
	t.Run("bundle of another node", func(t *testing.T) {
		n := newStranger(t, c, "d", "--bundle", a.Bundle, "--bootstrap", c.founders)
		n.ends(t, `is for node "a", this is "d"`)
	})
	t.Run("data directory of another node", func(t *testing.T) {
		n := newStranger(t, c, "d")
		n.Process.Kill()
		if err := os.WriteFile(filepath.Join(n.Data, "node.json"), []byte(`{"name": "a", "instance": "00000000"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		n.start(t)
		n.ends(t, `belongs to node "a", not "d"`)
	})
	t.Run("disk of one node is full", func(t *testing.T) { oneDiskFull(t, c) })

	c.Start(t) // there is room again
	c.AwaitHealthy(t)
	info := d.rest(t)
	c.AwaitCaughtUp(t, chain)
	got := checkIdentity(t, receiver.Deliveries(t))
	for i := range subjects {
		if o, _ := subjects[i].compare(t, a.Node, chain, info.Head.Number, got, d.dead); o.lost > 0 || o.skipped > 0 {
			t.Errorf("%d lost, %d skipped", o.lost, o.skipped)
		}
	}
	c.Terminate(t)
}

// oneDiskFull lets the files of the leader grow no further: it must end and say
// why, and the others go on.
func oneDiskFull(t *testing.T, c *Cluster) {
	m := c.Leader(t)
	log, err := os.Stat(filepath.Join(m.Data, "raft", "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	switch err := m.LimitFiles(uint64(log.Size())); {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	mark := m.Log.Mark()
	if code := m.Exit(t, Patience); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if line, err := m.Log.Line(mark, "ozmo:", "is the disk full"); err != nil {
		t.Error(err)
	} else {
		t.Log(line)
	}
	Eventually(t, "the others going on", func(ctx context.Context) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, n := range s.Networks {
			if n.Holder == m.Name || n.Holder == "" {
				return fmt.Errorf("network %s is with %q", n.Key, n.Holder)
			}
		}
		for _, tenant := range s.Tenants {
			if tenant.Assigned == m.Name || tenant.Assigned == "" {
				return fmt.Errorf("tenant %s is with %q", tenant.ID, tenant.Assigned)
			}
		}
		return nil
	})
}

// stranger is a node that is no part of a cluster.
type stranger struct {
	*Member
	args []string
}

// newStranger runs a node on an empty data directory.
func newStranger(t *testing.T, c *Cluster, name string, more ...string) *stranger {
	t.Helper()
	other := &Cluster{Dir: Dir(t), Folder: c.Folder}
	n := &stranger{Member: other.add(t, name), args: more}
	n.start(t)
	return n
}

func (n *stranger) start(t *testing.T) {
	t.Helper()
	n.Member.Start(t, n.args...)
	t.Cleanup(n.Kill)
	if len(n.args) > 0 || n.Running() != nil {
		return
	}
	Eventually(t, "the socket", func(ctx context.Context) error {
		if n.Running() != nil {
			return nil // it has been refused: the caller wants to know how
		}
		_, err := n.Local(ctx)
		return err
	})
}

// refused has the node join and wants it to be told why not.
func (n *stranger) refused(t *testing.T, j api.Join, why string) {
	t.Helper()
	_, err := n.client.Join(t.Context(), j, nil)
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("joining: %v, want %q", err, why)
	} else {
		t.Log(err)
	}
	if err := n.Running(); err != nil {
		t.Error(err) // it waits for a better token
	}
	n.Terminate(t, Patience)
}

// ends wants the node to end by itself and say why.
func (n *stranger) ends(t *testing.T, why string) {
	t.Helper()
	if code := n.Exit(t, Patience); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	line, err := n.Log.Line(0, "ozmo:", why)
	if err != nil {
		t.Error(err)
	}
	t.Log(line)
}

func TestBootstrapListsDiffer(t *testing.T) {
	dir := Dir(t)
	c := NewCluster(t, dir, ClusterOptions{Nodes: 3})
	chain := StartChain(t, dir, "--block-time", "0", "--rate", "0")
	receiver := NewReceiver(t)
	setUp(t, c.Folder, chain, receiver, clusterSubjects()[:1])
	c.Node("a").Start(t)
	c.founders = "a,b"
	b := c.Node("b")
	b.Start(t)
	Eventually(t, "an end of one of the two", func(context.Context) error {
		for _, m := range []*Member{c.Node("a"), b} {
			if m.Up() {
				continue
			}
			line, err := m.Log.Line(0, "ozmo:", "the --bootstrap lists differ", "a,b,c")
			if err != nil {
				return fmt.Errorf("%w: %w", ErrInVain, err)
			}
			t.Log(line)
			return nil
		}
		return errors.New("both run")
	})
}
