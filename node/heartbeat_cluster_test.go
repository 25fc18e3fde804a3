package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/testcluster"
	"github.com/ozmo-dev/ozmo/worker/notify/webhook"
)

// signs are the newest heartbeats of nodes.
type signs struct {
	t *testing.T

	mu     sync.Mutex
	newest map[string]node.Heartbeat
}

func (s *signs) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node is gone
	}
	if err := webhook.Verify(r.Header, body, "watched", time.Minute); err != nil {
		s.t.Error(err)
	}
	var h node.Heartbeat
	if err := json.Unmarshal(body, &h); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, heard := s.newest[h.Node]; heard && h.Sequence != last.Sequence+1 {
		s.t.Errorf("node %s: heartbeat %d after %d", h.Node, h.Sequence, last.Sequence)
	}
	s.newest[h.Node] = h
}

func (s *signs) of(name string) node.Heartbeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[name]
}

// A node that is left without a quorum cannot alert, and says so.
func TestHeartbeatWithoutQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("watched"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := testcluster.New(t, testcluster.Options{Adjust: func(_ string, o *node.Options) {
			o.HeartbeatURL, o.HeartbeatInterval, o.HeartbeatSecretFile = "http://watchdog/k3y", time.Second, secret
		}})
		l, err := c.Net.Host("watchdog").Listen(":80")
		if err != nil {
			t.Fatal(err)
		}
		s := &signs{t: t, newest: map[string]node.Heartbeat{}}
		server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(l) }()
		defer func() { _ = server.Close(); <-served }()

		c.Eventually(time.Minute, func() error {
			for _, m := range c.Members() {
				h := s.of(m.Name)
				if q := h.Quorum; !h.Started || q.Leader == "" || q.Term == 0 || !q.HasContact || q.Voters != 3 || q.Alive != 3 {
					return fmt.Errorf("node %s: %+v", m.Name, h)
				}
				if len(h.Networks) != 1 || h.Networks[0].Head == 0 || h.Networks[0].Holder == "" || h.Networks[0].Stalled != "" {
					return fmt.Errorf("node %s: %+v", m.Name, h.Networks)
				}
			}
			return nil
		})
		c.Member("b").Kill()
		c.Member("c").Kill()
		c.Eventually(time.Minute, func() error {
			if q := s.of("a").Quorum; q.Leader != "" || q.HasContact || q.Voters != 3 || q.Alive != 1 {
				return fmt.Errorf("%+v", q)
			}
			return nil
		})
		// It goes on saying so.
		before := s.of("a").Sequence
		c.Eventually(time.Minute, func() error {
			if s.of("a").Sequence < before+5 {
				return errors.New("no more heartbeats")
			}
			return nil
		})
	})
}
