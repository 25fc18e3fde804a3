package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// replaying is what a replay judges: a tenant's monitor as it is now, on one of
// its networks.
type replaying struct {
	tenant  *fsm.Tenant
	doc     fsm.Doc
	watch   fsm.Watch
	network *fsm.Network
	depth   uint64 // at which a block is due now
}

// findReplay finds it; what is misspelt gets a suggestion. A paused monitor is
// found as if it was not.
func findReplay(v *fsm.View, q api.Replay) (*replaying, error) {
	t, err := findTenant(v, q.Tenant)
	if err != nil {
		return nil, err
	}
	doc, err := findDoc(t, fsm.DocMonitor, q.Monitor)
	if err != nil {
		return nil, err
	}
	watch, err := watchOf(v, t, doc, q.Network)
	if err != nil {
		return nil, err
	}
	n, ok := v.Network(watch.Network)
	if !ok || n.Lease.Holder == "" {
		return nil, fmt.Errorf("%w: network %q is not watched at the moment: nobody has an unpaused monitor on it, or no node can watch it; without its watcher, none of its blocks can be fetched", api.ErrUnavailable, watch.Network)
	}
	return &replaying{
		tenant: t, doc: doc, watch: watch, network: n, depth: watch.DepthOn(n.DepthAt(n.Next), n.FinalityAt(n.Next)),
	}, nil
}

// findTenant finds a tenant, or says which one was probably meant.
func findTenant(v *fsm.View, id string) (*fsm.Tenant, error) {
	if t, ok := v.Tenant(id); ok && id != fsm.Shared {
		return t, nil
	}
	var known []string
	for t := range v.Tenants() {
		if t.ID != fsm.Shared {
			known = append(known, t.ID)
		}
	}
	return nil, fmt.Errorf("tenant %q: %w%s", id, fsm.ErrNotFound, meant(id, known))
}

// findDoc finds a document of a tenant's current version, or says which one was
// probably meant.
func findDoc(t *fsm.Tenant, kind fsm.DocKind, id string) (fsm.Doc, error) {
	if d, ok := t.Current.Manifest.Find(kind, id); ok {
		return d, nil
	}
	var known []string
	for _, d := range t.Current.Manifest.Docs {
		if d.Kind == kind {
			known = append(known, d.ID)
		}
	}
	return fsm.Doc{}, fmt.Errorf("tenant %q has no %s %q: %w%s", t.ID, kind, id, fsm.ErrNotFound, meant(id, known))
}

// watchOf is how a monitor watches a network that is named by its slug or its
// key. Of mode both, it is the phase that fires.
func watchOf(v *fsm.View, t *fsm.Tenant, doc fsm.Doc, network string) (fsm.Watch, error) {
	watches := doc.Watches
	if len(watches) == 0 {
		var err error
		if watches, err = asIfUnpaused(v, t, doc); err != nil {
			return fsm.Watch{}, err
		}
	}
	var known []string
	for _, w := range watches {
		if w.Mode == fsm.ModeConfirmation {
			continue
		}
		if w.Network == network || w.Slug == network {
			return w, nil
		}
		known = append(known, w.Slug)
	}
	if len(known) == 0 {
		return fsm.Watch{}, fmt.Errorf("%w: tenant %q, monitor %q watches no network that can be watched", api.ErrRefused, t.ID, doc.ID)
	}
	return fsm.Watch{}, fmt.Errorf("tenant %q, monitor %q does not watch network %q: %w%s", t.ID, doc.ID, network, fsm.ErrNotFound, meant(network, known))
}

// asIfUnpaused is what a paused monitor would watch.
func asIfUnpaused(v *fsm.View, t *fsm.Tenant, doc fsm.Doc) ([]fsm.Watch, error) {
	m, err := store.Monitor(v, doc)
	if err != nil {
		return nil, err
	}
	var out []fsm.Watch
	for _, slug := range m.Networks {
		key := store.Key(t.ID, slug)
		n, _, err := store.FindNetwork(v, key)
		w := fsm.Watch{Network: key, Slug: slug, Mode: modeOf(m)}
		if errors.Is(err, fsm.ErrNotFound) {
			n, _, err = store.FindNetwork(v, slug)
			w.Network = slug
		} else if err == nil {
			w.Depth = n.Depth()
			if n.Watch != "" {
				w.Network = n.Watch
			}
		}
		switch {
		case errors.Is(err, fsm.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		case n.Type.Supported():
			out = append(out, w)
		}
	}
	return out, nil
}

// modeOf is the mode of the watch that fires.
func modeOf(m *spec.Monitor) fsm.Mode {
	switch m.Mode {
	case spec.ModeInstant, spec.ModeBoth:
		return fsm.ModeInstant
	case spec.ModeConfirmed:
		return fsm.ModeConfirmed
	case spec.ModeFinalized:
		return fsm.ModeFinalized
	default:
		return fsm.ModePlain
	}
}

// maxListed is how many names an error lists.
const maxListed = 8

// meant is a hint at the name that was probably meant, or at all of a few.
func meant(name string, known []string) string {
	best, least := "", 1+len(name)/3
	for _, k := range known {
		d := edits(strings.ToLower(name), strings.ToLower(k))
		if d < least {
			best, least = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) == 0 || len(known) > maxListed:
		return ""
	}
	slices.Sort(known)
	return "; there is " + strings.Join(known, ", ")
}

// edits counts the single-byte edits between two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0]++
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
