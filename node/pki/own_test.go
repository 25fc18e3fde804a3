package pki_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func TestCheckOwn(t *testing.T) {
	one, two := newCA(t, "one"), newCA(t, "two")
	good := equip(t, one, "one", "b", pki.RoleNode)
	expired := custom(t, one, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	for name, tc := range map[string]struct {
		material      pki.Material
		cluster, node string
		member        bool
		want          []string // parts of the error; none: no error
	}{
		"good":                     {material: good, cluster: "one", node: "b"},
		"cluster not known":        {material: good, node: "b"},
		"another CA":               {material: pki.Material{CA: two.CertPEM, Cert: good.Cert, Key: good.Key}, cluster: "one", node: "b", want: []string{"cert.pem", "signed by another CA"}},
		"another key":              {material: pki.Material{CA: good.CA, Cert: good.Cert, Key: equip(t, one, "one", "b", pki.RoleNode).Key}, node: "b", want: []string{"key.pem: not the key of"}},
		"another cluster":          {material: good, cluster: "two", node: "b", want: []string{`belongs to cluster "one", this one to "two"`}},
		"another node":             {material: good, cluster: "one", node: "c", want: []string{`is node "b" by the common name, and this is node "c"`}},
		"an operator":              {material: equip(t, one, "one", "b", pki.RoleOperator), cluster: "one", node: "b", want: []string{"names node.one.ozmo", "key usage"}},
		"no role":                  {material: custom(t, one, func(c *x509.Certificate) { c.DNSNames = []string{"b.example.net"} }), cluster: "one", node: "b", want: []string{"should name node.one.ozmo"}},
		"for servers alone":        {material: custom(t, one, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), cluster: "one", node: "b", want: []string{"key usage"}},
		"expired":                  {material: expired, cluster: "one", node: "b", want: []string{"expired"}},
		"expired, of a member":     {material: expired, cluster: "one", node: "b", member: true},
		"all at once":              {material: pki.Material{CA: []byte("x"), Cert: expired.Cert, Key: good.Key}, cluster: "one", node: "c", want: []string{"ca.pem: there is no certificate", "key.pem: not the key", "is node"}},
		"a certificate for a CA":   {material: pki.Material{CA: good.Cert, Cert: good.Cert, Key: good.Key}, cluster: "one", node: "b", want: []string{"not the certificate of a CA"}},
		"a key for a certificate":  {material: pki.Material{CA: good.CA, Cert: good.Key, Key: good.Key}, cluster: "one", node: "b", want: []string{"a private key is where a certificate should be"}},
		"none of the files exists": {cluster: "one", node: "b", want: []string{"ca.pem: no such file", "cert.pem: no such file", "key.pem: no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := pki.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
			for path, data := range map[string][]byte{files.CA: tc.material.CA, files.Cert: tc.material.Cert, files.Key: tc.material.Key} {
				if data != nil {
					write(t, path, data)
				}
			}
			err := pki.CheckOwn(files, tc.cluster, tc.node, !tc.member)
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

// Who brings a certificate trusts, and is trusted by, the nodes it goes to.
func TestAlsoTrusted(t *testing.T) {
	one, two := newCA(t, "one"), newCA(t, "two")
	a := load(t, equip(t, one, "one", "a", pki.RoleNode), "one")
	file := filepath.Join(t.TempDir(), "ca.pem")
	for _, tc := range []struct {
		ca   *pki.CA
		want error
	}{{one, nil}, {two, pki.ErrOtherCA}} {
		if err := os.WriteFile(file, tc.ca.CertPEM, 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := pki.AlsoTrusted(pki.EnrolConfig(one.Fingerprint()), file)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = shake(t, a.ServerConfig(), config)
		wantKind(t, err, tc.want, "of another CA than those of "+file)
		wantKind(t, a.CheckNode(equip(t, tc.ca, "one", "b", pki.RoleNode).Cert, "b"), tc.want, "another CA")
	}
	if err := a.CheckNode(equip(t, one, "one", "b", pki.RoleNode).Cert, "c"); err == nil {
		t.Error("another node's certificate is accepted")
	}
}
