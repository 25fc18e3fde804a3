package pki_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func parse(t testing.TB, certPEM []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(certPEM)
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCA(t *testing.T) {
	ca := newCA(t, "one")
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.ParseCA(ca.CertPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != ca.Fingerprint() || again.Fingerprint() != pki.Fingerprint(parse(t, ca.CertPEM)) {
		t.Error("the fingerprint changed")
	}
	if d := time.Until(ca.Cert.NotAfter) - pki.CAValidity; d.Abs() > time.Hour {
		t.Errorf("valid until %v", ca.Cert.NotAfter)
	}
	cert := parse(t, equip(t, again, "one", "a", pki.RoleNode).Cert)
	if err := cert.CheckSignatureFrom(ca.Cert); err != nil {
		t.Error(err)
	}
	if d := time.Until(cert.NotAfter) - pki.NodeValidity; d.Abs() > time.Hour {
		t.Errorf("valid until %v", cert.NotAfter)
	}
	if d := time.Since(cert.NotBefore) - time.Hour; d.Abs() > 10*time.Minute {
		t.Errorf("valid from %v: should be an hour ago", cert.NotBefore)
	}
	if cert.IsCA {
		t.Error("a node's certificate may sign others")
	}
}

func TestParseCA(t *testing.T) {
	ca, other := newCA(t, "one"), newCA(t, "one")
	keyPEM, _ := ca.KeyPEM()
	otherKey, _ := other.KeyPEM()
	node := equip(t, ca, "one", "a", pki.RoleNode)
	for _, tc := range []struct{ name, cert, key, want string }{
		{"nothing", "", string(keyPEM), "no certificate"},
		{"no key", string(ca.CertPEM), "", "no private key"},
		{"swapped", string(keyPEM), string(ca.CertPEM), "private key is where a certificate"},
		{"other key", string(ca.CertPEM), string(otherKey), "does not belong"},
		{"two", string(ca.CertPEM) + string(other.CertPEM), string(keyPEM), "these are 2"},
		{"no CA", string(node.Cert), string(node.Key), "not the certificate of a CA"},
		{"damaged", strings.Replace(string(ca.CertPEM), "\nMII", "\nAAA", 1), string(keyPEM), "damaged"},
		{"damaged key", string(ca.CertPEM), strings.Replace(string(keyPEM), "\nM", "\nA", 1), "damaged"},
	} {
		if _, err := pki.ParseCA([]byte(tc.cert), []byte(tc.key)); err == nil || !contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestIssue(t *testing.T) {
	ca := newCA(t, "one")
	p256, _ := pki.NewKey()
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	old, _ := rsa.GenerateKey(rand.Reader, 2048)
	edwards, _, _ := ed25519.GenerateKey(rand.Reader)
	good := pki.Grant{Cluster: "one", Name: "a", Role: pki.RoleNode, Key: p256.Public()}
	for _, tc := range []struct {
		name   string
		change func(*pki.Grant)
		want   string // empty: issued
	}{
		{"P-256", func(*pki.Grant) {}, ""},
		{"ed25519", func(g *pki.Grant) { g.Key = edwards }, ""},
		{"P-384", func(g *pki.Grant) { g.Key = p384.Public() }, "P-256 or ed25519"},
		{"RSA", func(g *pki.Grant) { g.Key = old.Public() }, "P-256 or ed25519"},
		{"no key", func(g *pki.Grant) { g.Key = nil }, "P-256 or ed25519"},
		{"no role", func(g *pki.Grant) { g.Role = 0 }, "a role is needed"},
		{"no cluster", func(g *pki.Grant) { g.Cluster = "" }, "cluster name"},
		{"cluster with a dot", func(g *pki.Grant) { g.Cluster = "a.b" }, "cluster name"},
		{"no name", func(g *pki.Grant) { g.Name = "" }, "name"},
		{"cohort", func(g *pki.Grant) { g.Name = "@12" }, "name"},
		{"long name", func(g *pki.Grant) { g.Name = strings.Repeat("a", 65) }, "name"},
		{"longest name", func(g *pki.Grant) { g.Name = strings.Repeat("a", 64) }, ""},
		{"longest cluster", func(g *pki.Grant) { g.Cluster = strings.Repeat("c", 63) }, ""},
		{"negative", func(g *pki.Grant) { g.Validity = -1 }, "negative"},
		{"beyond the CA", func(g *pki.Grant) { g.Validity = 10 * pki.CAValidity }, ""},
	} {
		g := good
		tc.change(&g)
		out, err := ca.Issue(g)
		if tc.want != "" {
			if err == nil || !contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		cert := parse(t, out)
		if id, err := pki.IdentityOf(cert, g.Cluster); err != nil || id != (pki.Identity{Cluster: g.Cluster, Name: g.Name, Role: g.Role}) {
			t.Errorf("%s: %+v, %v", tc.name, id, err)
		}
		if cert.NotAfter.After(ca.Cert.NotAfter) {
			t.Errorf("%s: outlives its CA", tc.name)
		}
	}
	if _, err := pki.NewCA("No Name"); err == nil {
		t.Error("a CA of a cluster that cannot be")
	}
}

func TestRequest(t *testing.T) {
	key, _ := pki.NewKey()
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	data, err := pki.NewRequest("node-1", key)
	if err != nil {
		t.Fatal(err)
	}
	name, public, err := pki.ParseRequest(data)
	if err != nil || name != "node-1" || !key.Public().(*ecdsa.PublicKey).Equal(public) {
		t.Errorf("%q %v %v", name, public, err)
	}
	if data, err := pki.NewRequest("b", edwards); err != nil {
		t.Error(err)
	} else if name, _, err := pki.ParseRequest(data); err != nil || name != "b" {
		t.Errorf("%q %v", name, err)
	}
	if _, err := pki.NewRequest("", key); err == nil {
		t.Error("a request without a name")
	}
	block, _ := pem.Decode(data)
	forged := append([]byte(nil), block.Bytes...)
	forged[len(forged)-1] ^= 1
	for name, bad := range map[string][]byte{
		"empty": nil, "text": []byte("hello"),
		"certificate": newCA(t, "one").CertPEM,
		"damaged":     pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:40]}),
		"forged":      pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: forged}),
	} {
		if _, _, err := pki.ParseRequest(bad); err == nil || !contains(err.Error(), "certificate request") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	key, err := pki.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	data, err := pki.NewRequest("a", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, public, err := pki.ParseRequest(data)
		if err == nil && (pki.CheckName(name) != nil || public == nil) {
			t.Fatalf("accepted %q with key %v", name, public)
		}
	})
}
