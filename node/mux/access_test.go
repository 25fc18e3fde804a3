package mux_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// Which stream is whose: every role with every tag.
func TestRolesAndStreams(t *testing.T) {
	ca := newAuthority(t, "one")
	server := start(t, ca.credentials(t, "a", pki.RoleNode))
	plain := start(t, nil)
	echoAll(server)
	echoAll(plain)
	asNode := ca.credentials(t, "b", pki.RoleNode).ClientConfig()
	asOperator := ca.credentials(t, "eve", pki.RoleOperator).ClientConfig()
	asNobody := asNode.Clone()
	asNobody.GetClientCertificate = nil
	counts := map[string]float64{}
	for _, who := range []struct {
		name    string
		server  *end
		config  *tls.Config
		peer    string
		allowed map[mux.Tag]bool
		reason  string
	}{
		{"node", server, asNode, "node b", map[mux.Tag]bool{mux.Raft: true, mux.RPC: true, mux.Gossip: true, mux.Enrol: true}, ""},
		{"operator", server, asOperator, "operator eve", map[mux.Tag]bool{mux.RPC: true, mux.Enrol: true}, "role"},
		{"nobody", server, asNobody, "nobody", map[mux.Tag]bool{mux.Enrol: true}, "no-certificate"},
		{"plaintext", plain, nil, "nobody", map[mux.Tag]bool{mux.Raft: true, mux.RPC: true, mux.Gossip: true, mux.Enrol: true}, ""},
	} {
		for _, tag := range []mux.Tag{mux.Raft, mux.RPC, mux.Gossip, mux.Enrol} {
			d := mux.Dialer{TLS: who.config, Cluster: "one"}
			c, err := d.DialTag(t.Context(), tag, who.server.address)
			if err != nil {
				t.Errorf("%s, %s: %v", who.name, tag, err)
				continue
			}
			if id := mux.PeerOf(c); who.config != nil && id != (pki.Identity{Cluster: "one", Name: "a", Role: pki.RoleNode}) {
				t.Errorf("%s, %s: dialled %+v", who.name, tag, id)
			}
			greeting, err := converse(c)
			if !who.allowed[tag] {
				if err == nil {
					t.Errorf("%s, %s: let in as %q", who.name, tag, greeting)
				}
				counts[who.reason]++
				server.waitFor(t, rejected, who.reason, counts[who.reason])
				continue
			}
			if want := tag.String() + " " + who.peer; err != nil || greeting != want {
				t.Errorf("%s, %s: %q, %v, want %q", who.name, tag, greeting, err, want)
			}
		}
	}
	for _, want := range []string{"presented no certificate, which only enrolment may", "makes it operator eve, and raft is for nodes", "remote=127.0.0.1:"} {
		if !strings.Contains(server.log.String(), want) {
			t.Errorf("not logged: %s in\n%s", want, server.log)
		}
	}
	if got := server.value(t, "ozmo_mux_accepted_total", "rpc"); got != 2 {
		t.Errorf("%v RPC connections counted, want 2", got)
	}
	server.waitFor(t, "ozmo_mux_connections", "", 0)
}

// What is wrong with a connection is counted and logged in words.
func TestRejections(t *testing.T) {
	ca, rival, two := newAuthority(t, "one"), newAuthority(t, "one"), newAuthority(t, "two")
	now := time.Now()
	good := pair(t, ca.material(t, "b", pki.RoleNode))
	stray := authority{ca.CA, "two"}
	for _, tc := range []struct {
		name, reason, text string
		cert               *tls.Certificate
		tag                byte
	}{
		{"other CA", "other-ca", "has a certificate signed by another CA", pair(t, rival.material(t, "b", pki.RoleNode)), 1},
		{"other cluster", "other-cluster", `belongs to cluster \"two\", this one to \"one\"`, pair(t, two.material(t, "b", pki.RoleNode)), 1},
		{"same CA, other cluster", "other-cluster", `belongs to cluster \"two\", this one to \"one\"`, pair(t, stray.material(t, "b", pki.RoleNode)), 2},
		{"enrolling with a bad one", "other-ca", "signed by another CA", pair(t, rival.material(t, "b", pki.RoleNode)), 4},
		{"expired", "expired", "has a certificate that expired on", ca.between(t, now.Add(-2*time.Hour), now.Add(-time.Hour)), 1},
		{"not yet valid", "not-yet-valid", "compare the clocks", ca.between(t, now.Add(time.Hour), now.Add(2*time.Hour)), 1},
		{"unknown stream", "tag", "unknown stream (tag 9)", good, 9},
		{"stream 0", "tag", "unknown stream (tag 0)", good, 0},
		{"unserved stream", "unserved", "does not serve that stream", good, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := start(t, ca.credentials(t, "a", pki.RoleNode))
			server.echo(mux.Raft)
			server.echo(mux.RPC)
			server.echo(mux.Enrol)
			c, err := tls.Dial("tcp", server.address, trusting(tc.cert))
			if err == nil {
				defer c.Close()
				_, _ = c.Write([]byte{tc.tag}) // may find the connection closed
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("let in")
				}
			}
			server.waitFor(t, rejected, tc.reason, 1)
			if !strings.Contains(server.log.String(), tc.text) || !strings.Contains(server.log.String(), "remote=127.0.0.1:") {
				t.Errorf("not logged: %s in\n%s", tc.text, server.log)
			}
			if got := server.value(t, "ozmo_mux_connections", ""); got != 0 {
				t.Errorf("%v connections are left", got)
			}
		})
	}
}

