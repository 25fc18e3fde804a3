package api

import "time"

// NodeStatus is a node as the leader sees it.
type NodeStatus struct {
	Name    string    `json:"name"`
	Server  string    `json:"server"` // Raft server id: name@instance
	Address string    `json:"address"`
	State   NodeState `json:"state"`
	Raft    RaftRole  `json:"raft"`
	Roles   []string  `json:"roles"`
	Version string    `json:"version"`
	Weight  uint32    `json:"weight"` // percent of a normal node
	// Contact is how long ago its last heartbeat came; negative: never.
	Contact time.Duration `json:"contact_ns"`
	Applied uint64        `json:"applied"` // log index
	Behind  uint64        `json:"behind"`  // log entries
	Tenants int           `json:"tenants"`
	Leases  int           `json:"leases"`
	Load    float64       `json:"load"` // cores spent on judging, as of late
	Keys    []string      `json:"gossip_keys"`
}

// NodeState is how a node is.
type NodeState string

// The states of a node.
const (
	NodeReady    NodeState = "ready"
	NodeJoining  NodeState = "joining"  // registered, not caught up yet
	NodeDraining NodeState = "draining" // gives its work away
	NodeLost     NodeState = "lost"     // no contact
	NodeDown     NodeState = "down"     // known to be dead
	NodeLeft     NodeState = "left"     // stopped orderly
)

// RaftRole is a node's part in the Raft group.
type RaftRole string

// The parts in the Raft group.
const (
	RaftLeader   RaftRole = "leader"
	RaftVoter    RaftRole = "voter"
	RaftNonvoter RaftRole = "non-voter"
	RaftNone     RaftRole = "none"
)

// Move is a tenant that changes, or would change, its node.
type Move struct {
	Tenant string `json:"tenant"`
	From   string `json:"from"` // empty: nobody had it
	To     string `json:"to"`
	Reason string `json:"reason"`
}

// Migration asks for a tenant's documents to be moved to another store.
type Migration struct {
	Tenant string `json:"tenant"` // empty: none; new tenants are to begin there
	To     string `json:"to"`     // "embedded" or "postgres"
}

// Migrated is what became of a Migration.
type Migrated struct {
	Tenant   string `json:"tenant"`
	To       string `json:"to"`
	Changed  bool   `json:"changed"`
	Versions int    `json:"versions"` // that were moved
}

// Rebalance is what a rebalancing does, or would do.
type Rebalance struct {
	DryRun    bool     `json:"dry_run"`
	Before    float64  `json:"imbalance_before"` // (max - min) / average of the nodes' loads
	After     float64  `json:"imbalance_after"`
	Moves     []Move   `json:"moves"`
	Unplaced  []string `json:"unplaced"`  // no node has room for these
	Oversized []string `json:"oversized"` // tenants heavier than a node's share
}

// Token is a new join token. It is shown once.
type Token struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Address string    `json:"address"` // of a node that takes it
}

// Join asks a waiting node to join a cluster.
type Join struct {
	Token   string `json:"token"`
	Address string `json:"address"`
}

// Joined tells how joining went.
type Joined struct {
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Raft    RaftRole `json:"raft"`
	Index   uint64   `json:"index"` // of the log, when it had caught up
}

// JoinEvent is one line of the streamed answer to a Join.
type JoinEvent struct {
	Step   string  `json:"step,omitempty"`
	Result *Joined `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Keyring is the state of the gossip keys.
type Keyring struct {
	Keys  []KeyStatus `json:"keys"` // the first is in use
	Nodes int         `json:"nodes"`
}

// KeyStatus is one gossip key.
type KeyStatus struct {
	ID      string   `json:"id"`
	Primary bool     `json:"primary"`
	Missing []string `json:"missing"` // nodes that do not have it yet
}

// Restored tells what a restore installed.
type Restored struct {
	Index    uint64 `json:"index"` // log index of the archive
	Tenants  int    `json:"tenants"`
	Networks int    `json:"networks"`

	Missing []MissingDocuments `json:"missing,omitempty"` // what PostgreSQL does not have of it
}

// MissingDocuments are how many of a tenant's documents want contents that are
// nowhere.
type MissingDocuments struct {
	Tenant  string `json:"tenant"`
	InForce int    `json:"in_force"` // the tenant waits for them
	Earlier int    `json:"earlier"`  // of earlier versions, to which it cannot return
}

// LeaseMove asks to give a network to a node.
type LeaseMove struct {
	Network string `json:"network"`
	To      string `json:"to"` // empty: it stays where it is, and may move again
}

// Placement is a tenant's place as the operator wants it.
type Placement struct {
	Tenant   string  `json:"tenant"`
	Pin      *string `json:"pin,omitempty"` // node; empty: none
	Weight   *uint32 `json:"weight,omitempty"`
	Priority *int32  `json:"priority,omitempty"`
}
