package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// Dialer connects to streams of nodes. A node uses Mux.Dial instead; this is
// for who is none, such as an operator's command line.
type Dialer struct {
	TLS     *tls.Config // nil: plaintext
	Cluster string      // that the peer's certificate is of; not needed in plaintext
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// DialTag connects to a stream of the node at an address; see Mux.Dial for its
// errors. The connection is the caller's to close.
func (d Dialer) DialTag(ctx context.Context, tag Tag, address string) (net.Conn, error) {
	c, err := d.dial(ctx, tag, address)
	if err != nil {
		return nil, dialError(err)
	}
	return c, nil
}

// DialEnrol connects to the enrolment stream of a node about which nothing is
// known but the fingerprint of its cluster's CA, which the node has to prove; no
// certificate is shown. PeerOf tells the cluster's and the node's name. The zero
// fingerprint is that of a cluster without a CA: plaintext. A nil dial is that of
// net.Dialer. Errors are as of Mux.Dial.
func DialEnrol(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), address string, fingerprint [32]byte) (net.Conn, error) {
	d := Dialer{Dial: dial}
	if fingerprint != [32]byte{} {
		d.TLS = pki.EnrolConfig(fingerprint)
	}
	return d.DialTag(ctx, Enrol, address)
}

func (d Dialer) dial(ctx context.Context, tag Tag, address string) (*conn, error) {
	if !tag.known() {
		return nil, fmt.Errorf("there is no stream %s", tag)
	}
	ctx, cancel := context.WithTimeout(ctx, openingTimeout)
	defer cancel()
	connect := d.Dial
	if connect == nil {
		connect = new(net.Dialer).DialContext
	}
	raw, err := connect(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, tag: tag, dialled: address}
	if err := c.introduce(ctx, d); err != nil {
		_ = raw.Close()
		return nil, explain(address, err)
	}
	return c, nil
}

// introduce does the handshake and says which stream this is.
func (c *conn) introduce(ctx context.Context, d Dialer) error {
	// Also a handshake or a write that is stuck ends with the context.
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	err := c.speak(ctx, d)
	if !stop() || ctx.Err() != nil { // the connection is past its deadline, or will be
		return ctx.Err()
	}
	return err
}

func (c *conn) speak(ctx context.Context, d Dialer) error {
	if d.TLS != nil {
		secure := tls.Client(c.raw, d.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		c.Conn = secure
		certs := secure.ConnectionState().PeerCertificates // verified in the handshake
		if len(certs) == 0 {
			return &pki.PeerError{What: "presented no certificate", Kind: pki.ErrNoCertificate}
		}
		var err error
		if d.Cluster == "" {
			c.peer, err = pki.NodeOf(certs[0])
		} else {
			c.peer, err = pki.IdentityOf(certs[0], d.Cluster)
		}
		if err != nil {
			return err
		}
	}
	_, err := c.Write([]byte{byte(c.tag)})
	return err
}

// explain says what is wrong with the node at an address.
func explain(address string, err error) error {
	who := "the node at " + address
	if _, ok := errors.AsType[*pki.PeerError](err); ok {
		return pki.About(who, err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("%s does not speak TLS: it may run in plaintext, or it is not ozmo's cluster port (%w)", who, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s accepted the connection and did not answer in time (%w)", who, err)
	}
	if refusal(err) {
		return fmt.Errorf("%s refused the connection: its log says why (%w)", who, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%s ended the connection before it began: it may run in plaintext, be stopping, or not be ozmo (%w)", who, err)
	}
	return pki.About(who, err)
}

// dialError makes any failure to connect a failed "dial": callers may then be
// sure that nothing they wanted to say has arrived.
func dialError(err error) error {
	if op, ok := err.(*net.OpError); ok && op.Op == "dial" { //nolint:errorlint // only the outermost
		return err
	}
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}
