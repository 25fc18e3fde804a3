package node_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/testcluster"
)

// longName is a monitor's name that no compression makes much shorter, and so a way
// to large deliveries: each holds it three times.
func longName(length int) string {
	const digits = "0123456789abcdef"
	random := rand.New(rand.NewPCG(1, 2))
	name := make([]byte, length)
	for i := range name {
		name[i] = digits[random.IntN(len(digits))]
	}
	return string(name)
}

// One height with more than a tenant's outbox holds goes there by parts, and what
// does not fit there at all is told.
func TestReplayOfMoreThanTheOutboxHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testcluster.New(t, testcluster.Options{Nodes: 1, Voters: 1, Tenants: 1, Idle: true})
		const matches = 250
		large := c.Extend("net", matches).Number
		small := c.Extend("net", 1).Number
		c.Extend("net", 0)
		c.Rest()
		fits, never := longName(35_000), longName(200_000)
		c.Write("tenants/t000/monitors/fits.json", monitorDoc(fits, true, "hook"))
		c.Write("tenants/t000/monitors/never.json", monitorDoc(never, true, "hook"))
		takeOver(c)

		q := api.Replay{Tenant: "t000", Monitor: fits, Network: "net", From: large, To: small, Send: true}
		if out := replay(t, c, q); out.Sent != matches+1 || out.Dead != 0 || !out.matches[0].Deliveries[0].Sent {
			t.Errorf("%d sent, %d dead, want all of %d sent", out.Sent, out.Dead, matches+1)
		}
		c.Eventually(settle, func() error { return countKeys(c, matches+1) })
		if n := c.View().DeadLen(); n != 0 {
			t.Errorf("%d dead letters", n)
		}
		for key, n := range deliveredKeys(c) {
			if n != 1 {
				t.Errorf("key %s came %d times", key, n)
			}
		}

		q.Monitor, q.From = never, small
		out := replay(t, c, q)
		if d := out.matches[0].Deliveries[0]; out.Sent != 0 || out.Dead != 1 || d.Sent || !d.Dead {
			t.Errorf("%d sent, %d dead, %+v; want a dead letter", out.Sent, out.Dead, d)
		}
		if _, ok := c.View().FindDead("t000", out.matches[0].Deliveries[0].Key); !ok {
			t.Error("it is no dead letter")
		}
		q.Send = false
		replay(t, c, q).want(t, 1, api.BeforeYes, "dead letter")
		if n := len(deliveredKeys(c)); n != matches+1 {
			t.Errorf("%d deliveries came", n)
		}
	})
}
