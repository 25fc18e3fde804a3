package testcluster

import (
	"errors"
	"fmt"
	"io"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
)

// joinWithin is how long, in virtual time, joining may take.
const joinWithin = time.Minute

// Join adds a node as an operator does: with a token, by way of the leader.
func (c *Cluster) Join(name string) *Member {
	c.t.Helper()
	ctx, cancel := c.within(joinWithin)
	defer cancel()
	leader := c.Leader()
	token, err := leader.Node().CreateToken(ctx, time.Hour)
	if err != nil {
		c.Fatalf("token: %v", err)
	}
	m := c.newMember(name)
	m.start()
	if _, err := m.Node().Join(ctx, api.Join{Token: token.Token, Address: token.Address}, func(string) {}); err != nil {
		c.Fatalf("node %s: join: %v", name, err)
	}
	return m
}

// MoveLease has a node watch a network and waits until it does.
func (c *Cluster) MoveLease(network string, to *Member) {
	c.t.Helper()
	ctx, cancel := c.within(settleWithin)
	defer cancel()
	if err := c.Leader().Node().MoveLease(ctx, api.LeaseMove{Network: network, To: to.Name}); err != nil {
		c.Fatalf("move %s to %s: %v", network, to.Name, err)
	}
	c.Eventually(settleWithin, func() error {
		if h := c.Holder(network); h != to {
			return fmt.Errorf("network %s is not with %s", network, to.Name)
		}
		return nil
	})
}

// Pin has a tenant judged by a node; empty ends it.
func (c *Cluster) Pin(tenant, node string) {
	c.t.Helper()
	ctx, cancel := c.within(settleWithin)
	defer cancel()
	if err := c.Leader().Node().PlaceTenant(ctx, api.Placement{Tenant: tenant, Pin: &node}); err != nil {
		c.Fatalf("pin %s to %s: %v", tenant, node, err)
	}
}

// Remove takes a node out of the cluster, as often as the command has to be
// repeated.
func (c *Cluster) Remove(name string) {
	c.t.Helper()
	c.Eventually(settleWithin, func() error {
		leader := c.Leader()
		if leader == nil {
			return errors.New("no leader")
		}
		ctx, cancel := c.within(settleWithin)
		defer cancel()
		return leader.Node().RemoveNode(ctx, name)
	})
}

// Restore has the leader put an archive in the place of the state. What was
// announced since the archive was made may come again at other positions.
func (c *Cluster) Restore(archive io.Reader) api.Restored {
	c.t.Helper()
	c.restored = true
	c.seen.replace()
	leader := c.Leader().Node()
	done, err := leader.Restore(c.t.Context(), archive, false)
	if err != nil {
		c.Fatalf("restore: %v", err)
	}
	// What was seen before is of another sequence, once nobody shows it any more.
	installed := leader.View().Index()
	c.Eventually(settleWithin, func() error {
		for _, m := range c.Running() {
			if at := m.Node().View().Index(); at < installed {
				return fmt.Errorf("node %s is at log index %d, the archive is installed at %d", m.Name, at, installed)
			}
		}
		return nil
	})
	synctest.Wait() // whoever still looks at an older state has noted it
	c.seen.forget()
	return done
}

// Owners tells for every tenant which node judges it.
func (c *Cluster) Owners() map[string]string {
	out := map[string]string{}
	v := c.View()
	for i := range c.opts.Tenants {
		if t, ok := v.Tenant(TenantName(i)); ok {
			out[t.ID] = v.Owner(t)
		}
	}
	return out
}

// AwaitVoters waits until so many servers vote, all of them nodes that run.
func (c *Cluster) AwaitVoters(want int) {
	c.t.Helper()
	c.Eventually(settleWithin, func() error {
		leader := c.Leader()
		if leader == nil {
			return errors.New("no leader")
		}
		s := leader.Node().Status()
		running := 0
		for _, n := range s.Nodes {
			if n.State == api.NodeReady && (n.Raft == api.RaftVoter || n.Raft == api.RaftLeader) {
				running++
			}
		}
		if s.Voters != want || running != want || len(s.Pending) > 0 {
			return fmt.Errorf("%d voters, %d of them ready, want %d; due: %v", s.Voters, running, want, s.Pending)
		}
		return nil
	})
}
