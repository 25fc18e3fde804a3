package v1

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
)

var networks = &kind{
	doc: fsm.DocNetwork,
	parse: func(data []byte, opts ...spec.Option) (document, spec.Problems) {
		return parsed(spec.ParseNetwork(data, opts...))
	},
	load: func(v *fsm.View, d fsm.Doc) (document, error) { return loaded(store.Network(v, d)) },
	name: func(doc document) string { return doc.(*spec.Network).Name },
	prepare: func(d *draft, id string, doc document) (spec.Problems, error) {
		return d.network(id, doc.(*spec.Network))
	},
	release: (*draft).releaseNetwork,
}

var triggers = &kind{
	doc: fsm.DocTrigger,
	parse: func(data []byte, opts ...spec.Option) (document, spec.Problems) {
		return parsed(spec.ParseTrigger(data, opts...))
	},
	load: func(v *fsm.View, d fsm.Doc) (document, error) { return loaded(store.Trigger(v, d)) },
	name: func(doc document) string { return doc.(*spec.Trigger).Name },
	prepare: func(d *draft, id string, doc document) (spec.Problems, error) {
		return d.trigger(id, doc.(*spec.Trigger))
	},
	release: (*draft).releaseTrigger,
}

var monitors = &kind{
	doc: fsm.DocMonitor,
	parse: func(data []byte, opts ...spec.Option) (document, spec.Problems) {
		return parsed(spec.ParseMonitor(data, opts...))
	},
	load: func(v *fsm.View, d fsm.Doc) (document, error) { return loaded(store.Monitor(v, d)) },
	name: func(doc document) string { return doc.(*spec.Monitor).Name },
	prepare: func(d *draft, id string, doc document) (spec.Problems, error) {
		return d.monitor(id, doc.(*spec.Monitor))
	},
}

// networksOf loads the networks of a tenant, or the shared ones.
func networksOf(v *fsm.View, m *fsm.Manifest) (map[string]*spec.Network, error) {
	out := map[string]*spec.Network{}
	for _, d := range m.Docs {
		if d.Kind != fsm.DocNetwork {
			continue
		}
		n, err := store.Network(v, d)
		if err != nil {
			return nil, err
		}
		out[d.ID] = n
	}
	return out, nil
}

// surroundings is what a tenant's monitors may refer to.
type surroundings struct {
	own, shared map[string]*spec.Network
	references  spec.References
}

// surroundings are those of the draft; a document that is not yet among its blobs
// is given.
func (d *draft) surroundings(given *spec.Network) (*surroundings, error) {
	s := &surroundings{shared: map[string]*spec.Network{}}
	known := d.manifest
	if given != nil {
		known.Docs = slices.DeleteFunc(slices.Clone(known.Docs), func(o fsm.Doc) bool { return o.Kind == fsm.DocNetwork && o.ID == given.Slug })
	}
	var err error
	if s.own, err = networksOf(d.view, &known); err != nil {
		return nil, err
	}
	if given != nil {
		s.own[given.Slug] = given
	}
	if t, ok := d.view.Tenant(fsm.Shared); ok {
		if s.shared, err = networksOf(d.view, t.Current.Manifest); err != nil {
			return nil, err
		}
	}
	s.references = spec.NewReferences(s.own, s.shared, idsOf(&d.manifest, fsm.DocTrigger)).WithStored(idsOf(&d.manifest, fsm.DocScript))
	return s, nil
}

// idsOf are the ids of the documents of a kind.
func idsOf(m *fsm.Manifest, k fsm.DocKind) []string {
	var ids []string
	for _, doc := range m.Docs {
		if doc.Kind == k {
			ids = append(ids, doc.ID)
		}
	}
	return ids
}

// check looks at a monitor as the node does that reads a folder.
func (s *surroundings) check(id string, m *spec.Monitor) spec.Problems {
	alone := &spec.Folder{Networks: s.own, Monitors: map[string]*spec.Monitor{id: m}}
	return append(spec.CheckReferences(m, s.references), match.CheckFolder(alone, s.shared)...)
}

func (d *draft) monitor(id string, m *spec.Monitor) (spec.Problems, error) {
	if most := d.before.Quota.OrDefault().TriggersPerMonitor; len(m.Triggers) > most {
		return nil, fmt.Errorf("%w: %d triggers of the monitor, allowed are %d", fsm.ErrQuota, len(m.Triggers), most)
	}
	if err := asShown(m); err != nil {
		return nil, err
	}
	s, err := d.surroundings(nil)
	if err != nil {
		return nil, err
	}
	problems := append(s.check(id, m), m.Notices()...)
	if problems.Err() != nil {
		return problems, nil
	}
	p, err := store.PackMonitor(d.ctx, d.tenant, id, m, s.own, s.shared, d.a.backend)
	if err != nil {
		return nil, err
	}
	d.add(p)
	return problems, nil
}

