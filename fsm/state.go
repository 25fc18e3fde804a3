package fsm

import (
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Refusals of commands. They are answers, not faults: the state stays as it was.
var (
	// ErrStaleEpoch: the proposer no longer holds the lease or the assignment.
	ErrStaleEpoch = errors.New("stale epoch: the lease or assignment is held by another")
	// ErrConflict: the state has moved on from what the command expected.
	ErrConflict = errors.New("conflict: the state has changed since it was read")
	// ErrNotFound: what the command names does not exist.
	ErrNotFound = errors.New("not found")
)

// State is the replicated state of one node. Apply is called by the log alone,
// one entry at a time; everybody else reads immutable views.
type State struct {
	view atomic.Pointer[View]

	mu      sync.Mutex // serialises Apply and Restore; guards waiting
	waiting map[Topic]chan struct{}
}

// View is the whole state at one log index. It never changes.
type View struct {
	index    uint64
	tenants  *iradix.Tree[*Tenant]
	members  *iradix.Tree[*members] // derived: the tenants of each cohort
	changes  *iradix.Tree[string]   // log index of a tenant's last change of configuration or assignment, tenant
	blobs    *iradix.Tree[*Blob]
	idle     *iradix.Tree[struct{}] // derived: blobs that nothing points to, by the time they were last put
	networks *iradix.Tree[*Network]
	nodes    *iradix.Tree[*Node]
	cluster  *Cluster // nil while there is none
	tokens   *iradix.Tree[*Token]
	cohorts  *iradix.Tree[*Cohort]
	cursors  *iradix.Tree[*Cursor] // network, cohort
	fired    *iradix.Tree[*Fired]  // network, height, block, alert
	// retracted are the alerts that have not come back since: network, alert
	retracted   *iradix.Tree[*retraction]
	retractable *iradix.Tree[int]       // derived: how many alerts of a tenant have content: network, tenant
	outbox      *iradix.Tree[*Outgoing] // tenant, key
	dead        *iradix.Tree[*Dead]     // tenant, key
	deaths      *iradix.Tree[*deaths]   // derived: dead letters by tenant, then by when they died
	boxes       *iradix.Tree[*boxed]    // by tenant; all but Forgotten is derived
	graves      *iradix.Tree[string]    // derived: tenants with dead letters, those that were deleted last, then by bytes
	boxNotes    *boxChange              // the last changes of boxes, newest first
	boxNotesOld *boxChange              // those before
	boxesFrom   uint64                  // changes of boxes after this log index are known
	outboxBytes int64                   // derived
	deadBytes   int64                   // derived
	contents    *iradix.Tree[int64]     // derived: bytes of Fired.Content by tenant
	content     int64                   // derived: of all tenants
	replays     *iradix.Tree[*replayed] // tenant, network, monitor
	secrets     *iradix.Tree[*Secret]   // tenant, name
	keys        *iradix.Tree[*Key]
	ownKeys     *iradix.Tree[*Key]      // derived: tenant, id
	audits      *iradix.Tree[*auditLog] // by tenant
	auditSizes  *iradix.Tree[string]    // derived: tenants, those with the most bytes of audit log first
	auditBytes  int64                   // derived
}

// New is an empty state at index 0.
func New() *State {
	s := &State{waiting: map[Topic]chan struct{}{}}
	s.view.Store(emptyView())
	return s
}

func emptyView() *View {
	return &View{
		tenants:     iradix.New[*Tenant](),
		members:     iradix.New[*members](),
		changes:     iradix.New[string](),
		blobs:       iradix.New[*Blob](),
		idle:        iradix.New[struct{}](),
		networks:    iradix.New[*Network](),
		nodes:       iradix.New[*Node](),
		tokens:      iradix.New[*Token](),
		cohorts:     iradix.New[*Cohort](),
		cursors:     iradix.New[*Cursor](),
		fired:       iradix.New[*Fired](),
		retracted:   iradix.New[*retraction](),
		retractable: iradix.New[int](),
		outbox:      iradix.New[*Outgoing](),
		dead:        iradix.New[*Dead](),
		deaths:      iradix.New[*deaths](),
		boxes:       iradix.New[*boxed](),
		graves:      iradix.New[string](),
		contents:    iradix.New[int64](),
		replays:     iradix.New[*replayed](),
		secrets:     iradix.New[*Secret](),
		keys:        iradix.New[*Key](),
		ownKeys:     iradix.New[*Key](),
		audits:      iradix.New[*auditLog](),
		auditSizes:  iradix.New[string](),
	}
}

// View is the state as of the last applied entry.
func (s *State) View() *View { return s.view.Load() }

// Index is the log index of the last entry that changed or was refused by the state.
func (v *View) Index() uint64 { return v.index }

// Topic names a part of the state that somebody waits for.
type Topic string

// TopicTenants covers every tenant's documents and the shared networks.
const TopicTenants Topic = "tenants"

// TopicLeases covers who does what: leases, nodes, cohorts and who is in which,
// placements, and which networks are wanted.
const TopicLeases Topic = "leases"

// TopicCluster covers the cluster's record and the join tokens.
const TopicCluster Topic = "cluster"

// TopicOutbox covers deliveries that are still to be made and dead letters.
const TopicOutbox Topic = "outbox"

// TopicSecrets covers the tenants' stored secrets.
const TopicSecrets Topic = "secrets"

// TopicKeys covers the API keys.
const TopicKeys Topic = "keys"

// TopicNetwork covers the announcements and cursors of one network.
func TopicNetwork(key string) Topic { return Topic("network/" + key) }

// Changed is closed at the next change of the topic. Take it before reading
// the view, so that no change falls between.
func (s *State) Changed(t Topic) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch, ok := s.waiting[t]
	if !ok {
		ch = make(chan struct{})
		s.waiting[t] = ch
	}
	return ch
}

