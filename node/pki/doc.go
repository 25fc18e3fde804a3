// Package pki is who is who in a cluster: its certificate authority (CA), the
// certificates of nodes and operators, the files that hold them, the bundles
// that nodes are first started with, the tokens that further nodes join with,
// and the files with which operators command a cluster from afar.
//
// # Certificates
//
// A certificate says three things: which cluster it is for and in which role,
// in one DNS name, "node.<cluster>.ozmo" or "operator.<cluster>.ozmo", and the
// holder's name, in the subject's common name. Host names and addresses are not
// looked at: nodes move between them. Node certificates are good for servers
// and for clients, operator certificates for clients alone. Any certificate
// that says so and leads to the cluster's CA is accepted, whoever made it;
// operators may bring their own.
//
// # Validity
//
// A CA made here is valid for 20 years, a certificate issued by it for 10 unless
// told otherwise, both from an hour before they were made, for clocks that run
// late. There is no list of revoked certificates: which nodes are members is the
// cluster's state, an operator's certificate is short-lived (30 days unless told
// otherwise), and a certificate that leaked is answered with a new CA.
// Files that are replaced while the process runs are picked up by the next
// handshakes.
//
// # Secrets
//
// Keys are ECDSA P-256 (ed25519 is accepted). Files of this package are readable
// by their owner alone and are written completely or not at all. Neither tokens
// nor bundles show their secrets when they are printed or logged.
//
// The package opens no connections; that is package mux's. It neither knows the
// cluster's state nor speaks the enrolment protocol.
package pki