// asShown gives contract specifications the form in which they are shown, so that
// what was shown comes back as the same document.
func asShown(m *spec.Monitor) (err error) {
	for i, a := range m.Addresses {
		if a.ContractSpec == nil {
			continue
		}
		if m.Addresses[i].ContractSpec, err = json.Marshal(a.ContractSpec); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) trigger(id string, t *spec.Trigger) (spec.Problems, error) {
	references := spec.References{}.WithStored(idsOf(&d.manifest, fsm.DocScript))
	problems := append(spec.CheckTrigger(t, references), t.Notices()...)
	if problems.Err() != nil {
		return problems, nil
	}
	p, err := store.Pack(d.ctx, d.tenant, &spec.Folder{Triggers: map[string]*spec.Trigger{id: t}}, nil, d.a.backend)
	if err != nil {
		return nil, err
	}
	d.add(p)
	return problems, nil
}

func (d *draft) network(id string, n *spec.Network) (spec.Problems, error) {
	problems := n.Notices()
	fail := func(path, format string, args ...any) {
		problems = append(problems, spec.Problem{Path: path, Severity: spec.SeverityError, Message: fmt.Sprintf(format, args...)})
	}
	if n.Slug != id {
		fail("slug", "found %q, expected %q as in the path", n.Slug, id)
	}
	s, err := d.surroundings(n)
	if err != nil {
		return nil, err
	}
	if d.tenant == fsm.Shared {
		problems = append(problems, spec.CheckShared(n)...)
	} else {
		problems = append(problems, spec.CheckPrivate(n, s.references)...)
	}
	if problems.Err() != nil {
		return problems, nil
	}
	if err := d.sameChain(n); err != nil {
		return nil, err
	}
	p, err := store.Pack(d.ctx, d.tenant, &spec.Folder{Networks: map[string]*spec.Network{id: n}}, nil, d.a.backend)
	if err != nil {
		return nil, err
	}
	d.add(p)
	return problems, d.rewatch(id, s)
}

// sameChain refuses what would turn a network into another one: its past would be a
// lie.
func (d *draft) sameChain(n *spec.Network) error {
	key := store.Key(d.tenant, n.Slug)
	old, _, err := store.FindNetwork(d.view, key)
	switch {
	case errors.Is(err, fsm.ErrNotFound): // it is new
		return nil
	case err != nil:
		return err
	case old.Type != n.Type:
		return conflictf("network %s: its network_type cannot change from %s to %s: give the other chain a slug of its own", key, old.Type, n.Type)
	case old.ChainID != nil && n.ChainID != nil && *old.ChainID != *n.ChainID:
		return conflictf("network %s: its chain_id cannot change from %d to %d: give the other chain a slug of its own", key, *old.ChainID, *n.ChainID)
	}
	return nil
}

// using yields the monitors that refer to a network or a trigger.
func (d *draft) using(refers func(*spec.Monitor) bool, each func(fsm.Doc, *spec.Monitor) error) error {
	for _, doc := range slices.Clone(d.manifest.Docs) {
		if doc.Kind != fsm.DocMonitor {
			continue
		}
		m, err := store.Monitor(d.view, doc)
		if err != nil {
			return err
		}
		if refers(m) {
			if err := each(doc, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// rewatch has the monitors that refer to a private network watch it as its document
// says now. One that another network of the name would break is in the way.
func (d *draft) rewatch(slug string, s *surroundings) error {
	return d.using(func(m *spec.Monitor) bool { return slices.Contains(m.Networks, slug) }, func(doc fsm.Doc, m *spec.Monitor) error {
		if err := s.check(doc.ID, m).Err(); err != nil {
			return conflictf("monitor %q refers to this network and would not be valid any more: %w", doc.ID, plain(err))
		}
		doc.Watches = store.Watches(d.tenant, m, s.own, s.shared)
		d.replace(doc)
		return nil
	})
}

// plain keeps the problems of another document from being told as those of this one.
func plain(err error) error { return errors.New(err.Error()) }

func (d *draft) releaseTrigger(id string) error {
	return d.using(func(m *spec.Monitor) bool { return slices.Contains(m.Triggers, id) }, func(doc fsm.Doc, _ *spec.Monitor) error {
		return conflictf("monitor %q refers to the trigger: change that first", doc.ID)
	})
}

func (d *draft) releaseNetwork(slug string) error {
	if d.tenant == fsm.Shared {
		return d.releaseShared(slug)
	}
	return d.using(func(m *spec.Monitor) bool { return slices.Contains(m.Networks, slug) }, func(doc fsm.Doc, _ *spec.Monitor) error {
		return conflictf("monitor %q refers to the network: change that first", doc.ID)
	})
}

// releaseShared looks at what tenants watch. A paused monitor is not asked: it is
// checked again before it goes on.
func (d *draft) releaseShared(slug string) error {
	for t := range d.view.Tenants() {
		if t.ID == fsm.Shared {
			continue
		}
		if slices.Contains(t.Current.Manifest.Wanted, slug) {
			return conflictf("tenant %q has monitors that watch the network: change those first", t.ID)
		}
	}
	return nil
}
