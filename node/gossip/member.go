package gossip

import (
	"fmt"
	"time"
)

// State is what this node believes of a member.
type State uint8

const (
	Alive State = iota + 1
	Dead        // it does not answer
	Left        // it said that it leaves
)

// States are all of them.
var States = []State{Alive, Dead, Left}

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Meta is what a node says about itself, besides its name and address.
type Meta struct {
	Server   string // name@instance: its id in the Raft group
	Version  string // of the build
	Commands uint8  // highest command of the replicated state that it understands
	Roles    uint8  // bits, as in the replicated state
	HTTP     string // address of its API; may be empty
}

// Member is a node that is or was part of the cluster.
type Member struct {
	Name    string
	Address string // host:port of its cluster port, as it advertises it: may be a DNS name
	State   State
	Meta
	Since time.Time // of State, as this node saw it
}
