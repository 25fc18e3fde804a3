package evm

import (
	"slices"

	chainevm "github.com/ozmo-dev/ozmo/watcher/chain/evm"
	"github.com/ozmo-dev/ozmo/worker/match/evm/abi"
)

// account is what the monitors ask of one address.
type account struct {
	groups   []*group              // of events and functions
	byHash   map[[32]byte][]*group // the same by topic or selector; nil while there are few
	involved *group                // monitors without events and functions; nil when there are none
	open     *group                // monitors with function conditions but no ABI for the address; nil when there are none
}

func (a *account) empty() bool { return len(a.groups) == 0 && a.involved == nil && a.open == nil }

// fewGroups is the number up to which looking at each is cheapest.
const fewGroups = 8

// key is what a layout is found by: topic 0, or the selector and zeros. The
// layouts of events and functions refuse each other's content.
func key(l *abi.Layout) [32]byte {
	h := l.Hash()
	if l.Indexed < 0 {
		return selectorKey([4]byte(h[:4]))
	}
	return h
}

func selectorKey(s [4]byte) (k [32]byte) {
	copy(k[:], s[:])
	return k
}

// group returns the group of a layout, nil when it has none.
func (a *account) group(l *abi.Layout) *group {
	groups := a.groups
	if a.byHash != nil {
		groups = a.byHash[key(l)]
	}
	for _, g := range groups {
		if g.layout == l {
			return g
		}
	}
	return nil
}

// grow returns the group of a layout, made if need be.
func (a *account) grow(l *abi.Layout) *group {
	if g := a.group(l); g != nil {
		return g
	}
	g := &group{layout: l}
	a.groups = append(a.groups, g)
	switch {
	case a.byHash != nil:
		a.byHash[key(l)] = append(a.byHash[key(l)], g)
	case len(a.groups) > fewGroups:
		a.byHash = make(map[[32]byte][]*group, len(a.groups))
		for _, g := range a.groups {
			a.byHash[key(g.layout)] = append(a.byHash[key(g.layout)], g)
		}
	}
	return g
}

// remove forgets an empty group.
func (a *account) remove(g *group) {
	same := func(other *group) bool { return other == g }
	a.groups = slices.DeleteFunc(a.groups, same)
	if a.byHash != nil {
		k := key(g.layout)
		if a.byHash[k] = slices.DeleteFunc(a.byHash[k], same); len(a.byHash[k]) == 0 {
			delete(a.byHash, k)
		}
	}
}

// find calls visit for each group of a topic or selector.
func (a *account) find(hash *[32]byte, visit func(*group)) {
	if a.byHash != nil {
		for _, g := range a.byHash[*hash] {
			visit(g)
		}
		return
	}
	for _, g := range a.groups {
		if key(g.layout) == *hash {
			visit(g)
		}
	}
}

// filter tells quickly that an address is of no interest, which is so for
// nearly all of a block. It never errs in the other direction.
type filter struct {
	bits  []uint64 // a power of two
	count int
}

const (
	filterMin  = 1 << 10 // bits
	filterLoad = 16      // bits for each address
)

// hash mixes an address into 64 bits. Addresses are hashes mostly, and
// somebody who crafts one gains a look into the map.
func hash(a *chainevm.Address) uint64 {
	lo := uint64(a[19]) | uint64(a[18])<<8 | uint64(a[17])<<16 | uint64(a[16])<<24 |
		uint64(a[15])<<32 | uint64(a[14])<<40 | uint64(a[13])<<48 | uint64(a[12])<<56
	hi := uint64(a[7]) | uint64(a[6])<<8 | uint64(a[5])<<16 | uint64(a[4])<<24 |
		uint64(a[3])<<32 | uint64(a[2])<<40 | uint64(a[1])<<48 | uint64(a[0])<<56
	h := (lo ^ hi*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return h ^ h>>32
}

// spots are two bits within one word, so that a look costs one memory access.
func (f *filter) spots(a *chainevm.Address) (word int, mask uint64) {
	h := hash(a)
	return int(h>>12) & (len(f.bits) - 1), 1<<(h&63) | 1<<(h>>6&63)
}

func (f *filter) has(a *chainevm.Address) bool {
	if len(f.bits) == 0 {
		return false
	}
	word, mask := f.spots(a)
	return f.bits[word]&mask == mask
}

func (f *filter) add(a *chainevm.Address) {
	word, mask := f.spots(a)
	f.bits[word] |= mask
	f.count++
}

// full reports that another address needs a larger filter.
func (f *filter) full() bool { return f.count*filterLoad >= len(f.bits)*64 }
