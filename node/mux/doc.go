// Package mux puts everything that nodes say to each other over TCP on one
// port: after the TLS handshake the first byte of a connection says which stream
// it is (Raft, node RPC, gossip, enrolment), and the rest is the stream's.
//
// # Who may connect
//
// A certificate is verified whenever one is shown: it has to lead to the
// cluster's CA, be valid, and give its holder a role in this cluster (package
// pki). Raft and gossip are for nodes, RPC is for nodes and operators, and
// enrolment is for anybody, also without a certificate: it is how a node gets
// one. Any other connection is closed, counted, and reported in words for
// people, each reason at a bounded rate.
//
// Without TLS (plaintext) anybody who can connect is trusted. That is for
// clusters on a single machine; seeing to it that the listener is on a loopback
// address is the caller's part.
//
// # Bounds
//
// A connection has 5 s to say which stream it is. Of those that have not, 256
// are kept; a further one displaces the oldest, so that idle connections do not
// keep others out. Each stream has a bounded backlog of connections that nobody
// has accepted yet.
//
// The package knows nothing of what is said in a stream, nor does it keep
// connections for later use.
package mux
