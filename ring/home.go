package ring

import (
	"strings"
	"sync"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

// The ring's measures. They decide who is at home where: changing one moves
// tenants of every cluster.
const (
	partitions   = 4099 // prime; with few, some of 100 nodes get nothing
	virtualNodes = 100  // points of a node on the circle
	ringLoad     = 1.25 // most partitions of a node, relative to the average
)

type hasher struct{}

func (hasher) Sum64(b []byte) uint64 { return xxhash.Sum64(b) }

type member string

func (m member) String() string { return string(m) }

// newRing is the ring of these nodes. Their order does not matter.
func newRing(names []string) *consistent.Consistent {
	members := make([]consistent.Member, len(names))
	for i, name := range names {
		members[i] = member(name)
	}
	return consistent.New(members, consistent.Config{
		Hasher:            hasher{},
		PartitionCount:    partitions,
		ReplicationFactor: virtualNodes,
		Load:              ringLoad,
	})
}

// homes maps partitions to nodes, as indexes into the sorted names.
type homes []int32

func (h homes) of(hash uint64) int32 { return h[hash%partitions] }

func newHomes(names []string) homes {
	index := make(map[string]int32, len(names))
	for i, name := range names {
		index[name] = int32(i)
	}
	r := newRing(names)
	table := make(homes, partitions)
	for p := range table {
		table[p] = index[r.GetPartitionOwner(p).String()]
	}
	return table
}

// lastHomes spares the ring's construction, which costs more than a small plan,
// while the nodes are the same. It is a function of its key: forgetting it, or
// sharing it between plans, changes no answer.
var lastHomes struct {
	sync.Mutex
	key   string
	homes homes
}

// homesOf is newHomes(names); names are sorted and not empty.
func homesOf(names []string) homes {
	key := strings.Join(names, "\x00")
	lastHomes.Lock()
	defer lastHomes.Unlock()
	if lastHomes.homes == nil || lastHomes.key != key {
		lastHomes.key, lastHomes.homes = key, newHomes(names)
	}
	return lastHomes.homes
}