// Who dials is told what is wrong with the node at the address.
func TestDialErrors(t *testing.T) {
	ca, rival, two := newAuthority(t, "one"), newAuthority(t, "one"), newAuthority(t, "two")
	us := ca.credentials(t, "a", pki.RoleNode)
	secure, plain := start(t, us), start(t, nil)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	serve := func(cert *tls.Certificate) string {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*cert}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.(*tls.Conn).Handshake()
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		return l.Addr().String()
	}
	operator := ca.material(t, "eve", pki.RoleOperator)
	now := time.Now()
	for _, tc := range []struct {
		name, address string
		from          *end
		kind          error
		text          string
	}{
		{"other cluster", start(t, two.credentials(t, "x", pki.RoleNode)).address, secure, pki.ErrOtherCluster, `belongs to cluster "two", this one to "one"`},
		{"other CA", start(t, rival.credentials(t, "x", pki.RoleNode)).address, secure, pki.ErrOtherCA, "has a certificate signed by another CA"},
		{"expired", serve(ca.between(t, now.Add(-2*time.Hour), now.Add(-time.Hour))), secure, pki.ErrExpired, "expired on"},
		{"operator", serve(pair(t, operator)), secure, pki.ErrRole, "has a certificate that does not allow this use"},
		{"plaintext there", plain.address, secure, nil, "may run in plaintext"},
		{"nobody there", nobody, secure, nil, "connection refused"},
		{"nobody there, plaintext", nobody, plain, nil, "connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := tc.from.Dial(t.Context(), mux.Raft, tc.address)
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			op, ok := errors.AsType[*net.OpError](err)
			if !ok || op.Op != "dial" {
				t.Errorf("%v is not a failure to dial", err)
			}
			if (tc.kind != nil && !errors.Is(err, tc.kind)) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), tc.address) {
				t.Errorf("%v; should say %q", err, tc.text)
			}
		})
	}
	if got := secure.value(t, "ozmo_mux_dial_failures_total", "raft"); got != 6 {
		t.Errorf("%v failures counted, want 6", got)
	}
	if _, err := secure.Dial(t.Context(), 9, secure.address); err == nil || !strings.Contains(err.Error(), "no stream tag 9") {
		t.Errorf("unknown stream: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := secure.Dial(ctx, mux.Raft, secure.address); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Who dials with a certificate that the other side refuses is told so.
func TestRefusedCertificate(t *testing.T) {
	ca := newAuthority(t, "one")
	server := start(t, ca.credentials(t, "a", pki.RoleNode))
	config := ca.credentials(t, "b", pki.RoleNode).ClientConfig()
	stranger := pair(t, newAuthority(t, "one").material(t, "b", pki.RoleNode))
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return stranger, nil }
	raw, err := net.Dial("tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	// The tag is kept back, for the alert not to be lost to a reset.
	d := mux.Dialer{TLS: config, Cluster: "one", Dial: func(context.Context, string, string) (net.Conn, error) { return &muted{Conn: raw}, nil }}
	c, err := d.DialTag(t.Context(), mux.Raft, server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "refused this node's certificate: its log says why") {
		t.Errorf("read: %v", err)
	}
}

// muted drops what is written after the handshake's two flights.
type muted struct {
	net.Conn
	writes int
}

func (m *muted) Write(p []byte) (int, error) {
	if m.writes++; len(p) < 40 && m.writes > 1 {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

func TestDialEnrol(t *testing.T) {
	ca, rival := newAuthority(t, "one"), newAuthority(t, "one")
	secure, plain := start(t, ca.credentials(t, "a", pki.RoleNode)), start(t, nil)
	secure.echo(mux.Enrol)
	plain.echo(mux.Enrol)
	for _, tc := range []struct {
		name string
		to   *end
		ca   [32]byte
		text string
		peer pki.Identity
	}{
		{"the CA", secure, ca.Fingerprint(), "", pki.Identity{Cluster: "one", Name: "a", Role: pki.RoleNode}},
		{"another CA", secure, rival.Fingerprint(), "does not belong to the cluster that made this token", pki.Identity{}},
		{"plaintext", plain, [32]byte{}, "", pki.Identity{}},
		{"TLS expected", plain, ca.Fingerprint(), "may run in plaintext", pki.Identity{}},
	} {
		c, err := mux.DialEnrol(t.Context(), nil, tc.to.address, tc.ca)
		if tc.text != "" {
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if id := mux.PeerOf(c); id != tc.peer {
			t.Errorf("%s: it is %+v", tc.name, id)
		}
		if greeting, err := converse(c); err != nil || greeting != "enrol nobody" {
			t.Errorf("%s: %q, %v", tc.name, greeting, err)
		}
	}
}

// Node RPC is HTTP/2 on its stream, and its server knows who asks.
func TestHTTP2OverStream(t *testing.T) {
	ca := newAuthority(t, "one")
	a, b := start(t, ca.credentials(t, "a", pki.RoleNode)), start(t, ca.credentials(t, "b", pki.RoleNode))
	type key struct{}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Protocols: &protocols, ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, mux.PeerOf(c))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %v", r.Proto, r.Context().Value(key{}).(pki.Identity).Name)
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(a.Listener(mux.RPC)) }()
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return b.Dial(ctx, mux.RPC, address)
	}}
	defer transport.CloseIdleConnections()
	for range 3 {
		resp, err := (&http.Client{Transport: transport}).Get("http://" + a.address + "/")
		if err != nil {
			t.Fatal(err)
		}
		var text [64]byte
		n, _ := resp.Body.Read(text[:])
		resp.Body.Close()
		if got := string(text[:n]); got != "HTTP/2.0 b" {
			t.Errorf("answer %q", got)
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
