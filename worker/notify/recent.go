package notify

import "container/list"

// maxRecent bounds what a node remembers of destinations, whatever tenants do.
const maxRecent = 1 << 16

// recent remembers something by key: no more than a number of entries, of which
// the one that was not used for the longest time makes room. Nobody but its
// owner's lock guards it.
type recent[K comparable, V any] struct {
	max     int
	entries map[K]*list.Element
	order   list.List // of recentEntry[K, V]; the one used last is in front
	dropped func(V)   // an entry is forgotten; may be nil
}

type recentEntry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](size int, dropped func(V)) *recent[K, V] {
	return &recent[K, V]{max: size, entries: map[K]*list.Element{}, dropped: dropped}
}

// find looks a key up, which counts as using it.
func (r *recent[K, V]) find(key K) (v V, ok bool) {
	e := r.entries[key]
	if e == nil {
		return v, false
	}
	r.order.MoveToFront(e)
	return valueOf[K, V](e).value, true
}

// add remembers what is not there yet.
func (r *recent[K, V]) add(key K, v V) {
	if len(r.entries) >= r.max {
		r.drop(r.order.Back())
	}
	r.entries[key] = r.order.PushFront(recentEntry[K, V]{key, v})
}

// remove forgets a key.
func (r *recent[K, V]) remove(key K) {
	if e := r.entries[key]; e != nil {
		r.drop(e)
	}
}

// tidy forgets what has not been used for long and is of no use any more. It
// looks at a few entries only, so that it may be called often.
func (r *recent[K, V]) tidy(useless func(V) bool) {
	for range 4 {
		e := r.order.Back()
		if e == nil || !useless(valueOf[K, V](e).value) {
			return
		}
		r.drop(e)
	}
}

func (r *recent[K, V]) drop(e *list.Element) {
	old := valueOf[K, V](e)
	r.order.Remove(e)
	delete(r.entries, old.key)
	if r.dropped != nil {
		r.dropped(old.value)
	}
}

func valueOf[K comparable, V any](e *list.Element) recentEntry[K, V] {
	v, _ := e.Value.(recentEntry[K, V]) // nothing else is put in
	return v
}
