package pki

import (
	"cmp"
	"errors"
	"fmt"
)

// Why a certificate is not accepted. Errors about a peer are *PeerError, which
// wrap one of these.
var (
	ErrOtherCA        = errors.New("certificate is signed by another CA")
	ErrOtherCluster   = errors.New("certificate is of another cluster")
	ErrExpired        = errors.New("certificate has expired")
	ErrNotYetValid    = errors.New("certificate is not valid yet")
	ErrRole           = errors.New("certificate does not allow this")
	ErrNoCertificate  = errors.New("no certificate was presented")
	ErrBadCertificate = errors.New("certificate cannot be used")
)

// PeerError says, in words for people, why the other side of a connection is
// not talked to.
type PeerError struct {
	Who  string // as "the node at 10.0.0.1:7000"; empty: the other side
	What string // the rest of the sentence
	Kind error  // one of the sentinels of this package
}

// Error is a sentence about the peer.
func (e *PeerError) Error() string { return cmp.Or(e.Who, "the other side") + " " + e.What }

// Unwrap returns the kind.
func (e *PeerError) Unwrap() error { return e.Kind }

// About puts into an error that holds a *PeerError who the peer is; any other
// error is prefixed with it.
func About(who string, err error) error {
	if pe, ok := errors.AsType[*PeerError](err); ok {
		return &PeerError{Who: who, What: pe.What, Kind: pe.Kind}
	}
	return fmt.Errorf("%s: %w", who, err)
}

func peerError(kind error, format string, args ...any) error {
	return &PeerError{Kind: kind, What: fmt.Sprintf(format, args...)}
}

func otherCluster(theirs, ours string) error {
	return peerError(ErrOtherCluster, "belongs to cluster %q, this one to %q", theirs, ours)
}
