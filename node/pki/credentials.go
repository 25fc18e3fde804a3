package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkEvery bounds how often files are looked at.
const checkEvery = time.Second

// Credentials are the certificates that a node or an operator shows, and what
// it needs to verify those of others. They follow their files: handshakes use
// what the files hold by then.
type Credentials struct {
	files   Files
	cluster string
	logger  *slog.Logger

	mu       sync.Mutex // not held while files are read
	loaded   *loaded
	seen     state // of the files when they were last read, also in vain
	checked  time.Time
	checking bool
}

// loaded is one consistent reading of the files.
type loaded struct {
	roots    *x509.CertPool
	anchor   *x509.Certificate // the CA that the own certificate leads to
	cert     tls.Certificate   // with the chain up to the anchor
	identity Identity
}

// Load reads the files and checks that they fit together and belong to the
// cluster. That certificates have expired is no error here (see Expires): the node
// has to run for them to be renewed. A key that others may read is logged as a warning.
func Load(files Files, cluster string, logger *slog.Logger) (*Credentials, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Credentials{files: files, cluster: cluster, logger: logger, seen: files.state(), checked: time.Now()}
	var err error
	if c.loaded, err = read(files, cluster); err != nil {
		return nil, err
	}
	if info, err := os.Stat(files.Key); err == nil {
		if who := exposed(info); who != "" {
			logger.Warn("a private key can be read by others: run chmod 600 on it", "file", files.Key, "readers", who)
		}
	}
	return c, nil
}

// LoadIn is Load of a data directory's files.
func LoadIn(dataDir, cluster string, logger *slog.Logger) (*Credentials, error) {
	if err := settle(dataDir); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return Load(FilesIn(dataDir), cluster, logger)
}

// Identity is what the own certificate says.
func (c *Credentials) Identity() Identity { return c.current().identity }

// Expires is when the own certificate, or the CA it leads to, ends.
func (c *Credentials) Expires() time.Time {
	l := c.current()
	if l.anchor.NotAfter.Before(l.cert.Leaf.NotAfter) {
		return l.anchor.NotAfter
	}
	return l.cert.Leaf.NotAfter
}

// CA is the certificate of the CA that the own certificate leads to; tokens
// carry its fingerprint.
func (c *Credentials) CA() *x509.Certificate { return c.current().anchor }

// ServerConfig is for accepting connections. A peer may come without a
// certificate; what it presents has to lead to the CA and to give it a role in
// the cluster. The handshake fails with a *PeerError otherwise.
func (c *Credentials) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert, // verified below
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current().cert, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			_, err := verifyPeer(s.PeerCertificates, c.current().roots, c.cluster, x509.ExtKeyUsageClientAuth, time.Now())
			return err
		},
		// A resumed session would outlive the certificate it was begun with.
		SessionTicketsDisabled: true,
	}
}

// ClientConfig is for connecting to nodes: the peer has to be a node of the
// cluster, under whatever address. The handshake fails with a *PeerError
// otherwise.
func (c *Credentials) ClientConfig() *tls.Config { return clientConfig(c.cluster, c.current) }

func clientConfig(cluster string, current func() *loaded) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // of host names; verified below
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &current().cert, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			id, err := verifyPeer(s.PeerCertificates, current().roots, cluster, x509.ExtKeyUsageServerAuth, time.Now())
			if err == nil && id.Role != RoleNode {
				err = peerError(ErrRole, "is not a node: its certificate makes it %q", id.Role)
			}
			return err
		},
	}
}

// EnrolConfig is for connecting to a node of a cluster of which nothing is known
// but the CA's fingerprint. No certificate is shown.
func EnrolConfig(ca [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // of host names; verified below
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := verifyPinned(s.PeerCertificates, ca, time.Now())
			return err
		},
	}
}

// current returns what the files hold, looking at them at most once a second.
func (c *Credentials) current() *loaded {
	c.mu.Lock()
	before, seen, now := c.loaded, c.seen, time.Now()
	if c.checking || now.Sub(c.checked).Abs() < checkEvery {
		c.mu.Unlock()
		return before
	}
	c.checking = true
	c.mu.Unlock()

	after, err := before, error(nil)
	found := c.files.state()
	if found != seen {
		after, err = read(c.files, c.cluster)
		if err == nil && (after.identity.Name != before.identity.Name || after.identity.Role != before.identity.Role) {
			err = fmt.Errorf("%s is for %s %q, this is %s %q", c.files.Cert, after.identity.Role, after.identity.Name, before.identity.Role, before.identity.Name)
		}
		if err != nil {
			after = before
		}
	}
	c.mu.Lock()
	c.loaded, c.seen, c.checked, c.checking = after, found, now, false
	c.mu.Unlock()
	switch {
	case err != nil:
		c.logger.Error("the changed certificate files cannot be used; the earlier certificate stays in use", "error", err)
	case after != before:
		c.logger.Info("certificate files changed: new connections use them", "file", c.files.Cert, "expires", after.cert.Leaf.NotAfter)
	}
	return after
}

func read(files Files, cluster string) (*loaded, error) {
	var m Material
	for _, f := range []struct {
		path string
		data *[]byte
	}{{files.CA, &m.CA}, {files.Cert, &m.Cert}, {files.Key, &m.Key}} {
		var err error
		if *f.data, err = os.ReadFile(f.path); err != nil {
			return nil, fmt.Errorf("certificate files: %w", err)
		}
	}
	l, err := m.load(cluster)
	if err != nil {
		return nil, fmt.Errorf("certificate files %s, %s, %s: %w", files.CA, files.Cert, files.Key, err)
	}
	return l, nil
}

// load checks that certificates and key fit together, expired or not.
func (m Material) load(cluster string) (*loaded, error) {
	roots, err := authorities(m.CA)
	if err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	certs, err := parseCerts(m.Cert)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	leaf := certs[0]
	id, err := IdentityOf(leaf, cluster)
	if err != nil {
		return nil, About("the certificate's holder", err)
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if id.Role == RoleNode {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	var chain []*x509.Certificate
	for _, usage := range usages {
		if chain, err = verifyEver(certs, roots, usage, time.Now()); err != nil {
			return nil, About("the certificate's holder", err)
		}
	}
	pair.Leaf = leaf
	pair.Certificate = nil
	for _, c := range chain { // with the CA: who enrols knows it by its fingerprint alone
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return &loaded{roots: roots, anchor: chain[len(chain)-1], cert: pair, identity: id}, nil
}
