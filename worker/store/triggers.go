package store

import (
	"fmt"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Triggers reads tenants' triggers, with their secrets in clear. It keeps what
// it has read: a document's content never changes under its hash, and of stored
// secrets it sees when there is another value.
type Triggers struct {
	opener Opener

	mu     sync.Mutex
	opened map[triggerKey]opened
}

type triggerKey struct {
	tenant string
	hash   fsm.Hash
}

// opened is a trigger with the stored secrets that are in it.
type opened struct {
	trigger *spec.Trigger
	stored  Stored
}

// keepTriggers bounds what is kept in memory.
const keepTriggers = 10_000

// NewTriggers makes an empty reader.
func NewTriggers(opener Opener) *Triggers {
	return &Triggers{opener: opener, opened: map[triggerKey]opened{}}
}

// Find reads a trigger of one version of a tenant's configuration. The trigger
// is shared: do not change it. Errors wrap fsm.ErrNotFound where there is no such
// trigger, and ErrNoSecret where a stored secret is missing.
func (ts *Triggers) Find(v *fsm.View, tenant string, m *fsm.Manifest, id string) (*spec.Trigger, error) {
	doc, ok := m.Find(fsm.DocTrigger, id)
	if !ok {
		return nil, fmt.Errorf("trigger %q: %w", id, fsm.ErrNotFound)
	}
	key := triggerKey{tenant, doc.Hash}
	ts.mu.Lock()
	known, ok := ts.opened[key]
	ts.mu.Unlock()
	if ok && known.stored.Fresh(v, tenant) {
		return known.trigger, nil
	}
	t, err := Trigger(v, doc)
	if err != nil {
		return nil, err
	}
	stored, err := OpenSecrets(v, tenant, t.Secrets(), ts.opener)
	if err != nil {
		return nil, fmt.Errorf("trigger %q: %w", id, err)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.opened) >= keepTriggers {
		clear(ts.opened)
	}
	ts.opened[key] = opened{t, stored}
	return t, nil
}
