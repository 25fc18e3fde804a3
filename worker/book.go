package worker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/worker/match"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// book holds the monitors of a cohort on one network, as of one log index, in
// engines by depth. Engines know from which position to which a monitor is in
// force, so positions before the book's index may still be judged with it.
type book struct {
	network string
	cohort  string
	chain   chainEngines

	index   uint64 // changes of configuration up to here are in
	depth   uint64 // of the network's own document
	window  uint64 // its finality depth
	tenants map[string]*holding
	engines map[uint64]engine

	ahead   *ahead             // what has changed since and is ready
	changed func(at time.Time) // hears when each change that is ready was proposed; nil: nobody does
}

// holding is what a book has of one tenant: at least one monitor.
type holding struct {
	born     uint64 // the tenant's: one that was made again under the same name is another
	monitors map[occasion]*monitor
}

// occasion is when a monitor judges a block. Those of mode "both" do so twice:
// at once, and to confirm.
type occasion struct {
	monitor  string // id
	confirms bool
}

func occasionOf(monitor string, w fsm.Watch) occasion {
	return occasion{monitor, w.Mode == fsm.ModeConfirmation}
}

// ordered is a monitor as it is in force on one occasion.
type ordered struct {
	doc   fsm.Doc
	watch fsm.Watch
}

// monitor is one version of a monitor in force on one occasion.
type monitor struct {
	doc      fsm.Doc
	watch    fsm.Watch
	depth    uint64
	name     string
	slug     string
	triggers []string
	end      func(until uint64)
}

// retractable reports whether its alerts are retracted when their block is rolled
// back.
func (m *monitor) retractable() bool { return m.watch.Mode != fsm.ModePlain }

// confirms reports whether it judges what has fired before.
func (m *monitor) confirms() bool { return m.watch.Mode == fsm.ModeConfirmation }

// owed says that monitors moved to a smaller depth: what was not due for them
// at the old one is to be judged at once. A change of mode is a change of depth.
type owed struct {
	from, to uint64
	keys     map[owner]bool
}

// owner is whose a judgement is: a tenant's monitor on an occasion.
type owner struct {
	tenant string
	occasion
}

