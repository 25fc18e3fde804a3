package fsm

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Roles is what a node does, one bit each.
type Roles uint8

// The roles.
const (
	RoleWatcher Roles = 1 << iota // follows chains
	RoleWorker                    // judges blocks
	RoleAPI                       // serves the public API
	AllRoles    = RoleWatcher | RoleWorker | RoleAPI
)

var roleNames = []struct {
	role Roles
	name string
}{{RoleWatcher, "watcher"}, {RoleWorker, "worker"}, {RoleAPI, "api"}}

// ParseRoles reads names separated by commas: "watcher,worker".
func ParseRoles(s string) (Roles, error) {
	var roles Roles
next:
	for name := range strings.SplitSeq(s, ",") {
		for _, r := range roleNames {
			if strings.TrimSpace(name) == r.name {
				roles |= r.role
				continue next
			}
		}
		return 0, fmt.Errorf("role %q is none of watcher, worker, api", strings.TrimSpace(name))
	}
	return roles, nil
}

// String is what ParseRoles reads; empty for a node without a role.
func (r Roles) String() string {
	var names []string
	for _, known := range roleNames {
		if r.Has(known.role) {
			names = append(names, known.name)
		}
	}
	return strings.Join(names, ",")
}

// Has reports whether all of some roles are among these.
func (r Roles) Has(some Roles) bool { return r&some == some }

// Drain tells why a node is to be given nothing, and to hand over what it has.
type Drain uint8

// The reasons to drain a node.
const (
	DrainNone     Drain = 0
	DrainLeaving  Drain = 1 // it is stopping; until it starts again
	DrainOperator Drain = 2 // an operator wants it empty; until told otherwise
)

// String is the name in tables and messages.
func (d Drain) String() string {
	switch d {
	case DrainNone:
		return "none"
	case DrainLeaving:
		return "leaving"
	case DrainOperator:
		return "operator"
	default:
		return "unknown"
	}
}

// Node is a member of the cluster as it last registered. Whether it is alive,
// gossip knows.
type Node struct {
	Name    string `codec:"n"`
	Server  string `codec:"s"` // name@instance, its identity in Raft: another one after it lost its disk
	Address string `codec:"a"` // host:port of its cluster port
	Boot    uint64 `codec:"b"` // log index of its last registration
	Roles   Roles  `codec:"r"`
	Weight  uint32 `codec:"w"` // its share of the work in percent of a usual node's; 0 means 100
	Drain   Drain  `codec:"d"`
	Version string `codec:"v"`           // of its program
	Reaches bool   `codec:"p,omitempty"` // it was told where the contents outside of the state are
}

// Node finds a node by name.
func (v *View) Node(name string) (*Node, bool) { return get(v.nodes, name) }

// Nodes yields every node by name.
func (v *View) Nodes() iter.Seq[*Node] { return values(v.nodes) }

// ErrRemoved refuses a server that RemoveNode has taken out.
var ErrRemoved = errors.New("this node was removed from the cluster: to have it join again, empty its data directory")

// RegisterNode is what each start of a process proposes first. Whatever an
// earlier run of that name still has in flight is fenced off: its leases are
// without a holder, its cohorts under a new epoch, and those that it was handing
// over are released. It answers with its log index, the node's Boot.
type RegisterNode struct {
	Name    string `codec:"n"`
	Server  string `codec:"s"`
	Address string `codec:"a"`
	Version string `codec:"v"`
	Roles   Roles  `codec:"r"`
	Weight  uint32 `codec:"w"`
	// After is 1 more than the Boot of the registration this one follows, which is
	// 0 for a name that has none; 0 follows whatever there is. A registration that
	// was proposed by a process that has ended since, and that commits late, is
	// refused with ErrConflict: a younger process has taken its place.
	After   uint64 `codec:"f,omitempty"`
	Reaches bool   `codec:"p,omitempty"` // see Node.Reaches
}

// Type is TypeRegisterNode.
func (*RegisterNode) Type() Type { return TypeRegisterNode }

