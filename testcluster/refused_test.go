package testcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ozmo-dev/ozmo/node"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/pki"
)

// A node that cannot be of the cluster is told so while its token is still good,
// and nothing has been written.
func TestRefusedBeforeTheTokenIsUsed(t *testing.T) {
	certs := t.TempDir()
	files := pki.Files{CA: filepath.Join(certs, "ca.pem"), Cert: filepath.Join(certs, "d.pem"), Key: filepath.Join(certs, "d.key")}
	cluster, own, insecure := "test", true, false
	run(t, Options{Idle: true, Adjust: func(name string, o *node.Options) {
		if name != "d" {
			return
		}
		o.Cluster = cluster
		if insecure {
			o.Insecure, o.ClusterListen, o.Advertise = true, "127.0.0.1:7000", ""
		} else if own {
			o.TLSCA, o.TLSCert, o.TLSKey = files.CA, files.Cert, files.Key
		}
	}}, func(t *testing.T, c *Cluster) {
		b, _, err := pki.ReadBundle(c.Member("a").bundle)
		if err != nil {
			t.Fatal(err)
		}
		right, err := pki.ParseCA([]byte(b.CA), []byte(b.CAKey))
		if err != nil {
			t.Fatal(err)
		}
		wrong, err := pki.NewCA("test")
		if err != nil {
			t.Fatal(err)
		}
		give := func(issuer, trusted *pki.CA, name string) {
			t.Helper()
			m, err := issuer.Equip("test", name, pki.RoleNode)
			if err != nil {
				t.Fatal(err)
			}
			for path, data := range map[string][]byte{files.CA: append(trusted.CertPEM, issuer.CertPEM...), files.Cert: m.Cert, files.Key: m.Key} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		token, err := c.Leader().Node().CreateToken(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		give(wrong, wrong, "d")
		d := c.newMember("d")
		d.start()
		join := func() error {
			ctx, cancel := c.within(joinWithin)
			defer cancel()
			_, err := d.Node().Join(ctx, api.Join{Token: token.Token, Address: token.Address}, func(string) {})
			return err
		}
		refused := func(words string) {
			t.Helper()
			if err := join(); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("error %v, want one that says %q", err, words)
			}
			for _, name := range []string{"sealing.key", "cluster.json", "node.json", "pki"} {
				if _, err := os.Stat(filepath.Join(d.dir, name)); err == nil {
					t.Errorf("%s was written", name)
				}
			}
			for k := range c.View().Tokens() {
				if k.UsedAt != 0 {
					t.Fatal("the token is used up")
				}
			}
		}
		refused("has a certificate of another CA than those of " + files.CA)
		give(wrong, right, "d")
		refused("a certificate signed by another CA")
		give(right, right, "e")
		refused(`node "e" by the common name`)
		again := func() { // its host stays up: nothing listens there that would wake it
			l := d.take()
			d.finish(l, l.node.Kill)
			d.start()
		}
		give(right, right, "d")
		own, cluster = false, "other"
		again()
		refused(`this is cluster "test", and node "d" was started with --cluster other`)
		cluster, insecure = "test", true
		again()
		refused("the cluster that made the token uses TLS")
		own, insecure = true, false
		again()
		if err := join(); err != nil {
			t.Fatal(err)
		}
		c.AwaitReady()
	})
}
