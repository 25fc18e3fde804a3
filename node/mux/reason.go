package mux

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// Reasons of the metric ozmo_mux_rejected_total and in warnings.
const (
	reasonOtherCA      = "other-ca"
	reasonOtherCluster = "other-cluster"
	reasonExpired      = "expired"
	reasonNotYet       = "not-yet-valid"
	reasonRole         = "role"
	reasonNone         = "no-certificate"
	reasonCertificate  = "bad-certificate"
	reasonHandshake    = "handshake" // any other failure of TLS
	reasonNotTLS       = "not-tls"   // plaintext or another protocol
	reasonRefused      = "refused"   // by the peer, which does not like our certificate
	reasonTimeout      = "timeout"   // said nothing for 5 s
	reasonGone         = "gone"      // went away by itself
	reasonTag          = "tag"       // no such stream
	reasonUnserved     = "unserved"  // nobody accepts that stream here, or not yet
	reasonBacklog      = "backlog"   // who accepts that stream is too slow
	reasonDisplaced    = "displaced" // too many had not said what they want
	reasonAccept       = "accept"    // the listener failed
)

var reasons = []string{
	reasonOtherCA, reasonOtherCluster, reasonExpired, reasonNotYet, reasonRole, reasonNone, reasonCertificate,
	reasonHandshake, reasonNotTLS, reasonRefused, reasonTimeout, reasonGone, reasonTag, reasonUnserved,
	reasonBacklog, reasonDisplaced, reasonAccept,
}

var kinds = []struct {
	err    error
	reason string
}{
	{pki.ErrOtherCA, reasonOtherCA},
	{pki.ErrOtherCluster, reasonOtherCluster},
	{pki.ErrExpired, reasonExpired},
	{pki.ErrNotYetValid, reasonNotYet},
	{pki.ErrRole, reasonRole},
	{pki.ErrNoCertificate, reasonNone},
	{pki.ErrBadCertificate, reasonCertificate},
	{errUnserved, reasonUnserved},
	{errBacklog, reasonBacklog},
	{errDisplaced, reasonDisplaced},
}

var (
	errUnserved  = errors.New("this node does not serve that stream, or not yet")
	errBacklog   = errors.New("too many connections of that stream wait to be accepted")
	errDisplaced = errors.New("too many connections had not said what they want, and this was the oldest")
)

// tagError is about a connection that wanted a stream that there is not.
type tagError struct {
	tag       Tag
	plaintext bool
}

// tlsHandshake is the first byte of any TLS connection.
const tlsHandshake = 0x16

func (e *tagError) Error() string {
	if e.plaintext && e.tag == tlsHandshake {
		return "it speaks TLS and this node runs in plaintext: give both the same settings"
	}
	return "it wants an unknown stream (" + e.tag.String() + "): it may be of a newer version, or not of ozmo"
}

// classify says why a connection is refused, for metrics and for people.
func classify(who string, err error) (reason, text string) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			if _, ok := errors.AsType[*pki.PeerError](err); ok {
				err = pki.About(who, err)
			}
			return k.reason, err.Error()
		}
	}
	if e, ok := errors.AsType[*tagError](err); ok {
		return reasonTag, e.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return reasonNotTLS, "it does not speak TLS, which this node requires: it may run in plaintext, or not be ozmo"
	}
	if refusal(err) {
		return reasonRefused, "it refused this node's certificate or its way of TLS: " + err.Error()
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return reasonTimeout, "it did not say within " + openingTimeout.String() + " what it wants"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return reasonGone, err.Error()
	}
	return reasonHandshake, err.Error()
}

// refusal says whether the error is an alert of the peer: TLS reports those as
// a failed operation of this name.
func refusal(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
