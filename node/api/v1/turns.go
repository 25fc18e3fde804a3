package v1

import (
	"context"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// Turns has changes of one tenant wait for each other: at once, all of them would be
// refused but one, and begin again. Who comes first has the first one. The zero value is
// ready.
type Turns struct {
	mu   sync.Mutex
	lane map[string]*lane
}

type lane struct {
	busy chan struct{} // holds one while somebody is at it
	used int           // who is at it or waits
}

// Take waits for its turn, which has to be given back, once. The error is ctx's.
func (t *Turns) Take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	if t.lane == nil {
		t.lane = map[string]*lane{}
	}
	l := t.lane[key]
	if l == nil {
		l = &lane{busy: make(chan struct{}, 1)}
		t.lane[key] = l
	}
	l.used++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.used--; l.used == 0 {
			delete(t.lane, key)
		}
	}
	select {
	case l.busy <- struct{}{}:
		return func() { <-l.busy; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// turn has a change of a tenant's documents wait for those before it: the ones that this
// node was asked for, then the others'. View shows then what was committed before.
func (a *API) turn(ctx context.Context, tenant string) (release func(), err error) {
	began := time.Now()
	here, err := a.turns.Take(ctx, tenant)
	if err != nil {
		return nil, err
	}
	everywhere, err := a.backend.Turn(ctx, tenant)
	if err != nil {
		here()
		return nil, err
	}
	a.metrics.turns.Observe(time.Since(began).Seconds())
	return func() { everywhere(); here() }, nil
}

// names are those of documents, by content: a list need not read every document
// again.
type names struct {
	mu    sync.Mutex
	known map[fsm.Hash]string
}

// maxNames bounds how many are kept.
const maxNames = 50_000

// of is the name of a document, which read finds out where it is not known.
func (n *names) of(content fsm.Hash, read func() (string, error)) (string, error) {
	n.mu.Lock()
	name, ok := n.known[content]
	n.mu.Unlock()
	if ok {
		return name, nil
	}
	name, err := read()
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known) >= maxNames {
		n.known = map[fsm.Hash]string{}
	}
	n.known[content] = name
	return name, nil
}
