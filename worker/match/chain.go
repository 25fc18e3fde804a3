package match

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// ErrUnknownChain is returned for a chain that no linked package matches.
var ErrUnknownChain = errors.New("no matching for this kind of chain")

// Compiled is a monitor ready for matching on one kind of chain.
type Compiled interface {
	// MonitorName is the name of the monitor as configured.
	MonitorName() string
}

// Compiler makes a monitor ready for matching. It never fails: what is wrong
// is in the problems.
type Compiler func(m *spec.Monitor) (Compiled, []Problem)

var (
	chainsMu sync.RWMutex
	chains   = make(map[spec.Chain]Compiler)
)

// Register makes a chain known under its network_type, such as "EVM". Packages
// of chains call it when they are initialised; a chain registered twice is a
// mistake in the program and panics.
func Register(chain spec.Chain, c Compiler) {
	chainsMu.Lock()
	defer chainsMu.Unlock()
	if _, ok := chains[chain]; ok {
		panic("match: chain " + string(chain) + " is registered twice")
	}
	chains[chain] = c
}

// Compile makes a monitor ready for a chain, named by network_type. Its
// problems are what a user should see when saving the monitor. The error wraps
// ErrUnknownChain.
func Compile(chain spec.Chain, m *spec.Monitor) (Compiled, []Problem, error) {
	chainsMu.RLock()
	c, ok := chains[chain]
	known := slices.Sorted(maps.Keys(chains))
	chainsMu.RUnlock()
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q (known: %q)", ErrUnknownChain, chain, known)
	}
	compiled, problems := c(m)
	return compiled, problems, nil
}
