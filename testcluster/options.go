package testcluster

import (
	"fmt"
	"time"

	"github.com/ozmo-dev/ozmo/node"
)

// Options say what a cluster is made of. The zero value is three nodes with two
// tenants on one network.
type Options struct {
	// Nodes is how many there are: a, b, c, …. As many as there are voters found
	// the cluster together; the others come with bundles.
	Nodes  int
	Voters int // 1, 3 or 5; 0: 3
	// Tenants each have one monitor and one webhook: t000, t001, …; 0: 2.
	Tenants int
	// Networks are the slugs of shared networks, each with a chain; none: "net".
	Networks []string
	// Idle has the monitors wait for what never comes.
	Idle bool
	// BlockTime is how often Traffic makes a block; 0: 250 ms.
	BlockTime time.Duration
	// Empty leaves the folder of documents out: nothing is watched.
	Empty bool
	// Adjust changes what a node is started with.
	Adjust func(name string, o *node.Options)
}

// Depth is how deep a block must lie before monitors here judge it.
const Depth = 1

// Delay is how long everything takes from one host to another.
const Delay = time.Millisecond

func (o *Options) complete() {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Voters == 0 {
		o.Voters = 3
	}
	if o.Tenants == 0 {
		o.Tenants = 2
	}
	if len(o.Networks) == 0 {
		o.Networks = []string{"net"}
	}
	if o.BlockTime == 0 {
		o.BlockTime = 250 * time.Millisecond
	}
}

// Name is the name of the i-th node, from 0.
func Name(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("n%03d", i)
}

// TenantName is the name of the i-th tenant, from 0.
func TenantName(i int) string { return fmt.Sprintf("t%03d", i) }
