package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func testHTTP(t *testing.T, dial DialFunc) *HTTP {
	client := NewHTTPClient(dial, nil)
	t.Cleanup(client.CloseIdleConnections)
	return NewHTTP(client)
}

func request(address string) Request {
	return Request{Method: http.MethodPost, URL: address, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"a":1}`)}
}

func TestStatusDecides(t *testing.T) {
	for _, tc := range []struct {
		status        int
		ok, permanent bool
	}{
		{200, true, false},
		{204, true, false},
		{299, true, false},
		{304, false, true},
		{400, false, true},
		{401, false, true},
		{404, false, true},
		{408, false, false},
		{410, false, true},
		{429, false, false},
		{500, false, false},
		{503, false, false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }))
		res, err := testHTTP(t, nil).Do(t.Context(), request(server.URL+"/k3y"))
		server.Close()
		if (err == nil) != tc.ok || res.Permanent != tc.permanent || res.Status != tc.status {
			t.Errorf("%d: %+v, %v", tc.status, res, err)
		}
		if err != nil && (!errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "k3y")) {
			t.Errorf("%d: error %v", tc.status, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/from", http.RedirectHandler("/to", http.StatusTemporaryRedirect))
	mux.HandleFunc("/to", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	server := httptest.NewServer(mux)
	defer server.Close()
	// Also when the given client would follow them.
	res, err := NewHTTP(server.Client()).Do(t.Context(), request(server.URL+"/from"))
	if !errors.Is(err, ErrRefused) || !res.Permanent || res.Status != 307 || followed.Load() {
		t.Errorf("%+v, %v, followed %t", res, err, followed.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"0":                             0,
		"-1":                            0,
		"1.5":                           0,
		"soon":                          0,
		"4294967295":                    maxRetryAfter,
		"99999999999999999999":          0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:04:04 GMT": 0,
		"Fri, 02 Jan 2099 03:04:04 GMT": maxRetryAfter,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	res, err := testHTTP(t, nil).Do(t.Context(), request(server.URL))
	if res.RetryAfter != 7*time.Second || res.Permanent || err == nil || !strings.Contains(err.Error(), "wait 7s") {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestNetworkErrorsMayPass(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := listener.Addr().String()
	listener.Close()
	res, err := testHTTP(t, nil).Do(t.Context(), request("http://"+refused+"/k3y"))
	if err == nil || res.Permanent || res.Status != 0 || strings.Contains(err.Error(), "k3y") {
		t.Errorf("refused: %+v, %v", res, err)
	}

	reset := func(answer string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset, not an orderly end
			_ = conn.Close()
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	res, err = testHTTP(t, nil).Do(t.Context(), request(reset("")))
	if err == nil || res.Permanent || res.Status != 0 {
		t.Errorf("reset before the answer: %+v, %v", res, err)
	}
	// Garbage is quoted by the client: not with what it echoes of our secrets.
	r := request(reset("SMTP t0ps3cret\x1b[2J\r\n\r\n"))
	r.Secrets = []string{"t0ps3cret"}
	if res, err = testHTTP(t, nil).Do(t.Context(), r); err == nil || res.Permanent || strings.ContainsAny(err.Error(), "\x1b") || strings.Contains(err.Error(), "t0ps3cret") {
		t.Errorf("no HTTP: %+v, %v", res, err)
	}
}

func TestForbiddenDestinationIsPermanent(t *testing.T) {
	guard := func(context.Context, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("169.254.169.254: %w", ErrForbidden)
	}
	res, err := testHTTP(t, guard).Do(t.Context(), request("http://metadata.example/k3y"))
	if !errors.Is(err, ErrForbidden) || !res.Permanent {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestBadAddressesArePermanentAndHidden(t *testing.T) {
	for _, address := range []string{"http://h\x7fost/k3y", "http://host:port/k3y", "http://%zz/k3y", "://k3y"} {
		res, err := testHTTP(t, nil).Do(t.Context(), request(address))
		if !errors.Is(err, ErrMisconfigured) || !res.Permanent || strings.Contains(err.Error(), "k3y") {
			t.Errorf("%q: %+v, %v", address, res, err)
		}
	}
}

func TestExcerpt(t *testing.T) {
	const key = "hook-key-0123456789abcdef"
	for _, tc := range []struct {
		name, body, want string
	}{
		{"text", "no such room\r\n", "no such room\n"},
		{"echo", "POST /in/" + key + "?token=t0k3n to you, sign t0ps3cret", "POST [secret] to you, sign [secret]"},
		{"part of the path", "hook " + key + " is gone", "hook [secret] is gone"},
		{"binary", "\x00\xff\x1b[2Jok", "��\uFFFD[2Jok"},
		{"long", strings.Repeat("é", 2000), strings.Repeat("é", 512)},
		{"huge", strings.Repeat("x", 4<<20), strings.Repeat("x", 1024)},
		{"secret at the cut", strings.Repeat("x", 1020) + "t0ps3cret", strings.Repeat("x", 1020) + "[sec"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer server.Close()
			r := request(server.URL + "/in/" + key + "?token=t0k3n")
			r.Secrets = []string{"t0ps3cret", ""}
			res, err := testHTTP(t, nil).Do(t.Context(), r)
			if res.Excerpt != tc.want || err == nil {
				t.Errorf("excerpt %.200q, want %.200q", res.Excerpt, tc.want)
			}
		})
	}
}

// A receiver may echo a part of what it was told.
func TestExcerptOfAPart(t *testing.T) {
	red := newRedactor("https://user:pa55word@h.example/in/shortkey", []string{"Bearer abcdefgh12", "Basic dXNlcjI6c2VjcmV0Mg=="})
	for _, secret := range []string{"abcdefgh12", "dXNlcjI6c2VjcmV0Mg==", "user2:secret2", "secret2", "pa55word", "dXNlcjpwYTU1d29yZA==", "shortkey"} {
		if got := red.excerpt([]byte("got "+secret+"!"), true); got != "got [secret]!" {
			t.Errorf("%s: %q", secret, got)
		}
	}
}

// Half a secret at the end of what was read must not get into the excerpt,
// even where hiding the rest made the text short.
func TestExcerptOfACutBody(t *testing.T) {
	secret := strings.Repeat("s3", 100)
	red := newRedactor("https://h.example", []string{secret})
	if got := red.excerpt([]byte("a "+secret+" b "+secret[:199]), false); strings.Contains(got, "s3") {
		t.Errorf("excerpt %q", got)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var dials atomic.Int32
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	h := testHTTP(t, dial)
	for range 5 {
		if _, err := h.Do(t.Context(), request(server.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests, want 1", n)
	}
}

// serve runs an HTTP peer over in-memory pipes, so that time is virtual. The
// peer is counted in running until its connection is closed.
func serve(running *sync.WaitGroup, answer func(conn net.Conn)) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		running.Go(func() {
			defer theirs.Close()
			req, err := http.ReadRequest(bufio.NewReader(theirs))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			answer(theirs)
		})
		return ours, nil
	}
}

func TestSlowReceivers(t *testing.T) {
	untilClosed := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	trickle := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			for i := 0; ; i++ {
				if _, err := conn.Write([]byte{text[min(i, len(text)-1)]}); err != nil {
					return
				}
				<-time.After(time.Second) // virtual
			}
		}
	}
	for _, tc := range []struct {
		name   string
		answer func(net.Conn) // nil: nobody even takes the connection
		status int
		after  time.Duration
	}{
		{"silent", untilClosed, 0, sendTimeout},
		{"header byte by byte", trickle("HTTP/1.1 200 OK\r\nX-Slow: aaaaaaaaaaaaaaaaaa"), 0, sendTimeout},
		{"body byte by byte", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			trickle("x")(conn)
		}, 200, bodyTimeout},
		{"body cut off", func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
		}, 200, 0},
		{"no connection", nil, 0, connectTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running sync.WaitGroup
				defer running.Wait()
				dial := serve(&running, tc.answer)
				if tc.answer == nil {
					dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}
				client := NewHTTPClient(dial, nil)
				defer client.CloseIdleConnections()
				start := time.Now()
				res, err := NewHTTP(client).Do(t.Context(), request("http://slow.example/k3y"))
				if took := time.Since(start); took != tc.after {
					t.Errorf("took %s, want %s", took, tc.after)
				}
				if res.Status != tc.status || res.Permanent || (err == nil) != (tc.status == 200) {
					t.Errorf("%+v, %v", res, err)
				}
				if err != nil && tc.after == sendTimeout && !errors.Is(err, ErrTimeout) {
					t.Errorf("error %v, want ErrTimeout", err)
				}
				if err != nil && strings.Contains(err.Error(), "k3y") {
					t.Errorf("the error shows the address: %v", err)
				}
			})
		})
	}
}

// A receiver that breaks kept connections after it has read a request gets that
// request once: net/http would repeat one that names an Idempotency-Key.
func TestAnAttemptIsOneRequest(t *testing.T) {
	const kept = 6
	var arrived atomic.Int64
	var breaks atomic.Bool
	all := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := arrived.Add(1)
		if breaks.Load() {
			panic(http.ErrAbortHandler)
		}
		if n == kept {
			close(all)
		}
		<-all // so that each has a connection of its own
	}))
	defer server.Close()
	client := NewHTTP(nil)
	defer client.client.CloseIdleConnections()
	send := func() error {
		_, err := client.Do(t.Context(), Request{Method: http.MethodPost, URL: server.URL, Header: http.Header{"Idempotency-Key": {"k"}}, Body: []byte("{}")})
		return err
	}
	var open sync.WaitGroup
	for range kept {
		open.Go(func() {
			if err := send(); err != nil {
				t.Error(err)
			}
		})
	}
	open.Wait()
	breaks.Store(true)
	arrived.Store(0)
	if err := send(); err == nil {
		t.Error("accepted, though the connection broke")
	}
	if n := arrived.Load(); n != 1 {
		t.Errorf("%d requests in one attempt", n)
	}
}

// A receiver, or what stands before it, may quote an address within another one.
func TestSecretsWithinAddressesAreHidden(t *testing.T) {
	const token = "123456789:AAF-s3cret_TOKEN"
	red := newRedactor("https://api.telegram.org/bot"+token+"/sendMessage", []string{token, "pass word/+1"})
	for _, answer := range []string{
		"blocked: %2Fbot123456789%3AAAF-s3cret_TOKEN%2FsendMessage", "to=%2fbot123456789%3aAAF-s3cret_TOKEN", "/bot123456789:AAF-s3cret_TOKEN",
		"?p=pass+word%2F%2B1", "?p=pass%20word%2F%2B1", "/pass%20word%2F+1", "/pass%20word%2f+1",
	} {
		if got := red.excerpt([]byte(answer), true); strings.Contains(got, "s3cret") || strings.Contains(got, "word") || !strings.Contains(got, hidden) {
			t.Errorf("%q is shown as %q", answer, got)
		}
	}
}
