package pki_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func newCA(t testing.TB, cluster string) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func equip(t testing.TB, ca *pki.CA, cluster, name string, role pki.Role) pki.Material {
	t.Helper()
	m, err := ca.Equip(cluster, name, role)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// limited is a node's material that is valid for so long.
func limited(t testing.TB, ca *pki.CA, cluster, name string, validity time.Duration) pki.Material {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(pki.Grant{Cluster: cluster, Name: name, Role: pki.RoleNode, Key: key.Public(), Validity: validity})
	if err != nil {
		t.Fatal(err)
	}
	return pki.Material{CA: ca.CertPEM, Cert: cert, Key: keyPEM}
}

// custom signs a certificate that package pki would not.
func custom(t testing.TB, ca *pki.CA, change func(*x509.Certificate)) pki.Material {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "b"},
		DNSNames:    []string{"node.one.ozmo"},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pki.Material{CA: ca.CertPEM, Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: keyPEM}
}

func load(t testing.TB, m pki.Material, cluster string) *pki.Credentials {
	t.Helper()
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	c, err := pki.LoadIn(dir, cluster, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is what anybody may show, also what Load would refuse.
func pair(t testing.TB, m pki.Material) *tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// show makes a configuration present another certificate; nil: none.
func show(c *tls.Config, cert *tls.Certificate) *tls.Config {
	c = c.Clone()
	if cert == nil {
		c.GetClientCertificate = nil
		return c
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	return c
}

// shake is a handshake: what each side thinks of the other.
func shake(t testing.TB, server, client *tls.Config) (s, c tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return shakeOver(t, a, b, server, client)
}

// shakeVirtually is shake in a bubble of synctest.
func shakeVirtually(t testing.TB, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	_, _, serverErr, clientErr = shakeOver(t, a, b, server, client)
	return serverErr, clientErr
}

func shakeOver(t testing.TB, a, b net.Conn, server, client *tls.Config) (s, c tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{a, b} { // a pipe has no buffer: both sides may want to write
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	sc, cc := tls.Server(a, server), tls.Client(b, client)
	accepted, read := make(chan error, 1), make(chan struct{})
	go func() {
		err := sc.Handshake()
		if err != nil {
			a.Close()
		}
		accepted <- err
	}()
	clientErr = cc.Handshake()
	if clientErr != nil {
		b.Close()
	}
	go func() { // the server's opinion of the client comes after the client's handshake
		defer close(read)
		_, _ = b.Read(make([]byte, 1024))
	}()
	serverErr = <-accepted
	b.Close()
	<-read
	return sc.ConnectionState(), cc.ConnectionState(), serverErr, clientErr
}

func wantKind(t *testing.T, err, kind error, text string) {
	t.Helper()
	if kind == nil {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want one of kind %q", err, kind)
		return
	}
	if !contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
