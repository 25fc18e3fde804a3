package egress

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ozmo-dev/ozmo/worker/notify"
)

// throughHTTP is an HTTP channel behind a guard. Names are answered by w, and
// connections are really made, public addresses standing for the server's.
func throughHTTP(t *testing.T, w *world, server string, o Options) *notify.HTTP {
	t.Helper()
	o.Resolver = w
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		w.dialled = append(w.dialled, address)
		w.mu.Unlock()
		if a := netip.MustParseAddrPort(address).Addr(); !a.IsLoopback() && !a.IsPrivate() {
			address = server
		}
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	client := notify.NewHTTPClient(g.Dial, nil)
	t.Cleanup(client.CloseIdleConnections)
	return notify.NewHTTP(client)
}

func post(address string) notify.Request {
	return notify.Request{Method: http.MethodPost, URL: address, Header: http.Header{}, Body: []byte("{}")}
}

func TestEgressThroughHTTP(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	at := server.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(at)
	names := func() map[string][][]string {
		return map[string][][]string{
			"public.example": {{"1.1.1.1"}}, "local.example": {{"127.0.0.1"}}, "localhost": {{"127.0.0.1", "::1"}},
			"localhost.": {{"127.0.0.1"}}, "public.example.": {{"1.1.1.1"}},
		}
	}
	for address, ok := range map[string]bool{
		"http://public.example/":                                 true,
		"http://public.example./":                                true,
		"http://127.0.0.1@public.example/":                       true, // the host is what stands behind the @
		"http://127.0.0.1:80@public.example/":                    true,
		"http://public.example/@127.0.0.1/":                      true,
		"http://public.example?@127.0.0.1/":                      true,
		"http://public.example#@127.0.0.1/":                      true,
		"http://[::ffff:1.1.1.1]/":                               true,
		"http://127.0.0.1:" + port:                               false,
		"http://localhost:" + port:                               false,
		"http://localhost.:" + port:                              false,
		"http://LOCALHOST:" + port:                               false,
		"http://local.example:" + port:                           false,
		"http://[::1]:" + port:                                   false,
		"http://[::ffff:127.0.0.1]:" + port:                      false,
		"http://[::ffff:7f00:1]:" + port:                         false,
		"http://[::1%25lo]:" + port:                              false,
		"http://[::]:" + port:                                    false,
		"http://0.0.0.0:" + port:                                 false,
		"http://0:" + port:                                       false,
		"http://2130706433:" + port:                              false,
		"http://0177.0.0.1:" + port:                              false,
		"http://0x7f.1:" + port:                                  false,
		"http://127.1:" + port:                                   false,
		"http://127.0.0.1.:" + port:                              false,
		"http://１２７.０.０.１:" + port:                               false,
		"http://127。0。0。1:" + port:                               false,
		"http://public.example@127.0.0.1:" + port:                false,
		"http://public.example:80@127.0.0.1:" + port:             false,
		"http://public.example%40127.0.0.1:" + port:              false,
		"http://user:public.example@[::1]:" + port:               false,
		"http://169.254.169.254/latest/meta-data/":               false,
		"http://metadata.google.internal/computeMetadata/v1/":    false,
		"http://public.example\\@127.0.0.1:" + port:              false,
		"http://127.0.0.1:" + port + "\\@public.example/":        false,
		"http://127.0.0.1:" + port + "#@public.example/":         false,
		"http://127.0.0.1:" + port + "?x=http://public.example/": false,
	} {
		before := requests.Load()
		w := &world{names: names()}
		res, err := throughHTTP(t, w, at, Options{}).Do(t.Context(), post(address))
		if ok != (err == nil) || ok != (requests.Load() == before+1) {
			t.Errorf("%s: %+v, %v, %d requests", address, res, err, requests.Load()-before)
		}
		if !ok && (!res.Permanent || len(w.dialled) > 0) {
			t.Errorf("%s: %+v, %v: dialled %v", address, res, err, w.dialled)
		}
	}
	// What the operator allows is delivered.
	res, err := throughHTTP(t, &world{}, at, Options{Allow: []string{"127.0.0.0/8"}}).Do(t.Context(), post(server.URL))
	if err != nil || res.Status != http.StatusOK {
		t.Errorf("%+v, %v", res, err)
	}
}

