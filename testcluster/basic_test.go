package testcluster

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a test of a cluster in virtual time.
func run(t *testing.T, o Options, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, o)
		test(t, c)
	})
}

func TestNoFaults(t *testing.T) {
	run(t, Options{Tenants: 4}, func(t *testing.T, c *Cluster) {
		c.Traffic()
		c.Sleep(10 * time.Second)
		r := c.CheckOnce()
		t.Logf("%+v", r)
		if r.Blocks < 35 || r.Deliveries != 4*r.Blocks {
			t.Errorf("%+v", r)
		}
	})
}
