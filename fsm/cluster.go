package fsm

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Why a token is not accepted.
var (
	// ErrTokenUnknown: there is no such token, or its secret is another.
	ErrTokenUnknown = errors.New("unknown join token: make a new one")
	// ErrTokenExpired: its time is over.
	ErrTokenExpired = errors.New("expired join token: make a new one")
	// ErrTokenUsed: a node has joined with it before.
	ErrTokenUsed = errors.New("join token was used before: make a new one")
)

// Cluster is what all nodes share to trust each other.
type Cluster struct {
	Name  string   `codec:"n"`
	ID    string   `codec:"d,omitempty"` // made with the cluster, and no other's: one that is built anew, of whatever, has another
	CA    []byte   `codec:"a"`           // certificate, PEM
	CAKey []byte   `codec:"k,omitempty"` // sealed; empty where the operator keeps it
	Keys  [][]byte `codec:"g,omitempty"` // gossip keys, sealed, primary first
	// Removed are the servers that RemoveNode took out: they do not come back by
	// being started once more. The newest are kept.
	Removed []string `codec:"r,omitempty"`
	Index   uint64   `codec:"i"` // log index of this version
}

// Cluster is the cluster's record; its Index is 0 while there is none.
func (v *View) Cluster() Cluster {
	if v.cluster == nil {
		return Cluster{}
	}
	return *v.cluster
}

// keepRemoved bounds the servers that are remembered as removed.
const keepRemoved = 1000

// removed remembers a server as taken out.
func (t *tx) removed(server string) {
	next := t.View.Cluster()
	next.Removed = append(slices.Clone(next.Removed), server)
	next.Removed = next.Removed[max(0, len(next.Removed)-keepRemoved):]
	next.Index = t.index
	t.cluster = &next
	t.touch(TopicCluster)
}

// SetCluster replaces the cluster's record, but for Removed. It answers with the new Index.
type SetCluster struct {
	Expect  uint64  `codec:"e"` // Index of the version it replaces; 0 for the first
	Cluster Cluster `codec:"c"` // Index is given by the log
}

// Type is TypeSetCluster.
func (*SetCluster) Type() Type { return TypeSetCluster }

func (c *SetCluster) apply(t *tx) (any, error) {
	if at := t.View.Cluster().Index; at != c.Expect {
		return nil, fmt.Errorf("cluster record: version %d expected, %d found: %w", c.Expect, at, ErrConflict)
	}
	next := c.Cluster
	next.Index, next.Removed = t.index, t.View.Cluster().Removed
	t.cluster = &next
	t.touch(TopicCluster)
	return t.index, nil
}

// Token admits one node to the cluster. A used one is kept until it expires, so
// that whoever comes with it again is told.
type Token struct {
	ID      string `codec:"i"`
	Hash    Hash   `codec:"h"`           // SHA-256 of its secret
	Expires int64  `codec:"e"`           // Unix milliseconds
	At      int64  `codec:"t"`           // when it was made, Unix milliseconds
	UsedBy  string `codec:"u,omitempty"` // the node that joined with it
	UsedAt  int64  `codec:"w,omitempty"` // Unix milliseconds; 0 while it is unused
	Request Hash   `codec:"r"`           // what it was used for; see UseToken
}

// Tokens yields every token by id.
func (v *View) Tokens() iter.Seq[*Token] { return values(v.tokens) }

// PutToken makes a token and forgets those that expired before At.
type PutToken struct {
	ID      string `codec:"i"`
	Hash    Hash   `codec:"h"`
	Expires int64  `codec:"e"`
	At      int64  `codec:"t"`
}

// Type is TypePutToken.
func (*PutToken) Type() Type { return TypePutToken }

func (c *PutToken) apply(t *tx) (any, error) {
	if old, ok := get(t.tokens, c.ID); ok {
		if old.Hash != c.Hash {
			return nil, fmt.Errorf("join token %q exists: %w", c.ID, ErrConflict)
		}
		return nil, nil // proposed again: what became of it since stands
	}
	var expired []string
	for token := range t.Tokens() {
		if token.Expires < c.At {
			expired = append(expired, token.ID)
		}
	}
	for _, id := range expired {
		del(t.edit, &t.tokens, id)
	}
	put(t.edit, &t.tokens, c.ID, &Token{ID: c.ID, Hash: c.Hash, Expires: c.Expires, At: c.At})
	t.touch(TopicCluster)
	return nil, nil
}

// UseToken spends a token for a node. It is refused with ErrTokenUnknown,
// ErrTokenUsed or ErrTokenExpired. The same node with the same request may come
// again while the token lives: it has not got the answer.
type UseToken struct {
	ID      string `codec:"i"`
	Hash    Hash   `codec:"h"`
	Node    string `codec:"n"`
	Request Hash   `codec:"r"` // of what the node asks; zero: it may not come again
	At      int64  `codec:"t"`
}

// Admits is why a token does not let a node in with a request at a time, in Unix
// milliseconds: ErrTokenUsed or ErrTokenExpired; nil if it does.
func (t *Token) Admits(node string, request Hash, at int64) error {
	again := t.UsedBy == node && t.Request == request && !request.IsZero()
	switch {
	case t.UsedAt != 0 && !again:
		return fmt.Errorf("used by node %q: %w", t.UsedBy, ErrTokenUsed)
	case t.Expires <= at:
		return ErrTokenExpired
	}
	return nil
}

// Type is TypeUseToken.
func (*UseToken) Type() Type { return TypeUseToken }

func (c *UseToken) apply(t *tx) (any, error) {
	old, ok := get(t.tokens, c.ID)
	if !ok || old.Hash != c.Hash {
		return nil, fmt.Errorf("node %q: %w", c.Node, ErrTokenUnknown)
	}
	if err := old.Admits(c.Node, c.Request, c.At); err != nil {
		return nil, fmt.Errorf("node %q: %w", c.Node, err)
	}
	if old.UsedAt != 0 {
		return nil, nil // told before
	}
	next := *old
	next.UsedBy, next.UsedAt, next.Request = c.Node, max(c.At, 1), c.Request
	put(t.edit, &t.tokens, c.ID, &next)
	t.touch(TopicCluster)
	return nil, nil
}
