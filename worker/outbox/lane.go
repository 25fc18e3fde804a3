package outbox

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"github.com/ozmo-dev/ozmo/fsm"
)

// lane is what goes to one trigger of a tenant.
type lane struct {
	box     *box
	trigger string
	waiting itemHeap
	held    time.Time // nothing is attempted before
	probe   bool      // it was held: one attempt at a time until one was really made
	running int       // slots taken
	at      int       // in book.lanes; -1: not there
	inTurn  bool
}

// when is when the lane has something to do; it has something waiting.
func (l *lane) when() time.Time {
	if due := l.waiting[0].due; due.After(l.held) {
		return due
	}
	return l.held
}

// full reports whether the lane has all slots it may have.
func (l *lane) full() bool { return l.running >= laneAttempts || l.probe && l.running > 0 }

// placeLane puts a lane where it belongs after a change of what waits in it.
func (b *book) placeLane(l *lane) {
	switch {
	case l.inTurn:
		if len(l.waiting) == 0 {
			b.leaveTurn(l)
		}
	case len(l.waiting) == 0:
		if l.at >= 0 {
			heap.Remove(&b.lanes, l.at)
		}
	case l.at >= 0:
		heap.Fix(&b.lanes, l.at)
	default:
		heap.Push(&b.lanes, l)
	}
}

func (b *book) leaveTurn(l *lane) {
	one := l.box
	one.turn = slices.DeleteFunc(one.turn, func(o *lane) bool { return o == l })
	l.inTurn = false
	if len(one.turn) == 0 {
		b.turn = slices.DeleteFunc(b.turn, func(o *box) bool { return o == one })
	}
}

// enterTurns has the lanes take their turn that have something due.
func (b *book) enterTurns(now time.Time) {
	for len(b.lanes) > 0 && !b.lanes[0].when().After(now) {
		l := heap.Pop(&b.lanes).(*lane) //nolint:forcetypeassert // it holds nothing else
		l.inTurn = true
		if l.box.turn = append(l.box.turn, l); len(l.box.turn) == 1 && l.box.overAt < 0 {
			b.turn = append(b.turn, l.box)
		}
	}
}

// next is how long it is until something new is due; idle at most.
func (b *book) next(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	pause := idle
	if len(b.lanes) > 0 {
		pause = min(pause, b.lanes[0].when().Sub(now))
	}
	if len(b.over) > 0 && b.total < maxAttempts { // otherwise a slot that comes free is what to wait for
		pause = min(pause, b.over[0].until.Sub(now))
	}
	return max(pause, 0)
}

// pop takes a slot and the delivery to use it for: tenant by tenant in turn, of a
// tenant trigger by trigger, of a trigger what is due longest. The caller gives the
// slot back with release.
func (b *book) pop(now time.Time) (*fsm.Outgoing, *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enterTurns(now)
	if b.total == maxAttempts {
		return nil, nil
	}
	b.resume(now)
	for i := 0; i < len(b.turn); {
		one := b.turn[i]
		l := one.ready(now, b)
		if l == nil {
			if i < len(b.turn) && b.turn[i] == one { // otherwise it has left
				i++
			}
			continue
		}
		if err := b.admit(one.tenant, now); err != nil {
			again := quotaRecheck
			if q, ok := errors.AsType[*QuotaError](err); ok {
				again = min(again, q.Again.Sub(now))
			}
			b.wait(one, now.Add(again))
			continue
		}
		it := heap.Pop(&l.waiting).(*item) //nolint:forcetypeassert // it holds nothing else
		it.busy = true
		l.running++
		one.running++
		b.total++
		// Behind the others, if there is more to do.
		b.leaveTurn(l)
		b.placeLane(l)
		if k := slices.Index(b.turn, one); k >= 0 {
			b.turn = append(slices.Delete(b.turn, k, k+1), one)
		}
		b.enterTurns(now)
		return it.entry, l
	}
	return nil, nil
}

// ready is the first of a tenant's lanes that may begin something; nil: none. What
// is not due any more leaves the turn.
func (one *box) ready(now time.Time, b *book) *lane {
	if one.running >= tenantAttempts {
		return nil
	}
	for _, l := range slices.Clone(one.turn) {
		switch {
		case l.when().After(now):
			b.leaveTurn(l)
			b.placeLane(l)
		case !l.full():
			return l
		}
	}
	return nil
}

// hold has a lane wait: its receiver is not to be asked before. With probe it is
// asked with care after that.
func (b *book) hold(l *lane, until time.Time, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.probe = l.probe || probe
	if until.After(l.held) {
		l.held = until
		b.placeLane(l)
	}
}

// made notes that an attempt was really made; one that succeeds shows that there
// is no reason to wait.
func (b *book) made(l *lane, accepted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.probe = false
	if accepted && !l.held.IsZero() {
		l.held = time.Time{}
		b.placeLane(l)
	}
}

// free has a tenant's lanes wait no longer. Several may go to one receiver, and each
// finds out with one attempt whether it is to be asked.
func (b *book) free(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.boxes[tenant]
	if one == nil {
		return
	}
	for _, l := range one.lanes {
		if !l.held.IsZero() {
			l.held = time.Time{}
			b.placeLane(l)
		}
	}
}

// release gives a slot back.
func (b *book) release(l *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.running--
	l.box.running--
	b.total--
	if one := l.box; one.running == 0 && one.items == nil && one.seen == nil && b.boxes[one.tenant] == one {
		delete(b.boxes, one.tenant) // it has gone while an attempt was under way
	}
}

// itemHeap has the delivery first that is due first.
type itemHeap []*item

func (h itemHeap) Len() int { return len(h) }
func (h itemHeap) Less(i, k int) bool {
	if !h[i].due.Equal(h[k].due) {
		return h[i].due.Before(h[k].due)
	}
	return h[i].entry.At < h[k].entry.At
}
func (h itemHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i]; h[i].at, h[k].at = i, k }
func (h *itemHeap) Push(x any) {
	it := x.(*item) //nolint:forcetypeassert // it is given nothing else
	it.at = len(*h)
	*h = append(*h, it)
}

func (h *itemHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.at = -1
	return it
}

// laneHeap has the lane first that has something to do first.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, k int) bool { return h[i].when().Before(h[k].when()) }
func (h laneHeap) Swap(i, k int)      { h[i], h[k] = h[k], h[i]; h[i].at, h[k].at = i, k }
func (h *laneHeap) Push(x any) {
	l := x.(*lane) //nolint:forcetypeassert // it is given nothing else
	l.at = len(*h)
	*h = append(*h, l)
}

func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.at = -1
	return l
}
