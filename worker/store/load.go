package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

func blob(v *fsm.View, d fsm.Doc) ([]byte, error) {
	data, err := v.Content(d.Hash)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", d.Kind, d.ID, err)
	}
	return data, nil
}

func load[T any](v *fsm.View, d fsm.Doc) (*T, error) {
	data, err := blob(v, d)
	if err != nil {
		return nil, err
	}
	doc := new(T)
	if err := json.Unmarshal(data, doc); err != nil {
		return nil, fmt.Errorf("stored %s %q: %w", d.Kind, d.ID, err)
	}
	return doc, nil
}

// Trigger reads a stored trigger; its secrets are sealed.
func Trigger(v *fsm.View, d fsm.Doc) (*spec.Trigger, error) { return load[spec.Trigger](v, d) }

// Network reads a stored network; its secrets are sealed.
func Network(v *fsm.View, d fsm.Doc) (*spec.Network, error) { return load[spec.Network](v, d) }

// Script reads a stored script.
func Script(v *fsm.View, d fsm.Doc) (*spec.StoredScript, error) { return load[spec.StoredScript](v, d) }

// Monitor reads a stored monitor. Its contract specifications share their bytes
// with the state: do not change them.
func Monitor(v *fsm.View, d fsm.Doc) (*spec.Monitor, error) {
	stored, err := load[monitorBlob](v, d)
	if err != nil {
		return nil, err
	}
	m := new(spec.Monitor)
	if err := json.Unmarshal(stored.Monitor, m); err != nil {
		return nil, fmt.Errorf("stored monitor %q: %w", d.ID, err)
	}
	for i, ref := range stored.Specs {
		if ref == nil || i >= len(m.Addresses) {
			continue
		}
		data, err := v.Content(ref.Blob)
		if err != nil {
			return nil, fmt.Errorf("monitor %q: contract specification: %w", d.ID, err)
		}
		m.Addresses[i].ContractSpec, m.Addresses[i].SpecChain = data, ref.Chain
	}
	return m, nil
}

// Owner is the tenant that owns a network, and the network's slug there.
func Owner(key string) (tenant, slug string) {
	if tenant, slug, private := strings.Cut(key, "/"); private {
		return tenant, slug
	}
	return fsm.Shared, key
}

// FindNetwork reads the document of a network by its key, and names its owner.
// A document that was removed while blocks were still to be judged is found in
// the newest version that has it.
func FindNetwork(v *fsm.View, key string) (n *spec.Network, owner string, err error) {
	owner, slug := Owner(key)
	t, ok := v.Tenant(owner)
	if !ok {
		return nil, owner, fmt.Errorf("network %q: %w", key, fsm.ErrNotFound)
	}
	d, ok := t.Current.Manifest.Find(fsm.DocNetwork, slug)
	for i := len(t.Previous) - 1; i >= 0 && !ok; i-- {
		d, ok = t.Previous[i].Manifest.Find(fsm.DocNetwork, slug)
	}
	if !ok {
		return nil, owner, fmt.Errorf("network %q: %w", key, fsm.ErrNotFound)
	}
	n, err = Network(v, d)
	return n, owner, err
}

// IsThere reports whether there is a network that the state knows: whether a document
// in force defines it, or somebody watches it still for those who have blocks of it to
// judge. What was judged of one that is gone stays known.
func IsThere(v *fsm.View, n *fsm.Network) bool {
	if n.Wanted > 0 || n.Lease.Holder != "" {
		return true
	}
	owner, slug := Owner(n.Key)
	t, ok := v.Tenant(owner)
	if ok {
		_, ok = t.Current.Manifest.Find(fsm.DocNetwork, slug)
	}
	return ok
}

// DepthsOn lists the depths at which a version's monitors judge a network, given
// its own depth and its finality depth.
func DepthsOn(version fsm.Version, network string, own, finality uint64) []uint64 {
	var out []uint64
	for _, d := range version.Manifest.Docs {
		for _, w := range d.Watches {
			if w.Network == network {
				out = append(out, w.DepthOn(own, finality))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
