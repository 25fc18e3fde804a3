package memnet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/testcluster/memnet"
)

// TestHTTP2OverTLS is what node RPC does, through a link that is cut meanwhile.
func TestHTTP2OverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.Delay(2 * time.Millisecond)
		serverTLS, roots := certificate(t)
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		server := &http.Server{
			Protocols: protocols,
			TLSConfig: serverTLS,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("the server was asked in %s", r.Proto)
				}
				_, _ = io.Copy(w, r.Body)
			}),
		}
		l := listen(t, n.Host("b"), ":7000")
		served := make(chan error, 1)
		go func() { served <- server.ServeTLS(l, "", "") }()
		transport := &http.Transport{
			Protocols:       protocols,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: "b"},
			DialContext:     n.Host("a").Dial,
		}
		client := &http.Client{Transport: transport}
		ask := func(ctx context.Context, body string) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://b:7000/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			got, err := io.ReadAll(answer.Body)
			if err == nil && string(got) != body {
				t.Errorf("%d bytes came back, want %d", len(got), len(body))
			}
			return err
		}
		big := strings.Repeat("x", 3<<20)
		if err := ask(t.Context(), big); err != nil {
			t.Fatal(err)
		}
		n.Cut("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(ctx, "held"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("over a cut link: %v", err)
		}
		n.Heal("a", "b")
		if err := ask(t.Context(), "through"); err != nil {
			t.Error(err)
		}
		if got := n.Stats("a", "b").Conns; got != 1 {
			t.Errorf("it took %d connections", got)
		}
		transport.CloseIdleConnections()
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"b"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
	}, roots
}
