package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ozmo-dev/ozmo/testcluster/eventually"
)

// Nobody is asked, so that nothing is under way, when a name has no address.
func TestFoundersAreKnownBeforeTheyAreAsked(t *testing.T) {
	asked := make(chan string, 1)
	n := &Node{
		log: slog.New(slog.DiscardHandler), membership: &membership{Peers: map[string]string{"a": "a:7000", "b": "b:7000", "c": "c:7000"}},
		peers: &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			asked <- address
			return nil, errors.New("not there")
		}},
	}
	n.opts.Name, n.opts.Founders = "c", []string{"a", "c", "zz"}
	_, _, err := n.askFounders(t.Context())
	if err == nil || !strings.Contains(err.Error(), `names "zz", whose address is not known: the bundle has a, b, c`) {
		t.Errorf("error %v", err)
	}
	select {
	case address := <-asked:
		t.Errorf("%s was asked", address)
	default:
	}
	n.opts.Founders = []string{"a", "c"}
	if _, silent, err := n.askFounders(t.Context()); err != nil || silent["a"] == nil {
		t.Errorf("silent %v, %v", silent, err)
	}
}

// Who is waited for can be asked while a founding goes on.
func TestFoundersThatAreMissing(t *testing.T) {
	n := &Node{
		log: slog.New(slog.DiscardHandler), membership: &membership{Peers: map[string]string{"a": "a:7000", "c": "c:7000"}},
		peers: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("not there")
		}},
	}
	n.opts.Name, n.opts.Founders, n.opts.DataDir = "c", []string{"a", "c"}, t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := n.foundTogether(ctx); err == nil {
			t.Error("it began without the other")
		}
	}()
	eventually.Nil(t, func() error {
		if w := n.founders.awaited(); len(w) != 1 || !strings.HasPrefix(w[0], "a (") || !strings.Contains(w[0], "not there") {
			return fmt.Errorf("waits for %q", w)
		}
		return nil
	})
	cancel()
	<-ended
	if w := n.founders.awaited(); len(w) != 0 {
		t.Errorf("still waits for %q", w)
	}
}
