package proc

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/client"
)

// Node is a node's folders and, while it runs, its process.
type Node struct {
	*Process // of the last start

	Data   string // data directory
	Listen string // address of health and metrics
	Log    *Log
	Folder Folder // configuration; of an empty name: none
}

// NewNode makes the folders of a node in dir. It does not run yet.
func NewNode(t testing.TB, dir string) *Node {
	t.Helper()
	n := &Node{
		Data: filepath.Join(dir, "data"), Listen: FreeAddress(t),
		Log: NewLog(t, filepath.Join(dir, "ozmo.log")), Folder: Folder{filepath.Join(dir, "config")},
	}
	t.Cleanup(func() {
		// Whatever else it did: of these no run may have a trace.
		for _, mark := range []string{"DATA RACE", "panic"} {
			if line, err := n.Log.Line(0, mark); err == nil {
				t.Errorf("the node's log: %s", line)
			}
		}
	})
	return n
}

// Start runs `ozmo serve` on the node's folders and does not wait for it.
func (n *Node) Start(t testing.TB, more ...string) {
	t.Helper()
	args := []string{"serve", "--bootstrap", "--cluster-listen", "127.0.0.1:0", "--data", n.Data, "--listen", n.Listen}
	if n.Folder.Dir != "" {
		args = append(args, "--config", n.Folder.Dir)
	}
	n.Process = Start(t, n.Log, "ozmo", append(args, more...)...)
}

// Client is a client of the node's socket, for this start of the process.
func (n *Node) Client() *client.Client { return client.New(n.Data) }

// Started reports whether the node has read its log and its folder. It need
// not have an endpoint that answers.
func (n *Node) Started(ctx context.Context) error {
	return n.check(ctx, func(_ int, body string) bool { return strings.Contains(body, "[+]started ok\n") })
}

// Ready reports whether the node does all its work.
func (n *Node) Ready(ctx context.Context) error {
	return n.check(ctx, func(status int, _ string) bool { return status == http.StatusOK })
}

// AwaitStarted waits for Started.
func (n *Node) AwaitStarted(t testing.TB) {
	t.Helper()
	Eventually(t, "the node's start", n.Started)
}

// AwaitReady waits for Ready.
func (n *Node) AwaitReady(t testing.TB) {
	t.Helper()
	Eventually(t, "the node's readiness", n.Ready)
}

// check asks readyz over the socket.
func (n *Node) check(ctx context.Context, good func(status int, body string) bool) error {
	if err := n.Running(); err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(n.Data, "ozmo.sock"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DialContext: dial, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !good(resp.StatusCode, string(body)) {
		err = fmt.Errorf("readyz: %d\n%s", resp.StatusCode, body)
	}
	return err
}

// Terminate sends SIGTERM, waits and wants exit code 0.
func (n *Node) Terminate(t testing.TB, limit time.Duration) {
	t.Helper()
	n.Signal(t, syscall.SIGTERM)
	if code := n.Exit(t, limit); code != 0 {
		t.Fatalf("after SIGTERM the exit code is %d", code)
	}
}

// CaughtUp reports whether the node has announced the chain's head, judged
// everything and delivered everything.
func (n *Node) CaughtUp(ctx context.Context, c *Chain) (api.Status, error) {
	if err := n.Running(); err != nil {
		return api.Status{}, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return api.Status{}, err
	}
	s, err := n.Client().Status(ctx)
	if err != nil {
		return s, err
	}
	if len(s.Networks) == 0 {
		return s, fmt.Errorf("no network in %+v", s)
	}
	for _, network := range s.Networks {
		switch {
		case network.Head.Height != info.Head.Number || network.Head.Hash.String() != info.Head.Hash:
			return s, fmt.Errorf("network %s is at %v, the chain at %+v", network.Key, network.Head, info.Head)
		case network.Judged != network.Position:
			return s, fmt.Errorf("network %s: judged to position %d of %d", network.Key, network.Judged, network.Position)
		}
	}
	if s.Outbox > 0 {
		return s, fmt.Errorf("%d deliveries are in the outbox", s.Outbox)
	}
	return s, nil
}

// AwaitCaughtUp waits for CaughtUp. The chain must stand still.
func (n *Node) AwaitCaughtUp(t testing.TB, c *Chain) (s api.Status) {
	t.Helper()
	Eventually(t, "catching up with the chain", func(ctx context.Context) (err error) {
		s, err = n.CaughtUp(ctx, c)
		return err
	})
	return s
}
