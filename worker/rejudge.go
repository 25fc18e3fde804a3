package worker

import (
	"fmt"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Rejudge judges blocks with one version of a tenant's monitors on a network,
// as a worker would, and delivers nothing.
type Rejudge struct {
	chain    chainEngines
	engine   engine
	monitors []string

	mu     sync.Mutex
	failed error // the first panic while judging
}

// Found is a match of a re-judged block.
type Found struct {
	match.Key
	MonitorName string
	Transaction string
}

// NewRejudge compiles the monitors that judge a network at a depth; own is the
// network's own one.
func NewRejudge(v *fsm.View, tenant string, version fsm.Version, network string, own, depth uint64) (*Rejudge, error) {
	doc, _, err := store.FindNetwork(v, network)
	if err != nil {
		return nil, err
	}
	r := &Rejudge{}
	if r.chain, err = enginesFor(doc.Type, r.onPanic); err != nil {
		return nil, err
	}
	r.engine = r.chain.engine()
	for _, d := range version.Manifest.Docs {
		for _, w := range d.Watches {
			if w.Network != network || w.DepthOr(own) != depth {
				continue
			}
			m, err := store.Monitor(v, d)
			if err != nil {
				return nil, err
			}
			about := &monitor{doc: d, watch: w, name: m.Name, slug: w.Slug}
			r.monitors = append(r.monitors, d.ID)
			r.engine.add(match.Key{Tenant: tenant, Monitor: d.ID}, m, about, 0)
			break
		}
	}
	return r, nil
}

func (r *Rejudge) onPanic(key match.Key, value any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = fmt.Errorf("tenant %s: monitor %q: panic while judging: %v", key.Tenant, key.Monitor, value)
	}
}

// Monitors are the ids of the monitors it judges with.
func (r *Rejudge) Monitors() []string { return r.monitors }

// Judge finds the matches of a block, whatever they cost. Once a monitor has
// panicked, every call fails: matches may be missing.
func (r *Rejudge) Judge(payload []byte) ([]Found, error) {
	b, _, err := r.chain.decode(payload)
	if err != nil {
		return nil, err
	}
	hits, _ := r.engine.judge(b, 1, 0, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return nil, r.failed
	}
	out := make([]Found, len(hits))
	for i, h := range hits {
		out[i] = Found{Key: h.Key, MonitorName: h.about.name, Transaction: h.tx}
	}
	return out, nil
}
