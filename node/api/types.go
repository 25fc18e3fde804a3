package api

import "github.com/ozmo-dev/ozmo/fsm"

// Check is one line of livez or readyz.
type Check struct {
	Name string
	Err  error // nil: in order
	// Minor: a failure is shown, but does not count.
	Minor bool
}

// Status is the cluster in short, as one node sees it. What only the leader
// knows of the nodes is missing while there is none.
type Status struct {
	Node       string          `json:"node"` // that answers
	Cluster    string          `json:"cluster"`
	Leader     string          `json:"leader"` // node; empty: none
	Term       uint64          `json:"term"`
	Removed    bool            `json:"removed,omitempty"` // the node is not part of the cluster any more
	Waiting    []string        `json:"waiting,omitempty"` // founders that the node has not met, and why, while the cluster has not begun
	Problems   []string        `json:"problems"`          // work that no node can do as things are
	Voters     int             `json:"voters"`
	Index      uint64          `json:"index"` // of the last log entry applied here
	Nodes      []NodeStatus    `json:"nodes"`
	Networks   []NetworkStatus `json:"networks"`
	Tenants    []TenantStatus  `json:"tenants"`
	Unassigned int             `json:"unassigned"`                // tenants that nobody judges now
	Imbalance  float64         `json:"imbalance"`                 // (max - min) / average of tenants per node
	Outbox     int             `json:"outbox"`                    // deliveries still to be made
	DeadLetter int             `json:"dead_letters"`              // deliveries given up
	Dead       []TenantDead    `json:"dead_letters_of,omitempty"` // the most first
	Pending    []string        `json:"pending"`                   // changes of the Raft group that are due, and why
}

// NetworkStatus is a watched network.
type NetworkStatus struct {
	Key      string       `json:"key"`
	Holder   string       `json:"holder"`
	Epoch    uint64       `json:"epoch"`
	Head     fsm.BlockRef `json:"head"`
	Seen     int64        `json:"seen"`     // when that was announced, Unix milliseconds; 0: not known
	Position uint64       `json:"position"` // of the last announcement
	Judged   uint64       `json:"judged"`   // position of the slowest cursor
	Wanted   int          `json:"wanted"`   // tenants with an unpaused monitor on it
	Pinned   bool         `json:"pinned"`   // to its holder, by the operator
	// Calls to the chain by kind, of all nodes in contact since they started.
	Calls Calls `json:"calls"`
}

// Calls counts what was asked of a chain's endpoints.
type Calls struct {
	BlockFetch uint64 `json:"block_fetch"`
	HeadPoll   uint64 `json:"head_poll"`
	Connect    uint64 `json:"connect"`
	Hedge      uint64 `json:"hedge"`
	Refetch    uint64 `json:"refetch"`
}

// Plus adds two counts.
func (c Calls) Plus(o Calls) Calls {
	return Calls{c.BlockFetch + o.BlockFetch, c.HeadPoll + o.HeadPoll, c.Connect + o.Connect, c.Hedge + o.Hedge, c.Refetch + o.Refetch}
}

// TenantStatus is a tenant in short.
type TenantStatus struct {
	ID       string `json:"id"`
	Version  uint64 `json:"version"`
	Monitors int    `json:"monitors"`
	Cohort   string `json:"cohort"`
	Assigned string `json:"node"`         // that judges it; empty: nobody, for the moment
	To       string `json:"to,omitempty"` // node it is being handed over to
	Reason   string `json:"reason"`       // of the last assignment
	Moves    uint64 `json:"assignment_version"`
	Pin      string `json:"pin,omitempty"`
	Weight   uint32 `json:"weight"` // 100 is a normal one; 0: the strategy of placement decides
	Priority int32  `json:"priority"`
}

// Coverage is what was judged of a network for a tenant.
type Coverage struct {
	Tenant  string            `json:"tenant"`
	Network string            `json:"network"`
	Head    fsm.BlockRef      `json:"head"`
	Rows    []fsm.CoverageRow `json:"rows"`
}

// Fired is an alert that was fired, as verify compares it.
type Fired struct {
	ID      string       `json:"id"`
	Monitor string       `json:"monitor"`
	Block   fsm.BlockRef `json:"block"`
	Tx      string       `json:"transaction"`
	Version uint64       `json:"version,omitempty"`
}

// Heights is a range of heights, both included, with what is to be said of it.
type Heights struct {
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Reason string `json:"reason"`
}

// Verification is the result of judging a range again.
type Verification struct {
	Tenant     string    `json:"tenant"`
	Network    string    `json:"network"`
	From       uint64    `json:"from"`
	To         uint64    `json:"to"`
	Blocks     int       `json:"blocks"`      // judged again
	Expected   int       `json:"expected"`    // alerts that judging again gives
	Confirmed  int       `json:"confirmed"`   // of those, fired
	RolledBack int       `json:"rolled_back"` // fired for blocks that are no longer on the chain
	Unproved   int       `json:"unproved"`    // expected, and nobody can tell any more whether they were fired
	Missing    []Fired   `json:"missing"`     // expected, but never fired
	Unexpected []Fired   `json:"unexpected"`  // fired, but not found again
	NotJudged  []Heights `json:"not_judged"`  // and why
	Unprovable []Heights `json:"unprovable"`  // judged, but with a configuration, or recorded in a journal, that is no longer there
	Silent     []string  `json:"silent"`      // nodes whose journals could not be asked
}

// Proved reports whether everything in the range was judged and fired.
func (v *Verification) Proved() bool {
	return len(v.Missing) == 0 && len(v.Unexpected) == 0 && len(v.NotJudged) == 0 && len(v.Unprovable) == 0 && len(v.Silent) == 0
}

// Progress is told while a long call works.
type Progress struct {
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"`
}

// Event is one line of a streamed answer: progress, then the result or an error.
type Event struct {
	Progress *Progress     `json:"progress,omitempty"`
	Result   *Verification `json:"result,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// Reloaded tells what reading the folder again brought.
type Reloaded struct {
	Changed  []string `json:"changed"`
	Removed  []string `json:"removed"`
	Refused  []string `json:"refused"`
	Problems []string `json:"problems"`
}
