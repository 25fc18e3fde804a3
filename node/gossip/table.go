package gossip

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// rememberDead is how long the dead and those who left are listed.
	rememberDead = 24 * time.Hour
	// falseDeath: who is back within this time, in the same run, had not died.
	falseDeath = time.Minute
)

// table is what is known of the members. It is plain data: guarded by its
// owner, told the time.
type table struct {
	members map[string]*entry
	life    int // of the library's instance that is listened to
}

type entry struct {
	Member
	run     uint32
	leaving bool
	life    int    // of the instance that spoke of it last
	ip      string // ip:port that packets go to
}

// change is what an event did, for logs and metrics.
type change struct {
	Member
	was        State // 0: not known before
	falseDeath bool
	none       bool
}

// alive takes in what a living node says about itself.
func (t *table) alive(name, ip string, w wire, now time.Time) change {
	e := t.members[name]
	if e == nil {
		e = &entry{}
		t.members[name] = e
	}
	old := *e
	c := change{was: old.State}
	since := old.Since
	if old.State != Alive {
		since = now
		c.falseDeath = old.State == Dead && old.run == w.Run && old.Server == w.Server && now.Sub(old.Since) < falseDeath
	}
	*e = entry{
		Member: Member{Name: name, Address: cmp.Or(w.Address, ip), State: Alive, Meta: w.Meta, Since: since},
		run:    w.Run, leaving: old.leaving && old.run == w.Run, life: t.life, ip: ip,
	}
	c.Member = e.Member
	c.none = *e == old
	return c
}

// gone takes in that a node died or left.
func (t *table) gone(name string, now time.Time) change {
	e := t.members[name]
	if e == nil || e.State != Alive {
		return change{none: true}
	}
	e.State, e.Since = Dead, now
	if e.leaving {
		e.State = Left
	}
	return change{Member: e.Member, was: Alive}
}

// leaving takes in that a node said it leaves, which may come after its being
// gone was noticed.
func (t *table) leaving(name string, run uint32) change {
	e := t.members[name]
	if e == nil || e.run != run {
		return change{none: true}
	}
	e.leaving = true
	if e.State != Dead {
		return change{none: true}
	}
	e.State = Left
	return change{Member: e.Member, was: Dead}
}

// reachable are the numbers of the living, by name.
func (t *table) reachable() map[string]string {
	out := map[string]string{}
	for name, e := range t.members {
		if e.State == Alive {
			out[name] = e.ip
		}
	}
	return out
}

// unfound are the living whom the present instance has not heard of.
func (t *table) unfound() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t.members)) {
		if e := t.members[name]; e.State == Alive && e.life != t.life {
			out = append(out, name)
		}
	}
	return out
}

// prune forgets who has been gone for long, and reports whether it did.
func (t *table) prune(now time.Time) bool {
	before := len(t.members)
	maps.DeleteFunc(t.members, func(_ string, e *entry) bool {
		return e.State != Alive && now.Sub(e.Since) >= rememberDead
	})
	return len(t.members) != before
}

func (t *table) list() []Member {
	out := make([]Member, 0, len(t.members))
	for _, name := range slices.Sorted(maps.Keys(t.members)) {
		out = append(out, t.members[name].Member)
	}
	return out
}

func (t *table) count() map[State]int {
	count := map[State]int{}
	for _, e := range t.members {
		count[e.State]++
	}
	return count
}

// at reports whether a member that the present instance knows to be alive has
// this address, by name or by number.
func (t *table) at(address string) bool {
	for _, e := range t.members {
		if e.State == Alive && e.life == t.life && (e.Address == address || e.ip == address) {
			return true
		}
	}
	return false
}

// addressOf is the advertised address of the member that packets for ip go to.
func (t *table) addressOf(name, ip string) string {
	if e := t.members[name]; e != nil && e.ip == ip {
		return e.Address
	}
	return ip
}
