package worker

import (
	"fmt"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/alert"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// Rejudge judges blocks with one version of a tenant's monitors on a network,
// as a worker would, and delivers nothing.
type Rejudge struct {
	chain  chainEngines
	engine engine
	phases []Phase

	mu     sync.Mutex
	failed error // the first panic while judging
}

// Found is a match of a re-judged block.
type Found struct {
	match.Key
	MonitorName string
	Transaction string
	Triggers    []string // of the monitor, in its order

	hit  hit
	time time.Time // of the block
}

// Alert is the alert that a worker raises for the match in a block: fired, with
// all that its messages say. An error says that the match cannot be described.
func (f *Found) Alert(network string, ref fsm.BlockRef, version, position uint64) (a *alert.Alert, err error) {
	a = &alert.Alert{
		ID:     alert.NewID(f.Tenant, f.Monitor, network, f.Transaction),
		Tenant: f.Tenant, MonitorID: f.Monitor, MonitorName: f.MonitorName,
		Network: network, NetworkSlug: f.hit.about.slug,
		Block: ref, BlockTime: f.time, Tx: f.Transaction, State: alert.Fired, Version: version, Position: position,
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("monitor %q, transaction %s: the match cannot be described: panic: %v", f.MonitorName, f.Transaction, p)
		}
	}()
	m := f.hit.build()
	a.Variables = m.Variables()
	a.Match, err = m.JSON()
	return a, err
}

// Phase is one of the times at which a monitor judges a block: one of mode both has
// two, the second of which confirms.
type Phase struct {
	Monitor  string // id
	Confirms bool
}

// NewRejudge compiles the monitors that judge a network at a depth; own is the
// network's own one, finality its finality depth.
func NewRejudge(v *fsm.View, tenant string, version fsm.Version, network string, own, finality, depth uint64) (*Rejudge, error) {
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
		compiled := false
		for _, w := range d.Watches {
			if w.Network != network || w.DepthOn(own, finality) != depth {
				continue
			}
			r.phases = append(r.phases, Phase{Monitor: d.ID, Confirms: w.Mode == fsm.ModeConfirmation})
			if compiled {
				continue // both its phases are at this depth: one finds what the other does
			}
			compiled = true
			m, err := store.Monitor(v, d)
			if err != nil {
				return nil, err
			}
			m.Paused = false // who asks for a paused one wants it judged all the same
			about := &monitor{doc: d, watch: w, name: m.Name, slug: w.Slug, triggers: m.Triggers}
			r.engine.add(match.Key{Tenant: tenant, Monitor: d.ID}, m, about, 0)
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

// Phases are the monitors it judges with, and as what of each.
func (r *Rejudge) Phases() []Phase { return r.phases }

// Judge finds the matches of a block, whatever they cost. Once a monitor has
// panicked, every call fails: matches may be missing.
func (r *Rejudge) Judge(payload []byte) ([]Found, error) {
	b, at, err := r.chain.decode(payload)
	if err != nil {
		return nil, err
	}
	hits := r.engine.judge(b, 1, nil, nil).hits
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return nil, r.failed
	}
	out := make([]Found, len(hits))
	for i, h := range hits {
		out[i] = Found{Key: h.Key, MonitorName: h.about.name, Transaction: h.tx, Triggers: h.about.triggers, hit: h, time: at}
	}
	return out, nil
}
