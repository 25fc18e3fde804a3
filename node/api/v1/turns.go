package v1

import (
	"context"
	"sync"

	"github.com/ozmo-dev/ozmo/fsm"
)

// turns has changes of one tenant that this node is asked for wait for each other:
// all of them would be refused but one, and begin again.
type turns struct {
	mu   sync.Mutex
	lane map[string]*lane
}

type lane struct {
	busy chan struct{} // holds one while somebody is at it
	used int           // who is at it or waits
}

// take waits for its turn, which has to be given back. The error is ctx's.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
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
