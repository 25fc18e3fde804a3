package v1

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// bundled is one document of a bundle.
type bundled struct {
	member string
	kind   *kind
	id     string
	doc    document
}

// placed has problems of the document be problems of the bundle.
func (o *bundled) placed(b *spec.Bundle, problems spec.Problems) spec.Problems {
	for i := range problems {
		problems[i].Path = b.At(o.member, o.id, problems[i].Path)
	}
	return problems
}

// documentsOf yields the documents of a bundle, by kind, then by id.
func documentsOf(b *spec.Bundle) iter.Seq[*bundled] {
	return func(yield func(*bundled) bool) {
		_ = yieldEach(spec.BundleNetworks, networks, b.Networks, yield) &&
			yieldEach(spec.BundleMonitors, monitors, b.Monitors, yield) &&
			yieldEach(spec.BundleTriggers, triggers, b.Triggers, yield) &&
			yieldEach(spec.BundleScripts, scripts, b.Scripts, yield)
	}
}

func yieldEach[D document](member string, k *kind, docs map[string]D, yield func(*bundled) bool) bool {
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		if !yield(&bundled{member, k, id, docs[id]}) {
			return false
		}
	}
	return true
}

// bundleOf loads the documents of a manifest.
func bundleOf(v *fsm.View, m *fsm.Manifest) (*spec.Bundle, error) {
	b := &spec.Bundle{
		Networks: map[string]*spec.Network{}, Monitors: map[string]*spec.Monitor{},
		Triggers: map[string]*spec.Trigger{}, Scripts: map[string]*spec.StoredScript{},
	}
	for _, d := range m.Docs {
		var err error
		switch d.Kind {
		case fsm.DocNetwork:
			b.Networks[d.ID], err = store.Network(v, d)
		case fsm.DocMonitor:
			b.Monitors[d.ID], err = store.Monitor(v, d)
		case fsm.DocTrigger:
			b.Triggers[d.ID], err = store.Trigger(v, d)
		case fsm.DocScript:
			b.Scripts[d.ID], err = store.Script(v, d)
		default:
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// bundling checks a bundle against all that there will be with it.
type bundling struct {
	*draft
	b        *spec.Bundle
	kept     fsm.Manifest // what is in force and stays beside the bundle
	s        *surroundings
	problems spec.Problems
	refusals []error // by the present state
}

// bundle puts the documents of a bundle into the draft, in the place of all there
// are, or beside those with other ids. All problems are told together; where some are
// known already, nothing is packed.
func (d *draft) bundle(b *spec.Bundle, merge, refused bool) (spec.Problems, error) {
	c := &bundling{draft: d, b: b}
	if merge {
		c.kept.Docs = slices.DeleteFunc(slices.Clone(d.manifest.Docs), func(o fsm.Doc) bool { return has(b, o) })
	}
	if err := c.around(); err != nil {
		return nil, err
	}
	for one := range documentsOf(b) {
		problems, err := c.check(one)
		if err != nil {
			return nil, err
		}
		c.problems = append(c.problems, one.placed(b, problems)...)
	}
	if err := c.checkKept(); err != nil {
		return nil, err
	}
	c.release()
	if refused || c.problems.Err() != nil || len(c.refusals) > 0 {
		c.checkQuota(c.bare(), nil)
		return c.told()
	}
	p, err := store.PackBundle(d.ctx, d.tenant, b, c.s.own, c.s.shared, d.a.backend)
	if err != nil {
		return nil, err
	}
	d.manifest = fsm.Manifest{Docs: slices.Concat(c.kept.Docs, p.Manifest.Docs)}
	d.manifest.Normalize()
	d.blobs = p.Blobs
	c.checkQuota(&d.manifest, p.Blobs)
	return c.told()
}

// told are the problems; what only the present state refuses is told as one of them
// where there are others, and as a conflict where there are none.
func (c *bundling) told() (spec.Problems, error) {
	if c.problems.Err() == nil {
		return c.problems, errors.Join(c.refusals...)
	}
	for _, err := range c.refusals {
		c.problems = append(c.problems, spec.Problem{Severity: spec.SeverityError, Message: err.Error()})
	}
	return c.problems, nil
}

func has(b *spec.Bundle, d fsm.Doc) (ok bool) {
	switch d.Kind {
	case fsm.DocNetwork:
		_, ok = b.Networks[d.ID]
	case fsm.DocMonitor:
		_, ok = b.Monitors[d.ID]
	case fsm.DocTrigger:
		_, ok = b.Triggers[d.ID]
	case fsm.DocScript:
		_, ok = b.Scripts[d.ID]
	default:
	}
	return ok
}

// around finds what documents may refer to.
func (c *bundling) around() (err error) {
	c.s = &surroundings{shared: map[string]*spec.Network{}}
	if c.s.own, err = networksOf(c.view, &c.kept); err != nil {
		return err
	}
	maps.Copy(c.s.own, c.b.Networks)
	if t, ok := c.view.Tenant(fsm.Shared); ok && c.tenant != fsm.Shared {
		if c.s.shared, err = networksOf(c.view, t.Current.Manifest); err != nil {
			return err
		}
	}
	ids := func(kind fsm.DocKind, more []string) []string { return append(idsOf(&c.kept, kind), more...) }
	c.s.references = spec.NewReferences(c.s.own, c.s.shared, ids(fsm.DocTrigger, slices.Collect(maps.Keys(c.b.Triggers)))).
		WithStored(ids(fsm.DocScript, slices.Collect(maps.Keys(c.b.Scripts)))).Tolerating(c.b)
	return nil
}

// check looks at one document as when it is put alone.
func (c *bundling) check(one *bundled) (spec.Problems, error) {
	fail := func(path, format string, args ...any) spec.Problems {
		return spec.Problems{{Path: path, Severity: spec.SeverityError, Message: fmt.Sprintf(format, args...)}}
	}
	if badID(one.id) {
		return fail("", "is of an id that cannot be: %s", idForm), nil
	}
	switch doc := one.doc.(type) {
	case *spec.Network:
		problems := doc.Notices()
		if doc.Slug != one.id {
			problems = append(problems, fail("slug", "found %q, expected %q, as which it is given", doc.Slug, one.id)...)
		}
		if c.tenant == fsm.Shared {
			problems = append(problems, spec.CheckShared(doc)...)
		} else {
			problems = append(problems, spec.CheckPrivate(doc, c.s.references)...)
		}
		if err := c.sameChain(doc); err != nil {
			c.refusals = append(c.refusals, err)
		}
		return problems, nil
	case *spec.Monitor:
		if c.tenant == fsm.Shared {
			return fail("", "is a monitor, and only networks are shared"), nil
		}
		if err := asShown(doc); err != nil {
			return nil, err
		}
		problems := append(c.s.check(one.id, doc), doc.Notices()...)
		if most := c.before.Quota.OrDefault().TriggersPerMonitor; len(doc.Triggers) > most {
			problems = append(problems, fail("triggers", "%v: %d triggers of the monitor, allowed are %d", fsm.ErrQuota, len(doc.Triggers), most)...)
		}
		return problems, nil
	case *spec.Trigger:
		if c.tenant == fsm.Shared {
			return fail("", "is a trigger, and only networks are shared"), nil
		}
		return append(spec.CheckTrigger(doc, c.s.references), doc.Notices()...), nil
	case *spec.StoredScript:
		if c.tenant == fsm.Shared {
			return fail("", "is a script, and only networks are shared"), nil
		}
		return append(spec.CheckScriptID(one.id, doc), doc.Notices()...), nil
	default:
		return nil, nil
	}
}

// checkKept has the monitors beside the bundle that refer to its networks watch them
// as their documents say now.
func (c *bundling) checkKept() error {
	if len(c.b.Networks) == 0 {
		return nil
	}
	for i, doc := range c.kept.Docs {
		if doc.Kind != fsm.DocMonitor {
			continue
		}
		m, err := store.Monitor(c.view, doc)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(m.Networks, func(slug string) bool { return c.b.Networks[slug] != nil }) {
			continue
		}
		if err := c.s.check(doc.ID, m).Err(); err != nil {
			c.refusals = append(c.refusals, conflictf("monitor %q stays and would not be valid any more: %w", doc.ID, plain(err)))
		}
		c.kept.Docs[i].Watches = store.Watches(c.tenant, m, c.s.own, c.s.shared)
	}
	return nil
}

// release refuses to take shared networks away from those who watch them. What else
// refers to what goes is in the bundle, and was checked.
func (c *bundling) release() {
	if c.tenant != fsm.Shared {
		return
	}
	for _, d := range c.manifest.Docs {
		if _, stays := c.s.own[d.ID]; stays {
			continue
		}
		if err := c.releaseShared(d.ID); err != nil {
			c.refusals = append(c.refusals, fmt.Errorf("shared network %q: %w", d.ID, err))
		}
	}
}

// bare is the manifest as far as the quota counts documents.
func (c *bundling) bare() *fsm.Manifest {
	m := &fsm.Manifest{Docs: slices.Clone(c.kept.Docs)}
	for one := range documentsOf(c.b) {
		m.Docs = append(m.Docs, fsm.Doc{Kind: one.kind.doc, ID: one.id})
	}
	return m
}

// checkQuota is the fsm's, before anything is proposed.
func (c *bundling) checkQuota(m *fsm.Manifest, blobs [][]byte) {
	if c.tenant == fsm.Shared {
		return
	}
	sizes := make(map[fsm.Hash]int64, len(blobs))
	for _, b := range blobs {
		sizes[fsm.HashBlob(b)] = int64(len(b))
	}
	used := fsm.UsedBy(m, func(hash fsm.Hash) int64 {
		if n, ok := sizes[hash]; ok {
			return n
		}
		data, _ := c.view.Blob(hash)
		return int64(len(data))
	})
	had := fsm.Quota{}
	if before := c.before.Current.Manifest; before != nil {
		had = c.view.Used(before)
	}
	if err := c.before.Quota.Check(used, had); err != nil {
		c.refusals = append(c.refusals, fmt.Errorf("tenant %q: %w", c.tenant, err))
	}
}
