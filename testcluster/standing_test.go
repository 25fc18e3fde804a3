package testcluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
)

// A node that was removed and still runs finds out, and says so.
func TestRemovedNodeNotices(t *testing.T) {
	run(t, Options{Nodes: 4, Idle: true}, func(t *testing.T, c *Cluster) {
		for _, name := range []string{"d", "c"} { // without a vote, and with one
			m := c.Member(name)
			if m.Node().Status().Removed {
				t.Fatalf("node %s takes itself for removed", name)
			}
			c.Remove(name)
			c.Eventually(time.Minute, func() error {
				if s := m.Node().Status(); !s.Removed {
					return fmt.Errorf("node %s has not noticed: %+v", name, s)
				}
				return nil
			})
			if err := m.Ready(); !errors.Is(err, fsm.ErrRemoved) {
				t.Errorf("node %s is ready: %v", name, err)
			}
			m.Stop()
		}
		c.wantLog("this node takes no part any more", "this node was removed from the cluster")
		for _, m := range c.Running() {
			if m.Node().Status().Removed {
				t.Errorf("node %s takes itself for removed", m.Name)
			}
		}
	})
}

// What no node can do is told, and no operator brings it about unwarned.
func TestNobodyIsLeftForARole(t *testing.T) {
	roles := map[string]string{"a": "worker,api", "b": "watcher,api", "c": "api"}
	run(t, Options{Adjust: func(name string, o *node.Options) { o.Roles = roles[name] }}, func(t *testing.T, c *Cluster) {
		if s := c.Status(); len(s.Problems) > 0 {
			t.Fatalf("problems %q", s.Problems)
		}
		for name, words := range map[string]string{"a": `"a" is the only one that takes tenants`, "b": `"b" is the only one that watches networks`} {
			if err := c.Leader().Node().DrainNode(t.Context(), name, true); !errors.Is(err, api.ErrRefused) || !strings.Contains(err.Error(), words) {
				t.Errorf("drain %s: %v", name, err)
			}
		}
		if err := c.Leader().Node().DrainNode(t.Context(), "c", true); err != nil {
			t.Errorf("drain c: %v", err)
		}
		for _, tc := range []struct{ name, problem, check string }{
			{"b", "no node with the role watcher is ready, so nobody watches 1 network (b is down)", "watchers"},
			{"a", "no node with the role worker is ready, so nobody judges 2 tenants (a is down)", "workers"},
		} {
			m := c.Member(tc.name)
			m.Kill()
			c.Eventually(time.Minute, func() error {
				leader := c.Leader()
				if leader == nil {
					return errors.New("no leader")
				}
				text := strings.Join(leader.Node().Status().Problems, "; ")
				if !strings.Contains(text, tc.problem) || tc.check == "watchers" && !strings.Contains(text, "network net: node b, which watches it, is down") {
					return fmt.Errorf("problems %q", text)
				}
				for _, check := range leader.Node().Ready() {
					if check.Name == tc.check && check.Err == nil {
						return fmt.Errorf("readyz: %s is in order", check.Name)
					}
				}
				return nil
			})
			m.Restart()
			m.AwaitReady()
			c.Eventually(time.Minute, func() error {
				for _, check := range c.Leader().Node().Ready() {
					if check.Err != nil {
						return fmt.Errorf("readyz: %s: %w", check.Name, check.Err)
					}
				}
				if s := c.Status(); len(s.Problems) > 0 {
					return fmt.Errorf("problems %q", s.Problems)
				}
				return nil
			})
		}
	})
}
