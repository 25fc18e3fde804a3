package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate of its own and writes it with its key.
func writeCertificate(t *testing.T, name, cert, key string, modified time.Time) {
	t.Helper()
	writeCertificateFrom(t, name, cert, key, modified, time.Now().Add(-time.Hour))
}

// writeCertificateFrom makes one that is valid for two hours.
func writeCertificateFrom(t *testing.T, name, cert, key string, modified, from time.Time) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: from.Add(2 * time.Hour),
		DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate is read again when its files change; files that are broken leave the
// one before, which is said once.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	start := time.Now().Add(-time.Minute)
	writeCertificate(t, "one", cert, key, start)
	var log bytes.Buffer
	f := &certificateFiles{cert: cert, key: key, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	shows := func(name string) {
		t.Helper()
		c, err := f.certificate(nil)
		if err != nil || c.Leaf.Subject.CommonName != name {
			t.Errorf("%v, %v, want %s", c.Leaf.Subject, err, name)
		}
	}
	later := func() { f.looked = time.Time{} }
	shows("one")
	writeCertificate(t, "two", cert, key, start.Add(time.Second))
	shows("one") // looked at a moment ago
	later()
	shows("two")
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		later()
		shows("two")
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &log)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	later()
	shows("two")
	writeCertificate(t, "three", cert, key, start.Add(2*time.Second))
	later()
	shows("three")
}

// A certificate that clients would refuse for its time takes the place of none that they
// accept.
func TestCertificateOfAnotherTime(t *testing.T) {
	now := time.Now()
	for name, from := range map[string]time.Time{"expired": now.Add(-3 * time.Hour), "not valid before": now.Add(time.Hour)} {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		var log bytes.Buffer
		f := &certificateFiles{cert: cert, key: key, log: slog.New(slog.NewTextHandler(&log, nil))}
		shows := func(want string) {
			t.Helper()
			f.looked = time.Time{}
			if c, err := f.certificate(nil); err != nil || c.Leaf.Subject.CommonName != want {
				t.Errorf("%s: %v, %v, want %s", name, c.Leaf.Subject, err, want)
			}
		}
		writeCertificateFrom(t, "bad", cert, key, now.Add(-5*time.Minute), from)
		if err := f.load(); err != nil { // there is no other
			t.Fatal(err)
		}
		if err := f.usable(f.now); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		writeCertificate(t, "good", cert, key, now.Add(-4*time.Minute))
		shows("good")
		writeCertificateFrom(t, "bad", cert, key, now.Add(-3*time.Minute), from)
		shows("good")
		if !strings.Contains(log.String(), name) {
			t.Errorf("%s is not said: %s", name, &log)
		}
	}
}

func TestPublicServerIsBounded(t *testing.T) {
	s := publicServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a client may take its time: %+v", s)
	}
}

func TestHTTPOptions(t *testing.T) {
	err := Options{Listen: ":8080", HTTP: HTTP{CORSOrigins: []string{"*", "https://a.example"}, TLSKey: "k", KeyRate: -1, AddressRate: -2}}.Check()
	if err == nil {
		t.Fatal("all of it is taken")
	}
	for _, part := range []string{"--http-cors-origins", "--http-tls-cert and --http-tls-key", "--http-rate-key -1", "--http-rate-address -2"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if err := (Options{HTTP: HTTP{TLSCert: "c", TLSKey: "k"}}).Check(); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Error("TLS without a port:", err)
	}
}