// The answer's Location leads nowhere, whatever it says.
func TestEgressRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Bool
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	t.Cleanup(inner.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(inner.URL, status))
		w := &world{names: map[string][][]string{"public.example": {{"1.1.1.1"}}}}
		res, err := throughHTTP(t, w, server.Listener.Addr().String(), Options{}).Do(t.Context(), post("http://public.example/"))
		server.Close()
		if !errors.Is(err, notify.ErrRefused) || !res.Permanent || res.Status != status || followed.Load() || len(w.dialled) != 1 {
			t.Errorf("%d: %+v, %v, dialled %v, followed %t", status, res, err, w.dialled, followed.Load())
		}
	}
}

// A proxy would make the connection in our place, and the guard would only see
// the proxy.
func TestEgressProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	w := &world{names: map[string][][]string{"public.example": {{"1.1.1.1"}}, "local.example": {{"127.0.0.1"}}}}
	h := throughHTTP(t, w, server.Listener.Addr().String(), Options{})
	if res, err := h.Do(t.Context(), post("http://public.example/")); res.Status != http.StatusNotFound || asked.Load() {
		t.Errorf("%+v, %v, proxy asked %t", res, err, asked.Load())
	}
	if _, err := h.Do(t.Context(), post("http://local.example/")); !errors.Is(err, notify.ErrForbidden) || asked.Load() {
		t.Errorf("%v, proxy asked %t", err, asked.Load())
	}
}

// A certificate is checked against the name, although the address is dialled.
func TestEgressKeepsTheNameForTLS(t *testing.T) {
	var name atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { name.Store(r.TLS.ServerName + " " + r.Host) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	transport, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the server's client has another transport")
	}
	w := &world{names: map[string][][]string{"example.com": {{"1.1.1.1"}}, "other.example": {{"1.1.1.1"}}}}
	to := server.Listener.Addr().String()
	g, err := New(Options{Resolver: w, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}})
	if err != nil {
		t.Fatal(err)
	}
	client := notify.NewHTTPClient(g.Dial, transport.TLSClientConfig.Clone())
	t.Cleanup(client.CloseIdleConnections)
	h := notify.NewHTTP(client)
	if _, err := h.Do(t.Context(), post("https://example.com/")); err != nil || name.Load() != "example.com example.com" {
		t.Errorf("%v: server saw %v", err, name.Load())
	}
	if _, err := h.Do(t.Context(), post("https://other.example/")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate for another name: %v", err)
	}
}

// A mail channel is given the guard's Dial: it has the same rules.
func TestEgressForMail(t *testing.T) {
	w := &world{names: map[string][][]string{"mail.example": {{"1.1.1.1"}}, "mail.inner": {{"10.0.0.25"}}}}
	var smtp notify.DialFunc = w.guard(t, Options{Allow: []string{"10.0.0.26"}}).Dial
	for address, want := range map[string]string{
		"mail.example:465": "1.1.1.1:465", "10.0.0.26:587": "10.0.0.26:587",
		"mail.inner:25": "", "localhost:25": "", "127.0.0.1:25": "", "[::1]:587": "", "2130706433:25": "",
	} {
		if want == "" {
			w.names["localhost"] = [][]string{{"127.0.0.1"}}
		}
		w.dialled = nil
		conn, err := smtp(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		switch {
		case want == "" && (!errors.Is(err, notify.ErrForbidden) || len(w.dialled) > 0):
			t.Errorf("%s: %v, dialled %v", address, err, w.dialled)
		case want != "" && (err != nil || w.dialled[0] != want):
			t.Errorf("%s: %v, dialled %v", address, err, w.dialled)
		}
	}
}
