package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// CheckOwn tells everything that is wrong with the files of a node that brings its
// own certificate, as errors.Join does: they have to be there, to fit together and
// to make it the node of that name. An empty cluster is one that is not known yet:
// the certificate has to be a node's of any. That it has expired is an error with
// fresh alone: a node that is a member has to run for its files to be renewed.
func CheckOwn(files Files, cluster, name string, fresh bool) error {
	var errs []error
	wrong := func(path string, err error) { errs = append(errs, fmt.Errorf("%s: %w", path, err)) }
	get := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err) // names the path
		}
		return data
	}
	caPEM, certPEM, keyPEM := get(files.CA), get(files.Cert), get(files.Key)
	roots, err := authorities(caPEM)
	if err != nil && caPEM != nil {
		wrong(files.CA, err)
	}
	if certPEM == nil {
		return errors.Join(errs...)
	}
	certs, err := parseCerts(certPEM)
	if err != nil {
		wrong(files.Cert, err)
		return errors.Join(errs...)
	}
	if keyPEM != nil {
		if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
			wrong(files.Key, fmt.Errorf("not the key of %s: %w", files.Cert, err))
		}
	}
	for _, err := range checkLeaf(certs, roots, cluster, name, fresh) {
		wrong(files.Cert, About("the holder", err))
	}
	return errors.Join(errs...)
}

// checkLeaf tells what keeps certificates, the own one first, from being a node's.
func checkLeaf(certs []*x509.Certificate, roots *x509.CertPool, cluster, name string, fresh bool) []error {
	var errs []error
	var id Identity
	var err error
	if cluster == "" {
		id, err = NodeOf(certs[0])
	} else {
		id, err = IdentityOf(certs[0], cluster)
	}
	switch {
	case err != nil:
		errs = append(errs, err)
	case id.Role != RoleNode:
		errs = append(errs, peerError(ErrRole, "is an %s: a node's certificate names %s", id.Role, roleName(RoleNode, id.Cluster)))
	case name != "" && id.Name != name:
		errs = append(errs, peerError(ErrRole, "is node %q by the common name, and this is node %q", id.Name, name))
	}
	if roots == nil {
		return errs
	}
	verify := verifyEver
	if fresh {
		verify = verifyChain
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := verify(certs, roots, usage, time.Now()); err != nil {
			return append(errs, err)
		}
	}
	return errs
}

// authorities are the CAs of a file.
func authorities(data []byte) (*x509.CertPool, error) {
	cas, err := parseCerts(data)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		if !ca.IsCA {
			return nil, fmt.Errorf("%q is not the certificate of a CA", ca.Subject.String())
		}
		roots.AddCert(ca)
	}
	return roots, nil
}

// CheckNode says why a certificate, PEM, that a node brings along would not be
// accepted as that node's by these credentials' owner; nil: it would.
func (c *Credentials) CheckNode(certPEM []byte, name string) error {
	certs, err := parseCerts(certPEM)
	if err != nil {
		return err
	}
	return errors.Join(checkLeaf(certs, c.current().roots, c.cluster, name, true)...)
}

// AlsoTrusted is a configuration whose peer has to lead to a CA of a file too.
func AlsoTrusted(config *tls.Config, caFile string) (*tls.Config, error) {
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots, err := authorities(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caFile, err)
	}
	config = config.Clone()
	before := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if err := before(s); err != nil {
			return err
		}
		_, err := verifyChain(s.PeerCertificates, roots, x509.ExtKeyUsageServerAuth, time.Now())
		if errors.Is(err, ErrOtherCA) {
			return peerError(ErrOtherCA, "has a certificate of another CA than those of %s: its chain ends at %q", caFile,
				s.PeerCertificates[len(s.PeerCertificates)-1].Subject.String())
		}
		return err
	}
	return config, nil
}
