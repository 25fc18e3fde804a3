package testcluster

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestMain finds what tests have left behind, once what ends by itself has had the
// time for it.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if _, err := Eventually(lingering, func() error { return goleak.Find() }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

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
