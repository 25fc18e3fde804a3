package node

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ozmo-dev/ozmo/node/api"
	"github.com/ozmo-dev/ozmo/node/journal"
)

// news tells those who listen on this node which changes of alerts it records. Where
// nobody listens it costs one look at a number.
type news struct {
	listening atomic.Int64
	over      chan struct{} // closed when the node ends
	once      sync.Once

	mu    sync.RWMutex
	feeds map[journal.Tenant][]*feed
}

func newNews() *news { return &news{over: make(chan struct{}), feeds: map[journal.Tenant][]*feed{}} }

// close ends all who follow: the node ends.
func (n *news) close() { n.once.Do(func() { close(n.over) }) }

// feedLength is how many changes wait for a slow reader before more are left out.
const feedLength = 256

// feed is what waits for one reader. Whoever feeds it never waits: what finds no room
// is counted.
type feed struct {
	events chan *api.AlertEvent
	missed atomic.Uint64
}

func newFeed() *feed { return &feed{events: make(chan *api.AlertEvent, feedLength)} }

func (f *feed) push(e *api.AlertEvent) {
	select {
	case f.events <- e:
	default:
		f.missed.Add(1)
	}
}

// listen begins a feed of a tenant's alerts; it has to be ended.
func (n *news) listen(t journal.Tenant) (f *feed, end func()) {
	f = newFeed()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.feeds[t] = append(slices.Clone(n.feeds[t]), f)
	n.listening.Add(1)
	return f, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.listening.Add(-1)
		n.feeds[t] = slices.DeleteFunc(slices.Clone(n.feeds[t]), func(o *feed) bool { return o == f })
		if len(n.feeds[t]) == 0 {
			delete(n.feeds, t)
		}
	}
}

// publish tells of a change to those who listen for its tenant's.
func (n *news) publish(a *journal.Alert, state string, position uint64) {
	if n.listening.Load() == 0 {
		return
	}
	n.mu.RLock()
	feeds := n.feeds[journal.Tenant{ID: a.Tenant, Born: a.Born}]
	n.mu.RUnlock()
	if len(feeds) == 0 {
		return
	}
	i := slices.IndexFunc(a.History, func(c journal.Change) bool { return c.State == state && c.Position == position })
	if i < 0 {
		return
	}
	e := eventOf(a, &a.History[i])
	for _, f := range feeds {
		f.push(e)
	}
}

// maxEventVariables bounds what an event carries of an alert's variables, in bytes.
const maxEventVariables = 8 << 10

func eventOf(a *journal.Alert, c *journal.Change) *api.AlertEvent {
	e := &api.AlertEvent{
		Event: api.EventID(a.ID, c.State, c.Position), ID: a.ID, State: c.State, At: c.At.UTC(), Monitor: a.MonitorName, MonitorID: a.MonitorID,
		Network: a.Network, Transaction: a.Tx, Block: a.Block, Position: c.Position, Version: a.Version, Deliveries: shownDeliveries(c.Deliveries),
	}
	size := 0
	for name, value := range a.Variables {
		size += len(name) + len(value)
	}
	if size <= maxEventVariables {
		e.Variables = a.Variables
	}
	return e
}

func shownDeliveries(list []journal.Delivery) []api.AlertDelivery {
	out := make([]api.AlertDelivery, len(list))
	for i, d := range list {
		out[i] = api.AlertDelivery{Key: d.Key, Trigger: d.Trigger, Outcome: d.Outcome}
	}
	return out
}
