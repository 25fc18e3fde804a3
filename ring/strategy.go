package ring

import (
	"errors"
	"fmt"
)

// Strategy is how a tenant finds its home: the node it is given when that node
// has room. Everything else (cap, stickiness, spill, rebalancing) is the same
// for all.
type Strategy string

const (
	// ConsistentHashing places by the hash of the tenant's id, on a ring of the nodes.
	ConsistentHashing Strategy = "consistent-hashing"
	// RoundRobin places in turn: on the node with the fewest tenants for its capacity.
	RoundRobin Strategy = "round-robin"
	// LeastLoaded places on the node with the least weight for its capacity.
	LeastLoaded Strategy = "least-loaded"
	// ActivityBased places as ConsistentHashing does; the caller gives measured activity as
	// the tenants' weights, so that balance follows what they really cost.
	ActivityBased Strategy = "activity-based"
)

// ErrUnknownStrategy: ParseStrategy was given another word.
var ErrUnknownStrategy = errors.New("unknown placement strategy")

// ParseStrategy reads a strategy's name; "" is ConsistentHashing.
func ParseStrategy(s string) (Strategy, error) {
	switch v := Strategy(s); v {
	case "":
		return ConsistentHashing, nil
	case ConsistentHashing, RoundRobin, LeastLoaded, ActivityBased:
		return v, nil
	}
	return "", fmt.Errorf("%w %q: use %s, %s, %s or %s", ErrUnknownStrategy, s,
		ConsistentHashing, RoundRobin, LeastLoaded, ActivityBased)
}

// hashed tells whether the strategy's homes are on the ring.
func (s Strategy) hashed() bool { return s != RoundRobin && s != LeastLoaded }
