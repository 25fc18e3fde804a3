package node

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/ozmo-dev/ozmo/fsm"
)

// late is a network with two tenants, of which one is judged apart.
type late struct {
	t            *testing.T
	state        *fsm.State
	index        uint64
	quiet, noisy *fsm.Cohort
	top          fsm.BlockRef
}

func newLate(t *testing.T) *late {
	l := &late{t: t, state: fsm.New()}
	l.do(&fsm.RegisterNode{Name: "n1", Server: "n1@1", Address: "n1:7000", Version: "1", Roles: fsm.AllRoles})
	for _, tenant := range []string{"quiet", "noisy"} {
		l.do(&fsm.SetTenantVersion{Tenant: tenant, Manifest: fsm.Manifest{Wanted: []string{"net"}}})
	}
	l.do(&fsm.GrantLease{Network: "net", Holder: "n1", Window: fsm.DefaultWindow})
	l.quiet = l.move("quiet", fsm.ReasonInitial)
	l.move("noisy", fsm.ReasonInitial)
	l.noisy = l.move("noisy", fsm.ReasonLaggard)
	return l
}

func (l *late) do(c fsm.Command) {
	l.t.Helper()
	entry, err := fsm.Encode(c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.index++
	if _, err := l.state.Apply(l.index, entry); err != nil {
		l.t.Fatal(err)
	}
}

func (l *late) move(tenant string, reason fsm.Reason) *fsm.Cohort {
	l.t.Helper()
	one, _ := l.state.View().Tenant(tenant)
	l.do(&fsm.Move{Moves: []fsm.Moved{{Tenant: tenant, Cohort: one.Cohort, To: "n1", Reason: reason}}, At: 1})
	one, _ = l.state.View().Tenant(tenant)
	c, _ := l.state.View().Cohort(one.Cohort)
	if c.To != "" {
		l.do(&fsm.Release{Cohort: c.ID, Epoch: c.Epoch})
		c, _ = l.state.View().Cohort(one.Cohort)
	}
	return c
}

func (l *late) network() *fsm.Network {
	n, ok := l.state.View().Network("net")
	if !ok {
		l.t.Fatal("no network")
	}
	return n
}

func (l *late) announce(count int) {
	l.t.Helper()
	c := &fsm.Announce{Network: "net", Epoch: l.network().Lease.Epoch}
	for range count {
		next := fsm.BlockRef{Height: l.top.Height + 1, Hash: sha256.Sum256(fmt.Append(nil, l.top.Height+1))}
		c.Entries = append(c.Entries, fsm.Entry{Kind: fsm.Extend, Ref: next, Parent: l.top.Hash})
		l.top = next
	}
	l.do(c)
}

func (l *late) advance(c *fsm.Cohort, to uint64) {
	l.t.Helper()
	cursor, _ := l.state.View().Cursor("net", c.ID)
	l.do(&fsm.Progress{Cohort: c.ID, Epoch: c.Epoch, Born: cursor.Born, Network: "net", To: to})
}

// A tenant judged apart since it is slow holds up a network later than others do.
func TestRoomForLaggards(t *testing.T) {
	const ahead = defaultAhead
	l := newLate(t)
	want := func(room int) {
		t.Helper()
		if got, _ := roomOf(l.state.View(), l.network(), ahead); got != room {
			t.Errorf("room for %d, want %d", got, room)
		}
	}
	want(ahead)
	l.announce(ahead)
	want(0) // of the quiet one
	l.advance(l.quiet, ahead)
	want(ahead)
	l.announce(3*ahead - 10)
	l.advance(l.quiet, 4*ahead-10)
	want(10) // of the noisy one
	l.announce(20)
	want(0)
	l.advance(l.noisy, ahead)
	want(ahead - 20)
}
