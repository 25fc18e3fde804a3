package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// Whatever is wrong with a certificate is seen by either side, and told apart.
func TestRejections(t *testing.T) {
	ca, rival, two := newCA(t, "one"), newCA(t, "one"), newCA(t, "two")
	us := load(t, equip(t, ca, "one", "a", pki.RoleNode), "one")
	at := func(from, to time.Duration) pki.Material {
		return custom(t, ca, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to)
		})
	}
	oldRival := custom(t, rival, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	usage := func(u ...x509.ExtKeyUsage) pki.Material {
		return custom(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = u })
	}
	names := func(n ...string) pki.Material {
		return custom(t, ca, func(c *x509.Certificate) { c.DNSNames = n })
	}
	for _, tc := range []struct {
		name     string
		material pki.Material
		asServer error
		asClient error
		text     string
	}{
		{"node", equip(t, ca, "one", "b", pki.RoleNode), nil, nil, ""},
		{"operator", equip(t, ca, "one", "eve", pki.RoleOperator), pki.ErrRole, nil, "use"},
		{"operator for servers", custom(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"operator.one.ozmo"} }), pki.ErrRole, nil, `makes it "operator"`},
		{"both roles", names("operator.one.ozmo", "node.one.ozmo"), nil, nil, ""},
		{"other CA", equip(t, rival, "one", "b", pki.RoleNode), pki.ErrOtherCA, pki.ErrOtherCA, "signed by another CA"},
		{"other CA, expired", oldRival, pki.ErrOtherCA, pki.ErrOtherCA, "signed by another CA"},
		{"other CA and cluster", equip(t, two, "two", "b", pki.RoleNode), pki.ErrOtherCluster, pki.ErrOtherCluster, `belongs to cluster "two", this one to "one"`},
		{"same CA, other cluster", equip(t, ca, "two", "b", pki.RoleNode), pki.ErrOtherCluster, pki.ErrOtherCluster, `belongs to cluster "two", this one to "one"`},
		{"of two clusters", names("node.two.ozmo", "node.one.ozmo"), nil, nil, ""},
		{"expired", at(-2*time.Hour, -time.Hour), pki.ErrExpired, pki.ErrExpired, "certificate that expired on"},
		{"not yet valid", at(time.Hour, 2*time.Hour), pki.ErrNotYetValid, pki.ErrNotYetValid, "compare the clocks"},
		{"no role", names("b.example.org"), pki.ErrRole, pki.ErrRole, "no role in cluster"},
		{"unknown role", names("guest.one.ozmo"), pki.ErrRole, pki.ErrRole, "no role in cluster"},
		{"no name", custom(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "" }), pki.ErrRole, pki.ErrRole, "common name"},
		{"bad name", custom(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "@1.0" }), pki.ErrRole, pki.ErrRole, "common name"},
		{"servers only", usage(x509.ExtKeyUsageServerAuth), nil, pki.ErrRole, "extended key usage"},
		{"clients only", usage(x509.ExtKeyUsageClientAuth), pki.ErrRole, nil, "extended key usage"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			theirs := pair(t, tc.material)
			_, _, _, err := shake(t, show(us.ServerConfig(), theirs), us.ClientConfig())
			wantKind(t, err, tc.asServer, tc.text)
			// The peer would not be served by us: it is made to overlook that.
			client := show(us.ClientConfig(), theirs)
			_, _, err, _ = shake(t, us.ServerConfig(), client)
			wantKind(t, err, tc.asClient, tc.text)
		})
	}
}

