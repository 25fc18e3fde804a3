package store

import (
	"context"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// PackMonitor prepares one monitor for the state, under an id that need not be its
// name; own and shared are the networks it may refer to. See Pack.
func PackMonitor(ctx context.Context, tenant, id string, m *spec.Monitor, own, shared map[string]*spec.Network, sealer Sealer) (*Packed, error) {
	p := &Packed{seen: map[fsm.Hash]bool{}}
	if err := p.monitor(ctx, tenant, id, m, own, shared, sealer); err != nil {
		return nil, err
	}
	p.Manifest.Normalize()
	return p, nil
}

// PackBundle prepares the documents of a bundle; own and shared are the networks that
// its monitors may refer to. See Pack.
func PackBundle(ctx context.Context, tenant string, b *spec.Bundle, own, shared map[string]*spec.Network, sealer Sealer) (*Packed, error) {
	p, err := Pack(ctx, tenant, &spec.Folder{Networks: b.Networks, Triggers: b.Triggers}, nil, sealer)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(b.Monitors)) {
		if err := p.monitor(ctx, tenant, id, b.Monitors[id], own, shared, sealer); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Scripts)) {
		if err := p.document(ctx, tenant, fsm.DocScript, id, b.Scripts[id], new(spec.StoredScript), sealer); err != nil {
			return nil, err
		}
	}
	p.Manifest.Normalize()
	return p, nil
}

// Watches are the networks that an unpaused monitor judges the blocks of, which
// follow from its document and those of the networks.
func Watches(tenant string, m *spec.Monitor, own, shared map[string]*spec.Network) []fsm.Watch {
	return watches(tenant, m, own, shared)
}
