package consensus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestWatchdog(t *testing.T) {
	wedged := fmt.Errorf("propose: %w", raft.ErrLeadershipTransferInProgress)
	for _, c := range []struct {
		name   string
		probes []error // the last one repeats
		fatal  bool
	}{
		{"for ever", []error{wedged}, true},
		{"a transfer that ends", []error{wedged, wedged, nil}, false},
		{"another error", []error{wedged, raft.ErrNotLeader}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var died error
				var at time.Duration
				begin := time.Now()
				n := 0
				probe := func() error {
					n++
					return c.probes[min(n, len(c.probes))-1]
				}
				w := newWatchdog(2, probe, func(err error) { died, at = err, time.Since(begin) })
				closed := make(chan struct{})
				go w.run(closed)
				w.saw(errors.New("something else"))
				<-time.After(time.Minute)
				synctest.Wait()
				if n > 0 {
					t.Fatal("it looked for a transfer that nobody saw")
				}
				begin = time.Now()
				for range 3 {
					w.saw(wedged)
				}
				<-time.After(time.Minute)
				synctest.Wait()
				if (died != nil) != c.fatal {
					t.Fatalf("fatal: %v", died)
				}
				if c.fatal && (at != 2*wedgedAfter || !strings.Contains(died.Error(), "restart")) {
					t.Fatalf("after %v: %v", at, died)
				}
				close(closed)
			})
		})
	}
}
