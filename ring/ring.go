package ring

// Node is a member that may be given work. Only nodes that live and have the
// right role are listed: what is with a node that is not listed is placed anew.
type Node struct {
	Name       string  // unique, not empty
	Weight     float64 // capacity; 1 is a normal node, as is 0 or less
	MaxTenants int     // most tenants it may have; 0: Options.MaxTenants
}

// Tenant is one unit of placement.
type Tenant struct {
	ID       string  // unique
	Weight   float64 // what it costs, in any unit; 1 where it is 0 or less. Resolution 1e-6, largest 1e6
	Priority int     // the higher, the earlier it is placed
	Pin      string  // node it is to be on while that node is listed; "": anywhere
	Node     string  // node that has it now; "": none
	Moving   bool    // it is being handed over to Node, and stays there while Node is listed
}

// Options are how to plan. The zero value is usable.
type Options struct {
	Strategy  Strategy // "": ConsistentHashing
	Load      float64  // a node's cap, relative to its share of all weight; below 1: DefaultLoad
	Rebalance bool     // tenants may leave living nodes for balance alone
	Threshold float64  // imbalance up to which nothing is rebalanced; 0 or less: DefaultThreshold
	// MoveLimit bounds the tenants that leave a living node in this plan for
	// balance, or for a tenant of higher priority. 0: 5 % of the tenants, at
	// least 50; negative: none. What has to move, and what a new node takes
	// for its share, is not bounded by it.
	MoveLimit  int
	MaxTenants int // most tenants of a node that does not say; 0: no bound
	// Leaving names nodes that go by intention: they get nothing, whether listed
	// or not, and what they have moves with ReasonScaling.
	Leaving map[string]bool
}

// Defaults of Options.
const (
	DefaultLoad      = 1.25
	DefaultThreshold = 0.2

	minMoveLimit     = 50
	moveLimitDivisor = 20 // 5 %
)

// Reason is why a tenant moves.
type Reason string

const (
	ReasonInitial        Reason = "initial"         // it had no node
	ReasonLoadRebalance  Reason = "load-rebalance"  // its node has more than its share, or than it may have
	ReasonNodeFailure    Reason = "node-failure"    // its node is not listed
	ReasonManual         Reason = "manual"          // it is pinned
	ReasonScaling        Reason = "scaling"         // its node leaves, or a new one takes its share
	ReasonPriorityChange Reason = "priority-change" // it made room for one of higher priority
)

// Move takes a tenant to another node.
type Move struct {
	Tenant string
	From   string // "" where it had none
	To     string // never ""
	Reason Reason
}

// Result is a plan and what comes of it.
type Result struct {
	Moves []Move             // what is placed first comes first: by priority, weight, id
	Loads map[string]float64 // weight on each node, after the moves
	// Unplaced are the tenants, by id, that no node has a place for. Those of a
	// node that has more than its MaxTenants stay with it: a tenant that is
	// judged is not stopped for a bound.
	Unplaced []string
	// Heavy are the tenants, by id, that alone are above the cap of every node:
	// no placement is even while they are there.
	Heavy  []string
	Before Balance // of what living nodes had
	After  Balance
}

// Balance says how even the load is, each node's relative to its capacity. It
// is zero where nothing is placed.
type Balance struct {
	MaxOverAvg float64 // most loaded node / average; 1 is perfect
	Imbalance  float64 // (max - min) / average; 0 is perfect
}
