package outbox

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// book is the outbox of this node's tenants by when each delivery is due. It is
// derived from the state: what it says is checked there before an attempt. What it
// costs to keep up grows with the tenants that change, not with all that wait.
type book struct {
	due  func(v *fsm.View, e *fsm.Outgoing) time.Time
	owns func(v *fsm.View, tenant string) bool
	busy func(id) bool // somebody on this node attempts it
	// admit takes from a tenant's quota; the error says when to ask again.
	admit func(tenant string, now time.Time) error

	mu    sync.Mutex
	boxes map[string]*box // by tenant
	lanes laneHeap        // those with something to come, by when; none that is in turn
	turn  []*box          // those with a lane in turn that are within their quota; the first is next
	over  boxHeap         // those that are over it, by when they may ask again
	total int             // slots taken
	index uint64          // of the state at the last look
	looks uint64          // looks at the state
	fills uint64          // boxes read
	read  int             // deliveries read, for measuring
}

// id names a delivery.
type id struct{ tenant, key string }

// box is what one tenant has in the outbox.
type box struct {
	tenant  string
	seen    *fsm.Box           // as of the last look; nil: it has to be read
	look    uint64             // the last one at all tenants in which it was there
	items   map[string]*item   // by key; nil while the tenant is another node's
	follow  map[string][]*item // those that come after another one, by its key
	lanes   map[string]*lane   // by trigger
	turn    []*lane            // those with something due; the first is next
	running int                // slots taken
	overAt  int                // in book.over; -1: not there
	until   time.Time          // when it may ask for its quota again, while it is there
}

// item is one delivery.
type item struct {
	entry *fsm.Outgoing
	lane  *lane
	due   time.Time
	at    int    // in lane.waiting; -1: it waits for another one, or was given out
	busy  bool   // it was given out
	fill  uint64 // the last one in which it was there
}

func newBook() *book {
	return &book{boxes: map[string]*box{}, admit: func(string, time.Time) error { return nil }}
}

// look takes over what has changed in the state since the last look. moved says
// that tenants may have come or gone.
func (b *book) look(view func() *fsm.View, moved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := view() // under the lock, so that nothing newer is replaced by something older
	b.looks++
	changed, known := v.BoxesSince(b.index)
	b.index = v.Index()
	if !known || moved {
		changed = v.Boxes()
	}
	for tenant, state := range changed {
		b.take(v, tenant, state)
	}
	if known && !moved {
		return
	}
	for tenant, one := range b.boxes {
		if one.look != b.looks {
			b.take(v, tenant, nil)
		}
	}
}

// take brings a tenant's box up to date; nil: it has none any more.
func (b *book) take(v *fsm.View, tenant string, state *fsm.Box) {
	one := b.boxes[tenant]
	if one == nil {
		if state == nil || state.Entries == 0 {
			return
		}
		one = &box{tenant: tenant, overAt: -1}
		b.boxes[tenant] = one
	}
	one.look = b.looks
	switch {
	case state == nil:
		b.empty(one)
		if one.seen = nil; one.running == 0 {
			delete(b.boxes, tenant)
		}
	case !b.owns(v, one.tenant):
		b.empty(one)
		one.seen = state
	case one.seen != state || one.items == nil:
		one.seen = state
		b.fill(v, one)
	}
}

// fill reads a tenant's deliveries.
func (b *book) fill(v *fsm.View, one *box) {
	if one.items == nil {
		one.items, one.follow, one.lanes = map[string]*item{}, map[string][]*item{}, map[string]*lane{}
	}
	b.fills++
	there := 0
	var changed []*item
	for e := range v.OutboxOf(one.tenant) {
		there++
		it := one.items[e.Key]
		if it != nil && it.entry == e {
			it.fill = b.fills
			continue
		}
		if it == nil {
			it = b.add(one, e)
		}
		it.update(e)
		it.fill = b.fills
		changed = append(changed, it)
	}
	b.read += there
	if there < len(one.items) {
		for _, it := range one.items {
			if it.fill != b.fills {
				b.remove(v, it)
			}
		}
	}
	for _, it := range changed { // what it may have to wait for is known only now
		b.place(v, it)
		b.placeFollowers(v, it)
	}
}

