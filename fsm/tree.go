package fsm

import (
	"iter"
	"strings"

	"github.com/tidwall/btree"
)

// tree is a map in key order; nil is an empty one. What a view has of trees never
// changes: an edit of the view makes its own copy of a tree with the first change,
// which shares all nodes but those changed since.
type tree[V any] struct {
	kept btree.Map[string, V]
	made *edit // by which; no other changes it
}

// degree is half of how many keys a node has at most. A change of one key copies a
// node per level, a look-up compares with a few keys of each.
const degree = 16

// edit is what a view's change is known by.
type edit struct{ open bool }

// own is a tree for an edit to change, in place of one that is not its own.
func own[V any](e *edit, at **tree[V]) *btree.Map[string, V] {
	switch t := *at; {
	case t == nil:
		*at = &tree[V]{kept: *btree.NewMap[string, V](degree), made: e}
	case t.made != e:
		// Copying a Map changes whose nodes it takes for its own, and others may be
		// reading, or copying, this one: only the one that nobody knows is changed.
		next := &tree[V]{kept: t.kept, made: e}
		next.kept.Copy()
		*at = next
	}
	return &(*at).kept
}

// put sets a key, and returns the value it had.
func put[V any](e *edit, at **tree[V], key string, value V) (V, bool) {
	return own(e, at).Set(key, value)
}

func del[V any](e *edit, at **tree[V], key string) {
	if _, ok := get(*at, key); ok {
		own(e, at).Delete(key)
	}
}

func get[V any](t *tree[V], key string) (value V, ok bool) {
	if t == nil {
		return value, false
	}
	return t.kept.Get(key)
}

// Len is the number of keys.
func (t *tree[V]) Len() int {
	if t == nil {
		return 0
	}
	return t.kept.Len()
}

func (t *tree[V]) first() (key string, value V, ok bool) {
	if t == nil {
		return key, value, false
	}
	return t.kept.Min()
}

func (t *tree[V]) last() (key string, value V, ok bool) {
	if t == nil {
		return key, value, false
	}
	return t.kept.Max()
}

// from yields keys and values in key order, beginning with the first key that is not
// below the one given. It yields what is there when it begins, whatever an edit
// changes meanwhile.
func (t *tree[V]) from(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if t == nil {
			return
		}
		kept := &t.kept
		if t.made.open {
			kept = kept.Copy()
		}
		kept.Ascend(key, yield)
	}
}

// walk yields the keys and values below a prefix in key order.
func walk[V any](t *tree[V], prefix string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for key, value := range t.from(prefix) {
			if !strings.HasPrefix(key, prefix) || !yield(key, value) {
				return
			}
		}
	}
}

// values yields every value of a tree in key order.
func values[V any](t *tree[V]) iter.Seq[V] { return below(t, "") }

// below yields the values under a prefix in key order.
func below[V any](t *tree[V], prefix string) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range walk(t, prefix) {
			if !yield(v) {
				return
			}
		}
	}
}
