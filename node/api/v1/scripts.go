package v1

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

var scripts = &kind{
	doc: fsm.DocScript,
	parse: func(data []byte, opts ...spec.Option) (document, spec.Problems) {
		return parsed(spec.ParseStoredScript(data, opts...))
	},
	load: func(v *fsm.View, d fsm.Doc) (document, error) { return loaded(store.Script(v, d)) },
	name: func(document) string { return "" },
	prepare: func(d *draft, id string, doc document) (spec.Problems, error) {
		return d.script(id, doc.(*spec.StoredScript))
	},
	release: (*draft).releaseScript,
}

// script stores a script. Its language follows from its path, so that who refers to
// the path stays valid whatever is stored there.
func (d *draft) script(id string, s *spec.StoredScript) (spec.Problems, error) {
	problems := append(spec.CheckScriptID(id, s), s.Notices()...)
	if problems.Err() != nil {
		return problems, nil
	}
	p, err := store.PackBundle(d.ctx, d.tenant, &spec.Bundle{Scripts: map[string]*spec.StoredScript{id: s}}, nil, nil, d.a.backend)
	if err != nil {
		return nil, err
	}
	d.add(p)
	return problems, nil
}

// releaseScript refuses to delete what monitors and triggers refer to, and names
// all of them.
func (d *draft) releaseScript(id string) error {
	references := spec.References{}.WithStored(idsOf(d.before.Current.Manifest, fsm.DocScript))
	means := func(written string) bool {
		used, ok := references.Uses(written)
		return ok && used == id
	}
	var users []string
	err := d.using(func(m *spec.Monitor) bool { return slices.ContainsFunc(m.Scripts(), means) }, func(doc fsm.Doc, _ *spec.Monitor) error {
		users = append(users, fmt.Sprintf("monitor %q", doc.ID))
		return nil
	})
	if err != nil {
		return err
	}
	for _, doc := range d.manifest.Docs {
		if doc.Kind != fsm.DocTrigger {
			continue
		}
		t, err := store.Trigger(d.view, doc)
		if err != nil {
			return err
		}
		if t.Script != nil && means(t.Script.ScriptPath) {
			users = append(users, fmt.Sprintf("trigger %q", doc.ID))
		}
	}
	if len(users) == 0 {
		return nil
	}
	return conflictf("the script is referred to: change first %s", strings.Join(users, ", "))
}
