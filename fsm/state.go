package fsm

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
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
	tenants  *tree[*Tenant]
	members  *tree[*members] // derived: the tenants of each cohort
	changes  *tree[string]   // log index of a tenant's last change of configuration or assignment, tenant
	blobs    *tree[*Blob]
	idle     *tree[struct{}] // derived: blobs that nothing points to, by the time they were last put
	networks *tree[*Network]
	nodes    *tree[*Node]
	cluster  *Cluster // nil while there is none
	tokens   *tree[*Token]
	cohorts  *tree[*Cohort]
	cursors  *tree[*Cursor] // network, cohort
	fired    *tree[*Fired]  // network, height, block, alert
	// retracted are the alerts that have not come back since: network, alert
	retracted   *tree[*retraction]
	retractable *tree[int]       // derived: how many alerts of a tenant have content: network, tenant
	outbox      *tree[*Outgoing] // tenant, key
	dead        *tree[*Dead]     // tenant, key
	deaths      *tree[*deaths]   // derived: dead letters by tenant, then by when they died
	boxes       *tree[*boxed]    // by tenant; all but Forgotten is derived
	graves      *tree[string]    // derived: tenants with dead letters, those that were deleted last, then by bytes
	boxNotes    *boxChange       // the last changes of boxes, newest first
	boxNotesOld *boxChange       // those before
	boxesFrom   uint64           // changes of boxes after this log index are known
	outboxBytes int64            // derived
	deadBytes   int64            // derived
	contents    *tree[int64]     // derived: bytes of Fired.Content by tenant
	content     int64            // derived: of all tenants
	replays     *tree[*replayed] // tenant, network, monitor
	secrets     *tree[*Secret]   // tenant, name
	keys        *tree[*Key]
	ownKeys     *tree[*Key]      // derived: tenant, id
	audits      *tree[*auditLog] // by tenant
	auditSizes  *tree[string]    // derived: tenants, those with the most bytes of audit log first
	auditBytes  int64            // derived
	backtests   *tree[*Backtest] // tenant, id
	activeTests *tree[*Backtest] // derived: those that are not over, the oldest first
	// backtestSizes lists tenants, those with the most bytes of jobs first.
	backtestSizes *tree[string] // derived
	backtestSums  *tree[int64]  // derived: bytes of jobs by tenant
	backtestBytes int64         // derived
	auditLine     *tree[*Audit] // derived: what is to be copied outside, by log index; see AuditSince
	lineBytes     int64         // derived
	store         *Store        // nil: nobody has said
	outside       *tree[uint64] // derived: how many pointers of the versions kept there are to a content outside
	reader        Contents      // of what is outside; not part of the state
}

// New is an empty state at index 0.
func New() *State {
	s := &State{waiting: map[Topic]chan struct{}{}}
	s.view.Store(&View{})
	return s
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

// TopicBacktests covers the backtests.
const TopicBacktests Topic = "backtests"

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
	t := begin(&next)
	result, err := c.apply(t)
	t.end()
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
	edit    *edit
	touched []Topic
}

// begin begins a change of a view that nobody else knows yet. Nobody may before it
// has ended.
func begin(v *View) *tx { return &tx{View: v, edit: &edit{open: true}} }

func (t *tx) end() { t.edit.open = false }

func (t *tx) touch(topic Topic) { t.touched = append(t.touched, topic) }

// join builds a key of several parts; parts never hold a zero byte.
func join(parts ...string) string { return strings.Join(parts, "\x00") }

// be64 is a number in keys, which are in its order.
func be64(n uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return string(b[:])
}
