package worker

import (
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
	"github.com/ozmo-dev/ozmo/worker/store"
)

// ahead holds monitors that have changed, compiled before the announcement that is
// the first to be judged with them: no block waits for a compiler. It is a cache
// alone: what is in force, and from where on, the book says.
type ahead struct {
	seen  uint64 // changes up to this log index were looked at; 0: none were
	ready map[monitorOf]*readied
}

type monitorOf struct{ tenant, monitor string }

// readied is a monitor that is compiled, to be used once.
type readied struct {
	hash     fsm.Hash
	doc      *spec.Monitor
	compiled compiled
}

func newAhead() *ahead { return &ahead{ready: map[monitorOf]*readied{}} }

// prepare compiles what has changed since the book's index. Of what changes again
// before the next announcement, the latest is kept.
func (b *book) prepare(v *fsm.View) {
	a := b.ahead
	from, first := max(a.seen, b.index), a.seen == 0
	a.seen = v.Index()
	looked := map[string]bool{}
	for id := range v.TenantsSince(from) {
		t, ok := v.Tenant(id)
		if !ok || looked[id] || t.Cohort != b.cohort || t.Current.Index <= from {
			continue
		}
		looked[id] = true
		held := b.tenants[id]
		for at, now := range b.monitorsOn(t.Current.Manifest) {
			if held != nil && held.monitors[at] != nil && held.monitors[at].doc.Hash == now.doc.Hash {
				continue
			}
			key := monitorOf{id, at.monitor}
			if r := a.ready[key]; r != nil && r.hash == now.doc.Hash {
				continue
			}
			if m, err := store.Monitor(v, now.doc); err == nil { // else whoever needs it says so
				a.ready[key] = &readied{now.doc.Hash, m, b.chain.compile(m)}
			}
		}
		if !first {
			b.tell(t.Current)
		}
	}
}

// tell says that a version is compiled. What changed before the book was at the tip
// for the first time, nobody was waiting for here.
func (b *book) tell(v fsm.Version) {
	if b.changed != nil {
		b.changed(time.UnixMilli(v.At))
	}
}

// tellOf tells of the version of a tenant that was not prepared before it came into
// force.
func (b *book) tellOf(v *fsm.View, tenant string, before, index uint64) {
	t, ok := v.Tenant(tenant)
	if !ok || b.ahead.seen == 0 || t.Cohort != b.cohort {
		return
	}
	if version, ok := t.InForce(index); ok && version.Index > max(before, b.ahead.seen) {
		b.tell(version)
	}
}

// compiled is a monitor for an engine: the one that was prepared, or a new one.
func (b *book) compiled(v *fsm.View, tenant string, d fsm.Doc) (*spec.Monitor, compiled, error) {
	key := monitorOf{tenant, d.ID}
	if r := b.ahead.ready[key]; r != nil && r.hash == d.Hash {
		delete(b.ahead.ready, key)
		return r.doc, r.compiled, nil
	}
	m, err := store.Monitor(v, d)
	if err != nil {
		return nil, nil, err
	}
	return m, b.chain.compile(m), nil
}

// forget drops what was prepared and is in force now, or never will be.
func (a *ahead) forget(index uint64) {
	if index >= a.seen {
		clear(a.ready)
	}
}
