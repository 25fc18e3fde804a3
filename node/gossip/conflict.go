package gossip

import (
	"cmp"
	"slices"
	"time"
)

const (
	// tellAgain is how often a conflict that goes on is told.
	tellAgain = time.Minute
	// overAfter: a conflict not seen for this long is over. It is longer than
	// what passes between two full exchanges with the same peer.
	overAfter = 2 * time.Minute
	// contestedFor is how long after it was seen a conflict is taken to go on. A
	// node whose name is contested joins members again, since they have not taken
	// note of it.
	contestedFor = 10 * time.Second
)

// conflicts tells two nodes of one name from one node that crashed and is back
// at another address while some still believe in the old one: the latter ends
// as soon as its death is noticed.
type conflicts struct {
	after time.Duration // how long a conflict lasts before it is told
	seen  map[string]*sighting
}

type sighting struct {
	other       Member
	first, last time.Time
	told        time.Time
}

func (c *conflicts) note(other Member, now time.Time) {
	s := c.seen[other.Name]
	if s == nil || now.Sub(s.last) > overAfter {
		s = &sighting{first: now}
		c.seen[other.Name] = s
	}
	s.other, s.last = other, now
}

// due returns what is to be told now, and forgets what is over.
func (c *conflicts) due(now time.Time) []Member {
	var out []Member
	for name, s := range c.seen {
		switch {
		case now.Sub(s.last) > overAfter:
			delete(c.seen, name)
		case now.Sub(s.last) >= contestedFor: // perhaps over
		case s.last.Sub(s.first) >= c.after && (s.told.IsZero() || now.Sub(s.told) >= tellAgain):
			s.told = now
			out = append(out, s.other)
		}
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// contested reports whether somebody else had this name a moment ago.
func (c *conflicts) contested(name string, now time.Time) bool {
	s := c.seen[name]
	return s != nil && now.Sub(s.last) < contestedFor
}
