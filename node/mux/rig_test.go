package mux_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ozmo-dev/ozmo/node/mux"
	"github.com/ozmo-dev/ozmo/node/pki"
	"github.com/ozmo-dev/ozmo/testcluster/eventually"
	"github.com/ozmo-dev/ozmo/testcluster/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a cluster's CA.
type authority struct {
	*pki.CA
	cluster string
}

func newAuthority(t testing.TB, cluster string) authority {
	t.Helper()
	ca, err := pki.NewCA(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return authority{ca, cluster}
}

func (a authority) material(t testing.TB, name string, role pki.Role) pki.Material {
	t.Helper()
	m, err := a.Equip(a.cluster, name, role)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (a authority) credentials(t testing.TB, name string, role pki.Role) *pki.Credentials {
	t.Helper()
	dir := t.TempDir()
	if err := a.material(t, name, role).Save(dir); err != nil {
		t.Fatal(err)
	}
	c, err := pki.LoadIn(dir, a.cluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// between is a node's certificate that is valid from and until then.
func (a authority) between(t testing.TB, from, to time.Time) *tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject: pkix.Name{CommonName: "b"}, DNSNames: []string{"node." + a.cluster + ".ozmo"}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.Cert, key.Public(), a.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair(t, pki.Material{Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: keyPEM})
}

func pair(t testing.TB, m pki.Material) *tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// trusting verifies nobody and shows a certificate, or none.
func trusting(cert *tls.Certificate) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	return c
}

// end is a node's end of the streams, under test.
type end struct {
	*mux.Mux
	address string
	log     *logs.Buffer
	reg     *prometheus.Registry
	served  chan error
}

// start serves until the test ends; nil credentials: plaintext.
func start(t testing.TB, creds *pki.Credentials, change ...func(*mux.Options)) *end {
	t.Helper()
	e := &end{log: new(logs.Buffer), reg: prometheus.NewRegistry(), served: make(chan error, 1)}
	o := mux.Options{Logger: slog.New(slog.NewTextHandler(e.log, nil)), Registerer: e.reg}
	if creds != nil {
		o.Server, o.Client, o.Cluster = creds.ServerConfig(), creds.ClientConfig(), creds.Identity().Cluster
	}
	for _, c := range change {
		c(&o)
	}
	if o.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listener = l
	}
	e.address = o.Listener.Addr().String()
	var err error
	if e.Mux, err = mux.New(o); err != nil {
		t.Fatal(err)
	}
	go func() { e.served <- e.Serve() }()
	t.Cleanup(func() {
		_ = e.Close()
		if err := <-e.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return e
}

// echo answers every connection of a stream with what comes, after a line that
// says who the peer is.
func (e *end) echo(tag mux.Tag) {
	l := e.Listener(tag)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				id := mux.PeerOf(c)
				if _, err := fmt.Fprintf(c, "%-40s", fmt.Sprintf("%s %s %s", tag, id.Role, id.Name)); err == nil {
					_, _ = io.Copy(c, c)
				}
			}()
		}
	}()
}

func echoAll(e *end) {
	for _, t := range []mux.Tag{mux.Raft, mux.RPC, mux.Gossip, mux.Enrol} {
		e.echo(t)
	}
}

// converse says something to an echo and closes the connection.
func converse(c net.Conn) (greeting string, err error) {
	defer c.Close()
	line := make([]byte, 40)
	if _, err := io.ReadFull(c, line); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return "", err
	}
	back := make([]byte, 5)
	if _, err := io.ReadFull(c, back); err != nil {
		return "", err
	}
	if string(back) != "hello" {
		return "", fmt.Errorf("echo is %q", back)
	}
	n := len(line)
	for n > 0 && line[n-1] == ' ' {
		n--
	}
	return string(line[:n]), nil
}

// value is that of a metric with at most one label.
func (e *end) value(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

func (e *end) waitFor(t testing.TB, name, label string, want float64) {
	t.Helper()
	eventually.Nil(t, func() error {
		if got := e.value(t, name, label); got != want {
			return fmt.Errorf("%s{%s} is %v, want %v; log: %s", name, label, got, want, e.log)
		}
		return nil
	})
}

const rejected = "ozmo_mux_rejected_total"

// memory is a network of unbuffered pipes, for bubbles of synctest.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (*memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7000} }

func (m *memory) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case m.conns <- a:
		return b, nil
	case <-m.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
