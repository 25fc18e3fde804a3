package abi

import "weak"

// interned shares values by key for as long as someone else holds them.
type interned[K comparable, V any] struct {
	m     map[K]weak.Pointer[V]
	sweep int // size at which dead entries are removed next
}

func (t *interned[K, V]) get(k K) *V { return t.m[k].Value() }

func (t *interned[K, V]) put(k K, v *V) {
	if t.m == nil {
		t.m, t.sweep = make(map[K]weak.Pointer[V]), 1024
	}
	if len(t.m) >= t.sweep {
		for k, p := range t.m {
			if p.Value() == nil {
				delete(t.m, k)
			}
		}
		t.sweep = max(1024, 2*len(t.m))
	}
	t.m[k] = weak.Make(v)
}
