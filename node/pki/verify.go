package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"time"
)

// Fingerprint identifies a certificate: the SHA-256 of its DER form.
func Fingerprint(cert *x509.Certificate) [32]byte { return sha256.Sum256(cert.Raw) }

// verifyPeer accepts a peer's certificates (its own first) if they lead to one
// of the roots, are valid now, and give it a role in the cluster.
func verifyPeer(certs []*x509.Certificate, roots *x509.CertPool, cluster string, usage x509.ExtKeyUsage, now time.Time) (Identity, error) {
	if len(certs) == 0 {
		return Identity{}, peerError(ErrNoCertificate, "presented no certificate")
	}
	// A claim to another cluster is believed without proof: it is refused either
	// way, and says more than "another CA" would.
	id, roleErr := IdentityOf(certs[0], cluster)
	if errors.Is(roleErr, ErrOtherCluster) {
		return Identity{}, roleErr
	}
	if _, err := verifyChain(certs, roots, usage, now); err != nil {
		return Identity{}, err
	}
	return id, roleErr
}

// verifyPinned accepts a node's certificates if they lead to the CA of the given
// fingerprint, which must be among them.
func verifyPinned(certs []*x509.Certificate, ca [32]byte, now time.Time) (Identity, error) {
	if len(certs) == 0 {
		return Identity{}, peerError(ErrNoCertificate, "presented no certificate")
	}
	for _, c := range certs {
		if Fingerprint(c) != ca {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		if _, err := verifyChain(certs, roots, x509.ExtKeyUsageServerAuth, now); err != nil {
			return Identity{}, err
		}
		return NodeOf(certs[0])
	}
	return Identity{}, peerError(ErrOtherCA, "does not belong to the cluster that made this token: its CA is another one")
}

// verifyChain returns the chain that leads from the first certificate to a root.
func verifyChain(certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	options := x509.VerifyOptions{
		Roots: roots, Intermediates: between,
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	chains, err := certs[0].Verify(options)
	if err == nil {
		return chains[0], nil
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if ok && invalid.Reason == x509.Expired && outside(certs[0], now) {
		// The library looks at the time first. An old certificate of another CA
		// is of another CA above all: renewing it would not help.
		options.CurrentTime = nearest(certs[0], now)
		_, again := certs[0].Verify(options)
		if _, ok := errors.AsType[x509.UnknownAuthorityError](again); ok {
			err = again
		}
	}
	return nil, explain(err, certs[0], now)
}

// verifyEver is verifyChain for when it does not matter here that the
// certificate, or its CA, has expired.
func verifyEver(certs []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) ([]*x509.Certificate, error) {
	chain, err := verifyChain(certs, roots, usage, now)
	if err == nil || !errors.Is(err, ErrExpired) && !errors.Is(err, ErrNotYetValid) {
		return chain, err
	}
	leaf := certs[0]
	for _, at := range []time.Time{nearest(leaf, now), leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2), leaf.NotBefore} {
		if chain, err := verifyChain(certs, roots, usage, at); err == nil {
			return chain, nil
		}
	}
	return nil, err
}

func outside(c *x509.Certificate, now time.Time) bool { return !nearest(c, now).Equal(now) }

// nearest is the time nearest to now at which the certificate is valid.
func nearest(c *x509.Certificate, now time.Time) time.Time {
	switch {
	case now.Before(c.NotBefore):
		return c.NotBefore
	case now.After(c.NotAfter):
		return c.NotAfter
	default:
		return now
	}
}

// explain turns an error of package x509 into words for people.
func explain(err error, leaf *x509.Certificate, now time.Time) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return peerError(ErrOtherCA, "has a certificate signed by another CA (%q)", leaf.Issuer.String())
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok {
		return peerError(ErrBadCertificate, "has a certificate that cannot be used: %v", err)
	}
	switch invalid.Reason {
	case x509.Expired:
		c, what := leaf, "certificate that"
		if invalid.Cert != nil && !invalid.Cert.Equal(leaf) {
			c, what = invalid.Cert, "certificate whose CA"
		}
		if now.Before(c.NotBefore) {
			return peerError(ErrNotYetValid, "has a %s is valid only from %s on: compare the clocks (this one says %s)", what, moment(c.NotBefore), moment(now))
		}
		return peerError(ErrExpired, "has a %s expired on %s: renew it (the clock here says %s)", what, moment(c.NotAfter), moment(now))
	case x509.IncompatibleUsage:
		return peerError(ErrRole, "has a certificate that does not allow this use (its extended key usage): nodes need server and client authentication, operators client authentication")
	default:
		return peerError(ErrBadCertificate, "has a certificate that cannot be used: %v", err)
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