func (b *book) add(one *box, e *fsm.Outgoing) *item {
	l := one.lanes[e.Trigger]
	if l == nil {
		l = &lane{box: one, trigger: e.Trigger, at: -1}
		one.lanes[e.Trigger] = l
	}
	it := &item{entry: e, lane: l, at: -1, busy: b.busy(id{one.tenant, e.Key})}
	one.items[e.Key] = it
	it.followOn()
	return it
}

// update takes over what a delivery is by now.
func (it *item) update(e *fsm.Outgoing) {
	if it.entry.After == e.After {
		it.entry = e
		return
	}
	it.followNot()
	it.entry = e
	it.followOn()
}

// after is the delivery that has to be settled before; empty: none.
func (it *item) after() string {
	if it.entry.After == it.entry.Key {
		return "" // or it would wait for ever
	}
	return it.entry.After
}

func (it *item) followOn() {
	if after := it.after(); after != "" {
		one := it.lane.box
		one.follow[after] = append(one.follow[after], it)
	}
}

func (it *item) followNot() {
	one, after := it.lane.box, it.after()
	if after == "" {
		return
	}
	if rest := slices.DeleteFunc(one.follow[after], func(o *item) bool { return o == it }); len(rest) > 0 {
		one.follow[after] = rest
	} else {
		delete(one.follow, after)
	}
}

// remove forgets a delivery that is settled; those that waited for it are free.
func (b *book) remove(v *fsm.View, it *item) {
	b.unplace(it)
	delete(it.lane.box.items, it.entry.Key)
	it.followNot()
	b.placeFollowers(v, it)
}

// empty forgets what a tenant has: it is another node's, or nothing is left.
func (b *book) empty(one *box) {
	for _, l := range one.lanes {
		l.waiting = nil
		b.placeLane(l)
	}
	one.items, one.follow, one.lanes = nil, nil, nil
}

// place puts a delivery where it belongs: into its lane, unless it was given out
// or waits for another one.
func (b *book) place(v *fsm.View, it *item) {
	one := it.lane.box
	b.unplace(it)
	if it.busy {
		return
	}
	if one.items[it.after()] != nil {
		return
	}
	it.due = b.due(v, it.entry)
	heap.Push(&it.lane.waiting, it)
	b.placeLane(it.lane)
}

func (b *book) unplace(it *item) {
	if it.at >= 0 {
		heap.Remove(&it.lane.waiting, it.at)
		b.placeLane(it.lane)
	}
}

// placeFollowers places those that come after a delivery.
func (b *book) placeFollowers(v *fsm.View, it *item) {
	for _, f := range slices.Clone(it.lane.box.follow[it.entry.Key]) {
		b.place(v, f)
	}
}

// settled looks again at a delivery that was given out, or was another's to make.
func (b *book) settled(view func() *fsm.View, which id) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.boxes[which.tenant]
	if one == nil || one.items[which.key] == nil {
		return // the next look finds it, if it is there
	}
	it := one.items[which.key]
	it.busy = b.busy(which)
	v := view()
	e, ok := v.FindOutgoing(which.tenant, which.key)
	if !ok {
		b.remove(v, it)
		return
	}
	it.update(e)
	b.place(v, it)
}

// reread reads a tenant's box again: something in it is not as the book says.
func (b *book) reread(view func() *fsm.View, tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.boxes[tenant]
	if one == nil {
		return
	}
	v := view()
	if one.seen = nil; !b.owns(v, tenant) {
		b.empty(one)
		return
	}
	b.fill(v, one)
}

// outlived takes up to limit deliveries whose receivers are not to be asked now, and
// that the function says to give up, as if they were given out.
func (b *book) outlived(now time.Time, limit int, over func(e *fsm.Outgoing) bool) (out []*fsm.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.boxes {
		for _, it := range one.items {
			if len(out) == limit {
				return out
			}
			if l := it.lane; it.at >= 0 && (l.probe || l.held.After(now)) && over(it.entry) {
				b.unplace(it)
				it.busy = true
				out = append(out, it.entry)
			}
		}
	}
	return out
}
