package worker

import (
	"fmt"

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
	var failed error
	chain, err := enginesFor(doc.Type, func(key match.Key, value any) {
		failed = fmt.Errorf("monitor %q: panic: %v", key.Monitor, value)
	})
	if err != nil {
		return nil, err
	}
	r := &Rejudge{chain: chain, engine: chain.engine()}
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
	return r, failed
}

// Monitors are the ids of the monitors it judges with.
func (r *Rejudge) Monitors() []string { return r.monitors }

// Judge finds the matches of a block, whatever they cost.
func (r *Rejudge) Judge(payload []byte) ([]Found, error) {
	b, _, err := r.chain.decode(payload)
	if err != nil {
		return nil, err
	}
	hits, _ := r.engine.judge(b, 1, 0, nil)
	out := make([]Found, len(hits))
	for i, h := range hits {
		out[i] = Found{Key: h.Key, MonitorName: h.about.name, Transaction: h.tx}
	}
	return out, nil
}
