package mux

import (
	"fmt"

	"github.com/ozmo-dev/ozmo/node/pki"
)

// Tag is the first byte of a connection, and says which stream it is.
type Tag byte

// Tags. They are part of the protocol between nodes: numbers are not reused.
const (
	Raft   Tag = 1 // package consensus
	RPC    Tag = 2 // HTTP/2 between nodes, and of operators
	Gossip Tag = 3 // package gossip
	Enrol  Tag = 4 // of nodes that have no certificate yet
)

var tags = [...]Tag{Raft, RPC, Gossip, Enrol}

// String is the stream's word in messages and metrics.
func (t Tag) String() string {
	switch t {
	case Raft:
		return "raft"
	case RPC:
		return "rpc"
	case Gossip:
		return "gossip"
	case Enrol:
		return "enrol"
	default:
		return fmt.Sprintf("tag %d", byte(t))
	}
}

// known says whether there is such a stream.
func (t Tag) known() bool { return t >= Raft && t <= Enrol }

// allows says whether a peer of this role may open the stream.
func (t Tag) allows(r pki.Role) bool {
	switch t {
	case Raft, Gossip:
		return r == pki.RoleNode
	case RPC:
		return r == pki.RoleNode || r == pki.RoleOperator
	case Enrol:
		return true
	default:
		return false
	}
}