// Apply changes the state by one log entry. It is a pure function of the state
// and the entry. An error that wraps ErrUnknownCommand or ErrMalformed means
// that this node cannot go on; any other error is the command's refusal.
func (s *State) Apply(index uint64, entry []byte) (any, error) {
	c, err := Decode(entry)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.view.Load()
	next.index = index
	if c == nil {
		s.view.Store(&next)
		return nil, nil
	}
	t := &tx{View: &next}
	result, err := c.apply(t)
	if err != nil {
		refused := *s.view.Load()
		refused.index = index
		s.view.Store(&refused)
		return nil, err
	}
	s.view.Store(&next)
	s.wake(t.touched)
	return result, nil
}

func (s *State) wake(topics []Topic) {
	for _, t := range topics {
		if ch, ok := s.waiting[t]; ok {
			close(ch)
			delete(s.waiting, t)
		}
	}
}

// tx is a view in the making. Its trees are replaced, their values never changed.
type tx struct {
	*View
	touched []Topic
}

func (t *tx) touch(topic Topic) { t.touched = append(t.touched, topic) }

// put, del and get keep the trees' plumbing out of the commands.
func put[T any](tree **iradix.Tree[T], key []byte, value T) { *tree, _, _ = (*tree).Insert(key, value) }

func del[T any](tree **iradix.Tree[T], key []byte) { *tree, _, _ = (*tree).Delete(key) }

func get[T any](tree *iradix.Tree[T], key []byte) (T, bool) { return tree.Get(key) }

// walk yields the values below a prefix in key order.
func walk[T any](tree *iradix.Tree[T], prefix []byte) iter.Seq2[[]byte, T] {
	return func(yield func([]byte, T) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix(prefix)
		for key, value, ok := it.Next(); ok; key, value, ok = it.Next() {
			if !yield(key, value) {
				return
			}
		}
	}
}

// values yields every value of a tree in key order.
func values[T any](tree *iradix.Tree[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range walk(tree, nil) {
			if !yield(v) {
				return
			}
		}
	}
}

// below yields the values under a prefix in key order.
func below[T any](tree *iradix.Tree[T], prefix []byte) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range walk(tree, prefix) {
			if !yield(v) {
				return
			}
		}
	}
}

// join builds a key of several parts; parts never hold a zero byte.
func join(parts ...string) []byte {
	var key []byte
	for i, p := range parts {
		if i > 0 {
			key = append(key, 0)
		}
		key = append(key, p...)
	}
	return key
}

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
