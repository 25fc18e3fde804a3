package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// How long what is made here is valid, and how long before it was made.
const (
	CAValidity   = 20 * year
	NodeValidity = 10 * year // of certificates, unless a Grant says otherwise

	year = 365 * 24 * time.Hour
	skew = time.Hour // a peer's clock may run late
)

// CA is a cluster's certificate authority.
type CA struct {
	Cert    *x509.Certificate
	CertPEM []byte
	Key     crypto.Signer
}

// NewCA makes the authority of a new cluster.
func NewCA(cluster string) (*CA, error) {
	if err := CheckCluster(cluster); err != nil {
		return nil, err
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"ozmo"}, CommonName: cluster + " CA"},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(CAValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs nodes and operators, no other CA
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("CA of cluster %s: %w", cluster, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("CA of cluster %s: %w", cluster, err)
	}
	return &CA{Cert: cert, CertPEM: encodePEM(pemCertificate, der), Key: key}, nil
}

// ParseCA reads an authority from its certificate and its key.
func ParseCA(certPEM, keyPEM []byte) (*CA, error) {
	certs, err := parseCerts(certPEM)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("CA certificate: one is needed to sign with, these are %d", len(certs))
	}
	if !certs[0].IsCA {
		return nil, errors.New("CA certificate: this is not the certificate of a CA")
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	if !samePublic(key.Public(), certs[0].PublicKey) {
		return nil, errors.New("CA key: it does not belong to the CA certificate")
	}
	return &CA{Cert: certs[0], CertPEM: encodePEM(pemCertificate, certs[0].Raw), Key: key}, nil
}

// KeyPEM is the authority's key in the form that ParseCA reads.
func (c *CA) KeyPEM() ([]byte, error) { return EncodeKey(c.Key) }

// Fingerprint identifies the authority; tokens carry it.
func (c *CA) Fingerprint() [32]byte { return Fingerprint(c.Cert) }

// Grant is what a certificate is to say.
type Grant struct {
	Cluster  string
	Name     string
	Role     Role
	Key      crypto.PublicKey
	Validity time.Duration // 0: NodeValidity; the CA's own end is the limit
}

// Issue signs a certificate and returns it as PEM.
func (c *CA) Issue(g Grant) ([]byte, error) {
	if err := errors.Join(CheckCluster(g.Cluster), CheckName(g.Name)); err != nil {
		return nil, err
	}
	if err := checkPublic(g.Key); err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", g.Name, err)
	}
	var usage []x509.ExtKeyUsage
	switch g.Role {
	case RoleNode:
		usage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	case RoleOperator:
		usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	default:
		return nil, fmt.Errorf("certificate for %s: a role is needed, node or operator", g.Name)
	}
	if g.Validity < 0 {
		return nil, fmt.Errorf("certificate for %s: validity %v is negative", g.Name, g.Validity)
	}
	if g.Validity == 0 {
		g.Validity = NodeValidity
	}
	now := time.Now()
	end := now.Add(g.Validity)
	if end.After(c.Cert.NotAfter) {
		end = c.Cert.NotAfter
	}
	if !now.Before(end) {
		return nil, fmt.Errorf("certificate for %s: the CA itself expired on %s: make a new one", g.Name, moment(c.Cert.NotAfter))
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: g.Name},
		DNSNames:              []string{roleName(g.Role, g.Cluster)},
		NotBefore:             now.Add(-skew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.Cert, g.Key, c.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", g.Name, err)
	}
	return encodePEM(pemCertificate, der), nil
}