func TestServerWithoutClientCertificate(t *testing.T) {
	ca := newCA(t, "one")
	us := load(t, equip(t, ca, "one", "a", pki.RoleNode), "one")
	state, _, serverErr, clientErr := shake(t, us.ServerConfig(), show(us.ClientConfig(), nil))
	if serverErr != nil || clientErr != nil || len(state.PeerCertificates) != 0 {
		t.Errorf("%v, %v, %d certificates: a handshake without one should pass", serverErr, clientErr, len(state.PeerCertificates))
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	us := load(t, equip(t, newCA(t, "one"), "one", "a", pki.RoleNode), "one")
	client := us.ClientConfig()
	client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	_, _, serverErr, clientErr := shake(t, us.ServerConfig(), client)
	if serverErr == nil || clientErr == nil {
		t.Errorf("TLS 1.2: %v, %v", serverErr, clientErr)
	}
}

func TestEnrolment(t *testing.T) {
	ca, rival := newCA(t, "one"), newCA(t, "one")
	us := load(t, equip(t, ca, "one", "a", pki.RoleNode), "one")
	operator := custom(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"operator.one.ozmo"} })
	withCA := func(m pki.Material, ca *pki.CA) *tls.Certificate {
		c := pair(t, m)
		c.Certificate = append(c.Certificate, ca.Cert.Raw)
		return c
	}
	for _, tc := range []struct {
		name   string
		server *tls.Config
		ca     [32]byte
		kind   error
		text   string
	}{
		{"our CA", us.ServerConfig(), ca.Fingerprint(), nil, ""},
		{"another CA", us.ServerConfig(), rival.Fingerprint(), pki.ErrOtherCA, "cluster that made this token"},
		{"the CA shown, another's certificate", show(us.ServerConfig(), withCA(equip(t, rival, "one", "a", pki.RoleNode), ca)), ca.Fingerprint(), pki.ErrOtherCA, "signed by another CA"},
		{"not a node", show(us.ServerConfig(), withCA(operator, ca)), ca.Fingerprint(), pki.ErrRole, "no node of any cluster"},
		{"CA not shown", show(us.ServerConfig(), pair(t, equip(t, ca, "one", "a", pki.RoleNode))), ca.Fingerprint(), pki.ErrOtherCA, "cluster that made this token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c, serverErr, clientErr := shake(t, tc.server, pki.EnrolConfig(tc.ca))
			wantKind(t, clientErr, tc.kind, tc.text)
			if tc.kind != nil {
				return
			}
			if serverErr != nil || len(s.PeerCertificates) != 0 {
				t.Errorf("server: %v, %d certificates", serverErr, len(s.PeerCertificates))
			}
			if id, err := pki.NodeOf(c.PeerCertificates[0]); err != nil || id != (pki.Identity{Cluster: "one", Name: "a", Role: pki.RoleNode}) {
				t.Errorf("it is %+v, %v", id, err)
			}
		})
	}
}

// Certificates end while the process runs; the CA's end is told apart.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "one")
		us := load(t, equip(t, ca, "one", "a", pki.RoleNode), "one")
		they := load(t, limited(t, ca, "one", "b", time.Hour), "one")
		if got, want := they.Expires(), time.Now().Add(time.Hour); got.Sub(want).Abs() > time.Minute {
			t.Errorf("expires %v, want %v", got, want)
		}
		serverErr, clientErr := shakeVirtually(t, us.ServerConfig(), they.ClientConfig())
		wantKind(t, serverErr, nil, "")
		wantKind(t, clientErr, nil, "")
		<-time.After(2 * time.Hour) // virtual
		serverErr, _ = shakeVirtually(t, us.ServerConfig(), they.ClientConfig())
		wantKind(t, serverErr, pki.ErrExpired, "certificate that expired on")
		_, clientErr = shakeVirtually(t, they.ServerConfig(), us.ClientConfig())
		wantKind(t, clientErr, pki.ErrExpired, "certificate that expired on")

		if again := load(t, limited(t, ca, "one", "b", time.Nanosecond), "one"); again.Expires().After(time.Now()) {
			t.Errorf("expires %v", again.Expires())
		}
		<-time.After(11 * 365 * 24 * time.Hour)
		late := load(t, equip(t, ca, "one", "c", pki.RoleNode), "one")
		if !late.Expires().Equal(ca.Cert.NotAfter) {
			t.Errorf("expires %v, after its CA at %v", late.Expires(), ca.Cert.NotAfter)
		}
		<-time.After(10 * 365 * 24 * time.Hour)
		if _, err := ca.Equip("one", "d", pki.RoleNode); err == nil || !contains(err.Error(), "CA itself expired") {
			t.Errorf("issuing with an expired CA: %v", err)
		}
	})
}

func TestCAExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "one")
		m := custom(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * pki.CAValidity) })
		us := load(t, m, "one")
		if !us.Expires().Equal(ca.Cert.NotAfter) {
			t.Errorf("expires %v, the CA at %v", us.Expires(), ca.Cert.NotAfter)
		}
		<-time.After(pki.CAValidity + time.Hour)
		if again := load(t, m, "one"); again.Expires().After(time.Now()) {
			t.Errorf("expires %v", again.Expires())
		}
		serverErr, _ := shakeVirtually(t, us.ServerConfig(), show(us.ClientConfig(), pair(t, m)))
		if serverErr == nil {
			t.Fatal("accepted though the CA has expired")
		}
		_, clientErr := shakeVirtually(t, us.ServerConfig(), us.ClientConfig())
		wantKind(t, clientErr, pki.ErrExpired, "whose CA expired on")
	})
}
