package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Sealer replaces the values of secrets by sealed ones, resolving first what
// only names its value.
type Sealer interface {
	SealAll(ctx context.Context, tenant string, secrets []*spec.Secret) error
}

// Packed is a tenant's configuration as it is proposed: the blobs first, then
// the manifest that points to them.
type Packed struct {
	Manifest fsm.Manifest
	Blobs    [][]byte // each once
	seen     map[fsm.Hash]bool
}

func (p *Packed) put(data []byte) fsm.Hash {
	hash := fsm.HashBlob(data)
	if !p.seen[hash] {
		p.seen[hash] = true
		p.Blobs = append(p.Blobs, data)
	}
	return hash
}

// monitorBlob is the stored form of a monitor. Contract specifications are
// blobs of their own, so that a thousand monitors of one token share one.
type monitorBlob struct {
	Monitor json.RawMessage `json:"monitor"`
	Specs   []*specRef      `json:"specs"` // by address, nil where there is none
}

type specRef struct {
	Chain spec.Chain `json:"chain"`
	Blob  fsm.Hash   `json:"blob"`
}

// Pack prepares the folder of a tenant. shared are the networks that its
// monitors may refer to beside its own.
func Pack(ctx context.Context, tenant string, f *spec.Folder, shared map[string]*spec.Network, sealer Sealer) (*Packed, error) {
	p := &Packed{seen: map[fsm.Hash]bool{}}
	for _, slug := range slices.Sorted(maps.Keys(f.Networks)) {
		if err := p.document(ctx, tenant, fsm.DocNetwork, slug, f.Networks[slug], new(spec.Network), sealer); err != nil {
			return nil, err
		}
		p.Manifest.Docs[len(p.Manifest.Docs)-1].Depth = f.Networks[slug].Depth()
	}
	for _, id := range slices.Sorted(maps.Keys(f.Triggers)) {
		if err := p.document(ctx, tenant, fsm.DocTrigger, id, f.Triggers[id], new(spec.Trigger), sealer); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Monitors)) {
		if err := p.monitor(ctx, tenant, name, f.Monitors[name], f.Networks, shared, sealer); err != nil {
			return nil, err
		}
	}
	p.Manifest.Normalize()
	return p, nil
}

// PackShared prepares the shared networks.
func PackShared(ctx context.Context, networks map[string]*spec.Network, sealer Sealer) (*Packed, error) {
	return Pack(ctx, fsm.Shared, &spec.Folder{Networks: networks}, nil, sealer)
}

// withSecrets is a document whose secrets can be replaced in place.
type withSecrets interface{ Secrets() []*spec.Secret }

// document seals a copy, so that what the caller holds stays as it was read.
func (p *Packed) document(ctx context.Context, tenant string, kind fsm.DocKind, id string, doc, copied withSecrets, sealer Sealer) error {
	data, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(data, copied)
	}
	if err == nil {
		err = sealer.SealAll(ctx, tenant, copied.Secrets())
	}
	if err == nil {
		data, err = json.Marshal(copied)
	}
	if err != nil {
		return fmt.Errorf("tenant %q, %s %q: %w", tenant, kind, id, err)
	}
	p.Manifest.Docs = append(p.Manifest.Docs, fsm.Doc{Kind: kind, ID: id, Hash: p.put(data)})
	return nil
}

func (p *Packed) monitor(ctx context.Context, tenant, name string, m *spec.Monitor, own, shared map[string]*spec.Network, sealer Sealer) error {
	bare := *m
	bare.Addresses = make([]spec.Address, len(m.Addresses))
	blob := monitorBlob{Specs: make([]*specRef, len(m.Addresses))}
	doc := fsm.Doc{Kind: fsm.DocMonitor, ID: name}
	for i, a := range m.Addresses {
		bare.Addresses[i].Address = a.Address
		if a.ContractSpec == nil {
			continue
		}
		ref := &specRef{Chain: a.SpecChain, Blob: p.put(a.ContractSpec)}
		blob.Specs[i] = ref
		doc.Refs = append(doc.Refs, ref.Blob)
	}
	data, err := json.Marshal(bare)
	if blob.Monitor = data; err == nil && len(bare.Secrets()) > 0 { // few monitors have any
		sealed := new(spec.Monitor)
		if err = json.Unmarshal(data, sealed); err == nil {
			err = sealer.SealAll(ctx, tenant, sealed.Secrets())
		}
		if err == nil {
			blob.Monitor, err = json.Marshal(sealed)
		}
	}
	if err == nil {
		data, err = json.Marshal(blob)
	}
	if err != nil {
		return fmt.Errorf("tenant %q, monitor %q: %w", tenant, name, err)
	}
	doc.Hash = p.put(data)
	doc.Watches = watches(tenant, m, own, shared)
	p.Manifest.Docs = append(p.Manifest.Docs, doc)
	return nil
}

// watches resolves a monitor's references: private networks first, then shared
// ones. A private network that watches a shared one keeps its own depth. A monitor
// of mode both watches each of its networks twice.
func watches(tenant string, m *spec.Monitor, own, shared map[string]*spec.Network) []fsm.Watch {
	if m.Paused {
		return nil
	}
	var out []fsm.Watch
	seen := map[string]bool{} // one network may have two slugs: the first counts
	for _, slug := range m.Networks {
		n, private := own[slug]
		if !private {
			n = shared[slug]
		}
		if n == nil || !n.Type.Supported() {
			continue
		}
		w := fsm.Watch{Network: Key(tenant, slug), Slug: slug, Depth: n.Depth()}
		switch {
		case !private:
			w.Network, w.Depth = slug, 0
		case n.Watch != "":
			w.Network = n.Watch
		}
		if !seen[w.Network] {
			seen[w.Network] = true
			for _, w.Mode = range modes[m.Mode] {
				out = append(out, w)
			}
		}
	}
	return out
}

// modes are the watches that a monitor of each mode has of a network.
var modes = map[string][]fsm.Mode{
	"":                 {fsm.ModePlain},
	spec.ModeInstant:   {fsm.ModeInstant},
	spec.ModeConfirmed: {fsm.ModeConfirmed},
	spec.ModeFinalized: {fsm.ModeFinalized},
	spec.ModeBoth:      {fsm.ModeInstant, fsm.ModeConfirmation},
}

// Key is the key of a tenant's private network; that of a shared one is its slug.
func Key(tenant, slug string) string {
	if tenant == fsm.Shared {
		return slug
	}
	return tenant + "/" + slug
}