// openBook loads what was in force for the last announcement judged, whose log
// index and position are given: what has changed since then comes with advance.
func openBook(v *fsm.View, network, cohort string, index, position uint64, onPanic func(match.Key, any)) (*book, error) {
	doc, _, err := store.FindNetwork(v, network)
	if err != nil {
		return nil, err
	}
	chain, err := enginesFor(doc.Type, onPanic)
	if err != nil {
		return nil, err
	}
	b := &book{
		network: network, cohort: cohort, chain: chain,
		tenants: map[string]*holding{}, engines: map[uint64]engine{}, ahead: newAhead(),
		// A cursor that has not moved since it began has the index of the change by
		// which it began, and no announcement was judged with that. Announcements
		// and configurations never have the same index.
		index: max(index, 1) - 1,
	}
	b.depth, b.window = depthsAt(v, network, position)
	if err := b.prefetch(v); err != nil {
		return nil, err
	}
	for t := range v.TenantsOf(cohort) {
		if _, err := b.take(v, t.ID, b.index, position+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// prefetch has the documents that are outside of the state read many at a time.
func (b *book) prefetch(v *fsm.View) error {
	var versions []*fsm.Manifest
	for t := range v.TenantsOf(b.cohort) {
		if version, ok := t.InForce(b.index); ok && len(b.monitorsOn(version.Manifest)) > 0 {
			versions = append(versions, version.Manifest)
		}
	}
	return v.Prefetch(versions...)
}

// advance brings the book to the log index of an announcement: what changed up
// to there is in force from the announcement's position on. After an error the
// book serves only the positions before.
func (b *book) advance(v *fsm.View, index, position uint64) ([]owed, error) {
	changed := map[string]bool{}
	for id := range v.TenantsSince(b.index) {
		changed[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		// A tenant may come from another cohort: what was in force for it at the
		// announcement before is what that cohort's book held.
		if b.tenants[id] == nil {
			if _, err := b.take(v, id, b.index, position); err != nil {
				return nil, err
			}
		}
	}
	before := b.index
	b.index = max(b.index, index)
	if depth, window := depthsAt(v, b.network, position); depth != b.depth || window != b.window {
		b.depth, b.window = depth, window
		for id := range b.tenants {
			changed[id] = true
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	defer b.ahead.forget(index)
	moved := map[[2]uint64]map[owner]bool{}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		lower, err := b.take(v, id, index, position)
		if err != nil {
			return nil, err
		}
		b.tellOf(v, id, before, index)
		for _, m := range lower {
			pair := [2]uint64{m.from, m.to}
			if moved[pair] == nil {
				moved[pair] = map[owner]bool{}
			}
			moved[pair][m.owner] = true
		}
	}
	var out []owed
	for pair, keys := range moved {
		out = append(out, owed{from: pair[0], to: pair[1], keys: keys})
	}
	slices.SortFunc(out, func(x, y owed) int { return cmp.Or(cmp.Compare(x.to, y.to), cmp.Compare(x.from, y.from)) })
	return out, nil
}

type lowered struct {
	owner
	from, to uint64
}

// take puts the version of a tenant that is in force at a log index in the
// place of the one held, and tells whose depth became smaller. A tenant that was
// deleted and made again is a new one: nothing is owed to it. A monitor that
// cannot be loaded is an error: without it, positions would count as judged
// that were not.
func (b *book) take(v *fsm.View, tenant string, index, position uint64) ([]lowered, error) {
	var wanted map[occasion]ordered
	var born uint64
	if t, ok := v.Tenant(tenant); ok && t.Cohort == b.cohort {
		if version, ok := t.InForce(index); ok {
			wanted, born = b.monitorsOn(version.Manifest), t.Born
		}
	}
	held := b.tenants[tenant]
	if held == nil {
		held = &holding{born: born, monitors: map[occasion]*monitor{}}
	}
	anew := held.born != born
	held.born = born
	var out []lowered
	for at, m := range held.monitors {
		now, ok := wanted[at]
		depth := b.depthOf(now.watch)
		if ok && !anew && now.doc.Hash == m.doc.Hash && now.watch == m.watch && depth == m.depth {
			continue
		}
		m.end(position)
		if ok && !anew && depth < m.depth {
			out = append(out, lowered{owner{tenant, at}, m.depth, depth})
		}
		delete(held.monitors, at)
	}
	for at, now := range wanted {
		if held.monitors[at] != nil {
			continue
		}
		m, err := b.load(v, tenant, now, position)
		if errors.Is(err, fsm.ErrUnreachable) {
			return nil, fmt.Errorf("tenant %s: %w", tenant, err)
		}
		if err != nil {
			// It was compiled before it was accepted: only a damaged state leads here.
			return nil, fmt.Errorf("tenant %s: monitor %q: the stored document cannot be loaded, and %s is not judged without it: "+
				"put the same configuration in force again, which stores it anew, or delete the tenant: %w", tenant, at.monitor, b.network, err)
		}
		held.monitors[at] = m
		b.tenants[tenant] = held
	}
	if len(held.monitors) == 0 {
		delete(b.tenants, tenant)
	}
	return out, nil
}

// monitorsOn lists what watches the book's network.
func (b *book) monitorsOn(m *fsm.Manifest) map[occasion]ordered {
	if _, ok := slices.BinarySearch(m.Wanted, b.network); !ok {
		return nil
	}
	out := map[occasion]ordered{}
	for _, d := range m.Docs {
		for _, w := range d.Watches {
			at := occasionOf(d.ID, w)
			if _, twice := out[at]; w.Network == b.network && !twice {
				out[at] = ordered{d, w}
			}
		}
	}
	return out
}

func (b *book) depthOf(w fsm.Watch) uint64 { return w.DepthOn(b.depth, b.window) }

// depthsAt are the depth that the network itself has for an announcement, and its
// finality depth.
func depthsAt(v *fsm.View, network string, position uint64) (own, finality uint64) {
	n, ok := v.Network(network)
	if !ok {
		return 0, fsm.DefaultWindow
	}
	return n.DepthAt(position), n.FinalityAt(position)
}

func (b *book) load(v *fsm.View, tenant string, now ordered, position uint64) (*monitor, error) {
	m, c, err := b.compiled(v, tenant, now.doc)
	if err != nil {
		return nil, err
	}
	held := &monitor{
		doc: now.doc, watch: now.watch, depth: b.depthOf(now.watch), name: m.Name, slug: now.watch.Slug, triggers: m.Triggers,
	}
	e := b.engines[held.depth]
	if e == nil {
		e = b.chain.engine()
		b.engines[held.depth] = e
	}
	held.end = e.put(match.Key{Tenant: tenant, Monitor: now.doc.ID}, c, held, position)
	return held, nil
}

// prune forgets versions of monitors that no position left to judge needs, and
// depths that nobody asks for any more: no block is fetched for them.
func (b *book) prune(before uint64) {
	for depth, e := range b.engines {
		if e.prune(before) == 0 {
			delete(b.engines, depth)
		}
	}
}
