package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm/spec"
	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/match/evm"
)

// engine judges the blocks of one network for the monitors of one depth.
type engine interface {
	// add puts a monitor in force from a position on; the returned function
	// ends it before another position.
	add(key match.Key, m *spec.Monitor, about *monitor, from uint64) (end func(until uint64))
	// put is add for what chainEngines compiled, for this once.
	put(key match.Key, c compiled, about *monitor, from uint64) (end func(until uint64))
	// prune forgets what ended at or before a position and tells how many
	// monitors are left.
	prune(before uint64) (left int)
	// judge finds the matches of a block; tenants over their budget come back
	// without any and are judged again with only set to them. Without a budget nobody
	// is over it.
	judge(b block, position uint64, budget func(tenant string) int, only func(tenant string) bool) found
}

// found is what judging a block gave.
type found struct {
	hits  []hit
	over  []string    // tenants over their budget
	spent []evm.Spent // what it cost of whom; nil without limits
}

// block is a decoded block of some chain.
type block any

// compiled is a monitor of some chain.
type compiled any

// hit is one match.
type hit struct {
	match.Key
	about *monitor
	tx    string // hash of the transaction
	build func() *match.Match
}

// chainEngines makes engines and decodes blocks of one kind of chain.
type chainEngines interface {
	engine() engine
	// compile prepares a monitor for an engine.
	compile(m *spec.Monitor) compiled
	// decode also tells the block's own time.
	decode(payload []byte) (block, time.Time, error)
}

// enginesFor finds the matching of a chain. onPanic hears of monitors whose
// judging panicked.
func enginesFor(c spec.Chain, onPanic func(key match.Key, value any)) (chainEngines, error) {
	switch c {
	case spec.EVM:
		return &evmEngines{onPanic: onPanic}, nil
	default:
		return nil, fmt.Errorf("%w: %s", match.ErrUnknownChain, c)
	}
}

type evmEngines struct {
	specs   evm.ABIs
	onPanic func(key match.Key, value any)
}

func (e *evmEngines) decode(payload []byte) (block, time.Time, error) {
	b, err := chainevm.Decode(payload)
	if err != nil {
		return nil, time.Time{}, err
	}
	return b, time.Unix(int64(b.Timestamp), 0), nil
}

func (e *evmEngines) compile(m *spec.Monitor) compiled {
	c, _ := evm.Compile(m, &e.specs) // its problems were reported when it was saved
	return c
}

func (e *evmEngines) engine() engine {
	return &evmEngine{
		shared: e,
		index:  evm.NewIndex(evm.Options{OnPanic: e.onPanic}),
		about:  map[*evm.Monitor]*monitor{},
		ended:  map[*evm.Monitor]uint64{},
	}
}

type evmEngine struct {
	shared *evmEngines
	index  *evm.Index

	mu    sync.RWMutex
	about map[*evm.Monitor]*monitor
	ended map[*evm.Monitor]uint64
}

func (e *evmEngine) add(key match.Key, m *spec.Monitor, about *monitor, from uint64) func(until uint64) {
	return e.put(key, e.shared.compile(m), about, from)
}

func (e *evmEngine) put(key match.Key, c compiled, about *monitor, from uint64) func(until uint64) {
	m := c.(*evm.Monitor) //nolint:forcetypeassert // engines and what they are given have the same chain
	e.mu.Lock()
	e.about[m] = about
	e.mu.Unlock()
	handle := e.index.Add(key, m, from)
	return func(until uint64) {
		e.index.Remove(handle, until)
		e.mu.Lock()
		e.ended[m] = until
		e.mu.Unlock()
	}
}

func (e *evmEngine) prune(before uint64) (left int) {
	e.mu.Lock()
	n := len(e.ended)
	for m, until := range e.ended {
		if until <= before {
			delete(e.ended, m)
			delete(e.about, m)
		}
	}
	pruned := len(e.ended) < n
	left = len(e.about)
	e.mu.Unlock()
	if pruned {
		e.index.Prune(before)
	}
	return left
}

func (e *evmEngine) judge(b block, position uint64, budget func(string) int, only func(string) bool) found {
	result := e.index.MatchLimited(b.(*chainevm.Block), position, evm.Limits{Tenants: only, Budget: budget})
	hits := make([]hit, len(result.Hits))
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := range result.Hits {
		h := &result.Hits[i]
		about := e.about[h.Monitor]
		hits[i] = hit{Key: h.Key, about: about, tx: h.Transaction().Hash.String(), build: func() *match.Match { return h.Match(about.slug) }}
	}
	return found{hits, result.OverBudget, result.Spent}
}
