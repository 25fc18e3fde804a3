package store

import (
	"fmt"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
	"github.com/ozmo-dev/ozmo/fsm/spec"
)

// Opener gives secrets back in clear.
type Opener interface {
	OpenAll(tenant string, secrets []*spec.Secret) error
}

// Triggers reads tenants' triggers, with their secrets in clear. It keeps what
// it has read: a document's content never changes under its hash.
type Triggers struct {
	opener Opener

	mu     sync.Mutex
	opened map[triggerKey]*spec.Trigger
}

type triggerKey struct {
	tenant string
	hash   fsm.Hash
}

// keepTriggers bounds what is kept in memory.
const keepTriggers = 10_000

// NewTriggers makes an empty reader.
func NewTriggers(opener Opener) *Triggers {
	return &Triggers{opener: opener, opened: map[triggerKey]*spec.Trigger{}}
}

// Find reads a trigger of one version of a tenant's configuration. The trigger
// is shared: do not change it.
func (ts *Triggers) Find(v *fsm.View, tenant string, m *fsm.Manifest, id string) (*spec.Trigger, error) {
	doc, ok := m.Find(fsm.DocTrigger, id)
	if !ok {
		return nil, fmt.Errorf("trigger %q: %w", id, fsm.ErrNotFound)
	}
	key := triggerKey{tenant, doc.Hash}
	ts.mu.Lock()
	t, ok := ts.opened[key]
	ts.mu.Unlock()
	if ok {
		return t, nil
	}
	t, err := Trigger(v, doc)
	if err != nil {
		return nil, err
	}
	if err := ts.opener.OpenAll(tenant, t.Secrets()); err != nil {
		return nil, fmt.Errorf("trigger %q: %w", id, err)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.opened) >= keepTriggers {
		clear(ts.opened)
	}
	ts.opened[key] = t
	return t, nil
}