func (c *RegisterNode) apply(t *tx) (any, error) {
	if slices.Contains(t.View.Cluster().Removed, c.Server) {
		return nil, fmt.Errorf("node %q: %w", c.Name, ErrRemoved)
	}
	old, known := t.Node(c.Name)
	boot := uint64(0)
	if known {
		boot = old.Boot
	}
	if c.After != 0 && c.After != boot+1 {
		return nil, fmt.Errorf("node %q: registration %d expected, %d found: %w", c.Name, c.After-1, boot, ErrConflict)
	}
	n := &Node{
		Name: c.Name, Server: c.Server, Address: c.Address, Boot: t.index, Roles: c.Roles, Weight: c.Weight, Version: c.Version, Reaches: c.Reaches,
	}
	if known && old.Drain != DrainLeaving {
		n.Drain = old.Drain
	}
	put(t.edit, &t.nodes, c.Name, n)
	for network := range t.Networks() {
		if network.Lease.Holder == c.Name {
			next := *network
			next.Lease.vacate()
			t.putNetwork(next)
		}
	}
	for cohort := range t.Cohorts() {
		switch {
		case cohort.Node != c.Name:
		case cohort.To != "":
			t.release(cohort)
		default:
			next := *cohort
			next.Epoch = t.index
			put(t.edit, &t.cohorts, next.ID, &next)
		}
	}
	if main, ok := t.Cohort(c.Name); !ok || main.Node == "" && t.TenantCount(main.ID) == 0 {
		t.putMain(c.Name)
	}
	t.touch(TopicLeases)
	return t.index, nil
}

// putMain gives a node an empty cohort under its own name.
func (t *tx) putMain(node string) {
	put(t.edit, &t.cohorts, node, &Cohort{ID: node, Node: node, Epoch: t.index, Reason: ReasonInitial})
}

// DrainNode says whether a node is to be emptied. A node that is leaving while
// an operator drains it stays drained when it starts again.
type DrainNode struct {
	Name  string `codec:"n"`
	Drain Drain  `codec:"d"`
}

// Type is TypeDrainNode.
func (*DrainNode) Type() Type { return TypeDrainNode }

func (c *DrainNode) apply(t *tx) (any, error) {
	old, ok := t.Node(c.Name)
	if !ok {
		return nil, fmt.Errorf("node %q: %w", c.Name, ErrNotFound)
	}
	if c.Drain == DrainLeaving && old.Drain == DrainOperator {
		return nil, nil
	}
	next := *old
	next.Drain = c.Drain
	put(t.edit, &t.nodes, c.Name, &next)
	t.touch(TopicLeases)
	return nil, nil
}

// RemoveNode forgets a node that has nothing left, with its empty cohorts. It
// is refused when the node has registered under another server since.
type RemoveNode struct {
	Name   string `codec:"n"`
	Server string `codec:"s"`
}

// Type is TypeRemoveNode.
func (*RemoveNode) Type() Type { return TypeRemoveNode }

func (c *RemoveNode) apply(t *tx) (any, error) {
	old, ok := t.Node(c.Name)
	if !ok {
		return nil, fmt.Errorf("node %q: %w", c.Name, ErrNotFound)
	}
	if old.Server != c.Server {
		return nil, fmt.Errorf("node %q is server %s now, not %s: %w", c.Name, old.Server, c.Server, ErrConflict)
	}
	for n := range t.Networks() {
		if n.Lease.Holder == c.Name {
			return nil, fmt.Errorf("node %q watches network %q: %w", c.Name, n.Key, ErrConflict)
		}
	}
	var empty []string
	for cohort := range t.Cohorts() {
		if cohort.Node != c.Name && cohort.To != c.Name {
			continue
		}
		if n := t.TenantCount(cohort.ID); n > 0 {
			return nil, fmt.Errorf("node %q has %d tenants in cohort %q: %w", c.Name, n, cohort.ID, ErrConflict)
		}
		empty = append(empty, cohort.ID)
	}
	for _, id := range empty {
		del(t.edit, &t.cohorts, id)
	}
	del(t.edit, &t.nodes, c.Name)
	t.removed(c.Server)
	t.touch(TopicLeases)
	return nil, nil
}
