package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ozmo-dev/ozmo/watcher/chain"
	"github.com/ozmo-dev/ozmo/watcher/chain/rpc"
)

// lines collects a log that several goroutines write.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	once sync.Once
	said chan struct{} // closed with the first line
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once.Do(func() { close(l.said) })
	return l.buf.Write(p)
}

// All connections of a pool, those of subscriptions included, are opened by the
// dialer it is given; an endpoint that this refuses is a reason of its own.
func TestDialerRefuses(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, server.URL) // would be asked in the dialer's stead
	}
	var mu sync.Mutex
	var dialled []string
	log := &lines{said: make(chan struct{})}
	p, err := rpc.NewPool(rpc.Options{
		Network: "acme/net",
		Endpoints: []rpc.Endpoint{
			{URL: "http://node.example/k3y", Weight: 1}, {URL: "ws://heads.example/k3y", Weight: 1},
		},
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, network+" "+address)
			return nil, fmt.Errorf("%w: by the operator", rpc.ErrForbidden)
		},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.Call(t.Context(), rpc.HeadPoll, "eth_blockNumber")
	if !errors.Is(err, rpc.ErrForbidden) || chain.Reason(err) != rpc.ReasonForbidden || !strings.Contains(err.Error(), "by the operator") || strings.Contains(err.Error(), "k3y") {
		t.Errorf("error %v, reason %s", err, chain.Reason(err))
	}
	heads, err := p.Subscribe(t.Context(), "eth_subscribe", "newHeads")
	if err != nil {
		t.Fatal(err)
	}
	<-log.said
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range heads {
		t.Error("a head from nowhere")
	}
	mu.Lock()
	defer mu.Unlock()
	log.mu.Lock()
	defer log.mu.Unlock()
	if len(dialled) < 2 || dialled[0] != "tcp node.example:80" || dialled[1] != "tcp heads.example:80" || requests.Load() != 0 {
		t.Errorf("dialled %v, %d requests", dialled, requests.Load())
	}
	if text := log.buf.String(); !strings.Contains(text, "by the operator") || strings.Contains(text, "k3y") {
		t.Errorf("log: %s", text)
	}
}

// What the dialer connects to is used, and redirects are not followed.
func TestDialerConnects(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"0x7"}`)
	}))
	t.Cleanup(server.Close)
	call := func(url string) (string, error) {
		p, err := rpc.NewPool(rpc.Options{
			Network: "acme/net", Endpoints: []rpc.Endpoint{{URL: url, Weight: 1}},
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, server.Listener.Addr().String())
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		reply, err := p.Call(t.Context(), rpc.HeadPoll, "eth_blockNumber")
		if err != nil {
			return "", err
		}
		defer reply.Release()
		return string(reply.Result), nil
	}
	if got, err := call("http://node.example/"); err != nil || got != `"0x7"` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := call("http://node.example/elsewhere"); err == nil || !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("a redirect: %v", err)
	}
}
