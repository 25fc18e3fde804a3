package mux_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
)

func TestNewErrors(t *testing.T) {
	creds := newAuthority(t, "one").credentials(t, "a", pki.RoleNode)
	l := newMemory()
	for want, o := range map[string]mux.Options{
		"listener":              {},
		"both directions":       {Listener: l, Server: creds.ServerConfig(), Cluster: "one"},
		"both directions or":    {Listener: l, Client: creds.ClientConfig(), Cluster: "one"},
		"verifies no peers":     {Listener: l, Server: trusting(nil), Client: creds.ClientConfig(), Cluster: "one"},
		"verifies no peers: ta": {Listener: l, Server: creds.ServerConfig(), Client: trusting(nil), Cluster: "one"},
		"cluster's name":        {Listener: l, Server: creds.ServerConfig(), Client: creds.ClientConfig()},
	} {
		if _, err := mux.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestClose(t *testing.T) {
	ca := newAuthority(t, "one")
	for name, creds := range map[string]*pki.Credentials{"TLS": ca.credentials(t, "a", pki.RoleNode), "plaintext": nil} {
		t.Run(name, func(t *testing.T) {
			a, b := start(t, creds), start(t, creds)
			accepting := a.Listener(mux.Gossip) // somebody is in Accept
			ended := make(chan error, 1)
			go func() {
				_, err := accepting.Accept()
				ended <- err
			}()
			l := a.Listener(mux.Raft)
			var mine, theirs []net.Conn
			for range 3 {
				c, err := b.Dial(t.Context(), mux.Raft, a.address)
				if err != nil {
					t.Fatal(err)
				}
				mine = append(mine, c)
			}
			for range 2 { // the third stays in the backlog
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				theirs = append(theirs, c)
			}
			a.waitFor(t, "ozmo_mux_accepted_total", "raft", 3)
			half, err := net.Dial("tcp", a.address) // in the middle of opening
			if err != nil {
				t.Fatal(err)
			}
			defer half.Close()
			var reading sync.WaitGroup
			for _, c := range append(theirs, mine...) {
				reading.Go(func() {
					if _, err := c.Read(make([]byte, 1)); err == nil {
						t.Error("read something")
					}
				})
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			reading.Wait()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
			for _, l := range []net.Listener{l, accepting, a.Listener(mux.RPC)} {
				if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept after Close: %v, %v", c, err)
				}
				_ = l.Close()
			}
			if _, err := half.Read(make([]byte, 1)); err == nil {
				t.Error("a connection that had said nothing is open")
			}
			if _, err := a.Dial(t.Context(), mux.Raft, b.address); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Dial after Close: %v", err)
			}
			if err := a.Serve(); err != nil {
				t.Errorf("Serve after Close: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
			for _, c := range append(theirs, mine...) {
				_ = c.Close()
				_ = c.Close()
			}
			a.waitFor(t, "ozmo_mux_connections", "", 0)
			b.waitFor(t, "ozmo_mux_connections", "", 0)

			// Dialled connections end with their own side, too.
			echoAll(b)
			again := start(t, creds)
			c, err := again.Dial(t.Context(), mux.Raft, b.address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 40)); err != nil {
				t.Fatal(err)
			}
			_ = again.Close()
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a dialled connection outlives its mux")
			}
		})
	}
}

func TestListenerMayBeClosedAndOpenedAgain(t *testing.T) {
	a := start(t, nil)
	dial := func() net.Conn {
		t.Helper()
		c, err := a.Dial(t.Context(), mux.Raft, a.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first := a.Listener(mux.Raft)
	if a.Listener(mux.Raft) != first || first.Addr().String() != a.address {
		t.Error("two listeners of one stream, or another address")
	}
	waiting := dial()
	a.waitFor(t, "ozmo_mux_accepted_total", "raft", 1)
	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that nobody will accept is open")
	}
	dial()
	a.waitFor(t, rejected, "unserved", 1)
	a.echo(mux.Raft)
	if greeting, err := converse(dial()); err != nil || greeting != "raft nobody" {
		t.Errorf("%q, %v", greeting, err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the first one: %v", err)
	}
	if _, err := a.Listener(9).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a stream that there is not: %v", err)
	}
}

// Connections that nobody accepts are bounded; other streams do not notice.
func TestBacklog(t *testing.T) {
	a := start(t, nil)
	a.Listener(mux.Raft)
	a.echo(mux.RPC)
	const bound, more = 128, 3
	for range bound + more {
		c, err := a.Dial(t.Context(), mux.Raft, a.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	a.waitFor(t, rejected, "backlog", more)
	if got := a.value(t, "ozmo_mux_accepted_total", "raft"); got != bound {
		t.Errorf("%v wait to be accepted", got)
	}
	c, err := a.Dial(t.Context(), mux.RPC, a.address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := converse(c); err != nil {
		t.Error(err)
	}
}

// Many that say nothing, or only half of a handshake, keep nobody out.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	ca := newAuthority(t, "one")
	a, b := start(t, ca.credentials(t, "a", pki.RoleNode)), start(t, ca.credentials(t, "b", pki.RoleNode))
	echoAll(a)
	const bound, more = 256, 44
	for i := range bound + more {
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if i%2 == 0 {
			_, _ = c.Write([]byte{0x16, 3, 1, 2, 0, 1, 0, 1}) // a hello that goes on
		}
	}
	for range 3 {
		c, err := b.Dial(t.Context(), mux.Raft, a.address)
		if err != nil {
			t.Fatal(err)
		}
		if greeting, err := converse(c); err != nil || greeting != "raft node b" {
			t.Errorf("%q, %v", greeting, err)
		}
	}
	if got := a.value(t, rejected, "displaced"); got == 0 {
		t.Error("none was displaced")
	}
	if n := strings.Count(a.log.String(), "level=WARN"); n == 0 || n > 30 {
		t.Errorf("%d warnings", n)
	}
}

func TestGarbage(t *testing.T) {
	ca := newAuthority(t, "one")
	secure, plain := start(t, ca.credentials(t, "a", pki.RoleNode)), start(t, nil)
	for _, tc := range []struct {
		name, sent   string
		to           *end
		reason, text string
	}{
		{"HTTP to TLS", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", secure, "not-tls", "does not speak TLS"},
		{"a plaintext node", "\x01hello, I am a node", secure, "not-tls", "may run in plaintext"},
		{"TLS to plaintext", "\x16\x03\x01\x00\xa5\x01\x00", plain, "tag", "speaks TLS and this node runs in plaintext"},
		{"HTTP to plaintext", "GET / HTTP/1.1\r\n\r\n", plain, "tag", "unknown stream (tag 71)"},
		{"a broken hello", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", secure, "handshake", "reason=handshake"},
		{"nothing", "", secure, "gone", "ended before it said"},
		{"half a record", "\x16\x03\x01\x01\x00\x01", secure, "gone", "ended before it said"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := net.Dial("tcp", tc.to.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			before := tc.to.value(t, rejected, tc.reason)
			if _, err := io.WriteString(c, tc.sent); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).CloseWrite() // may be closed already
			_, _ = io.Copy(io.Discard, c)     // until it is closed
			tc.to.waitFor(t, rejected, tc.reason, before+1)
			if tc.reason != "gone" && !strings.Contains(tc.to.log.String(), tc.text) {
				t.Errorf("not logged: %s in\n%s", tc.text, tc.to.log)
			}
		})
	}
	if strings.Contains(secure.log.String(), "ended before it said") {
		t.Error("health checks fill the log")
	}
}

// An unbuffered network and virtual time: nothing waits for a peer that is
// stuck, and each gets as long as it may.
func TestStuckPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "one")
		l := newMemory()
		creds := ca.credentials(t, "a", pki.RoleNode)
		in := func(o *mux.Options) { o.Listener, o.Dial = l, l.Dial }
		a := start(t, creds, in)
		echoAll(a)
		begin := time.Now()
		stuck := []net.Conn{}
		for range 3 {
			c, err := l.Dial(t.Context(), "tcp", "a")
			if err != nil {
				t.Fatal(err)
			}
			stuck = append(stuck, c)
		}
		// After the handshake, one that does not say what it wants.
		raw, err := l.Dial(t.Context(), "tcp", "a")
		if err != nil {
			t.Fatal(err)
		}
		silent := tls.Client(raw, creds.ClientConfig())
		if err := silent.Handshake(); err != nil {
			t.Fatal(err)
		}
		for _, tag := range []mux.Tag{mux.Raft, mux.Gossip} {
			c, err := a.Dial(t.Context(), tag, "a")
			if err != nil {
				t.Fatal(err)
			}
			if greeting, err := converse(c); err != nil || greeting != tag.String()+" node a" {
				t.Errorf("%q, %v", greeting, err)
			}
		}
		if got := a.value(t, rejected, "timeout"); got != 0 || time.Since(begin) >= 5*time.Second {
			t.Errorf("%v timeouts after %v", got, time.Since(begin))
		}
		<-time.After(time.Until(begin.Add(5*time.Second - time.Nanosecond)))
		synctest.Wait()
		if got := a.value(t, rejected, "timeout"); got != 0 {
			t.Errorf("%v timeouts before 5 s have passed", got)
		}
		<-time.After(time.Nanosecond)
		synctest.Wait()
		if got := a.value(t, rejected, "timeout"); got != 4 {
			t.Errorf("%v timeouts, want 4: %s", got, a.log)
		}
		if !strings.Contains(a.log.String(), "did not say within 5s what it wants") {
			t.Errorf("not logged: %s", a.log)
		}
		for _, c := range append(stuck, raw) {
			c.Close()
		}
		_ = a.Close()
	})
}

// A node that accepts connections and says nothing is given up after 5 s, or
// when the caller has waited long enough, or when the mux is closed.
func TestDialToSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "one")
		for name, creds := range map[string]*pki.Credentials{"TLS": ca.credentials(t, "a", pki.RoleNode), "plaintext": nil} {
			var ends []net.Conn
			silence := func(context.Context, string, string) (net.Conn, error) {
				a, b := net.Pipe()
				ends = append(ends, a)
				return b, nil
			}
			a := start(t, creds, func(o *mux.Options) { o.Listener, o.Dial = newMemory(), silence })
			begin := time.Now()
			_, err := a.Dial(t.Context(), mux.Raft, "b:7000")
			if d := time.Since(begin); d != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the node at b:7000 accepted the connection and did not answer") {
				t.Errorf("%s: %v after %v", name, err, d)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin = time.Now()
			_, err = a.Dial(ctx, mux.Raft, "b:7000")
			if d := time.Since(begin); d != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %v", name, err, d)
			}
			cancel()
			result := make(chan error, 1)
			begin = time.Now()
			go func() {
				_, err := a.Dial(t.Context(), mux.Raft, "b:7000")
				result <- err
			}()
			synctest.Wait()
			_ = a.Close()
			if err := <-result; time.Since(begin) != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			}
			for _, c := range ends {
				c.Close()
			}
		}
	})
}

// A listener that fails for a while is asked again, ever less often.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failing{memory: newMemory(), left: 20}
		a := start(t, nil, func(o *mux.Options) { o.Listener, o.Dial = l, l.Dial })
		echoAll(a)
		begin := time.Now()
		raw, err := l.Dial(t.Context(), "tcp", "a") // waits until it is accepted
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if d := time.Since(begin); d < 5*time.Second || d > 20*time.Second {
			t.Errorf("20 failures took %v", d)
		}
		if got := a.value(t, rejected, "accept"); got != 20 {
			t.Errorf("%v failures counted", got)
		}
		// The first five, then one in ten seconds, which says how many it stands for.
		if n := strings.Count(a.log.String(), "cannot be accepted"); n < 5 || n > 7 || !strings.Contains(a.log.String(), "not_logged_before=") {
			t.Errorf("%d warnings: %s", n, a.log)
		}
		_ = a.Close()
	})
}

type failing struct {
	*memory
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, errors.New("too many open files")
	}
	return f.memory.Accept()
}

func TestListenerEndsByItself(t *testing.T) {
	l := newMemory()
	m, err := mux.New(mux.Options{Listener: l, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := m.Serve(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	_ = m.Close()
}
